"""Hydrostatic balance: the geopotential of a column, the thickness of its layers, and the pressure that it would have at sea level.

Columns are tensors [..., level, *grid] of three last dimensions, levels from the top down (pressure grows along them); what belongs to the
surface is [..., *grid].
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from credit_ray.physics.constants import DRY_AIR_GAS_CONSTANT, GRAVITY

LAPSE_RATE = 0.0065
"""Of the standard atmosphere, K m⁻¹."""


def geopotential(virtual_temperature: Tensor, interfaces: Tensor, surface_geopotential: Tensor) -> Tensor:
    """Geopotential at full levels from the mean temperature of each layer.

    Φ rises by R_d T_v ln(p_below/p_above) across a layer. A full level lies α R_d T_v above its lower interface, with
    α = 1 − p_above/(p_below − p_above) · ln(p_below/p_above), and ln 2 where p_above is zero, which conserves energy and angular momentum:
    Simmons and Burridge (1981), section 3; IFS Documentation CY48R1, Part III, section 2.2.

    Parameters
    ----------
    virtual_temperature : Tensor [..., level, *grid]
        Of the layers, K.
    interfaces : Tensor [..., level + 1, *grid]
        Pressure between the layers, from the top of the atmosphere, which may be zero, down to the surface, Pa.
    surface_geopotential : Tensor [..., *grid]
        m² s⁻².

    Returns
    -------
    Tensor [..., level, *grid]
        m² s⁻².
    """
    above, below = interfaces[..., :-1, :, :], interfaces[..., 1:, :, :]
    vacuum = above <= 0
    logarithm = torch.log(below / torch.where(vacuum, below, above))
    centre = torch.where(vacuum, math.log(2), 1 - above / (below - above) * logarithm)
    rise = DRY_AIR_GAS_CONSTANT * virtual_temperature * logarithm
    beneath = _sum_from_below(rise) - rise  # of the layers under each one
    return surface_geopotential.unsqueeze(-3) + beneath + centre * DRY_AIR_GAS_CONSTANT * virtual_temperature


def thickness(virtual_temperature: Tensor, pressure: Tensor) -> Tensor:
    """Geopotential from each full level up to the one above it: trapezoids in ln p.

    R_d ½(T_v,k + T_v,k+1) ln(p_k+1/p_k): the hypsometric equation (Wallace and Hobbs 2006, equation 3.29) with the mean of two levels.

    Parameters
    ----------
    virtual_temperature, pressure : Tensor [..., level, *grid]
        At full levels, K and Pa.

    Returns
    -------
    Tensor [..., level − 1, *grid]
        m² s⁻².
    """
    mean = (virtual_temperature[..., 1:, :, :] + virtual_temperature[..., :-1, :, :]) / 2
    return DRY_AIR_GAS_CONSTANT * mean * torch.log(pressure[..., 1:, :, :] / pressure[..., :-1, :, :])


def geopotential_from_levels(
    virtual_temperature: Tensor, pressure: Tensor, surface_pressure: Tensor, surface_geopotential: Tensor
) -> Tensor:
    """Geopotential at full levels where only these are known: levels of a model of which some were left out, or pressure levels.

    The sum of `thickness` from the lowest level up; below that level the virtual temperature is taken for constant.

    Parameters
    ----------
    virtual_temperature, pressure : Tensor [..., level, *grid]
        K and Pa.
    surface_pressure, surface_geopotential : Tensor [..., *grid]
        Pa and m² s⁻².
    """
    lowest = pressure[..., -1:, :, :]
    first = (
        DRY_AIR_GAS_CONSTANT * virtual_temperature[..., -1:, :, :] * torch.log(surface_pressure.unsqueeze(-3) / lowest)
    )
    layers = torch.cat([thickness(virtual_temperature, pressure), first], -3)
    return surface_geopotential.unsqueeze(-3) + _sum_from_below(layers)


def surface_temperature(temperature: Tensor, pressure: Tensor, surface_pressure: Tensor) -> Tensor:
    """T* of the air at the ground, from that at the lowest level down the standard lapse rate; all [..., *grid], K and Pa.

    T_L (1 + γ R_d/g (p_s/p_L − 1)): Trenberth, Berry and Buja (1993), NCAR/TN-396.
    """
    return temperature * (1 + LAPSE_RATE * DRY_AIR_GAS_CONSTANT / GRAVITY * (surface_pressure / pressure - 1))


@dataclass(frozen=True)
class Underground:
    """The air that would be where the ground is: its temperature at the surface, and how it warms downwards.

    Parameters
    ----------
    temperature : Tensor [..., *grid]
        K, moderated where the ground is very hot or cold.
    exponent : Tensor [..., *grid]
        α = R_d γ/g, with T ∝ p^α.
    """

    temperature: Tensor
    exponent: Tensor

    @classmethod
    def below(cls, surface_temperature: Tensor, surface_geopotential: Tensor) -> Underground:
        """Trenberth, Berry and Buja (1993), after ECMWF: the lapse rate gives way where sea level would be over 290.5 K.

        Parameters
        ----------
        surface_temperature, surface_geopotential : Tensor [..., *grid]
            K and m² s⁻².
        """
        warm = 290.5
        at_sea_level = surface_temperature + LAPSE_RATE / GRAVITY * surface_geopotential
        reaches = (surface_temperature <= warm) & (at_sea_level > warm)
        exceeds = (surface_temperature > warm) & (at_sea_level > warm)
        height = torch.where(reaches, surface_geopotential, 1.0)  # positive wherever sea level is the warmer one
        exponent = torch.where(
            reaches,
            DRY_AIR_GAS_CONSTANT * (warm - surface_temperature) / height,
            LAPSE_RATE * DRY_AIR_GAS_CONSTANT / GRAVITY,
        )
        temperature = torch.where(exceeds, (warm + surface_temperature) / 2, surface_temperature)
        temperature = torch.where(surface_temperature < 255, (255 + surface_temperature) / 2, temperature)
        return cls(temperature, torch.where(exceeds, 0.0, exponent))


def mean_sea_level_pressure(
    temperature: Tensor, pressure: Tensor, surface_pressure: Tensor, surface_geopotential: Tensor
) -> Tensor:
    """Surface pressure reduced to sea level.

    p_s exp[x (1 − αx/2 + (αx)²/3)] with x = Φ_s/(R_d T*): Trenberth, Berry and Buja (1993).

    Parameters
    ----------
    temperature, pressure : Tensor [..., *grid]
        At the lowest level, K and Pa.
    surface_pressure, surface_geopotential : Tensor [..., *grid]
        Pa and m² s⁻².

    Returns
    -------
    Tensor [..., *grid]
        Pa.
    """
    below = Underground.below(surface_temperature(temperature, pressure, surface_pressure), surface_geopotential)
    depth = surface_geopotential / (DRY_AIR_GAS_CONSTANT * below.temperature)
    warming = below.exponent * depth
    return surface_pressure * torch.exp(depth * (1 - warming / 2 + warming.square() / 3))


def _sum_from_below(layers: Tensor) -> Tensor:
    """Sums over each layer and all under it: [..., level, *grid]."""
    return layers.flip(-3).cumsum(-3).flip(-3)
