"""The water budget: what the atmosphere holds changes by evaporation less precipitation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from credit_ray.errors import ConfigError, did_you_mean
from credit_ray.physics.arguments import BoundaryFluxes, WaterArguments
from credit_ray.physics.closure import Closure, Solution, divided, magnitudes
from credit_ray.physics.constraints import Budget
from credit_ray.physics.current import Current
from credit_ray.physics.fluxes import PRECIPITATION, available, flux_terms
from credit_ray.physics.mass import Moisture
from credit_ray.physics.plausible import implausible_fluxes
from credit_ray.physics.rounding import stored
from credit_ray.state import Carry, StateSpec
from credit_ray.variables import canonical_name


class Water(Closure):
    """Close the global budget of water by the precipitation, or the evaporation, of the step.

    W(t+Δt) − W(t) = E − P, with W the mass of vapour and condensate. The chosen flux is scaled by one factor per trajectory, so rain is
    never negative where there is less of it than the model gave. Where the factor is over its bound, the missing amount is added evenly
    instead: a ratio of two small numbers is no measure of anything. So it is where the factor would be negative: there the budget asks for
    less rain than none, and closes by rain that falls upwards, evenly; `limit` and `fail_above` are for those who want it open, or refused.
    """

    def __init__(self, arguments: WaterArguments, spec: StateSpec) -> None:
        super().__init__("water", arguments, spec)
        self.moisture = Moisture(self.name, arguments, spec)
        self.columns = [self.moisture.column]
        fluxes = arguments.surface if arguments.surface != BoundaryFluxes() else _default_fluxes(spec)
        self.terms = flux_terms(self.name, spec, [("surface", fluxes, -1.0)], "kg m-2")
        self._refuse_missing(fluxes)
        self.adjusted = self._adjusted(arguments.adjust)
        self.ratio = arguments.ratio
        self._area = float(spec.grid.cell_areas().sum())

    @property
    def changes(self) -> frozenset[str]:
        return frozenset() if self.adjusted is None else frozenset({self.terms[self.adjusted].channel})

    @property
    def reads(self) -> frozenset[str]:
        pressure = self.moisture.column.surface_pressure
        return self.moisture.reads | {term.channel for term in self.terms} | ({pressure} if pressure else set())

    def storage(self, current: Current) -> list[Tensor]:
        return list(self.moisture.sums(current))

    def sums(self, current: Current) -> list[Tensor]:
        return [*self.storage(current), *(term.amount(current) for term in self.terms)]

    def solve(self, sums: Sequence[Tensor], carry: Carry, mass: Tensor) -> Solution:
        total, fluxes = sums[0] + mass * sums[1], sums[2:]
        change = total - carry["total"]
        needed = change - torch.stack(list(fluxes)).sum(0)  # what has to come in besides
        gross = magnitudes([change, *fluxes])
        added = self.limited(divided(needed, gross)) * gross if self.adjusted is not None else torch.zeros_like(needed)
        budget = Budget(
            self.name, carry["total"], total, "kg", torch.stack(list(fluxes)).sum(0) + added, divided(added.abs(), gross), gross=gross
        )  # fmt: skip
        correction: tuple[Tensor, ...] = ()
        if self.adjusted is not None:
            factor = 1 + divided(added, fluxes[self.adjusted])
            scaled = (factor >= 0) & (factor <= self.ratio) & (fluxes[self.adjusted] != 0)
            shift = added / (self._area * self.terms[self.adjusted].factor)
            correction = (torch.where(scaled, factor, 1.0), torch.where(scaled, 0.0, shift))
        return Solution(budget, {"total": total}, correction)

    def correct(self, current: Current, correction: Sequence[Tensor], mass: Tensor) -> dict[str, Tensor]:
        assert self.adjusted is not None
        channel = self.terms[self.adjusted].channel
        factor, shift = (each[:, None, None] for each in correction)
        return {channel: stored(current[channel].double() * factor + shift, current.dtype, current.step)}

    def complaints(self, current: Current, sums: Sequence[Tensor]) -> list[str]:
        per_day = 86400 / self.spec.step.seconds / self._area if self.spec.step.fixed else None
        return self.moisture.complaints(current) + implausible_fluxes(
            self.name, self.terms, sums[2:], per_day, "mm/day"
        )

    def _refuse_missing(self, fluxes: BoundaryFluxes) -> None:
        if len(self.terms) < 2 or not any(_is_precipitation(v) for v in fluxes.down):
            found = ", ".join(term.channel for term in self.terms) or "neither"
            raise ConfigError(
                "constraints: 'water' needs precipitation and evaporation: tp or pr, and e or evspsbl; under other names "
                f"'surface: {{down: […], up: […]}}' says what they are. The model has: {found}."
            )

    def _adjusted(self, adjust: str) -> int | None:
        if adjust == "none":
            return None
        names = [term.channel for term in self.terms]
        if adjust == "precipitation":
            found = [name for name in names if _is_precipitation(name)]
            if len(found) > 1:
                raise ConfigError(f"constraints: 'water', adjust: precipitation is {' and '.join(found)}: say which.")
            adjust = found[0]
        if canonical_name(adjust) not in names:
            raise ConfigError(
                f"constraints: 'water', adjust: no flux '{adjust}'.{did_you_mean(adjust, [*names, 'precipitation', 'none'])}"
            )
        if canonical_name(adjust) not in self.spec.outputs:
            raise ConfigError(
                f"constraints: 'water', adjust: '{adjust}' is given to the model; only what it predicts can be corrected."
            )
        return names.index(canonical_name(adjust))


def _is_precipitation(variable: str) -> bool:
    return canonical_name(variable) in PRECIPITATION or "precip" in variable


def _default_fluxes(spec: StateSpec) -> BoundaryFluxes:
    return BoundaryFluxes(down=available((*PRECIPITATION, "e"), spec), up=available(("evspsbl",), spec))
