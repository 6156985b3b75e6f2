"""The energy budget of the atmosphere: what it holds changes by what passes its top and its surface."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from credit_ray.errors import ConfigError
from credit_ray.physics.arguments import BoundaryFluxes, EnergyArguments
from credit_ray.physics.closure import Closure, Solution, magnitudes
from credit_ray.physics.columns import expect_units
from credit_ray.physics.constants import (
    DRY_AIR_HEAT_CAPACITY,
    GRAVITY,
    LATENT_HEAT_OF_VAPORISATION,
    WATER_VAPOUR_HEAT_CAPACITY,
)
from credit_ray.physics.constraints import Budget
from credit_ray.physics.current import Current, Held
from credit_ray.physics.fluxes import available, flux_terms
from credit_ray.physics.mass import Moisture
from credit_ray.physics.plausible import implausible_fluxes
from credit_ray.physics.rounding import stored
from credit_ray.state import Carry, StateSpec
from credit_ray.variables import canonical_name

_EXCESS = WATER_VAPOUR_HEAT_CAPACITY - DRY_AIR_HEAT_CAPACITY
NET = (BoundaryFluxes(down=("tsr", "ttr")), BoundaryFluxes(down=("ssr", "str", "sshf", "slhf")))
UP_AND_DOWN = (
    BoundaryFluxes(down=("rsdt",), up=("rsut", "rlut")),
    BoundaryFluxes(down=("rsds", "rlds"), up=("rsus", "rlus", "hfss", "hfls")),
)
"""Fluxes through top and surface as ECMWF and as CMIP name them."""


class EnergyContent(Closure):
    """What the atmosphere holds of energy; by itself it measures and corrects nothing.

    A column holds (1/g) ∫ (c_p T + L_v q + Φ_s + ½(u² + v²)) dp, with c_p = (1 − q) c_pd + q c_pv; with the surface geopotential Φ_s
    rather than Φ, since in hydrostatic balance c_p T + Φ_s is internal plus potential energy (Trenberth 1991,
    doi:10.1175/1520-0442(1991)004<0707:CDFGAA>2.0.CO;2).
    """

    norm_units = "K"

    def __init__(self, arguments: EnergyArguments, spec: StateSpec) -> None:
        super().__init__("energy", arguments, spec)
        self.moisture = Moisture(self.name, arguments, spec)
        column = self.moisture.column
        self.columns = [column]
        self.temperature = column.like(arguments.temperature, spec, "K")
        self.winds = [column.like(wind, spec, "m s-1") for wind in (arguments.u, arguments.v)]
        self._static, self._static_factor = _surface_geopotential(arguments.surface_geopotential, spec)
        self._geopotential: Held | None = None

    @property
    def reads(self) -> frozenset[str]:
        pressure = self.moisture.column.surface_pressure
        names = {*self.temperature, *self.winds[0], *self.winds[1]}
        return self.moisture.reads | names | ({pressure} if pressure else set())

    def place(self, statics: Tensor) -> None:
        self._geopotential = Held(self._static_factor * statics[self._static].detach().double().cpu())

    def storage(self, current: Current) -> list[Tensor]:
        column = self.moisture.column
        humidity, temperature = current.double(self.moisture.humidity), current.double(self.temperature)
        u, v = (current.double(names) for names in self.winds)
        per_humidity = humidity * (_EXCESS * temperature + LATENT_HEAT_OF_VAPORISATION)
        value = torch.addcmul(
            torch.addcmul(DRY_AIR_HEAT_CAPACITY * temperature + per_humidity, u, u, value=0.5), v, v, value=0.5
        )
        fixed, slope = column.sums(value, current, per_humidity)
        height = column.sums(self._surface(current).expand(len(value), 1, -1, -1), current)
        return [fixed + height[0], slope + height[1]]

    def _surface(self, current: Current) -> Tensor:
        """Surface geopotential, [*grid] of this device."""
        if self._geopotential is None:
            raise ConfigError("constraints: 'energy' has not been given the statics: call place() first.")
        return current.part(self._geopotential)


class Energy(EnergyContent):
    """Close the global budget of energy by a correction of temperature.

    What a column holds (`EnergyContent`) is affine in temperature, so one number per trajectory closes the budget.
    """

    def __init__(self, arguments: EnergyArguments, spec: StateSpec) -> None:
        super().__init__(arguments, spec)
        top, surface = arguments.top, arguments.surface
        if top == surface == BoundaryFluxes():
            top, surface = _default_fluxes(spec)
        self.terms = flux_terms(self.name, spec, [("top", top, 1.0), ("surface", surface, -1.0)], "J m-2")
        if not (top.down or top.up) or not (surface.down or surface.up):
            raise ConfigError("constraints: 'energy' needs the fluxes through both 'top' and 'surface'.")
        self.adjust = arguments.adjust
        self._weights = Held(_level_weights(arguments, self.moisture.column.vertical.levels.tolist()))
        self._area = float(spec.grid.cell_areas().sum())

    @property
    def changes(self) -> frozenset[str]:
        return frozenset() if self.adjust == "none" else frozenset(self.temperature)

    @property
    def reads(self) -> frozenset[str]:
        return super().reads | {term.channel for term in self.terms}

    def sums(self, current: Current) -> list[Tensor]:
        column, humidity = self.moisture.column, current.double(self.moisture.humidity)
        storage = self.storage(current)
        ones = torch.ones_like(humidity[:, :1])
        air = column.sums(ones, current)
        if self.adjust == "proportional":
            per_unit = (storage[0], storage[1])
        elif self.adjust in ("heat_capacity", "none"):
            per_unit = (DRY_AIR_HEAT_CAPACITY * air[0], DRY_AIR_HEAT_CAPACITY * air[1])
        else:
            weights = self._weights.on(humidity.device)[:, None, None]
            excess = _EXCESS * humidity * weights
            per_unit = column.sums(DRY_AIR_HEAT_CAPACITY * weights + excess, current, excess)
        return [*storage, *per_unit, *air, *(term.amount(current) for term in self.terms)]

    def solve(self, sums: Sequence[Tensor], carry: Carry, mass: Tensor) -> Solution:
        total, per_unit, air = (sums[i] + mass * sums[i + 1] for i in (0, 2, 4))
        fluxes = sums[6:]
        flux = torch.stack(list(fluxes)).sum(0)
        gross = magnitudes([total - carry["total"], *fluxes])
        warming = (carry["total"] + flux - total) / (DRY_AIR_HEAT_CAPACITY * air)  # K, were it the same everywhere
        if self.adjust == "none":
            budget = self._budget(carry["total"], total, flux, torch.zeros_like(warming), gross)
            return Solution(budget, {"total": total})
        warming = self.limited(warming)
        added = warming * DRY_AIR_HEAT_CAPACITY * air
        budget = self._budget(carry["total"], total + added, flux, warming.abs(), gross)
        return Solution(budget, {"total": total + added}, (added / per_unit,))

    def correct(self, current: Current, correction: Sequence[Tensor], mass: Tensor) -> dict[str, Tensor]:
        factor = correction[0][:, None, None, None]
        temperature = current.double(self.temperature)
        corrected = stored(temperature + factor * self._shape(current, temperature, mass), current.dtype, current.step)
        return dict(zip(self.temperature, corrected.unbind(1), strict=True))

    def complaints(self, current: Current, sums: Sequence[Tensor]) -> list[str]:
        per_second = 1 / self.spec.step.seconds / self._area if self.spec.step.fixed else None
        return self.moisture.complaints(current) + implausible_fluxes(
            self.name, self.terms, sums[6:], per_second, "W m-2"
        )

    def _shape(self, current: Current, temperature: Tensor, mass: Tensor) -> Tensor:
        """Where the correction goes: change of temperature per unit of it."""
        if self.adjust == "uniform":
            return torch.ones_like(temperature[:, :1])
        if self.adjust == "weights":
            return self._weights.on(temperature.device)[:, None, None]
        humidity = self.moisture.column.adjusted_humidity(current.double(self.moisture.humidity), mass)
        capacity = DRY_AIR_HEAT_CAPACITY + _EXCESS * humidity
        if self.adjust == "heat_capacity":
            return DRY_AIR_HEAT_CAPACITY / capacity
        u, v = (current.double(names) for names in self.winds)
        kinetic = 0.5 * (u * u + v * v)
        return temperature + (LATENT_HEAT_OF_VAPORISATION * humidity + kinetic + self._surface(current)) / capacity

    def _budget(self, before: Tensor, after: Tensor, flux: Tensor, norm: Tensor, gross: Tensor) -> Budget:
        return Budget(self.name, before, after, "J", flux, norm, self.norm_units, gross)


def _default_fluxes(spec: StateSpec) -> tuple[BoundaryFluxes, BoundaryFluxes]:
    lacking = {}
    for form, name in ((NET, "net"), (UP_AND_DOWN, "up and down")):
        wanted = [v for fluxes in form for v in (*fluxes.down, *fluxes.up)]
        have = available(wanted, spec)
        if len(have) == len(wanted):
            return form
        lacking[name] = [v for v in wanted if v not in have]
    said = "; ".join(f"as {name} fluxes it lacks {', '.join(v)}" for name, v in lacking.items())
    raise ConfigError(
        f"constraints: 'energy' needs the fluxes through top and surface: {said}. Under other names: 'top: {{down: […], up: […]}}' and 'surface:'."
    )


def _surface_geopotential(name: str | None, spec: StateSpec) -> tuple[int, float]:
    """Its place among the statics, and what turns that into m² s⁻²."""
    candidates = [canonical_name(name)] if name else ["z_sfc", "orography"]
    for candidate in candidates:
        if candidate in spec.static.names:
            index = spec.static.index(candidate)
            if spec.static[index].units == "m":
                return index, GRAVITY
            expect_units("energy", spec.static, candidate, "m2 s-2")
            return index, 1.0
    raise ConfigError(f"constraints: 'energy' needs the surface's height among the statics: {' or '.join(candidates)}.")


def _level_weights(arguments: EnergyArguments, levels: Sequence[float]) -> np.ndarray:
    if arguments.adjust != "weights":
        return np.ones(len(levels))
    unknown = [level for level in arguments.weights if level not in levels]
    if unknown:
        raise ConfigError(
            f"constraints: 'energy', weights: there is no level {unknown[0]:g}; there is {', '.join(f'{x:g}' for x in levels)}."
        )
    return np.array([arguments.weights.get(level, 0.0) for level in levels])
