"""Small stores whose every value says where it belongs."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray

from credit_ray.config.data import DataConfig
from credit_ray.data.dataset import Dataset, open_dataset

LATITUDE = np.array([75.0, 45.0, 15.0, -15.0, -45.0, -75.0])
LONGITUDE = np.arange(0.0, 360.0, 45.0)
LEVELS = np.array([200.0, 500.0, 850.0])


def value(time: Any, level: Any, latitude: Any, longitude: Any) -> Any:
    """A number, exact in float32, that tells the position of time and level and the place in degrees."""
    return (
        1000 * np.asarray(time)
        + 100 * np.asarray(level)
        + (np.asarray(latitude) + 75) / 15
        + np.asarray(longitude) / 1024
    )


Make = Callable[..., xr.Dataset]


@pytest.fixture
def make() -> Make:
    """Builds a data set with `t` on three pressure levels, `sp` and `tp` at the surface and `orography`, one time every six hours."""

    def build(
        times: int | Sequence[int] | NDArray[np.int64] = 12,
        *,
        units: str = "hours since 2000-01-01",
        calendar: str = "standard",
        step: int = 6,
        latitude: NDArray[np.float64] = LATITUDE,
        longitude: NDArray[np.float64] = LONGITUDE,
        dims: tuple[str, ...] = ("time", "level", "latitude", "longitude"),
        attributes: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> xr.Dataset:
        numbers = np.arange(times) if isinstance(times, int) else np.arange(len(times))
        hours = numbers * step if isinstance(times, int) else np.asarray(times)
        east = np.mod(longitude, 360)
        t, k, i, j = np.meshgrid(numbers, np.arange(3), latitude, east, indexing="ij")
        found = {
            "t": (("time", "level", "latitude", "longitude"), value(t, k, i, j), {"units": "K"}),
            "sp": (("time", "latitude", "longitude"), value(t, 5, i, j)[:, 0], {"units": "Pa"}),
            "tp": (("time", "latitude", "longitude"), value(t, 7, i, j)[:, 0], {"units": "kg m-2"}),
            "orography": (("latitude", "longitude"), value(t, 9, i, j)[0, 0], {"units": "m"}),
        }
        dataset = xr.Dataset(
            {name: (d, values.astype(np.float32), dict(attrs)) for name, (d, values, attrs) in found.items()},
            {
                "time": ("time", hours, {"units": units, "calendar": calendar}),
                "level": ("level", LEVELS, {"units": "hPa"}),
                "latitude": ("latitude", latitude, {"units": "degrees_north"}),
                "longitude": ("longitude", longitude, {"units": "degrees_east"}),
            },
        )
        for name, given in (attributes or {}).items():
            dataset[name].attrs.update(given)
        return dataset.transpose(*dims)

    return build


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., str]:
    """Writes a data set as Zarr; with the arguments of `to_zarr`."""

    def write(dataset: xr.Dataset, name: str = "store.zarr", **how: Any) -> str:
        path = str(tmp_path / name)
        options: dict[str, Any] = {"zarr_format": 3, "consolidated": True} | how
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Consolidated metadata is currently not part")
            dataset.to_zarr(path, mode="w", **options)
        return path

    return write


Open = Callable[..., Dataset]


@pytest.fixture
def open_weather(save: Callable[..., str]) -> Open:
    """Saves a data set and opens it as a source `weather` with t and sp prognostic; further sources, keys of the source, keys of `data`."""
    count = iter(range(1000))

    def build(
        dataset: xr.Dataset,
        *,
        sources: Mapping[str, Mapping[str, Any]] | None = None,
        encoding: Mapping[str, Any] | None = None,
        timestep: str = "6h",
        history: int = 1,
        train: tuple[str, str] = ("2000-01-01", "2000-12-30"),
        climatology: str = "mean",
        **source: Any,
    ) -> Dataset:
        store = save(dataset, f"weather{next(count)}.zarr", encoding=dict(encoding or {}))
        weather = {"store": store, "prognostic": ["t", "sp"]} | source
        config = {
            "timestep": timestep,
            "history": history,
            "sources": {"weather": weather, **(sources or {})},
            "splits": {"train": train},
            "climatology": climatology,
        }
        return open_dataset(DataConfig.model_validate(config))

    return build
