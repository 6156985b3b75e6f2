"""A small data set and experiment that the integration tests share: waves that travel east, each at its own speed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from credit_ray.config.experiment import Experiment
from credit_ray.grid.latlon import LatLonGrid

MakeExperiment = Callable[..., Experiment]


@pytest.fixture(scope="session")
def waves(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Zarr store of 120 six-hourly states on a 16×32 Gaussian grid."""
    import xarray as xr

    grid = LatLonGrid.gaussian(16)
    hours = np.arange(120) * 6
    longitude, latitude = np.radians(grid.longitude)[None, None, :], np.radians(grid.latitude)[None, :, None]
    phase = longitude * np.array(3.0) - 2 * np.pi * hours[:, None, None] / 72
    other = longitude * 2 - 2 * np.pi * hours[:, None, None] / 190
    z = 50_000 + 800 * np.cos(latitude) ** 2 * np.cos(phase) + 500 * np.cos(latitude) * np.sin(other)
    u = 10 * np.cos(latitude) * np.ones_like(z) + 4 * np.cos(latitude) * np.sin(phase)
    v = 5 * np.cos(latitude) * np.cos(phase + other)
    dims = ("time", "latitude", "longitude")
    data = xr.Dataset(
        {
            "z": (dims, z.astype("f4"), {"units": "m2 s-2"}),
            "u": (dims, u.astype("f4"), {"units": "m s-1"}),
            "v": (dims, v.astype("f4"), {"units": "m s-1"}),
            "orography": (
                dims[1:],
                (1000 * np.cos(longitude[0]) ** 2 * np.cos(latitude[0])).astype("f4"),
                {"units": "m"},
            ),
        },
        coords={
            "time": ("time", hours, {"units": "hours since 2000-01-01", "calendar": "standard"}),
            "latitude": ("latitude", grid.latitude, {"units": "degrees_north"}),
            "longitude": ("longitude", grid.longitude, {"units": "degrees_east"}),
        },
    )
    store = tmp_path_factory.mktemp("waves") / "waves.zarr"
    data.to_zarr(store, zarr_format=3, encoding={name: {"chunks": (10, 16, 32)} for name in ("z", "u", "v")})
    return store


@pytest.fixture
def make_experiment(make_experiment_in: MakeExperiment, tmp_path: Path) -> MakeExperiment:
    """The experiment on it, with some sections replaced; its results go below the test's own folder."""
    return partial(make_experiment_in, tmp_path / "runs")


@pytest.fixture(scope="session")
def make_experiment_in(waves: Path) -> MakeExperiment:
    """The same, for a folder."""

    def make(output: Path, /, **sections: Any) -> Experiment:
        source = {"store": str(waves), "prognostic": ["z", "u"], "diagnostic": ["v"], "static": ["orography"]}
        clock = {"store": "derived", "forcing": ["cos_local_time"], "static": ["sin_latitude"]}
        plain: dict[str, Any] = {
            "name": "waves",
            "output": str(output),
            "data": {
                "timestep": "6h",
                "sources": {"waves": source, "clock": clock},
                "splits": {
                    "train": ["2000-01-01", "2000-01-20"],
                    "validation": ["2000-01-21", "2000-01-24"],
                    "test": ["2000-01-25", "2000-01-30"],
                },
            },
            "model": {"network": "unet", "width": 8, "multipliers": [1, 1], "blocks": [1, 1]},
            "training": {"batch_size": 8, "max_epochs": 2, "validation": {"lead": "12h", "inits": 4}},
            "resources": {"threads": 1},
            "forecast": {"lead": "2d", "max_inits": 3},
        }
        for name, values in sections.items():
            merged = isinstance(values, dict) and "network" not in values  # another network has arguments of its own
            plain[name] = {**plain.get(name, {}), **values} if merged else values
        return Experiment.model_validate(plain)

    return make
