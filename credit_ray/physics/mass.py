"""Conservation of mass: dry air, and tracers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from credit_ray.data.units import conversion
from credit_ray.errors import ConfigError, did_you_mean
from credit_ray.physics.arguments import AtmosphereArguments, DryAirMassArguments, TracerMassArguments
from credit_ray.physics.closure import Closure, Solution, divided
from credit_ray.physics.columns import Column, MassPlan, expect_units, prognostic_levels
from credit_ray.physics.constants import GRAVITY, SEA_WATER_DENSITY
from credit_ray.physics.constraints import Budget
from credit_ray.physics.current import Current
from credit_ray.physics.rounding import stored
from credit_ray.state import Carry, StateSpec
from credit_ray.variables import canonical_name


class Moisture:
    """Water in the columns of a model's atmosphere."""

    def __init__(self, kind: str, arguments: AtmosphereArguments, spec: StateSpec) -> None:
        self.column = Column(kind, arguments.humidity, spec, arguments.vertical, arguments.surface_pressure)
        self.humidity = list(self.column.names)
        expect_units(kind, spec.prognostic, self.humidity[0], "kg kg-1")
        self.condensate = [self.column.like(variable, spec, "kg kg-1") for variable in arguments.condensate]
        self.reads = frozenset({*self.humidity, *(name for names in self.condensate for name in names)})

    def sums(self, current: Current) -> tuple[Tensor, Tensor]:
        """Mass of water, kg, as (fixed, slope)."""
        humidity = current.double(self.humidity)
        water = humidity
        for names in self.condensate:
            water = water + current.double(names)
        return self.column.sums(water, current, humidity)

    def complaints(self, current: Current, share: float | None = None) -> list[str]:
        """What is implausible about the humidity of real data; `share` is that of water in the air's mass."""
        order, found = self.column.vertical.from_top, []
        top, bottom = (float(current.sum(current[self.humidity[order[k]]]).mean()) for k in (0, -1))
        if not top < bottom:
            found.append(
                f"'{self.humidity[order[0]]}' is moister than '{self.humidity[order[-1]]}' in the data, although it lies above: the levels of the "
                "store are in another order than their coordinate says."
            )
        if share is not None and not 2e-4 < share < 2e-2:
            found.append(
                f"water is {share:.2g} of the air's mass in the data, where 0.0025 is usual: is '{self.humidity[0]}' in kg kg-1?"
            )
        return found


class DryAirMass(Closure):
    """Hold the mass of dry air at its value in the initial state.

    A network that predicts surface pressure and humidity separately lets the mass of dry air drift; in nature it is constant to 10⁻⁵
    over a century (Trenberth and Smith 2005, doi:10.1175/JCLI-3299.1). One factor per trajectory closes it exactly, since the mass is
    affine in what is scaled: surface pressure, or the humidity of chosen layers. The reference is carried in float64 from the initial
    state, so errors of single steps do not add up.
    """

    def __init__(self, arguments: DryAirMassArguments, spec: StateSpec) -> None:
        super().__init__("dry_air_mass", arguments, spec)
        self.moisture = Moisture(self.name, arguments, spec)
        column, adjust = self.moisture.column, arguments.adjust
        self.columns = [column]
        if adjust == "auto":
            adjust = "surface_pressure" if column.surface_pressure else "humidity"
        if adjust == "surface_pressure" and column.surface_pressure is None:
            raise ConfigError(
                f"constraints: 'dry_air_mass' is to adjust surface pressure, and '{arguments.surface_pressure}' is not prognostic."
            )
        if arguments.layers and adjust != "humidity":
            raise ConfigError("constraints: 'dry_air_mass': 'layers' goes with 'adjust: humidity'.")
        self.plan = _plan(adjust, column, arguments.layers)
        column.plan = self.plan
        # On pressure levels the whole mass is that above the surface, where its pressure is known; else that between the levels.
        self._by_surface = (
            column.surface_pressure is not None and adjust != "humidity" and not column.vertical.depends_on_pressure
        )

    @property
    def changes(self) -> frozenset[str]:
        return self.plan.channels

    @property
    def reads(self) -> frozenset[str]:
        pressure = self.moisture.column.surface_pressure
        return self.moisture.reads | ({pressure} if pressure else set())

    def storage(self, current: Current) -> list[Tensor]:
        column = self.moisture.column
        water = self.moisture.sums(current)
        if self._by_surface:
            whole = current.sum(column.pressure(current)) / GRAVITY
            air = (
                (torch.zeros_like(whole), whole)
                if self.plan.scales == "surface_pressure"
                else (whole, torch.zeros_like(whole))
            )
        else:
            air = column.sums(torch.ones_like(current.after.data[:, :1], dtype=torch.float64), current)
        return [air[0] - water[0], air[1] - water[1], water[0] + water[1]]

    def solve(self, sums: Sequence[Tensor], carry: Carry, mass: Tensor) -> Solution:
        fixed, slope, reference = sums[0], sums[1], carry["total"]
        if self.plan.scales == "nothing":
            return Solution(self._budget(reference, fixed + slope, torch.zeros_like(fixed)), carry)
        factor = 1 + self.limited(divided(reference - fixed, slope) - 1)
        if self.plan.scales == "humidity":
            factor = factor.clamp(min=0)  # all of the water is the most that can give way to air
        budget = self._budget(reference, fixed + factor * slope, (factor - 1).abs())
        return Solution(budget, carry, (factor,), mass=factor)

    def correct(self, current: Current, correction: Sequence[Tensor], mass: Tensor) -> dict[str, Tensor]:
        column = self.moisture.column
        if self.plan.scales == "surface_pressure":
            pressure = column.pressure(current) * correction[0][:, None, None]
            return {str(column.surface_pressure): stored(pressure, current.dtype, current.step)}
        humidity = stored(
            column.adjusted_humidity(current.double(self.moisture.humidity), mass), current.dtype, current.step
        )
        return {name: humidity[:, k] for k, name in enumerate(self.moisture.humidity) if name in self.changes}

    def complaints(self, current: Current, sums: Sequence[Tensor]) -> list[str]:
        return self.moisture.complaints(current, float((sums[2] / (sums[0] + sums[1] + sums[2])).mean()))

    def _budget(self, reference: Tensor, after: Tensor, norm: Tensor) -> Budget:
        return Budget(self.name, reference, after, "kg", norm=norm, gross=reference.detach().abs())


