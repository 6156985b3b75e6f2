"""The heat budget of the ocean: what it holds changes by what passes its surface."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from credit_ray.errors import ConfigError
from credit_ray.physics.arguments import BoundaryFluxes, OceanHeatArguments
from credit_ray.physics.closure import Closure, Solution, divided, magnitudes
from credit_ray.physics.columns import Column
from credit_ray.physics.constants import SEA_WATER_DENSITY, SEA_WATER_HEAT_CAPACITY
from credit_ray.physics.constraints import Budget
from credit_ray.physics.current import Current
from credit_ray.physics.fluxes import available, flux_terms
from credit_ray.physics.rounding import stored
from credit_ray.state import Carry, StateSpec


class OceanHeat(Closure):
    """Close the global budget of the ocean's heat by a uniform correction of its temperature.

    Heat is ρ₀ c_p ∫ θ dz, with constants of TEOS-10 and of a Boussinesq ocean, over the cells that exist; it is measured from 0 in the
    temperature's own units, so only its changes mean something. The flux counts where there is sea.
    """

    norm_units = "K"

    def __init__(self, arguments: OceanHeatArguments, spec: StateSpec) -> None:
        super().__init__("ocean_heat", arguments, spec)
        column = Column(
            self.name, arguments.temperature, spec, arguments.vertical, per_unit=SEA_WATER_DENSITY * SEA_WATER_HEAT_CAPACITY
        )  # fmt: skip
        if column.vertical.coordinate != "depth":
            raise ConfigError(
                f"constraints: 'ocean_heat': '{arguments.temperature}' is on {column.vertical.coordinate} levels; expected depths."
            )
        units = spec.prognostic[spec.prognostic.index(column.names[0])].units
        if units not in ("K", "degC"):
            raise ConfigError(
                f"constraints: 'ocean_heat' expects {arguments.temperature} in K or degC; it is in '{units}'."
            )
        self.columns, self.temperature = [column], list(column.names)
        self._top = int(column.vertical.from_top[0])
        fluxes = (
            arguments.surface
            if arguments.surface != BoundaryFluxes()
            else BoundaryFluxes(down=available(("hfds",), spec))
        )
        if not (fluxes.down or fluxes.up):
            raise ConfigError(
                "constraints: 'ocean_heat' needs the heat through the surface: hfds, or 'surface: {down: […]}'."
            )
        self.terms = flux_terms(self.name, spec, [("surface", fluxes, 1.0)], "J m-2")
        self.adjust = arguments.adjust

    @property
    def changes(self) -> frozenset[str]:
        return frozenset() if self.adjust == "none" else frozenset(self.temperature)

    @property
    def reads(self) -> frozenset[str]:
        return frozenset({*self.temperature, *(term.channel for term in self.terms)})

    def storage(self, current: Current) -> list[Tensor]:
        return list(self.columns[0].sums(current.double(self.temperature).nan_to_num(nan=0.0), current))

    def sums(self, current: Current) -> list[Tensor]:
        there = torch.isfinite(current.stack(self.temperature)).double()
        capacity = self.columns[0].sums(there, current)
        sea = there[:, self._top]
        return [*self.storage(current), capacity[0] + capacity[1], *(term.amount(current, sea) for term in self.terms)]

    def solve(self, sums: Sequence[Tensor], carry: Carry, mass: Tensor) -> Solution:
        total, capacity, fluxes = sums[0] + sums[1], sums[2], sums[3:]
        flux = torch.stack(list(fluxes)).sum(0)
        gross = magnitudes([total - carry["total"], *fluxes])
        warming = self.limited(divided(carry["total"] + flux - total, capacity))
        if self.adjust == "none":
            warming = torch.zeros_like(warming)
        total = total + warming * capacity
        budget = Budget(self.name, carry["total"], total, "J", flux, warming.abs(), self.norm_units, gross)
        return Solution(budget, {"total": total}, () if self.adjust == "none" else (warming,))

    def correct(self, current: Current, correction: Sequence[Tensor], mass: Tensor) -> dict[str, Tensor]:
        warmed = stored(
            current.double(self.temperature) + correction[0][:, None, None, None], current.dtype, current.step
        )
        return dict(zip(self.temperature, warmed.unbind(1), strict=True))
