"""The seam of what a step must obey: small callables, applied after each step, that return only what they changed and what they found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from credit_ray.state import Carry, Fields, State

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Budget:
    """What a constraint found and did in one step, by trajectory; all numbers [trajectory], float64.

    Parameters
    ----------
    name : str
        Of the quantity.
    before, after : Tensor
        How much there was, and how much there is with the correction. For a conserved quantity `before` is what there must be; for a
        range it is what the step had given.
    units : str
        Of both, and of `flux`.
    flux : Tensor, optional
        What came in through the boundaries during the step, less what left; 0 by default.
    norm : Tensor, optional
        Size of the correction, in `norm_units`; by default |after − before| / |before|.
    norm_units : str
        "1" for a relative size, "K" for a mean warming.
    gross : Tensor, optional
        Sum of the terms' magnitudes: what a residual is small or large against; |before| by default.
    """

    name: str
    before: Tensor
    after: Tensor
    units: str
    flux: Tensor | None = None
    norm: Tensor | None = None
    norm_units: str = "1"
    gross: Tensor | None = None

    @property
    def residual(self) -> Tensor:
        """What stays unexplained: after − before − flux. Zero to round-off, unless the correction was limited or left out."""
        change = self.after - self.before
        return change if self.flux is None else change - self.flux

    @property
    def relative_residual(self) -> Tensor:
        """|residual| in units of the terms' magnitudes."""
        gross = self.before.abs() if self.gross is None else self.gross
        return self.residual.abs() / gross.clamp(min=_TINY)

    @property
    def size(self) -> Tensor:
        """Size of the correction, in `norm_units`."""
        return (self.after - self.before).abs() / self.before.abs().clamp(min=_TINY) if self.norm is None else self.norm


_TINY = 1e-300  # instead of 0/0 where there is nothing at all


@dataclass(frozen=True)
class Change:
    """What a constraint gives back: the fields that it changed, what it carries on, and its budget."""

    fields: Mapping[str, Tensor]
    budget: Budget
    carry: Carry = field(default_factory=dict)


class Constraint(Protocol):
    """The seam: built as `Constraint(arguments, spec)`; raises ConfigError where the spec lacks what it needs.

    Attributes
    ----------
    name : str
        Of its budgets; a chain that has several of one kind numbers them.
    norm_units : str
        Of the size of its corrections.
    """

    name: str
    norm_units: str = "1"

    def start(self, state: State) -> Carry:
        """What it carries from the initial state."""
        ...

    def __call__(self, before: Fields, after: Fields, forcing: Fields, carry: Carry) -> Change:
        """`before` and `after` hold the prognostic, and prognostic and diagnostic, channels in physical units."""
        ...


class Reduce(Protocol):
    """How sums go over a device mesh; only training's parallelism knows meshes."""

    def part(self, values: Tensor) -> Tensor:
        """This device's part of a global field [..., lat, lon]."""
        ...

    def sum(self, values: Tensor) -> Tensor:
        """Sum over the devices that share a trajectory's grid; gradients are summed likewise."""
        ...


class Alone:
    """One device has the whole grid."""

    def part(self, values: Tensor) -> Tensor:
        return values

    def sum(self, values: Tensor) -> Tensor:
        return values
