"""Water in a column, and its transport."""

from __future__ import annotations

import pytest
import torch

from credit_ray.physics.diagnostics.column import integrated_vapour_transport, precipitable_water, vapour_transport


def test_a_column_with_one_part_in_a_hundred_of_vapour_holds_a_hundredth_of_its_mass() -> None:
    mass = torch.full((2, 10, 3, 4), 1033.0).double()
    water = precipitable_water(torch.full_like(mass, 0.01), mass)
    torch.testing.assert_close(water, torch.full((2, 3, 4), 103.3).double())


def test_a_uniform_wind_carries_the_precipitable_water_along() -> None:
    draw = torch.Generator().manual_seed(0)
    mass = torch.rand(1, 6, 2, 3, generator=draw).double() * 1000
    humidity = torch.rand(1, 6, 2, 3, generator=draw).double() * 0.02
    u, v = torch.full_like(mass, 6.0), torch.full_like(mass, -8.0)
    water = precipitable_water(humidity, mass)
    eastward, northward = vapour_transport(u, v, humidity, mass)
    torch.testing.assert_close(eastward, 6 * water)
    torch.testing.assert_close(northward, -8 * water)
    torch.testing.assert_close(integrated_vapour_transport(u, v, humidity, mass), 10 * water)


def test_winds_that_oppose_each_other_carry_nothing() -> None:
    mass, humidity = torch.ones(1, 2, 1, 1), torch.ones(1, 2, 1, 1)
    u = torch.tensor([5.0, -5.0])[None, :, None, None]
    assert integrated_vapour_transport(u, torch.zeros_like(u), humidity, mass).item() == pytest.approx(0)
