"""Column integrals over the whole sphere, split by what a mass adjustment does to them.

Conserving dry air scales surface pressure, or humidity, by one number m per trajectory. Every column integral is then fixed + m · slope,
exactly: layers are affine in surface pressure, and mass, water and energy are affine in humidity. So the sums of all budgets can be
taken at once, before m is known, and the budgets close together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from credit_ray.data.units import conversion
from credit_ray.errors import ConfigError, DataError, SpecMismatchError
from credit_ray.grid import levels as coordinates
from credit_ray.grid.vertical import VerticalCoordinate
from credit_ray.physics.arguments import VerticalArguments
from credit_ray.physics.constants import GRAVITY
from credit_ray.physics.current import Current, Held
from credit_ray.state import Channels, StateSpec
from credit_ray.variables import canonical_name


@dataclass(frozen=True)
class MassPlan:
    """What the dry-air constraint of a chain scales.

    Parameters
    ----------
    scales : {"surface_pressure", "humidity", "nothing"}
        By one number per trajectory.
    channels : frozenset of str
        The scaled channels.
    """

    scales: Literal["surface_pressure", "humidity", "nothing"] = "nothing"
    channels: frozenset[str] = frozenset()


class Column:
    """The levels of one variable, and integrals over them.

    Parameters
    ----------
    kind : str
        The constraint that asks, for messages.
    variable : str
        Whose levels.
    spec : StateSpec
        What the model has.
    vertical : VerticalArguments
        What channel names do not say.
    surface_pressure : str, optional
        Its variable, where layers may depend on it.
    per_unit : float
        Of the integral: 1/g for Pa, a density for metres.
    """

    def __init__(
        self,
        kind: str,
        variable: str,
        spec: StateSpec,
        vertical: VerticalArguments,
        surface_pressure: str | None = None,
        per_unit: float = 1 / GRAVITY,
    ) -> None:
        self.kind, self.plan = kind, MassPlan()
        channels = prognostic_levels(kind, variable, spec)
        self.names = channels.names
        self.vertical = vertical_of(kind, channels, vertical)
        self.surface_pressure: str | None = None
        if surface_pressure is not None and canonical_name(surface_pressure) in spec.prognostic:
            self.surface_pressure = canonical_name(surface_pressure)
            expect_units(kind, spec.prognostic, self.surface_pressure, "Pa")
        elif self.vertical.depends_on_pressure:
            raise ConfigError(
                f"constraints: '{kind}': the {self.vertical.coordinate} levels of '{variable}' need surface pressure among the prognostic "
                f"variables, and there is no '{surface_pressure}'. Say which with 'surface_pressure:'."
            )
        self._rows = [Held(per_unit * row) for row in self.vertical.weights]
        self._given = [bool(row.any()) for row in self.vertical.weights]

    def like(self, variable: str, spec: StateSpec, units: str) -> list[str]:
        """Channels of another variable on the same levels, in the same order."""
        channels = prognostic_levels(self.kind, variable, spec)
        by_level = {channel.level: channel.name for channel in channels}
        if set(by_level) != set(self.vertical.levels.tolist()):
            raise ConfigError(
                f"constraints: '{self.kind}': '{variable}' has other levels ({_listed(sorted(map(str, by_level)))}) than "
                f"{self.names[0].rpartition('_')[0]} ({_listed([f'{level:g}' for level in self.vertical.levels])})."
            )
        names = [by_level[level] for level in self.vertical.levels.tolist()]
        expect_units(self.kind, spec.prognostic, names[0], units)
        return names

    def pressure(self, current: Current) -> Tensor:
        """Surface pressure, [trajectory, *grid] float64."""
        assert self.surface_pressure is not None
        return current.double([self.surface_pressure])[:, 0]

    def sums(self, value: Tensor, current: Current, per_humidity: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """∫ value over columns and sphere as (fixed, slope), [trajectory] each: fixed + m · slope once mass is adjusted by m.

        Parameters
        ----------
        value : Tensor
            [trajectory, level, *grid] float64, or [trajectory, 1, *grid] for what is the same at all levels.
        per_humidity : Tensor, optional
            The part of it that is proportional to humidity.
        """
        fixed, slope = self._parts(value, current, None)
        if self.plan.scales == "surface_pressure":
            return fixed, slope
        total = fixed + slope
        if self.plan.scales == "humidity" and per_humidity is not None:
            scaled = torch.stack(self._parts(per_humidity, current, self._scaled(value.device))).sum(0)
            return total - scaled, scaled
        return total, torch.zeros_like(total)

    def adjusted_humidity(self, humidity: Tensor, mass: Tensor) -> Tensor:
        """[trajectory, level, *grid] as it will be, once mass is adjusted by `mass` [trajectory]."""
        if self.plan.scales != "humidity":
            return humidity
        factor = 1 + (mass[:, None] - 1) * self._scaled(humidity.device)
        return humidity * factor[:, :, None, None]

    def _parts(self, value: Tensor, current: Current, chosen: Tensor | None) -> tuple[Tensor, Tensor]:
        """What does not depend on surface pressure, and what is proportional to it."""
        areas = current.areas.flatten()
        parts = []
        for row, given in zip(self._rows, self._given, strict=True):
            if not given:
                parts.append(value.new_zeros(len(value)))
                continue
            weights = row.on(value.device) if chosen is None else row.on(value.device) * chosen
            if value.shape[1] == 1:
                weights = weights.sum()[None]
            parts.append(torch.matmul(weights, value.flatten(2)))  # [trajectory, cell]
        fixed = parts[0] @ areas if self._given[0] else parts[0]
        slope = (parts[1] * self.pressure(current).flatten(1)) @ areas if self._given[1] else parts[1]
        return fixed, slope

    def _scaled(self, device: torch.device) -> Tensor:
        """[level] 1 where the plan scales humidity."""
        return torch.tensor(
            [float(name in self.plan.channels) for name in self.names], dtype=torch.float64, device=device
        )


def prognostic_levels(kind: str, variable: str, spec: StateSpec) -> Channels:
    """All levels of a prognostic variable."""
    try:
        return Channels(spec.prognostic[i] for i in spec.prognostic.of(canonical_name(variable)))
    except SpecMismatchError as error:
        raise ConfigError(f"constraints: '{kind}' needs '{variable}' among the prognostic variables. {error}") from None


def vertical_of(kind: str, channels: Channels, arguments: VerticalArguments) -> VerticalCoordinate:
    """The vertical coordinate of a variable's channels.

    Raises
    ------
    ConfigError
        Where it is unknown, naming the variable and what was expected.
    """
    variable, found = channels[0].variable, {channel.vertical for channel in channels}
    values = [channel.level for channel in channels if channel.level is not None]
    given = arguments.edges or None
    where = f"constraints: '{kind}': '{variable}'"
    if len(found) > 1 or None in found or len(values) < len(channels):
        raise ConfigError(
            f"{where} has no vertical coordinate: expected levels in hPa, sigma, model levels or metres of depth."
        )
    try:
        match found.pop():
            case "pressure":
                return coordinates.pressure_levels(values, given)
            case "sigma":
                return coordinates.sigma_levels(values, given)
            case "depth":
                return coordinates.depth_levels(values, given)
            case _:
                return _hybrid(values, arguments)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None


def expect_units(kind: str, channels: Channels, name: str, units: str) -> None:
    """Refuse a channel in other units."""
    channel = channels[channels.index(name)]
    try:
        same = conversion(channel.units, units, name) == (1.0, 0.0)
    except DataError:
        same = False
    if not same:
        raise ConfigError(
            f"constraints: '{kind}' expects {channel.variable} in {units}; {name} is in '{channel.units}'. Let the source convert it, with 'units:'."
        )


def _hybrid(numbers: Sequence[float], arguments: VerticalArguments) -> VerticalCoordinate:
    if arguments.table:
        return coordinates.hybrid_levels(numbers, *coordinates.table(arguments.table), arguments.integral)
    if arguments.a_half or arguments.b_half:
        return coordinates.hybrid_levels(
            numbers, np.array(arguments.a_half), np.array(arguments.b_half), arguments.integral
        )
    if arguments.a_full or arguments.b_full:
        return coordinates.hybrid_full_levels(numbers, arguments.a_full, arguments.b_full)
    raise ConfigError(
        "model levels need their hybrid coefficients: 'vertical: {table: era5_137}' (or cam_32), or a_half and b_half."
    )


def _listed(names: Sequence[str], show: int = 8) -> str:
    return ", ".join(names if len(names) <= show else [*names[:show], "…"])
