"""Scale-selective damping: −K (−∇²)ʰ, exactly, by spherical harmonics."""

from __future__ import annotations

import torch
from torch import Tensor

from credit_ray.errors import ConfigError
from credit_ray.grid.harmonics import SphericalHarmonics
from credit_ray.physics.constants import DRY_AIR_HEAT_CAPACITY, WATER_VAPOUR_HEAT_CAPACITY
from credit_ray.physics.constraints import Change
from credit_ray.physics.filters.arguments import HyperdiffusionArguments
from credit_ray.physics.filters.selection import Selection, named, stack, wind
from credit_ray.physics.filters.sphere import (
    filter_budget,
    refuse_without_harmonics,
    sphere_mean,
    step_seconds,
)
from credit_ray.physics.spectral import harmonics_like
from credit_ray.state import Carry, Fields, State, StateSpec
from credit_ray.variables import canonical_name


class Hyperdiffusion:
    """Damp the small scales, and leave the mean of scalars and the rotation of the air as a whole alone.

    Degree l falls by exp(−Δt/τ (l(l+1)/L(L+1))ʰ) in a step, L being the highest degree that the grid resolves exactly: the solution of
    linear diffusion over the step, however long. What a field has beyond L falls as L does. Winds are damped through their vorticity and
    divergence with l(l+1) − 2 in place of l(l+1), so that solid-body rotation, hence the angular momentum of the air, stays.
    With `heating`, the kinetic energy that is lost warms the air at the same point: c_p T + ½(u² + v²) is as before.

    Kiehl and others (1996), "Description of the NCAR Community Climate Model (CCM3)", NCAR/TN-420, on horizontal diffusion.
    """

    name = "hyperdiffusion"

    def __init__(self, arguments: HyperdiffusionArguments, spec: StateSpec) -> None:
        self.arguments = arguments
        self.selection = Selection.of(arguments.variables, spec, self.name)
        refuse_without_harmonics(spec.grid, self.name)
        self.grid = spec.grid
        self.steps = step_seconds(spec, self.name) / arguments.timescale_seconds  # e-foldings of the smallest waves
        self.heated = _heated(arguments, self.selection, spec) if arguments.heating else ()
        self.humidity = _humidity(arguments, self.heated, spec)
        self._weights = torch.from_numpy(spec.grid.area_weights())

    @property
    def changes(self) -> frozenset[str]:
        """Channels that it may change."""
        return self.selection.channels | {*self.heated}

    def start(self, state: State) -> Carry:
        return {}

    def __call__(self, before: Fields, after: Fields, forcing: Fields, carry: Carry) -> Change:
        harmonics = harmonics_like(self.grid, after.data)
        changed: dict[str, Tensor] = {}
        if self.selection.scalars:
            damped = self._scalars(stack(after, self.selection.scalars), harmonics)
            changed |= dict(zip(self.selection.scalars, damped.unbind(1), strict=True))
        if self.selection.winds:
            u, v = wind(after, self.selection.winds)
            slow = self._winds(u, v, harmonics)
            changed |= named(self.selection.winds, *slow)
            if self.heated:
                changed |= self._heat(after | changed, _energy(u, v) - _energy(*slow))
        following = after | changed
        return Change(changed, filter_budget(self.name, after, following, self.selection, self._weights))

    def _scalars(self, fields: Tensor, harmonics: SphericalHarmonics) -> Tensor:
        keep, least = self._factors(harmonics, 0)
        # (keep − least) of what is resolved and `least` of everything; then the mean as the grid's own areas have it
        damped = least * fields + harmonics.synthesis((keep - least) * harmonics.analysis(fields))
        return damped - sphere_mean(damped.double() - fields, self._weights).to(fields.dtype)

    def _winds(self, u: Tensor, v: Tensor, harmonics: SphericalHarmonics) -> tuple[Tensor, Tensor]:
        keep, least = self._factors(harmonics, 2)
        rotation, expansion = harmonics.vorticity_divergence(u, v)
        du, dv = harmonics.wind((keep - least) * rotation, (keep - least) * expansion)
        return least * u + du, least * v + dv

    def _factors(self, harmonics: SphericalHarmonics, spared: int) -> tuple[Tensor, Tensor]:
        """What is left of each degree, [l, 1], and of the smallest scales."""
        degree = torch.arange(harmonics.lmax + 1, dtype=torch.float64)
        scale = (degree * (degree + 1) - spared).clamp(min=0)
        keep = torch.exp(-self.steps * (scale / scale[-1]) ** (self.arguments.order // 2))
        keep = keep.to(harmonics.eigenvalues)[:, None]
        return keep, keep[-1, 0]

    def _heat(self, after: Fields, lost: Tensor) -> dict[str, Tensor]:
        """Temperature with the lost energy [trajectory, pair, *grid] (m² s⁻²) in it."""
        capacity: Tensor | float = DRY_AIR_HEAT_CAPACITY
        if self.humidity:
            capacity = capacity + (WATER_VAPOUR_HEAT_CAPACITY - DRY_AIR_HEAT_CAPACITY) * stack(after, self.humidity)
        warmer = stack(after, self.heated) + lost / capacity
        return dict(zip(self.heated, warmer.unbind(1), strict=True))


def _energy(u: Tensor, v: Tensor) -> Tensor:
    return (u.square() + v.square()) / 2


def _heated(arguments: HyperdiffusionArguments, selection: Selection, spec: StateSpec) -> tuple[str, ...]:
    """The temperature channel of each wind."""
    names = _on_the_winds_levels(arguments.temperature, selection, spec)
    if not selection.winds or None in names:
        raise ConfigError(
            f"constraints: 'hyperdiffusion' with 'heating' damps a wind and warms '{arguments.temperature}' on the same levels; "
            f"the model predicts {', '.join(spec.outputs.names)}."
        )
    return tuple(name for name in names if name)


def _humidity(arguments: HyperdiffusionArguments, heated: tuple[str, ...], spec: StateSpec) -> tuple[str, ...]:
    """The humidity channel of each temperature; none, where the model has not all of them."""
    levels = [spec.outputs[spec.outputs.index(name)].level for name in heated]
    have = {
        channel.level: channel.name
        for channel in spec.outputs
        if channel.variable == canonical_name(arguments.humidity)
    }
    return tuple(have[level] for level in levels) if set(levels) <= have.keys() else ()


def _on_the_winds_levels(variable: str, selection: Selection, spec: StateSpec) -> list[str | None]:
    have = {channel.level: channel.name for channel in spec.outputs if channel.variable == canonical_name(variable)}
    return [have.get(spec.outputs[spec.outputs.index(u)].level) for u, _ in selection.winds]
