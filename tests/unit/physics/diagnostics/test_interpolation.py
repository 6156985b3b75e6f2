"""Interpolation is exact for what it takes fields for, and goes on under the ground as published."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from credit_ray.physics.constants import DRY_AIR_GAS_CONSTANT, GRAVITY
from credit_ray.physics.diagnostics.hydrostatic import LAPSE_RATE
from credit_ray.physics.diagnostics.interpolation import (
    geopotential_on_pressure_levels,
    temperature_on_pressure_levels,
    to_heights,
    to_pressure_levels,
)

Make = Callable[..., Any]


def sigma_columns(surface: torch.Tensor, levels: int = 30) -> torch.Tensor:
    """Pressure on sigma levels over surface pressures [lat, lon]: [1, level, lat, lon]."""
    sigma = torch.linspace(0.05, 0.99, levels, dtype=torch.float64)
    return (sigma[:, None, None] * surface.double())[None]


@given(seed=st.integers(0, 1000))
def test_what_is_linear_in_the_logarithm_of_pressure_is_found_exactly(seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    surface = 6e4 + 4e4 * torch.rand(3, 4, generator=draw)
    pressure = sigma_columns(surface)
    targets = 6e3 + 5e4 * torch.rand(5, generator=draw).double()
    found = to_pressure_levels(2 + 3 * pressure.log(), pressure, targets)
    torch.testing.assert_close(found, (2 + 3 * targets.log())[None, :, None, None].expand_as(found))


def test_at_a_level_is_what_is_there_and_beyond_the_levels_is_what_was_said() -> None:
    pressure = sigma_columns(torch.full((1, 2), 1e5), levels=4)
    field = torch.arange(8.0).double().reshape(1, 4, 1, 2)
    torch.testing.assert_close(to_pressure_levels(field, pressure, pressure), field)
    outside = to_pressure_levels(field, pressure, torch.tensor([1000.0, 105_000.0]))
    assert torch.isnan(outside[:, 0]).all()
    torch.testing.assert_close(outside[:, 1], field[:, -1])


def test_the_standard_atmosphere_goes_on_below_the_ground(troposphere: Make) -> None:
    air = troposphere(at_sea_level=288.0)
    heights = torch.tensor([[0.0, 500.0, 1500.0]]).double()
    surface = air.pressure_at(heights)
    pressure = sigma_columns(surface, levels=60)
    targets = torch.tensor([30e3, 70e3, 85e3, 100e3, 101e3]).double()
    ground = (GRAVITY * heights)[None]
    temperature = air.temperature_at(pressure)
    found = temperature_on_pressure_levels(temperature, pressure, surface[None], ground, targets)
    expected = air.temperature_at(targets)[None, :, None, None].expand_as(found)
    torch.testing.assert_close(found, expected, rtol=0, atol=0.1)
    geopotential = GRAVITY * air.height_at(pressure)
    found = geopotential_on_pressure_levels(geopotential, temperature, pressure, surface[None], ground, targets)
    expected = (GRAVITY * air.height_at(targets))[None, :, None, None].expand_as(found)
    torch.testing.assert_close(found, expected, rtol=0, atol=25.0)  # 2.5 m: layers are interpolated linearly


def test_under_a_high_plateau_the_air_warms_towards_298_kelvin_at_sea_level() -> None:
    surface, high = torch.full((1, 1, 1), 6e4).double(), torch.full((1, 1, 1), GRAVITY * 4000, dtype=torch.float64)
    pressure, temperature = sigma_columns(surface[0]), torch.full((1, 30, 1, 1), 285.0).double()
    found = temperature_on_pressure_levels(
        temperature, pressure, surface, high, torch.tensor([101325.0]).double()
    ).item()
    ground = 285 * (1 + LAPSE_RATE * DRY_AIR_GAS_CONSTANT / GRAVITY * (1 / 0.99 - 1))
    a = DRY_AIR_GAS_CONSTANT * (298 - ground) / (GRAVITY * 4000) * math.log(101325 / 6e4)
    assert found == pytest.approx(ground * (1 + a + a**2 / 2 + a**3 / 6), rel=1e-9)


def test_the_blend_between_2000_and_2500_metres_has_no_steps() -> None:
    heights = torch.linspace(1900, 2600, 701, dtype=torch.float64)[None, None]
    surface = torch.full_like(heights, 78e3)
    pressure = sigma_columns(surface[0])
    temperature = torch.full_like(pressure, 295.0)
    found = temperature_on_pressure_levels(temperature, pressure, surface, GRAVITY * heights, torch.tensor([1e5]))
    assert found.diff(dim=-1).abs().max() < 0.1


@pytest.mark.parametrize("function", [temperature_on_pressure_levels, None])
def test_nothing_jumps_at_the_ground(function: Any, troposphere: Make) -> None:
    air = troposphere(at_sea_level=280.0)
    surface = torch.full((1, 1, 1), 9e4).double()
    pressure = sigma_columns(surface[0])
    temperature, ground = air.temperature_at(pressure), GRAVITY * air.height_at(surface)
    around = torch.tensor([9e4 - 1e-3, 9e4 + 1e-3]).double()
    if function:
        found = function(temperature, pressure, surface, ground, around)
    else:
        column = GRAVITY * air.height_at(pressure)
        found = geopotential_on_pressure_levels(column, temperature, pressure, surface, ground, around)
    torch.testing.assert_close(found[:, 0], found[:, 1], rtol=1e-6, atol=1e-3)


def test_heights_are_linear_between_levels_and_follow_the_lapse_rate_below() -> None:
    height = torch.tensor([5000.0, 2000.0, 500.0]).double()[None, :, None, None]
    warm = 288.15 - LAPSE_RATE * height
    targets = torch.tensor([3000.0, 100.0, -200.0, 6000.0]).double()
    found = to_heights(warm, height, targets, lapse=LAPSE_RATE).flatten()
    torch.testing.assert_close(found[:3], 288.15 - LAPSE_RATE * targets[:3])
    assert torch.isnan(found[3])
    wind = to_heights(warm, height, targets).flatten()
    assert wind[1] == wind[2] == warm[0, 2, 0, 0]


def test_gradients_pass_to_field_and_coordinate() -> None:
    pressure = sigma_columns(torch.full((1, 1), 1e5), levels=5).requires_grad_()
    field = torch.rand(1, 5, 1, 1).double().requires_grad_()
    targets = torch.tensor([2e4, 7e4, 1.01e5]).double()
    assert torch.autograd.gradcheck(
        lambda f, p: to_pressure_levels(f, p * 1e5, targets), (field, (pressure.detach() / 1e5).requires_grad_())
    )
