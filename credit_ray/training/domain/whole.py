"""Losses and constraints on bands. Those that need the whole globe at once are given all bands, and keep what is theirs.

Each worker of a domain computes the same; so that the sum over workers counts it once, a loss is divided among them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from credit_ray.losses import ensemble, pointwise
from credit_ray.physics.chain import Chain
from credit_ray.physics.closure import Closure
from credit_ray.physics.constraints import Change, Constraint
from credit_ray.physics.ranges import Range
from credit_ray.state import Carry, Fields, State
from credit_ray.training.domain.bands import Bands
from credit_ray.training.domain.exchange import Ring, gathered_rows, summed

if TYPE_CHECKING:
    from credit_ray.losses.loss import Loss


class BandReduce:
    """Sums over the sphere, of which each worker has a band."""

    def __init__(self, bands: Bands, ring: Ring) -> None:
        self._rows, self._ring = bands.of(ring.index), ring

    def part(self, values: Tensor) -> Tensor:
        """This worker's rows of a field of the whole grid."""
        return values[..., self._rows, :]

    def sum(self, values: Tensor) -> Tensor:
        """Sum over the bands."""
        return summed(values, self._ring)


def share_constraints(chain: Chain, bands: Bands, ring: Ring) -> None:
    """Let a stepper's constraints work on its band: ranges and budgets sum over bands, and all others are given the whole globe."""
    chain.reduce = BandReduce(bands, ring)
    chain.constraints = [
        constraint if isinstance(constraint, Range | Closure) else WholeConstraint(constraint, bands, ring)
        for constraint in chain.constraints
    ]


class WholeConstraint:
    """A constraint on the fields of all bands, that changes those of one.

    Parameters
    ----------
    constraint : Constraint
        Of the whole grid.
    """

    def __init__(self, constraint: Constraint, bands: Bands, ring: Ring) -> None:
        self.constraint, self.bands, self.ring = constraint, bands, ring
        self.name, self.norm_units = constraint.name, constraint.norm_units

    def start(self, state: State) -> Carry:
        return self.constraint.start(replace(state, fields=self._rows(state.fields), forcing=self._rows(state.forcing)))

    def __call__(self, before: Fields, after: Fields, forcing: Fields, carry: Carry) -> Change:
        change = self.constraint(self._whole(before), self._whole(after), self._whole(forcing), carry)
        mine = self.bands.of(self.ring.index)
        return replace(change, fields={name: field[..., mine, :] for name, field in change.fields.items()})

    def _whole(self, fields: Fields) -> Fields:
        return replace(fields, data=self._rows(fields.data))

    def _rows(self, part: Tensor) -> Tensor:
        return gathered_rows(part, self.bands.rows, self.ring)


class _WholeLoss:
    """A loss that is no module, on the fields of all bands."""

    def __init__(self, call: Callable[..., Tensor], per_channel: Callable[..., Tensor]) -> None:
        self._call, self.per_channel = call, per_channel

    def __call__(self, prediction: Tensor, target: Tensor, lead: int) -> Tensor:
        return self._call(prediction, target, lead)


PLACE_BY_PLACE = (
    pointwise.MeanSquaredError,
    pointwise.MeanAbsoluteError,
    pointwise.Huber,
    pointwise.LogCosh,
    ensemble.CRPS,
)
"""Losses that are sums over places of what is found in each of them."""


def share_of_loss(loss: Loss, bands: Bands, ring: Ring) -> Loss:
    """This worker's share of a loss, given its band of the prediction and of the target.

    A sum over places is shared out with its weights; for any other loss, the bands of both are gathered.
    """
    if isinstance(loss, PLACE_BY_PLACE):
        rows = bands.of(ring.index)
        loss.places = loss.places[..., rows, :]
        loss.exists = None if loss.exists is None else loss.exists[..., rows, :]
        return loss

    def of_all_bands(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def share(prediction: Tensor, target: Tensor, lead: int) -> Tensor:
            prediction, target = (gathered_rows(x, bands.rows, ring) for x in (prediction, target))
            return function(prediction, target, lead) / ring.size

        return share

    if isinstance(loss, nn.Module):
        forward, per_channel = loss.forward, loss.per_channel
        loss.forward = of_all_bands(forward)
        loss.per_channel = of_all_bands(per_channel)  # type: ignore[method-assign]
        return loss
    whole: Any = _WholeLoss(of_all_bands(loss.__call__), of_all_bands(loss.per_channel))
    return whole
