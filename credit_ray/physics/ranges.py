"""Constraints on single values: what is never negative, and what has a lower or an upper end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from credit_ray.errors import ConfigError, SpecMismatchError
from credit_ray.physics.arguments import (
    BoundsArguments,
    NonNegativePrecipitationArguments,
    PositiveArguments,
    RangeArguments,
    SeaIceRangeArguments,
)
from credit_ray.physics.constraints import Budget, Change, Constraint
from credit_ray.physics.current import Current, Held
from credit_ray.physics.fluxes import PRECIPITATION
from credit_ray.state import Carry, Fields, State, StateSpec
from credit_ray.variables import canonical_name


class Range(Constraint):
    """Values outside a range become its nearest end.

    Global means of what was there before and after are reported, since cutting makes mass; the size of the correction is the cut
    amount relative to the amount that there is, averaged over the channels.

    Parameters
    ----------
    kind : str
        Its registered name.
    arguments : RangeArguments
        Variables, and whether gradients pass where a value was cut.
    spec : StateSpec
        What the model predicts.
    lower, upper : float, optional
        The ends.
    """

    def __init__(
        self,
        kind: str,
        arguments: RangeArguments,
        spec: StateSpec,
        lower: float | None = None,
        upper: float | None = None,
    ) -> None:
        self.name, self.lower, self.upper = kind, lower, upper
        self.straight_through = arguments.straight_through
        self.names = _channels(kind, arguments.variables, spec)
        self._areas = Held(spec.grid.cell_areas())
        self._area = float(spec.grid.cell_areas().sum())

    @property
    def changes(self) -> frozenset[str]:
        """Channels that it may change."""
        return frozenset(self.names)

    def start(self, state: State) -> Carry:
        return {}

    def __call__(self, before: Fields, after: Fields, forcing: Fields, carry: Carry) -> Change:
        current = Current(after, forcing, self._areas)
        fields, sums = self.cut(current)
        return Change(fields, self.budget(sums))

    def cut(self, current: Current) -> tuple[dict[str, Tensor], list[Tensor]]:
        """Fields within their range, and for each of them the integrals of the raw field, its magnitude, the change and its magnitude."""
        fields: dict[str, Tensor] = {}
        sums = []
        for name in self.names:
            raw = current[name]
            fields[name] = self._passing(raw, self._inside(name, raw, fields))
            change = (fields[name] - raw).detach()
            sums += [current.sum(x) for x in (raw.detach(), raw.detach().abs(), change, change.abs())]
        return fields, sums

    def budget(self, sums: Sequence[Tensor]) -> Budget:
        """From the integrals over the whole sphere."""
        raw, magnitude, change, cut = (
            torch.stack(list(sums[i::4])) / self._area for i in range(4)
        )  # [channel, trajectory]
        relative = cut / torch.where(magnitude > 0, magnitude, 1.0)
        total = raw.sum(0)
        return Budget(
            self.name, total, total + change.sum(0), "sum of the variables' own units", norm=relative.mean(0), gross=magnitude.sum(0)
        )  # fmt: skip

    def _inside(self, name: str, raw: Tensor, cut: dict[str, Tensor]) -> Tensor:
        """The field within its range; `cut` are those of the channels before."""
        return raw.clamp(self.lower, self.upper)

    def _passing(self, raw: Tensor, inside: Tensor) -> Tensor:
        if not self.straight_through:
            return inside
        return inside.detach() + (raw - raw.detach())  # the value of one, the gradient of the other


class Positive(Range):
    """No negative values where nature has none: what is below zero becomes zero."""

    def __init__(self, arguments: PositiveArguments, spec: StateSpec) -> None:
        super().__init__("positive", arguments, spec, lower=0.0)


class Bounds(Range):
    """Values stay between two ends."""

    def __init__(self, arguments: BoundsArguments, spec: StateSpec) -> None:
        super().__init__("bounds", arguments, spec, arguments.lower, arguments.upper)


class NonNegativePrecipitation(Range):
    """Precipitation is not negative. Before `water`, which then scales it to what the budget says."""

    def __init__(self, arguments: NonNegativePrecipitationArguments, spec: StateSpec) -> None:
        named = arguments.variables or tuple(v for v in PRECIPITATION if v in spec.outputs.variables)
        if not named:
            raise ConfigError(
                f"constraints: 'non_negative_precipitation': the model predicts neither of {', '.join(PRECIPITATION)}: name 'variables'."
            )
        super().__init__("non_negative_precipitation", replace(arguments, variables=named), spec, lower=0.0)


class SeaIceRange(Range):
    """Sea ice covers between none and all of a cell; where there is none, it has no thickness."""

    def __init__(self, arguments: SeaIceRangeArguments, spec: StateSpec) -> None:
        super().__init__("sea_ice_range", arguments, spec, lower=0.0, upper=1.0)
        self._fractions = list(self.names)
        self.names = [*self.names, *_channels(self.name, arguments.thickness, spec)]
        units = {spec.outputs[spec.outputs.index(name)].units for name in self._fractions}
        if units != {"1"}:
            raise ConfigError(
                f"constraints: 'sea_ice_range' expects a fraction in units of 1; {self._fractions[0]} is in {units.pop()}."
            )

    def _inside(self, name: str, raw: Tensor, cut: dict[str, Tensor]) -> Tensor:
        if name in self._fractions:
            return super()._inside(name, raw, cut)
        ice = torch.stack([cut[fraction] for fraction in self._fractions]).amax(0)
        return raw.clamp(min=0).where(ice != 0, raw * 0)  # NaN, where there is no sea, stays NaN


def _channels(kind: str, variables: Sequence[str], spec: StateSpec) -> list[str]:
    try:
        return [spec.outputs[i].name for variable in variables for i in spec.outputs.of(canonical_name(variable))]
    except SpecMismatchError as error:
        raise ConfigError(f"constraints: '{kind}' is of what the model predicts. {error}") from None
