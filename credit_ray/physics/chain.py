"""All constraints of a model: applied in order, their budgets closed together, with one sum over devices.

Ranges, and constraints from elsewhere, act first and one after the other, as the config has them. Then all budgets are solved at once.
One correction undoes another only through mass: scaling surface pressure or humidity changes what the columns hold of water, tracers
and energy. Since all of these are affine in that scale, the chain takes both coefficients of each, solves for the mass of dry air first, and
for the others with it. The result does not depend on the order in which budgets are declared.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import permutations
from typing import Any

import torch
from torch import Tensor

from credit_ray.config.model import ConstraintSchedule
from credit_ray.config.section import validated_arguments
from credit_ray.errors import ConfigError, ConstraintError
from credit_ray.physics.closure import Closure, Solution
from credit_ray.physics.constraints import Alone, Budget, Constraint, Reduce
from credit_ray.physics.current import Current, Held
from credit_ray.physics.ranges import Range
from credit_ray.registry import constraints as constraint_registry
from credit_ray.state import Carry, Fields, State, StateSpec
from credit_ray.times import Times, format_time

log = logging.getLogger(__name__)


class Chain:
    """Constraints in their declared order.

    Parameters
    ----------
    constraints : sequence of Constraint
        Built for `spec`.
    spec : StateSpec
        What the model has.
    schedules : sequence of ConstraintSchedule, optional
        When training applies each.

    Attributes
    ----------
    reduce : Reduce
        How sums go over devices that share a trajectory's grid; one device has all of it by default.
    """

    def __init__(
        self, constraints: Sequence[Constraint], spec: StateSpec, schedules: Sequence[ConstraintSchedule] | None = None
    ) -> None:
        self.constraints, self.spec = list(constraints), spec
        self.schedules = list(schedules) if schedules is not None else [ConstraintSchedule()] * len(self.constraints)
        self.reduce: Reduce = Alone()
        self._areas = Held(spec.grid.cell_areas())
        self._warned: set[str] = set()
        _refuse_conflicts(self.constraints)
        _name_apart(self.constraints)

    def kinds(self) -> dict[str, str]:
        """Name of each constraint → the units of its corrections' size."""
        return {constraint.name: constraint.norm_units for constraint in self.constraints}

    def applied(self, training_step: int | None) -> list[str]:
        """Names of the constraints that are applied at that step of the optimiser; None: outside training."""
        return [c.name for c, s in zip(self.constraints, self.schedules, strict=True) if s.applies(training_step)]

    def start(self, state: State) -> tuple[Carry, ...]:
        """What each constraint carries from the initial time on."""
        totals = self._totals(Fields(state.fields[:, -1], self.spec.prognostic))
        return tuple(totals[id(c)] if isinstance(c, Closure) else c.start(state) for c in self.constraints)

    def change(
        self,
        before: Fields,
        after: Fields,
        forcing: Fields,
        carries: Sequence[Carry],
        training_step: int | None = None,
    ) -> tuple[dict[str, Tensor], tuple[Budget, ...], tuple[Carry, ...]]:
        """What the constraints change after one step.

        Parameters
        ----------
        before, after, forcing : Fields
            As of a Constraint.
        carries : sequence of mapping
            One for each constraint.
        training_step : int, optional
            The optimiser's step, while training; constraints that are off until later are left out.

        Returns
        -------
        fields : dict of str to Tensor
            Changed channels, [trajectory, *grid].
        budgets : tuple of Budget
            Of the constraints that were applied, in their order.
        carries : tuple of mapping
            One for each constraint.
        """
        active = [c for c, s in zip(self.constraints, self.schedules, strict=True) if s.applies(training_step)]
        carry = {id(c): given for c, given in zip(self.constraints, carries, strict=True)}
        budgets: dict[int, Budget] = {}
        current = Current(after, forcing, self._areas, self.reduce)
        ranges: list[Range] = []
        sums: list[list[Tensor]] = []
        for constraint in active:
            if isinstance(constraint, Range):
                fields, own = constraint.cut(current)
                ranges.append(constraint)
                sums.append(own)
                current.update(fields)
            elif not isinstance(constraint, Closure):
                change = constraint(before, current.fields(), forcing, carry[id(constraint)])
                current.update(change.fields)
                budgets[id(constraint)], carry[id(constraint)] = change.budget, change.carry
        closures = self._closures(active)
        reduced = self._reduced([*sums, *(closure.sums(current) for closure in closures)])
        for range_, own in zip(ranges, reduced[: len(ranges)], strict=True):
            budgets[id(range_)] = range_.budget(own)
        solutions, mass = self._solved(closures, reduced[len(ranges) :], carry, after.data)
        corrected: dict[str, Tensor] = {}
        for closure, solution in zip(closures, solutions, strict=True):
            current.step = carry[id(closure)]["step"]
            budgets[id(closure)], carry[id(closure)] = solution.budget, {**solution.carry, "step": current.step + 1}
            if solution.correction:
                corrected |= closure.correct(current, solution.correction, mass)
        current.update(corrected)
        return current.changed, tuple(budgets[id(c)] for c in active), tuple(carry[id(c)] for c in self.constraints)

    def watch(self, budgets: Sequence[Budget], valid_time: Times) -> None:
        """Look for corrections over their limits.

        Raises
        ------
        ConstraintError
            Over `fail_above`, naming constraint, trajectory, valid time and size.
        """
        limits = {c.name: c.limits for c in self.constraints if isinstance(c, Closure)}
        for budget in budgets:
            allowed = limits.get(budget.name)
            if allowed is None or allowed.warn_above is allowed.fail_above is None:
                continue
            size, trajectory = budget.size.detach().max(0)
            where = f"The correction of '{budget.name}' at {format_time(valid_time[int(trajectory)], self.spec.calendar)} (trajectory {int(trajectory)})"
            said = f"{where} is {float(size):.3g}{' K' if budget.norm_units == 'K' else ''}"
            if allowed.fail_above is not None and not float(size) <= allowed.fail_above:
                raise ConstraintError(
                    f"{said}, over its 'fail_above' of {allowed.fail_above:g}: the model no longer obeys physics here. Shorten the rollout, or train longer."
                )
            if allowed.warn_above is not None and float(size) > allowed.warn_above:
                if budget.name not in self._warned:
                    log.warning(
                        "%s, over its 'warn_above' of %g; said once until it is below again", said, allowed.warn_above
                    )
                self._warned.add(budget.name)
            else:
                self._warned.discard(budget.name)

    def examine(self, after: Fields, forcing: Fields) -> list[str]:
        """What is implausible about the fluxes and levels of real data, with which the model's output is to be compared.

        On a whole globe only.
        """
        if not (self.spec.grid.periodic and self.spec.grid.reaches_poles):
            return []
        current = Current(after, forcing, self._areas, self.reduce)
        said = (c for each in self._closures(self.constraints) for c in each.complaints(current, each.sums(current)))
        return list(dict.fromkeys(said))

    def _totals(self, initial: Fields) -> dict[int, Carry]:
        """What the budgets carry from an initial state, by their identity."""
        current, closures = Current(initial, None, self._areas, self.reduce), self._closures(self.constraints)
        sums = self._reduced([closure.storage(current) for closure in closures])
        return {
            id(closure): {**closure.begin(own), "step": current.step}
            for closure, own in zip(closures, sums, strict=True)
        }

    def _closures(self, constraints: Sequence[Constraint]) -> list[Closure]:
        """Budgets, the one that adjusts mass first; all of them told of it."""
        found = [c for c in constraints if isinstance(c, Closure)]
        found.sort(key=lambda closure: closure.plan.scales == "nothing")
        for closure in found:
            closure.follow(found[0].plan)
        return found

    def _reduced(self, sums: Sequence[Sequence[Tensor]]) -> list[list[Tensor]]:
        """All of them over all devices, in one message."""
        flat = [each for own in sums for each in own]
        if not flat:
            return [[] for _ in sums]
        total = iter(self.reduce.sum(torch.stack(flat)).unbind(0))
        return [[next(total) for _ in own] for own in sums]

    def _solved(
        self, closures: Sequence[Closure], sums: Sequence[Sequence[Tensor]], carry: Mapping[int, Carry], like: Tensor
    ) -> tuple[list[Solution], Tensor]:
        mass = torch.ones(len(like), dtype=torch.float64, device=like.device)
        solutions = []
        for closure, own in zip(closures, sums, strict=True):
            solutions.append(closure.solve(own, carry[id(closure)], mass))
            mass = mass if solutions[-1].mass is None else solutions[-1].mass
        return solutions, mass


