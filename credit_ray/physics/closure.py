"""What budgets have in common: sums over the sphere, a scalar per trajectory that closes them, a field that it corrects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from credit_ray.physics.arguments import Limits
from credit_ray.physics.columns import Column, MassPlan
from credit_ray.physics.constraints import Budget, Change, Constraint
from credit_ray.physics.current import Current
from credit_ray.state import Carry, Fields, State, StateSpec

if TYPE_CHECKING:
    from credit_ray.physics.chain import Chain


@dataclass(frozen=True)
class Solution:
    """How a budget closes.

    Parameters
    ----------
    budget : Budget
        With the correction.
    carry : mapping
        For the next step.
    correction : tuple of Tensor
        [trajectory] each: what the constraint needs to correct its fields; empty where it only measures.
    mass : Tensor, optional
        [trajectory], by which the mass adjustment scales; of the dry-air constraint.
    """

    budget: Budget
    carry: Carry
    correction: tuple[Tensor, ...] = ()
    mass: Tensor | None = field(default=None)


class Closure(Constraint):
    """Base of the constraints that close a budget.

    A chain takes the sums of all its closures at once, and sums them over devices in one message; then each solves for its own scalar,
    dry air first, since its scalar enters the sums of the others. Called by itself, a closure is a chain of one.

    Parameters
    ----------
    kind : str
        Its registered name.
    limits : Limits
        How large its correction may be.
    spec : StateSpec
        What the model has.
    """

    plan = MassPlan()
    """What it scales, if it adjusts mass."""

    def __init__(self, kind: str, limits: Limits, spec: StateSpec) -> None:
        self.name, self.limits, self.spec = kind, limits, spec
        self.columns: list[Column] = []

    @property
    def changes(self) -> frozenset[str]:
        """Channels that it may change."""
        raise NotImplementedError

    @property
    def reads(self) -> frozenset[str]:
        """Channels that its sums are of."""
        raise NotImplementedError

    def place(self, statics: Tensor) -> None:
        """Take what it needs of the statics [static, *grid]."""

    def follow(self, plan: MassPlan) -> None:
        """Know what the chain's dry-air constraint scales."""
        for column in self.columns:
            column.plan = plan

    def storage(self, current: Current) -> list[Tensor]:
        """This device's part of the sums over the state, [trajectory] each."""
        raise NotImplementedError

    def sums(self, current: Current) -> list[Tensor]:
        """This device's part of all sums of a step; begins with `storage`."""
        return self.storage(current)

    def begin(self, storage: Sequence[Tensor]) -> Carry:
        """What it carries from the initial state's sums."""
        return {"total": storage[0] + storage[1]}

    def solve(self, sums: Sequence[Tensor], carry: Carry, mass: Tensor) -> Solution:
        """The correction, from sums over the whole sphere, a carry, and the adjustment of mass [trajectory]."""
        raise NotImplementedError

    def correct(self, current: Current, correction: Sequence[Tensor], mass: Tensor) -> dict[str, Tensor]:
        """The corrected channels, [trajectory, *grid], in the fields' precision."""
        raise NotImplementedError

    def complaints(self, current: Current, sums: Sequence[Tensor]) -> list[str]:
        """What is implausible about real data, of which these are the sums."""
        return []

    def start(self, state: State) -> Carry:
        return self._alone().start(state)[0]

    def __call__(self, before: Fields, after: Fields, forcing: Fields, carry: Carry) -> Change:
        fields, budgets, carries = self._alone().change(before, after, forcing, (carry,))
        return Change(fields, budgets[0], carries[0])

    def limited(self, size: Tensor) -> Tensor:
        """A signed size within the limit."""
        return size if self.limits.limit is None else size.clamp(-self.limits.limit, self.limits.limit)

    def _alone(self) -> Chain:
        from credit_ray.physics.chain import Chain

        return Chain([self], self.spec)


def divided(numerator: Tensor, denominator: Tensor) -> Tensor:
    """The quotient, or 0 where there is nothing to divide by; gradients stay finite."""
    there = denominator != 0
    return torch.where(there, numerator / torch.where(there, denominator, 1.0), 0.0)


def magnitudes(terms: Sequence[Tensor]) -> Tensor:
    """Sum of the terms' magnitudes."""
    return torch.stack([term.detach().abs() for term in terms]).sum(0)
