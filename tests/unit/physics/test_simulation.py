"""Totals of a real simulation, against what is known of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from credit_ray.grid.latlon import EARTH_RADIUS_M, LatLonGrid
from credit_ray.physics.chain import build_chain
from credit_ray.physics.constants import GRAVITY
from credit_ray.state import Channel, Channels, Fields, StateSpec
from tests.unit.physics.atmosphere import STEP, state_of


def test_the_simulations_dry_air_is_constant_and_of_the_right_mass(real_data: Path) -> None:
    import xarray as xr

    with xr.open_zarr(real_data / "speedy_t21l8_6h.zarr") as data:
        some = data[["specific_humidity", "surface_pressure"]].isel(time=slice(0, None, 7)).load()
    humidity = [
        Channel(variable="q", units="kg kg-1", level=float(level), vertical="sigma") for level in some["level"].values
    ]
    spec = StateSpec(
        prognostic=Channels([*humidity, Channel(variable="sp", units="Pa")]), grid=LatLonGrid.gaussian(32), step=STEP
    )
    (constraint,) = build_chain([{"kind": "dry_air_mass"}], spec, torch.zeros(0, 32, 64)).constraints
    pressure = some["surface_pressure"].values
    fields = np.concatenate([some["specific_humidity"].values, pressure[:, None]], 1)
    dry = constraint.start(state_of(spec, Fields(torch.from_numpy(fields), spec.prognostic)))["total"].numpy()
    weights = np.polynomial.legendre.leggauss(32)[1] / 2
    total = 4 * np.pi * EARTH_RADIUS_M**2 / GRAVITY * (pressure.astype(float).mean(-1) * weights).sum(-1)
    layers = np.diff([0, 0.05, 0.14, 0.26, 0.42, 0.60, 0.77, 0.90, 1])
    column = (some["specific_humidity"].values.astype(float) * layers[:, None, None]).sum(1) * pressure / GRAVITY
    water = 4 * np.pi * EARTH_RADIUS_M**2 * (column.mean(-1) * weights).sum(-1)
    np.testing.assert_allclose(dry, total - water, rtol=1e-9)
    assert np.abs(dry / 5.199e18 - 1).max() < 2e-4
    assert np.abs(total / 5.2125e18 - 1).max() < 5e-4
    assert 1.33e16 < water.min() < water.max() < 1.41e16
