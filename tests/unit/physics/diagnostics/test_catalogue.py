"""Diagnostics by name: from tensors of a rollout, on any coordinate and in any order of levels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from credit_ray.errors import ConfigError
from credit_ray.grid.latlon import LatLonGrid
from credit_ray.grid.levels import hybrid_levels, pressure_levels, sigma_levels, table
from credit_ray.grid.vertical import VerticalCoordinate
from credit_ray.physics.constants import GRAVITY
from credit_ray.physics.diagnostics.atmosphere import Atmosphere
from credit_ray.physics.diagnostics.catalogue import DIAGNOSTICS, diagnose
from credit_ray.state import Channel, Channels, Fields
from credit_ray.variables import lookup

Make = Callable[..., Any]
GRID = LatLonGrid.gaussian(8)
SIGMA = sigma_levels([0.95, 0.025, 0.51, 0.34, 0.2, 0.685, 0.835, 0.095])
ERA5 = hybrid_levels(np.arange(137, 0, -1), *table("era5_137"))
EVERY_FOURTH = hybrid_levels(np.arange(137, 0, -4), *table("era5_137"))
PRESSURE = pressure_levels([1000, 50, 850, 500, 250])


def rollout(air: Any, vertical: VerticalCoordinate, grid: LatLonGrid = GRID) -> tuple[Fields, torch.Tensor]:
    """A state of the standard atmosphere over hills, in the channels' own order of levels, and the hills' geopotential."""
    draw = torch.Generator().manual_seed(0)
    height = 2000 * torch.rand(2, *grid.shape, generator=draw).double()
    surface = air.pressure_at(height)
    kind: Any = {"hybrid": "model"}.get(vertical.coordinate, vertical.coordinate)
    pressure = vertical.at_levels(surface)
    warm = air.temperature_at(pressure)
    data, channels = [surface], [Channel(variable="sp", units="Pa")]
    for name, values in (("t", warm), ("q", 0 * warm), ("u", 0 * warm + 3), ("v", 0 * warm - 4)):
        for k, level in enumerate(vertical.levels):
            units = {"t": "K", "q": "kg kg-1"}.get(name, "m s-1")
            channels.append(Channel(variable=name, units=units, level=level, vertical=kind))
            data.append(values[:, k])
    return Fields(torch.stack(data, 1), Channels(channels)), GRAVITY * height


@pytest.mark.parametrize(
    ("vertical", "tolerance"), [(SIGMA, 700.0), (ERA5, 30.0), (EVERY_FOURTH, 150.0)], ids=["sigma", "ERA5", "some"]
)
def test_geopotential_and_sea_level_pressure_of_a_state_over_hills(
    troposphere: Make, vertical: VerticalCoordinate, tolerance: float
) -> None:
    air = troposphere(at_sea_level=288.0)
    state, ground = rollout(air, vertical)
    atmosphere = Atmosphere.of(state, GRID, vertical, {"z_sfc": ground})
    found = diagnose(atmosphere, ["z", "msl"])
    assert found["z"].shape == (2, len(vertical.levels), *GRID.shape)
    expected = GRAVITY * air.height_at(atmosphere.pressure)
    low = atmosphere.pressure > 15e3  # higher up the standard lapse rate has no temperature left
    assert (found["z"] - expected)[low].abs().max() < tolerance
    assert (found["z"].diff(dim=1) < 0).all()  # from the top down
    torch.testing.assert_close(found["msl"], torch.full_like(found["msl"], 101325.0), rtol=0, atol=60.0)


def test_the_order_of_levels_does_not_matter(troposphere: Make) -> None:
    air = troposphere(at_sea_level=288.0)
    names = sorted(DIAGNOSTICS)
    found = []
    for vertical in (SIGMA, sigma_levels(np.sort(SIGMA.levels))):
        state, ground = rollout(air, vertical)
        found.append(diagnose(Atmosphere.of(state, GRID, vertical, {"orography": ground / GRAVITY}), names))
    for name in names:
        torch.testing.assert_close(found[0][name], found[1][name], msg=name)


def test_water_on_pressure_levels_ends_at_the_ground() -> None:
    shape = (1, 5, *GRID.shape)
    surface = torch.full((1, *GRID.shape), 101_325.0)
    surface[:, :, :8] = 60_000.0
    fields = {"q": torch.full(shape, 0.001), "sp": surface}
    water = diagnose(Atmosphere(fields, GRID, PRESSURE), ["tcwv"])["tcwv"]
    torch.testing.assert_close(water, 0.001 * (surface - 5000) / GRAVITY)
    without = diagnose(Atmosphere({"q": fields["q"]}, GRID, PRESSURE), ["tcwv"])["tcwv"]
    torch.testing.assert_close(without, torch.full_like(without, 0.001 * 95_000 / GRAVITY))


def test_names_and_units_are_those_of_the_vocabulary() -> None:
    for each in DIAGNOSTICS.values():
        known = lookup(each.name)
        if known is not None:
            assert (known.standard_name, known.units) == (each.standard_name, each.units)
        assert all(lookup(need) for need in each.needs)


def test_what_is_missing_is_named(troposphere: Make) -> None:
    state, ground = rollout(troposphere(), SIGMA)
    air = Atmosphere.of(state, GRID, SIGMA)
    with pytest.raises(ConfigError, match="There is no diagnostic 'geopotental'"):
        diagnose(air, ["geopotental"])
    with pytest.raises(ConfigError, match="need 'z_sfc'"):
        diagnose(air, ["z"])
    with pytest.raises(ConfigError, match="need the vertical coordinate"):
        diagnose(Atmosphere(air.fields, GRID), ["theta"])
    on_pressure = Atmosphere({**air.fields, "z_sfc": ground}, GRID, pressure_levels(np.arange(100.0, 900, 100)))
    for name in ("z", "msl"):
        with pytest.raises(ConfigError, match="sigma or model levels"):
            diagnose(on_pressure, [name])


def test_gradients_pass_through_a_rollouts_diagnostics(troposphere: Make) -> None:
    state, ground = rollout(troposphere(at_sea_level=288.0), SIGMA)
    state.data.requires_grad_()
    found = diagnose(Atmosphere.of(state, GRID, SIGMA, {"z_sfc": ground}), DIAGNOSTICS)
    sum(each.sum() for each in found.values()).backward()  # type: ignore[union-attr]
    assert state.data.grad is not None
    assert torch.isfinite(state.data.grad).all()