class TracerMass(Closure):
    """Hold the total mass of tracers at its value in the initial state, by one factor each: what is not negative stays so.

    On levels of the atmosphere the mass is that in its layers, after dry air has been adjusted; on depths it is that in sea water of
    constant density.
    """

    def __init__(self, arguments: TracerMassArguments, spec: StateSpec) -> None:
        super().__init__("tracer_mass", arguments, spec)
        self.tracers: list[list[str]] = []
        self._scale: list[float] = []
        for variable in arguments.variables:
            channels = prognostic_levels(self.name, variable, spec)
            ocean = channels[0].vertical == "depth"
            unit = SEA_WATER_DENSITY if ocean else 1 / GRAVITY
            pressure = None if ocean else arguments.surface_pressure
            self.columns.append(Column(self.name, variable, spec, arguments.vertical, pressure, unit))
            self.tracers.append(list(channels.names))
            self._scale.append(conversion(channels[0].units, "kg kg-1", f"constraints: 'tracer_mass': {variable}")[0])

    @property
    def changes(self) -> frozenset[str]:
        return frozenset(name for names in self.tracers for name in names)

    @property
    def reads(self) -> frozenset[str]:
        return self.changes | {c.surface_pressure for c in self.columns if c.surface_pressure}

    def storage(self, current: Current) -> list[Tensor]:
        sums: list[Tensor] = []
        for column, names, scale in zip(self.columns, self.tracers, self._scale, strict=True):
            sums += column.sums(scale * current.double(names).nan_to_num(nan=0.0), current)
        return sums

    def begin(self, storage: Sequence[Tensor]) -> Carry:
        return {"total": torch.stack([a + b for a, b in zip(storage[::2], storage[1::2], strict=True)], 1)}

    def solve(self, sums: Sequence[Tensor], carry: Carry, mass: Tensor) -> Solution:
        found = torch.stack([fixed + mass * slope for fixed, slope in zip(sums[::2], sums[1::2], strict=True)], 1)
        reference = carry["total"]  # [trajectory, tracer]
        change = self.limited(torch.where(found != 0, divided(reference, found) - 1, 0.0))
        budget = Budget(
            self.name, reference.sum(1), (found * (1 + change)).sum(1), "kg", norm=change.abs().amax(1), gross=reference.detach().abs().sum(1)
        )  # fmt: skip
        return Solution(budget, carry, tuple((1 + change).unbind(1)))

    def correct(self, current: Current, correction: Sequence[Tensor], mass: Tensor) -> dict[str, Tensor]:
        fields: dict[str, Tensor] = {}
        for names, factor in zip(self.tracers, correction, strict=True):
            values = stored(current.double(names) * factor[:, None, None, None], current.dtype, current.step)
            fields |= dict(zip(names, values.unbind(1), strict=True))
        return fields


def _plan(adjust: str, column: Column, layers: Sequence[float]) -> MassPlan:
    if adjust == "none":
        return MassPlan()
    if adjust == "surface_pressure":
        return MassPlan("surface_pressure", frozenset({canonical_name(str(column.surface_pressure))}))
    by_level = dict(zip(column.vertical.levels.tolist(), column.names, strict=True))
    for level in layers:
        if level not in by_level:
            raise ConfigError(
                f"constraints: 'dry_air_mass': there is no level {level:g} of humidity.{did_you_mean(f'{level:g}', [f'{x:g}' for x in by_level])}"
            )
    return MassPlan("humidity", frozenset(by_level[level] for level in (layers or by_level)))
