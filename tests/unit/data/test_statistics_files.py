"""CREDIT's files of means and deviations, in the units of the store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from credit_ray.config.data import DataConfig
from credit_ray.data.dataset import open_dataset
from credit_ray.data.statistics import compute_statistics, with_statistics_files
from credit_ray.data.statistics_files import read_statistics_files
from credit_ray.errors import DataError
from tests.unit.data.conftest import LEVELS, Make

Save = Callable[..., str]


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    """Means and deviations: T by level, in °C as its store has it; SP without dimension, tp in metres, LHFLX upward."""
    paths = (str(tmp_path / "mean.nc"), str(tmp_path / "std.nc"))
    for path, t, sp, tp in ((paths[0], [-60.0, -20.0, 10.0], 985.0, 1e-3), (paths[1], [10.0, 20.0, 30.0], 95.0, 2e-3)):
        fields = {"temperature": ("level", t), "SP": ((), sp), "tp": ((), tp)}
        xr.Dataset(fields, {"level": LEVELS}).to_netcdf(path, engine="h5netcdf")
    return paths


def config(make: Make, save: Save, files: tuple[str, str] | None, **source: Any) -> DataConfig:
    stored = make(attributes={"t": {"units": "degC"}, "sp": {"units": "hPa"}, "tp": {"units": "m"}})
    store = save(stored.rename(t="temperature", sp="surface_pressure"))
    weather = {"store": store, "prognostic": ["t", "sp"], "diagnostic": ["tp"], "static": ["orography"], **source}
    plain = {"timestep": "6h", "sources": {"weather": weather}, "splits": {"train": ["2000-01-01", "2000-12-30"]}}
    if files:
        plain["normalization"] = {"mean_file": files[0], "std_file": files[1]}
    return DataConfig.model_validate(plain)


def test_means_and_deviations_come_from_the_files_in_our_units(make: Make, save: Save, files: tuple[str, str]) -> None:
    dataset = open_dataset(config(make, save, files, levels=[850, 200]))
    computed = compute_statistics(dataset, slab_bytes=1_000_000, reader="local")
    found = with_statistics_files(computed, dataset)
    assert found.mean["t_200"] == pytest.approx(213.15)
    assert found.mean["t_850"] == pytest.approx(283.15)
    assert (found.std["t_200"], found.std["t_850"]) == (10.0, 30.0)
    assert (found.mean["sp"], found.std["sp"]) == pytest.approx((98500.0, 9500.0))
    assert (found.mean["tp"], found.std["tp"]) == pytest.approx((1.0, 2.0))
    assert found.std["orography"] == computed.std["orography"]  # not in the files
    assert found.change_std == computed.change_std


def test_without_files_the_training_periods_stand(make: Make, save: Save) -> None:
    dataset = open_dataset(config(make, save, None))
    computed = compute_statistics(dataset, slab_bytes=1_000_000, reader="local")
    assert with_statistics_files(computed, dataset) is computed


def test_a_level_that_is_not_there_is_named(make: Make, save: Save, files: tuple[str, str]) -> None:
    for path in files:
        with xr.open_dataset(path, engine="h5netcdf") as file:
            fewer = file.isel(level=[0, 2]).load()
        fewer.to_netcdf(path, engine="h5netcdf")
    with pytest.raises(DataError, match=r"mean\.nc: 'temperature' has no level for 't_500'; it has 200, 850"):
        read_statistics_files(*files, open_dataset(config(make, save, files)))


def test_a_deviation_of_nothing_is_refused(make: Make, save: Save, files: tuple[str, str], tmp_path: Path) -> None:
    with xr.open_dataset(files[1], engine="h5netcdf") as file:
        changed = file.load().assign(SP=((), np.float64(0.0)))
    changed.to_netcdf(tmp_path / "zero.nc", engine="h5netcdf")
    with pytest.raises(DataError, match=r"give 'sp' the mean 985 and deviation 0"):
        read_statistics_files(files[0], str(tmp_path / "zero.nc"), open_dataset(config(make, save, files)))
