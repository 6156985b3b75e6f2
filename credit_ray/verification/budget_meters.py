"""What measures the budgets of forecasts: the constraints of physics, told to measure only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from credit_ray.config.experiment import Experiment
from credit_ray.errors import ConfigError
from credit_ray.physics.arguments import (
    DryAirMassArguments,
    EnergyArguments,
    OceanHeatArguments,
    TracerMassArguments,
    WaterArguments,
)
from credit_ray.physics.closure import Closure
from credit_ray.physics.current import Current, Held
from credit_ray.physics.energy import Energy, EnergyContent
from credit_ray.physics.mass import DryAirMass, TracerMass
from credit_ray.physics.ocean import OceanHeat
from credit_ray.physics.water import Water
from credit_ray.state import Carry, Fields, State, StateSpec
from credit_ray.variables import canonical_name

Sums = slice


class Meters:
    """Contents and fluxes of the quantities that a spec has.

    Parameters
    ----------
    spec : StateSpec
        Of the forecasts: all that they have is prognostic.
    experiment : Experiment
        Its constraints say what names of channels do not: coefficients of hybrid levels, fluxes, other names.
    statics : Tensor
        [static, *grid] of the spec's statics.

    Attributes
    ----------
    contents : tuple of str
        Quantities whose content can be measured.
    closing : dict of str to Closure
        Those of them whose fluxes are there, too.
    missing : dict of str to str
        Quantities that can't be measured, and residuals (`water residual`), with the reason.
    """

    def __init__(self, spec: StateSpec, experiment: Experiment, statics: Tensor) -> None:
        self.spec, self._statics = spec, statics
        given = {constraint.kind: constraint.arguments for constraint in experiment.constraints}
        self.closing: dict[str, Closure] = {}
        self.missing: dict[str, str] = {}
        self._contents: list[tuple[Closure, Mapping[str, Sums]]] = []
        air = _measuring("dry_air_mass", DryAirMassArguments, given, layers=())
        water = _measuring("water", WaterArguments, given)
        energy = _measuring("energy", EnergyArguments, given, weights={})
        heat = _measuring("ocean_heat", OceanHeatArguments, given)
        self._content(DryAirMass, air, {"dry_air_mass": slice(0, 2), "water": slice(2, 3)})
        self._content(EnergyContent, energy, {"energy": slice(0, 2)})
        if any(channel.vertical == "depth" for channel in spec.prognostic):
            self._content(OceanHeat, heat, {"ocean_heat": slice(0, 2)})
        self._tracers(given.get("tracer_mass"))
        for name, cls, arguments in (
            ("water", Water, water),
            ("energy", Energy, energy),
            ("ocean_heat", OceanHeat, heat),
        ):
            if name in self.contents and (closure := self._built(cls, arguments, [f"{name} residual"])):
                self.closing[name] = closure

    @property
    def contents(self) -> tuple[str, ...]:
        return tuple(name for _, names in self._contents for name in names)

    def measure(self, fields: Fields, areas: Held) -> dict[str, float]:
        """What one state holds, [1, channel, *grid], over the whole sphere."""
        current = Current(fields, None, areas)
        found: dict[str, float] = {}
        for closure, names in self._contents:
            sums = closure.storage(current)
            found |= {name: sum(float(each) for each in sums[which]) for name, which in names.items()}
        return found

    def start(self, fields: Fields, valid_time: Any) -> dict[str, Carry]:
        """What the closing budgets carry from a state on."""
        state = State(fields=fields.data[:, None], forcing=fields.data[:, :0][:, None], valid_time=valid_time)
        return {name: closure.start(state) for name, closure in self.closing.items()}

    def close(
        self, before: Fields, after: Fields, carries: Mapping[str, Carry]
    ) -> dict[str, tuple[float, float, Carry]]:
        """Flux, residual and carry of each closing budget over the step to `after`."""
        empty = Fields(after.data[:, :0], self.spec.forcing)
        found = {}
        for name, closure in self.closing.items():
            change = closure(before, after, empty, carries[name])
            flux = 0.0 if change.budget.flux is None else float(change.budget.flux)
            found[name] = (flux, float(change.budget.residual), change.carry)
        return found

    def _tracers(self, given: TracerMassArguments | None) -> None:
        """Those of a `tracer_mass` that is declared, and the salt of an ocean."""
        named = {f"tracer_{variable}": variable for variable in (given.variables if given else ())}
        if any(channel.variable == "so" and channel.vertical == "depth" for channel in self.spec.prognostic):
            named = {name: variable for name, variable in named.items() if canonical_name(variable) != "so"}
            named["salt"] = "so"
        for name, variable in named.items():
            arguments = replace(given or TracerMassArguments(variables=()), variables=(variable,))
            self._content(TracerMass, arguments, {name: slice(0, 2)})

    def _content(self, cls: Any, arguments: Any, names: Mapping[str, Sums]) -> None:
        if closure := self._built(cls, arguments, list(names)):
            self._contents.append((closure, names))

    def _built(self, cls: Any, arguments: Any, names: list[str]) -> Closure | None:
        try:
            closure: Closure = cls(arguments, self.spec)
        except ConfigError as error:
            self.missing |= dict.fromkeys(names, str(error).removeprefix("constraints: "))
            return None
        closure.place(self._statics)
        return closure


def _measuring(kind: str, cls: Any, given: Mapping[str, Any], **neutral: Any) -> Any:
    """The arguments of a constraint, declared or not, that only measures."""
    if kind in given:
        return replace(given[kind], adjust="none", **neutral)
    vertical = next((arguments.vertical for arguments in given.values() if hasattr(arguments, "vertical")), None)
    return cls(adjust="none", **({} if vertical is None or kind == "ocean_heat" else {"vertical": vertical}))
