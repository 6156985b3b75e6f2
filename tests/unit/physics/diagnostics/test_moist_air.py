"""Moist air against tables of the standard atmosphere and of vapour pressure, and against itself."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from credit_ray.physics.diagnostics.moist_air import (
    air_density,
    potential_temperature,
    relative_humidity,
    saturation_vapour_pressure,
    vapour_pressure,
    virtual_temperature,
)

TEMPERATURES = st.floats(180, 320)
PRESSURES = st.floats(1e3, 1.05e5)
HUMIDITIES = st.floats(0, 0.03)


def number(value: float) -> torch.Tensor:
    return torch.tensor(value, dtype=torch.float64)


@pytest.mark.parametrize(
    ("celsius", "over_water"),
    [(0.01, 611.657), (10.0, 1228.2), (20.0, 2339.3), (30.0, 4247.0), (40.0, 7384.9)],  # Pa: Wagner and Pruß (2002)
)
def test_saturation_over_water_is_within_a_third_of_a_percent_of_the_standard(
    celsius: float, over_water: float
) -> None:
    assert saturation_vapour_pressure(number(celsius + 273.15)).item() == pytest.approx(over_water, rel=3e-3)


@pytest.mark.parametrize(
    ("celsius", "over_ice"),
    [(-30.0, 38.02), (-40.0, 12.84), (-60.0, 1.0813)],  # Pa: Murphy and Koop (2005)
)
def test_saturation_over_ice_is_within_half_a_percent_of_the_standard(celsius: float, over_ice: float) -> None:
    assert saturation_vapour_pressure(number(celsius + 273.15)).item() == pytest.approx(over_ice, rel=5e-3)


def test_saturation_grows_with_temperature_without_a_step_between_ice_and_water() -> None:
    kelvin = torch.linspace(180, 330, 15001, dtype=torch.float64)
    ratio = (lambda e: e[1:] / e[:-1])(saturation_vapour_pressure(kelvin))
    assert ratio.min() > 1
    assert ratio.max() < 1.002  # per 0.01 K


@given(temperature=TEMPERATURES, humidity=HUMIDITIES, pressure=PRESSURES)
def test_the_densities_of_dry_air_and_vapour_add_up(temperature: float, humidity: float, pressure: float) -> None:
    t, q, p = number(temperature), number(humidity), number(pressure)
    vapour = vapour_pressure(q, p)
    dry_air, water = (p - vapour) / (287.0597 * t), vapour / (461.5250 * t)
    torch.testing.assert_close(air_density(t, q, p), dry_air + water, rtol=1e-12, atol=0)
    torch.testing.assert_close(
        water / (dry_air + water), q, rtol=1e-9, atol=1e-15
    )  # which is what specific humidity means


@given(temperature=TEMPERATURES, humidity=HUMIDITIES)
def test_humid_air_is_lighter_and_dry_air_is_its_own_virtual_self(temperature: float, humidity: float) -> None:
    t = number(temperature)
    assert virtual_temperature(t, number(0.0)) == t
    assert virtual_temperature(t, number(humidity)) >= t


@given(temperature=TEMPERATURES, pressure=st.floats(5e4, 1.05e5))
def test_saturated_air_has_a_relative_humidity_of_one(temperature: float, pressure: float) -> None:
    t, p = number(temperature), number(pressure)
    vapour = saturation_vapour_pressure(t)
    saturated = vapour * 0.621981 / (p - (1 - 0.621981) * vapour)
    torch.testing.assert_close(relative_humidity(t, saturated, p), torch.ones_like(t), rtol=1e-5, atol=0)


def test_density_and_potential_temperature_of_the_standard_atmosphere() -> None:
    t, p = torch.tensor([288.15, 223.252]).double(), torch.tensor([101325.0, 26499.9]).double()  # at 0 and 10 km
    dry = torch.zeros_like(t)
    torch.testing.assert_close(air_density(t, dry, p), torch.tensor([1.2250, 0.41351]).double(), rtol=1e-4, atol=0)
    assert potential_temperature(number(288.15), number(1e5)).item() == 288.15
    torch.testing.assert_close(  # 2/7 of the logarithm
        potential_temperature(t, p), t * (1e5 / p) ** (2 / 7), rtol=1e-12, atol=0
    )


def test_a_rollout_that_blows_up_gives_no_infinities_of_its_own() -> None:
    assert torch.isfinite(saturation_vapour_pressure(torch.tensor([-0.7, 0.0, 32.19, 1e6]))).all()
