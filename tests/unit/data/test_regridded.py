"""Sources of different grids in one experiment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from credit_ray.config.data import DataConfig
from credit_ray.data.dataset import Dataset, open_dataset
from credit_ray.data.regridded import grid_named
from credit_ray.errors import ConfigError, DataError, SpecMismatchError
from credit_ray.grid.latlon import LatLonGrid
from credit_ray.grid.regrid import Regridding
from tests.unit.data.conftest import LATITUDE, LONGITUDE, Make

Save = Callable[..., str]
OTHER = {"latitude": np.linspace(80, -80, 9), "longitude": np.arange(0.0, 360.0, 30.0)}


def opened(
    weather: str, surface: str, *, grid: str | None = None, weather_regrid: str | None = None, **source: Any
) -> Dataset:
    sources = {
        "weather": {"store": weather, "prognostic": ["t"], "static": ["orography"], "regrid": weather_regrid},
        "surface": {"store": surface, "diagnostic": ["sp"], **source},
    }
    config = {"timestep": "6h", "grid": grid, "sources": sources, "splits": {"train": ["2000-01-01", "2000-02-01"]}}
    return open_dataset(DataConfig.model_validate(config))


@pytest.fixture
def stores(make: Make, save: Save) -> tuple[str, str]:
    return save(make(), "weather.zarr"), save(make(**OTHER), "surface.zarr")


@pytest.mark.parametrize("method", ["bilinear", "conservative"])
def test_a_source_comes_onto_the_grid_of_what_is_predicted(stores: tuple[str, str], method: Any, make: Make) -> None:
    dataset = opened(*stores, regrid=method)
    assert dataset.spec.grid == LatLonGrid(LATITUDE, LONGITUDE)
    found = dataset.columns(dataset.times[[2, 5]], dataset.spec.outputs)
    own = make(**OTHER)["sp"].values[[2, 5]]
    weights = Regridding(LatLonGrid(**OTHER), dataset.spec.grid, method)
    assert_array_equal(found["sp"], weights(own))
    assert_array_equal(found["t"], make()["t"].values[[2, 5]])


def test_another_grid_is_refused_unless_the_config_says_how(stores: tuple[str, str]) -> None:
    with pytest.raises(
        SpecMismatchError, match=r"surface is on a .*, data\.sources\.weather on a .* Say 'regrid: bilinear'"
    ):
        opened(*stores)


def test_all_sources_come_onto_a_grid_that_is_named(stores: tuple[str, str]) -> None:
    dataset = opened(*stores, grid="gaussian 8x16", regrid="conservative", weather_regrid="bilinear")
    assert dataset.spec.grid == LatLonGrid.gaussian(8)
    fields = dataset.fields(dataset.times, dataset.spec.outputs)
    assert fields.shape == (12, 4, 8, 16)
    assert dataset.statics().shape == (1, 8, 16)
    assert opened(*stores, grid="surface", weather_regrid="bilinear").spec.grid.shape == (9, 12)


def test_the_method_is_part_of_what_the_data_are(stores: tuple[str, str]) -> None:
    ids = {opened(*stores, regrid=method).data_id for method in ("bilinear", "conservative")}
    assert len(ids) == 2


def test_a_mask_is_respected(make: Make, save: Save) -> None:
    ocean = make(**OTHER)
    ocean["sp"] = ocean["sp"].where(ocean["longitude"] < 180)
    dataset = opened(save(make(), "w.zarr"), save(ocean, "o.zarr"), regrid="conservative", missing="mask")
    found = dataset.columns(dataset.times, dataset.spec.outputs)["sp"]
    east = LONGITUDE[np.isnan(found[0, 3])]
    assert_allclose(east, [180, 225, 270, 315])
    assert np.nanmax(found[0]) <= np.nanmax(ocean["sp"].values[0])


@pytest.mark.parametrize(
    ("text", "shape", "first"),
    [("181x360", (181, 360), 90.0), ("32x64", (32, 64), 87.1875), ("gaussian 32x64", (32, 64), 85.76)],
)
def test_grids_have_names(text: str, shape: tuple[int, int], first: float) -> None:
    grid = grid_named(text, {})
    assert grid.shape == shape
    assert grid.latitude[0] == pytest.approx(first, abs=1e-2)


@pytest.mark.parametrize("text", ["wether", "x", "1x1", "gauss 8x16"])
def test_a_grid_without_a_name_is_refused(text: str, stores: tuple[str, str]) -> None:
    with pytest.raises((ConfigError, DataError), match=f"'{text}' is neither a source nor a grid"):
        opened(*stores, grid=text, regrid="bilinear")
