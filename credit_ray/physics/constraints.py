"""Constraints: small callables, applied after each step in the order of the config, that return only what they changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from credit_ray.errors import ConfigError, SpecMismatchError
from credit_ray.physics.arguments import PositiveArguments
from credit_ray.state import Carry, Fields, State, StateSpec
from credit_ray.variables import canonical_name

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Budget:
    """What a constraint found and did, by trajectory.

    Parameters
    ----------
    name : str
        Of the quantity.
    before, after : Tensor
        [trajectory], its global mean before and after the correction.
    units : str
        Of both.
    """

    name: str
    before: Tensor
    after: Tensor
    units: str


@dataclass(frozen=True)
class Change:
    """What a constraint gives back: the fields that it changed, what it carries on, and its budget."""

    fields: Mapping[str, Tensor]
    budget: Budget
    carry: Carry = field(default_factory=dict)


class Constraint(Protocol):
    """The seam: built as `Constraint(arguments, spec)`; raises ConfigError where the spec lacks what it needs."""

    def start(self, state: State) -> Carry:
        """What it carries from the initial state."""
        ...

    def __call__(self, before: Fields, after: Fields, forcing: Fields, carry: Carry) -> Change:
        """`before` and `after` hold the prognostic, and prognostic and diagnostic, channels in physical units."""
        ...


class Positive:
    """No negative values where nature has none: what is below zero becomes zero.

    Global means of what was added are reported, since clipping makes mass.
    """

    def __init__(self, arguments: PositiveArguments, spec: StateSpec) -> None:
        import torch

        try:
            variables = [canonical_name(variable) for variable in arguments.variables]
            self.names = [spec.outputs[i].name for variable in variables for i in spec.outputs.of(variable)]
        except SpecMismatchError as error:
            raise ConfigError(f"constraints: 'positive' is of what the model predicts. {error}") from None
        self._weights = torch.from_numpy(spec.grid.area_weights())

    def start(self, state: State) -> Carry:
        return {}

    def __call__(self, before: Fields, after: Fields, forcing: Fields, carry: Carry) -> Change:
        fields = {name: after[name].clamp(min=0) for name in self.names}
        raw = sum((self._mean(after[name]) for name in self.names), start=self._mean(after[self.names[0]]) * 0)
        clipped = sum((self._mean(value) for value in fields.values()), start=raw * 0)
        return Change(fields, Budget("positive", raw, clipped, "sum of the variables' own units"))

    def _mean(self, field_: Tensor) -> Tensor:
        """Global mean of [trajectory, *grid] in float64; nothing where the field does not exist."""
        return (field_.detach().double().nan_to_num(nan=0.0) * self._weights.to(field_.device)).mean((-2, -1))
