"""What passes the boundaries of a budget in one step: one linear functional of fields, whatever their units, signs and kinds.

Each term is a field times a factor that turns it into an amount per step and area (J m⁻², kg m⁻²), counted positive into the budget.
Net fluxes and pairs of upward and downward ones are the same sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from credit_ray.data.units import conversion
from credit_ray.errors import ConfigError, DataError, did_you_mean
from credit_ray.physics.arguments import BoundaryFluxes
from credit_ray.physics.current import Current
from credit_ray.state import Channel, StateSpec
from credit_ray.variables import canonical_name, lookup

PRECIPITATION = ("tp", "pr")
"""All of what falls."""


@dataclass(frozen=True)
class Term:
    """One flux.

    Parameters
    ----------
    channel : str
        Its name.
    factor : float
        To an amount per step and area, positive into the budget.
    """

    channel: str
    factor: float

    @property
    def sign(self) -> float:
        """+1 where the field is positive into the budget."""
        return 1.0 if self.factor > 0 else -1.0

    def amount(self, current: Current, where: Tensor | None = None) -> Tensor:
        """Over this device's part of the sphere, [trajectory]; `where` 0 leaves a cell out."""
        field = current[self.channel]
        return self.factor * current.sum(field if where is None else field.nan_to_num(nan=0.0) * where)


def flux_terms(
    kind: str, spec: StateSpec, boundaries: Sequence[tuple[str, BoundaryFluxes, float]], amount: str
) -> tuple[Term, ...]:
    """All terms of a budget.

    Parameters
    ----------
    kind : str
        The constraint, for messages.
    boundaries : sequence of (str, BoundaryFluxes, float)
        Name, fluxes, and +1 where downward through it is into the budget.
    amount : str
        Units of an amount per area: "J m-2" or "kg m-2"; a rate is in these per second.

    Raises
    ------
    ConfigError
        For a flux that the model does not have, wrong units, or a sign that contradicts the vocabulary's.
    """
    terms = []
    for name, fluxes, inward in boundaries:
        for direction, variables, sign in (("down", fluxes.down, inward), ("up", fluxes.up, -inward)):
            for variable in variables:
                channel = _channel(kind, f"{name}.{direction}", variable, spec)
                _refuse_other_direction(kind, name, direction, channel.variable)
                terms.append(Term(channel.name, sign * _per_step(kind, channel, amount, spec)))
    twice = {term.channel for term in terms if [t.channel for t in terms].count(term.channel) > 1}
    if twice:
        raise ConfigError(f"constraints: '{kind}' counts {', '.join(sorted(twice))} twice.")
    return tuple(terms)


def available(variables: Sequence[str], spec: StateSpec) -> tuple[str, ...]:
    """Those that a step gives or is given."""
    have = {*spec.outputs.variables, *spec.forcing.variables}
    return tuple(variable for variable in variables if variable in have)


def _channel(kind: str, where: str, variable: str, spec: StateSpec) -> Channel:
    name = canonical_name(variable)
    known = {channel.name: channel for channel in (*spec.outputs, *spec.forcing)}
    if name not in known:
        raise ConfigError(
            f"constraints: '{kind}', {where}: the model neither predicts '{variable}' nor is it given it.{did_you_mean(name, known)}"
        )
    channel = known[name]
    if name in spec.forcing and name not in spec.outputs and channel.at == "input":
        raise ConfigError(
            f"constraints: '{kind}', {where}: '{variable}' is a forcing 'at: input', which covers the step before. Give it 'at: target'."
        )
    return channel


def _per_step(kind: str, channel: Channel, amount: str, spec: StateSpec) -> float:
    what = f"constraints: '{kind}': {channel.name}"
    for units, seconds in ((amount, None), (f"{amount} s-1", "step")):
        try:
            scale, offset = conversion(channel.units, units, what)
        except DataError:
            continue
        if offset:
            break
        if seconds is None:
            if channel.kind == "mean":
                raise ConfigError(
                    f"{what} is a mean over the step, but in '{channel.units}', which is an amount: one of them is wrong."
                )
            return scale
        if channel.kind == "accumulated":
            raise ConfigError(
                f"{what} is accumulated over the step, but in '{channel.units}', which is a rate: one of them is wrong."
            )
        if not spec.step.fixed:
            raise ConfigError(
                f"{what} is a rate, and steps of {spec.step} differ in length: give it as an amount per step."
            )
        return scale * spec.step.seconds
    raise ConfigError(f"{what} is in '{channel.units}'; expected {amount} per step, or {amount} s-1.")


def _refuse_other_direction(kind: str, boundary: str, direction: str, variable: str) -> None:
    """The sign that a known flux has inside credit_ray is the vocabulary's; the source has converted it."""
    known = lookup(variable)
    positive = "down" if variable in PRECIPITATION else known.positive if known else ""
    if positive not in ("", direction):
        raise ConfigError(
            f"constraints: '{kind}': '{variable}' is positive {positive}ward here, whatever its store says: put it in "
            f"'{boundary}: {{{positive}: […]}}'."
        )
