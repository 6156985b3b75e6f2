"""Columns of which the heights are known: isothermal, and with the standard lapse rate."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from credit_ray.physics.constants import DRY_AIR_GAS_CONSTANT, GRAVITY
from credit_ray.physics.diagnostics.hydrostatic import (
    geopotential,
    geopotential_from_levels,
    mean_sea_level_pressure,
    surface_temperature,
    thickness,
)
from credit_ray.physics.diagnostics.moist_air import virtual_temperature

Make = Callable[..., Any]


def column(values: torch.Tensor) -> torch.Tensor:
    """[level] → [1, level, 1, 1]."""
    return values.double()[None, :, None, None]


def place(value: float) -> torch.Tensor:
    return torch.full((1, 1, 1), value, dtype=torch.float64)


def test_in_an_isothermal_atmosphere_every_layer_is_as_thick_as_its_logarithm_says(troposphere: Make) -> None:
    air = troposphere(at_sea_level=250.0, lapse=0.0)
    pressure = column(torch.linspace(2e3, 98e3, 17))
    heights = GRAVITY * air.height_at(pressure)
    warm = torch.full_like(pressure, 250.0)
    torch.testing.assert_close(thickness(warm, pressure), heights[:, :-1] - heights[:, 1:], rtol=1e-12, atol=0)
    by_levels = geopotential_from_levels(warm, pressure, place(101325.0), place(0.0))
    torch.testing.assert_close(by_levels, heights, rtol=1e-12, atol=1e-6)


@pytest.mark.parametrize(("layers", "tolerance"), [(10, 150.0), (40, 12.0), (160, 0.8)])
def test_geopotential_converges_to_the_standard_atmosphere_as_layers_become_thin(
    troposphere: Make, layers: int, tolerance: float
) -> None:
    air = troposphere()
    interfaces = column(torch.linspace(22700, 101325, layers + 1))
    # the temperature that a layer has in the mean over ln p, and the height of the level where α puts it
    middle = (interfaces[:, 1:] * interfaces[:, :-1]).sqrt()
    found = geopotential(air.temperature_at(middle), interfaces, place(0.0))
    above, below = interfaces[:, :-1], interfaces[:, 1:]
    level = below * torch.exp(-(1 - above / (below - above) * (below / above).log()))
    assert (found - GRAVITY * air.height_at(level)).abs().max() < tolerance  # m² s⁻²
    trapezoids = geopotential_from_levels(air.temperature_at(middle), middle, place(101325.0), place(0.0))
    assert (trapezoids - GRAVITY * air.height_at(middle)).abs().max() < 3 * tolerance


def test_the_uppermost_layer_may_reach_into_the_vacuum() -> None:
    interfaces, warm = column(torch.tensor([0.0, 5e4, 1e5])), column(torch.full((2,), 300.0))
    found = geopotential(warm, interfaces, place(0.0)).flatten()
    scale = DRY_AIR_GAS_CONSTANT * 300
    two = torch.tensor(2.0, dtype=torch.float64).log()
    torch.testing.assert_close(found, torch.stack([scale * two + scale * two, scale * (1 - two)]))


@given(shift=st.floats(-5e3, 5e4), seed=st.integers(0, 100))
def test_the_whole_column_rises_with_the_ground(shift: float, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    warm = column(200 + 100 * torch.rand(6, generator=draw))
    interfaces = column((torch.rand(7, generator=draw) + 0.1).cumsum(0) * 1e4)
    flat, raised = (geopotential(warm, interfaces, place(base)) for base in (0.0, shift))
    torch.testing.assert_close(raised - flat, torch.full_like(flat, shift), rtol=0, atol=1e-6)
    assert (flat[:, :-1] > flat[:, 1:]).all()


@pytest.mark.parametrize("height", [-400.0, 0.0, 300.0, 1500.0])
def test_sea_level_pressure_of_the_standard_atmosphere_is_the_same_at_any_height(
    troposphere: Make, height: float
) -> None:
    air = troposphere(at_sea_level=285.0)
    surface = air.pressure_at(torch.tensor(height).double()).reshape(1, 1, 1)
    lowest = 0.997 * surface
    found = mean_sea_level_pressure(air.temperature_at(lowest), lowest, surface, place(GRAVITY * height))
    assert found.item() == pytest.approx(101325.0, abs=3.0)  # of the published series, which ends at the third term


def test_at_sea_level_nothing_is_reduced() -> None:
    pressure = torch.tensor([98e3, 103e3]).double().reshape(2, 1, 1)
    for kelvin in (220.0, 280.0, 310.0):
        same = mean_sea_level_pressure(torch.full_like(pressure, kelvin), 0.99 * pressure, pressure, place(0.0))
        torch.testing.assert_close(same, pressure)


def test_under_a_hot_plateau_the_air_gets_no_hotter() -> None:
    # T* = 300 K at 1500 m: 310 K at sea level by the standard lapse rate; instead the mean of 290.5 and 300 K down to it
    found = mean_sea_level_pressure(place(300.0), place(85e3), place(85e3), place(1500 * GRAVITY)).item()
    by_hand = 85e3 * 2.718281828 ** (1500 * GRAVITY / (DRY_AIR_GAS_CONSTANT * 295.25))
    assert found == pytest.approx(by_hand, rel=1e-6)


def test_reduction_to_sea_level_has_gradients_everywhere() -> None:
    kelvin = torch.tensor([240.0, 280.0, 289.0, 300.0]).double().reshape(4, 1, 1).requires_grad_()
    for ground in (-100.0, 0.0, 20000.0):
        pressure = place(8e4)
        mean_sea_level_pressure(kelvin, 0.99 * pressure, pressure, place(ground)).sum().backward()
    assert kelvin.grad is not None
    assert torch.isfinite(kelvin.grad).all()


def test_the_air_at_the_ground_is_warmer_than_at_the_lowest_level(troposphere: Make) -> None:
    air = troposphere()
    surface, lowest = place(101325.0), place(99000.0)
    found = surface_temperature(air.temperature_at(lowest), lowest, surface)
    torch.testing.assert_close(found, air.temperature_at(surface), rtol=1e-4, atol=0)


def test_layers_of_a_simulation_are_as_thick_as_the_simulation_says(real_data: Path) -> None:
    import xarray

    simulation = xarray.open_zarr(real_data / "speedy_t21l8_6h.zarr").isel(time=slice(0, None, 60))
    names = ("temperature", "specific_humidity", "geopotential", "surface_pressure")
    t, q, z, sp = (torch.from_numpy(simulation[name].values).double() for name in names)
    pressure = torch.from_numpy(simulation["level"].values.copy())[:, None, None] * sp[:, None]
    found = thickness(virtual_temperature(t, q), pressure)
    error = found - (z[:, :-1] - z[:, 1:])
    assert error.square().mean((0, 2, 3)).sqrt().max() < 20  # m² s⁻², each layer
    assert error.mean((0, 2, 3)).abs().max() < 10