def build_chain(recipes: Sequence[Mapping[str, Any]], spec: StateSpec, statics: Tensor) -> Chain:
    """The constraints of a recipe.

    Parameters
    ----------
    recipes : sequence of mapping
        `{"kind": name, "training": {…}, …arguments…}`.
    statics : Tensor
        [static, *grid], physical units.

    Raises
    ------
    ConfigError
        Where the spec lacks what one of them needs.
    """
    built: list[Constraint] = []
    for recipe in recipes:
        kind = recipe["kind"]
        given = {key: value for key, value in recipe.items() if key not in ("kind", "training")}
        constraint = constraint_registry.target(kind)(validated_arguments(constraint_registry, kind, given), spec)
        if isinstance(constraint, Closure):
            constraint.place(statics)
        built.append(constraint)
    return Chain(built, spec, [ConstraintSchedule(**recipe.get("training", {})) for recipe in recipes])


def _name_apart(constraints: Sequence[Constraint]) -> None:
    """So that each has numbers of its own in logs and stores: `bounds`, `bounds_2`."""
    counts: Counter[str] = Counter()
    for constraint in constraints:
        name = getattr(constraint, "name", type(constraint).__name__)  # one of somebody's own may have none
        constraint.norm_units = getattr(constraint, "norm_units", "1")
        counts[name] += 1
        constraint.name = name if counts[name] == 1 else f"{name}_{counts[name]}"


def _refuse_conflicts(constraints: Sequence[Constraint]) -> None:
    """What would undo a budget once it is closed."""
    closures = [c for c in constraints if isinstance(c, Closure)]
    for one, other in permutations(closures, 2):
        common = one.changes & other.changes
        if common:
            raise ConfigError(
                f"constraints: '{one.name}' and '{other.name}' both correct {', '.join(sorted(common)[:3])}."
            )
        undone = set() if one.plan.scales != "nothing" else one.changes & other.reads
        if undone:
            raise ConfigError(
                f"constraints: '{one.name}' corrects {', '.join(sorted(undone)[:3])}, which the budget of '{other.name}' counts: they can't both close."
            )
    for place, constraint in enumerate(constraints):
        if isinstance(constraint, Closure):
            continue
        changes = getattr(constraint, "changes", None)
        for earlier in constraints[:place]:
            if isinstance(earlier, Closure) and (changes is None or changes & (earlier.reads | earlier.changes)):
                name = getattr(constraint, "name", type(constraint).__name__)
                raise ConfigError(
                    f"constraints: '{name}' would undo the budget of '{earlier.name}': put it before, so that the budget closes last."
                )
