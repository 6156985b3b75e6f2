"""What filters share: means over the sphere, what they need of a model, and what they report."""

from __future__ import annotations

import torch
from torch import Tensor

from credit_ray.errors import ConfigError, DataError
from credit_ray.grid.latlon import LatLonGrid
from credit_ray.grid.legendre import quadrature
from credit_ray.physics.constraints import Budget
from credit_ray.physics.filters.selection import Selection, stack, wind
from credit_ray.state import Fields, StateSpec


def step_seconds(spec: StateSpec, kind: str) -> int:
    """The length of a step.

    Raises
    ------
    ConfigError
        Where steps are months: a filter acts at a rate.
    """
    if not spec.step.fixed:
        raise ConfigError(f"constraints: '{kind}' acts at a rate, and a step of {spec.step} has no fixed length.")
    return spec.step.seconds


def refuse_without_harmonics(grid: LatLonGrid, kind: str) -> None:
    """ConfigError for a grid on which there are no spherical harmonics."""
    try:
        quadrature(grid)
    except DataError as error:
        raise ConfigError(f"constraints: '{kind}': {error}") from None


def sphere_mean(field: Tensor, weights: Tensor) -> Tensor:
    """[..., *grid] → [..., 1, 1], float64."""
    return (field.double() * weights.to(field.device)).mean((-2, -1), keepdim=True)


def filter_budget(name: str, before: Fields, after: Fields, selection: Selection, weights: Tensor) -> Budget:
    """Before and after a filter, [trajectory]: the mean kinetic energy of its winds; without any, the mean of its first variable."""
    means = []
    with torch.no_grad():
        for fields in (before, after):
            if selection.winds:
                u, v = wind(fields, selection.winds)
                means.append(sphere_mean((u.double().square() + v.double().square()) / 2, weights).mean((1, 2, 3)))
            else:
                means.append(sphere_mean(stack(fields, selection.scalars[:1]), weights).flatten())
    first = before.channels[before.channels.index((selection.scalars or ("",))[0])] if not selection.winds else None
    return Budget(name, means[0], means[1], first.units if first else "m2 s-2")
