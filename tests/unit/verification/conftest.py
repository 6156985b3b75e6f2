"""Forecasts and truth in memory, and scores computed the plain way: field by field, in float64."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray

from credit_ray.grid.latlon import LatLonGrid
from credit_ray.times import Times
from credit_ray.verification.forecasts import Forecasts

GRID = LatLonGrid.gaussian(8)
LEVELS = (500.0, 850.0)
STEP = 21600


@dataclass(frozen=True)
class World:
    """Truth at 40 times, forecasts from 6 of them over 5 steps; `t` on two levels, then `msl`."""

    truth: NDArray[np.float64]  # [time, channel, *grid]
    forecast: NDArray[np.float64]  # [init, lead, channel, *grid]
    climatology: NDArray[np.float64]  # [channel, *grid]
    init: NDArray[np.int64]

    @property
    def init_times(self) -> Times:
        return self.init * STEP

    @property
    def verifying(self) -> NDArray[np.float64]:
        """The truth of each forecast."""
        return self.truth[self.init[:, None] + np.arange(1, 6)[None]]

    def forecasts(self, **attributes: Any) -> Forecasts:
        """As a store would give them."""
        lead = (np.arange(1, 6) * STEP).astype("timedelta64[s]").astype("timedelta64[ns]")
        dims = ("init_time", "lead_time", "level", "latitude", "longitude")
        data = {
            "t": (dims, self.forecast[:, :, :2].astype(np.float32), {"units": "K"}),
            "msl": ((*dims[:2], *dims[3:]), self.forecast[:, :, 2].astype(np.float32), {"units": "Pa"}),
        }
        coordinates = {
            "init_time": self.init_times.astype("datetime64[s]").astype("datetime64[ns]"),
            "lead_time": lead,
            "level": ("level", list(LEVELS), {"standard_name": "air_pressure", "units": "hPa"}),
            "latitude": GRID.latitude,
            "longitude": GRID.longitude,
        }
        return Forecasts(xr.Dataset(data, coordinates, {"timestep": "6h", **attributes}), "f.zarr")

    def truth_dataset(self) -> xr.Dataset:
        """As a reanalysis would give it."""
        dims = ("time", "level", "latitude", "longitude")
        data = {
            "t": (dims, self.truth[:, :2].astype(np.float32), {"units": "K"}),
            "msl": ((dims[0], *dims[2:]), self.truth[:, 2].astype(np.float32), {"units": "Pa"}),
        }
        times = (np.arange(len(self.truth)) * STEP).astype("datetime64[s]").astype("datetime64[ns]")
        coordinates = {
            "time": times,
            "level": ("level", list(LEVELS), {"units": "hPa"}),
            "latitude": GRID.latitude,
            "longitude": GRID.longitude,
        }
        return xr.Dataset(data, coordinates)


@dataclass
class ArrayTruth:
    """Truth by position; remembers how often each field was read."""

    world: World
    absent: frozenset[int] = frozenset()
    reads: int = 0

    def has(self, times: Times) -> NDArray[np.bool_]:
        position = np.asarray(times) // STEP
        return (position >= 0) & (position < len(self.world.truth)) & ~np.isin(position, list(self.absent))

    def fields(self, times: Times, channels: Any) -> NDArray[np.float32]:
        assert self.has(times).all()
        self.reads += len(times) * len(channels)
        names = ["t_500", "t_850", "msl"]
        picked = [names.index(name) for name in channels.names]
        return self.world.truth[np.asarray(times) // STEP][:, picked].astype(np.float32)


MakeWorld = Callable[..., World]


@pytest.fixture
def make_world() -> MakeWorld:
    def make(seed: int = 0, inits: int = 6) -> World:
        draw = np.random.default_rng(seed)
        climatology = np.array([250.0, 280.0, 101_000.0])[:, None, None] + draw.standard_normal((3, *GRID.shape))
        scale = np.array([3.0, 4.0, 900.0])[:, None, None]
        truth = climatology + scale * draw.standard_normal((40, 3, *GRID.shape))
        init = np.sort(draw.choice(34, inits, replace=False))
        verifying = truth[init[:, None] + np.arange(1, 6)[None]]
        errors = scale * (0.3 * draw.standard_normal(verifying.shape) + 0.1)

        def exact(x: NDArray[np.float64]) -> NDArray[np.float64]:
            return x.astype(np.float32).astype(np.float64)  # what a store holds

        return World(exact(truth), exact(verifying + errors), exact(climatology), init)

    return make


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    return make_world()


@pytest.fixture
def make_truth() -> type[ArrayTruth]:
    return ArrayTruth


@pytest.fixture
def plain_scores() -> Callable[..., dict[str, float]]:
    """Scores of arrays [init, *grid] at one lead time, by the textbook."""

    def score(
        forecast: NDArray[np.float64],
        truth: NDArray[np.float64],
        climatology: NDArray[np.float64],
        grid: LatLonGrid = GRID,
    ) -> dict[str, float]:
        areas = grid.cell_areas()
        sums = dict.fromkeys(("weight", "error", "square", "both", "forecast", "truth"), 0.0)
        for f, t in zip(forecast, truth, strict=True):
            for i in range(grid.shape[0]):
                for j in range(grid.shape[1]):
                    if not np.isfinite(t[i, j] + climatology[i, j] + f[i, j]):
                        continue
                    w, fa, ta = areas[i, j], f[i, j] - climatology[i, j], t[i, j] - climatology[i, j]
                    sums["weight"] += w
                    sums["error"] += w * (f[i, j] - t[i, j])
                    sums["square"] += w * (f[i, j] - t[i, j]) ** 2
                    sums["both"] += w * fa * ta
                    sums["forecast"] += w * fa**2
                    sums["truth"] += w * ta**2
        spread = np.sqrt(sums["forecast"] * sums["truth"])
        return {
            "rmse": float(np.sqrt(sums["square"] / sums["weight"])),
            "bias": sums["error"] / sums["weight"],
            "acc": sums["both"] / spread if spread else np.nan,
        }

    return score
