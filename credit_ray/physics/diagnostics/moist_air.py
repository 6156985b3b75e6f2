"""Moist air at a point: virtual temperature, humidity, density, potential temperature.

Every function takes and gives tensors of any one shape (what broadcasts may differ), in SI units, in the precision that they come in.
"""

from __future__ import annotations

import torch
from torch import Tensor

from credit_ray.physics.constants import (
    DRY_AIR_GAS_CONSTANT,
    DRY_AIR_HEAT_CAPACITY,
    WATER_VAPOUR_GAS_CONSTANT,
)

REFERENCE_PRESSURE = 100_000.0
"""Of potential temperature, Pa."""

_EPSILON = DRY_AIR_GAS_CONSTANT / WATER_VAPOUR_GAS_CONSTANT
_TRIPLE_POINT = 273.16
_ALL_ICE = 250.16


def virtual_temperature(temperature: Tensor, specific_humidity: Tensor) -> Tensor:
    """The temperature of dry air of the same pressure and density: T (1 + (R_v/R_d − 1) q), K.

    Wallace and Hobbs (2006), section 3.1.1, in terms of specific humidity: exact for moist air without condensate.
    """
    return temperature * (1 + (1 / _EPSILON - 1) * specific_humidity)


def vapour_pressure(specific_humidity: Tensor, pressure: Tensor) -> Tensor:
    """Partial pressure of water vapour: q p / (ε + (1 − ε) q), Pa, with ε = R_d/R_v. Wallace and Hobbs (2006), section 3.5.1."""
    return specific_humidity * pressure / (_EPSILON + (1 - _EPSILON) * specific_humidity)


def saturation_vapour_pressure(temperature: Tensor) -> Tensor:
    """Over water above 273.16 K, over ice below 250.16 K, between them a mixture that is quadratic in temperature; Pa.

    Tetens' formula with the parameters of Buck (1981) for water and of Alduchov and Eskridge (1996) for ice, as in ECMWF's model and
    reanalyses: IFS Documentation CY41R2, Part IV, section 7.2.1b.
    """
    # The poles of the formulas, 32.19 K and −0.7 K, are kept at a distance: a rollout that blows up is told so, but by its own values.
    kelvin = temperature.clamp(min=100.0, max=400.0)
    over_water = 611.21 * torch.exp(17.502 * (kelvin - _TRIPLE_POINT) / (kelvin - 32.19))
    over_ice = 611.21 * torch.exp(22.587 * (kelvin - _TRIPLE_POINT) / (kelvin + 0.7))
    water = ((kelvin - _ALL_ICE) / (_TRIPLE_POINT - _ALL_ICE)).clamp(0, 1).square()
    return water * over_water + (1 - water) * over_ice


def relative_humidity(temperature: Tensor, specific_humidity: Tensor, pressure: Tensor) -> Tensor:
    """Vapour pressure over its saturation value at that temperature, as a fraction: 1 is saturated. Wallace and Hobbs (2006), section 3.5.1."""
    return vapour_pressure(specific_humidity, pressure) / saturation_vapour_pressure(temperature)


def air_density(temperature: Tensor, specific_humidity: Tensor, pressure: Tensor) -> Tensor:
    """p / (R_d T_v), kg m⁻³. Wallace and Hobbs (2006), equation 3.15."""
    return pressure / (DRY_AIR_GAS_CONSTANT * virtual_temperature(temperature, specific_humidity))


def potential_temperature(temperature: Tensor, pressure: Tensor) -> Tensor:
    """T (p₀/p)^(R_d/c_pd) with p₀ = 1000 hPa, K. Wallace and Hobbs (2006), equation 3.54."""
    return temperature * (REFERENCE_PRESSURE / pressure) ** (DRY_AIR_GAS_CONSTANT / DRY_AIR_HEAT_CAPACITY)
