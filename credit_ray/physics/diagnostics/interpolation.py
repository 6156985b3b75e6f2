"""From a model's levels to pressure levels and to heights, and beneath the ground where these go.

Columns are [..., level, *grid], levels from the top down; targets are [target], or [..., target, *grid] where each column has its own.
Above the highest level there is nothing to go by: values there are NaN. Below the lowest one a field keeps its value, but for temperature
and geopotential, which are continued to the ground and under it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from credit_ray.physics.constants import DRY_AIR_GAS_CONSTANT, GRAVITY
from credit_ray.physics.diagnostics.hydrostatic import LAPSE_RATE, Underground, surface_temperature


def to_pressure_levels(field: Tensor, pressure: Tensor, targets: Tensor) -> Tensor:
    """Linear in ln p between levels; constant below the lowest one: for winds and humidity.

    Trenberth, Berry and Buja (1993), NCAR/TN-396.

    Parameters
    ----------
    field, pressure : Tensor [..., level, *grid]
        Any units, and Pa.
    targets : Tensor [target] or [..., target, *grid]
        Pa.

    Returns
    -------
    Tensor [..., target, *grid]
    """
    return _interpolate(field, pressure.log(), _of_columns(targets, pressure).log())


def temperature_on_pressure_levels(
    temperature: Tensor, pressure: Tensor, surface_pressure: Tensor, surface_geopotential: Tensor, targets: Tensor
) -> Tensor:
    """Temperature, continued below ground: T* (1 + a + a²/2 + a³/6), a = α ln(p/p_s).

    α is that of the standard lapse rate where the ground is below 2000 m; above 2500 m the air would reach at most 298 K at sea level, and
    between them the two are blended: Trenberth, Berry and Buja (1993), equation 16.

    Parameters
    ----------
    temperature, pressure : Tensor [..., level, *grid]
        K and Pa.
    surface_pressure, surface_geopotential : Tensor [..., *grid]
        Pa and m² s⁻².
    targets : Tensor [target] or [..., target, *grid]
        Pa.
    """
    ground = surface_temperature(temperature[..., -1, :, :], pressure[..., -1, :, :], surface_pressure)
    targets = _of_columns(targets, pressure)
    within = _interpolate(_and_below(temperature, ground), _and_below(pressure, surface_pressure).log(), targets.log())
    standard = LAPSE_RATE * DRY_AIR_GAS_CONSTANT / GRAVITY
    height = surface_geopotential / GRAVITY
    at_sea_level = ground + LAPSE_RATE * height
    capped = at_sea_level.clamp(max=298.0)
    high = ((height - 2000) / 500).clamp(0, 1)
    blended = torch.lerp(at_sea_level, capped, high)
    exponent = DRY_AIR_GAS_CONSTANT * (blended - ground).clamp(min=0) / surface_geopotential.clamp(min=1.0)
    exponent = torch.where(height < 2000, standard, exponent)
    a = exponent.unsqueeze(-3) * (targets / surface_pressure.unsqueeze(-3)).log()
    beneath = ground.unsqueeze(-3) * (1 + a + a.square() / 2 + a**3 / 6)
    return torch.where(targets > surface_pressure.unsqueeze(-3), beneath, within)


def geopotential_on_pressure_levels(
    geopotential: Tensor,
    temperature: Tensor,
    pressure: Tensor,
    surface_pressure: Tensor,
    surface_geopotential: Tensor,
    targets: Tensor,
) -> Tensor:
    """Geopotential, continued below ground: Φ_s − R_d T* y (1 + αy/2 + (αy)²/6), y = ln(p/p_s).

    T* and α as for the pressure at sea level: Trenberth, Berry and Buja (1993), equation 15.

    Parameters
    ----------
    geopotential, pressure : Tensor [..., level, *grid]
        m² s⁻² and Pa.
    temperature : Tensor [..., level, *grid]
        K; only its lowest level is used.
    surface_pressure, surface_geopotential : Tensor [..., *grid]
        Pa and m² s⁻².
    targets : Tensor [target] or [..., target, *grid]
        Pa.
    """
    targets = _of_columns(targets, pressure)
    column = _and_below(geopotential, surface_geopotential)
    within = _interpolate(column, _and_below(pressure, surface_pressure).log(), targets.log())
    ground = surface_temperature(temperature[..., -1, :, :], pressure[..., -1, :, :], surface_pressure)
    below = Underground.below(ground, surface_geopotential)
    depth = (targets / surface_pressure.unsqueeze(-3)).log()
    warming = below.exponent.unsqueeze(-3) * depth
    drop = DRY_AIR_GAS_CONSTANT * below.temperature.unsqueeze(-3) * depth * (1 + warming / 2 + warming.square() / 6)
    beneath = surface_geopotential.unsqueeze(-3) - drop
    return torch.where(targets > surface_pressure.unsqueeze(-3), beneath, within)


def to_heights(field: Tensor, height: Tensor, targets: Tensor, *, lapse: float = 0.0) -> Tensor:
    """Linear in height between levels; below the lowest one the field grows downwards by `lapse` per metre.

    Parameters
    ----------
    field, height : Tensor [..., level, *grid]
        Any units, and m: above sea level or above the ground, as the targets are.
    targets : Tensor [target] or [..., target, *grid]
        m.
    lapse : float
        Per metre. 0 for winds and humidity, `LAPSE_RATE` for temperature.

    Returns
    -------
    Tensor [..., target, *grid]
    """
    targets = _of_columns(targets, height)
    return _interpolate(field, -height, -targets) + lapse * (height[..., -1:, :, :] - targets).clamp(min=0)


def _of_columns(targets: Tensor, column: Tensor) -> Tensor:
    """[target] → [target, 1, 1], in the column's precision and place."""
    targets = targets.to(column)
    return targets[:, None, None] if targets.ndim == 1 else targets


def _and_below(column: Tensor, ground: Tensor) -> Tensor:
    """The column with one more level, at the ground."""
    ground = ground.unsqueeze(-3)
    lead, place = torch.broadcast_shapes(column.shape[:-3], ground.shape[:-3]), column.shape[-2:]
    return torch.cat([column.expand(*lead, -1, *place), ground.expand(*lead, 1, *place)], -3)


def _interpolate(field: Tensor, coordinate: Tensor, targets: Tensor) -> Tensor:
    """Linear in a coordinate that grows along the levels; constant after the last, NaN before the first."""
    coordinate = coordinate.expand_as(field).movedim(-3, -1).contiguous()  # [..., *grid, level]
    wanted = targets.expand(*field.shape[:-3], targets.shape[-3], *field.shape[-2:]).movedim(-3, -1).contiguous()
    field = field.movedim(-3, -1)
    levels = field.shape[-1]
    lower = torch.searchsorted(coordinate.detach(), wanted.detach()).clamp(1, levels - 1)
    before, after = coordinate.gather(-1, lower - 1), coordinate.gather(-1, lower)
    share = ((wanted - before) / (after - before)).clamp(max=1)
    value = torch.lerp(field.gather(-1, lower - 1), field.gather(-1, lower), share.to(field.dtype))
    return torch.where(wanted < coordinate[..., :1], torch.nan, value).movedim(-1, -3)
