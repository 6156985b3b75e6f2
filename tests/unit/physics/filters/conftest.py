"""Models of the wind on two levels with a scalar, on several grids."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from credit_ray.grid.latlon import LatLonGrid
from credit_ray.state import Channel, Channels, Fields, StateSpec
from credit_ray.times import Step

GRIDS = {
    "gaussian": LatLonGrid.gaussian(24),
    "poles": LatLonGrid(np.linspace(90, -90, 37), np.arange(72) * 5.0),
    "cells": LatLonGrid(np.linspace(87.5, -87.5, 36), np.arange(72) * 5.0),
}
UNITS = {"u": "m s-1", "v": "m s-1", "t": "K", "q": "kg kg-1"}

MakeSpec = Callable[..., StateSpec]
MakeFields = Callable[..., Fields]


@pytest.fixture(params=GRIDS)
def grid(request: pytest.FixtureRequest) -> LatLonGrid:
    return GRIDS[request.param]


@pytest.fixture(scope="session")
def make_spec() -> MakeSpec:
    def make(grid: LatLonGrid, variables: str = "uvtq", step: str = "6h") -> StateSpec:
        channels = Channels(
            Channel(variable=name, units=UNITS[name], level=level, vertical="pressure")
            for name in variables
            for level in (500.0, 850.0)
        )
        return StateSpec(prognostic=channels, grid=grid, step=Step.parse(step))

    return make


@pytest.fixture(scope="session")
def make_fields() -> MakeFields:
    def make(spec: StateSpec, seed: int = 0, trajectories: int = 2, dtype: torch.dtype = torch.float64) -> Fields:
        """Noise of all scales; temperatures and humidities of their size."""
        draw = torch.Generator().manual_seed(seed)
        shape = (trajectories, len(spec.outputs), *spec.grid.shape)
        data = 10 * torch.randn(shape, generator=draw, dtype=torch.float64)
        for i, channel in enumerate(spec.outputs):
            if channel.variable == "t":
                data[:, i] += 270
            if channel.variable == "q":
                data[:, i] = 0.001 * data[:, i].abs()
        return Fields(data.to(dtype), spec.outputs)

    return make
