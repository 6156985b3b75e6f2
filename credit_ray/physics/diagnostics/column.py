"""Sums over a column: how much water the air holds, and how much it carries.

`mass` is that of the air that each level stands for, [..., level, *grid] in kg m⁻²: Δp/g of layers, or the weights of a trapezoid over g.
"""

from __future__ import annotations

from torch import Tensor

from credit_ray.physics.diagnostics.wind import wind_speed


def precipitable_water(specific_humidity: Tensor, mass: Tensor) -> Tensor:
    """Mass of water vapour over each square metre: ∫ q dp/g, kg m⁻². Peixoto and Oort (1992), chapter 12.

    Parameters
    ----------
    specific_humidity, mass : Tensor [..., level, *grid]
        kg kg⁻¹ and kg m⁻².

    Returns
    -------
    Tensor [..., *grid]
    """
    return (specific_humidity * mass).sum(-3)


def vapour_transport(u: Tensor, v: Tensor, specific_humidity: Tensor, mass: Tensor) -> tuple[Tensor, Tensor]:
    """Eastward and northward transport of water vapour: ∫ q (u, v) dp/g, kg m⁻¹ s⁻¹. Peixoto and Oort (1992), chapter 12.

    Parameters
    ----------
    u, v, specific_humidity, mass : Tensor [..., level, *grid]
        m s⁻¹, kg kg⁻¹ and kg m⁻².

    Returns
    -------
    eastward, northward : Tensor [..., *grid]
    """
    vapour = specific_humidity * mass
    return (u * vapour).sum(-3), (v * vapour).sum(-3)


def integrated_vapour_transport(u: Tensor, v: Tensor, specific_humidity: Tensor, mass: Tensor) -> Tensor:
    """The size of `vapour_transport`, by which atmospheric rivers are found: Lavers and others (2012)."""
    return wind_speed(*vapour_transport(u, v, specific_humidity, mass))
