"""What a forecast store looks like: its dimensions, coordinates, variables and their CF attributes.

One description, from which the writer makes Zarr arrays and `api.forecast` an xarray data set, so that the two are the same thing.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from credit_ray.errors import ConfigError, did_you_mean
from credit_ray.grid.latlon import LatLonGrid
from credit_ray.state import Channels
from credit_ray.times import Step, Times
from credit_ray.variables import lookup
from credit_ray.verification.forecasts import LEVEL_ATTRIBUTES

_CELL_METHODS = {"instantaneous": "time: point", "accumulated": "time: sum", "mean": "time: mean"}


@dataclass(frozen=True)
class Coordinate:
    """A coordinate variable, as it is encoded: dimensions, values, CF attributes."""

    dims: tuple[str, ...]
    values: NDArray[Any]
    attributes: Mapping[str, Any]


@dataclass(frozen=True)
class StoredVariable:
    """Where the channels of one variable go: [init_time, lead_time, (level,) *grid].

    Parameters
    ----------
    positions : tuple of int
        Of its levels among the layout's channels; one, if it has none.
    level_dim : str or None
        Name of the level dimension.
    """

    name: str
    positions: tuple[int, ...]
    level_dim: str | None
    attributes: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class ForecastLayout:
    """A set of forecasts: what is kept, from when, how far.

    Parameters
    ----------
    channels : Channels
        What is kept.
    grid : LatLonGrid
        The horizontal grid.
    step : Step
        The model's time step.
    calendar : str
        Of all times.
    init_times : Times
        [init], ascending.
    leads : tuple of int
        Steps after the initial time that are kept, ascending; 0 is the initial state itself.
    mask : bool array, optional
        [channel, *grid], False where a channel does not exist; written as NaN.
    maps : mapping
        Fields [*grid] without time that help to read a map: land, height.
    budgets : mapping
        Constraint → units of the size of its corrections; of each, what the step that ends at a lead time corrected, and what stayed open.
    """

    channels: Channels
    grid: LatLonGrid
    step: Step
    calendar: str
    init_times: Times
    leads: tuple[int, ...]
    mask: NDArray[np.bool_] | None = None
    maps: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    budgets: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not len(self.init_times) or not self.leads or not len(self.channels):
            raise ConfigError("A forecast needs an initial time, a lead time and a variable.")
        if np.any(np.diff(self.init_times) <= 0):
            raise ConfigError("The initial times of a forecast must ascend, each once.")
        if list(self.leads) != sorted(set(self.leads)) or self.leads[0] < 0:
            raise ConfigError("The lead times of a forecast must ascend, each once.")

    @cached_property
    def valid_times(self) -> Times:
        """[init, lead]."""
        return self.step.add(self.init_times[:, None], np.array(self.leads)[None, :], self.calendar)

    @cached_property
    def variables(self) -> tuple[StoredVariable, ...]:
        """In the order of the channels. The set of levels that most variables have is `level`, any other `level_<variable>`."""
        levels = {name: self._levels(name) for name in self.channels.variables}
        counts = Counter(found for found in levels.values() if found)
        shared = max(counts, key=lambda found: counts[found]) if counts else ()
        return tuple(
            StoredVariable(
                name,
                tuple(self.channels.of(name)),
                None if not found else "level" if found == shared else f"level_{name}",
                _attributes(self.channels, name, ("valid_time", "steps_written", *self.maps)),
            )
            for name, found in levels.items()
        )

    def _levels(self, variable: str) -> tuple[tuple[str, float], ...]:
        found = [self.channels[i] for i in self.channels.of(variable)]
        return tuple((c.vertical, c.level) for c in found if c.level is not None and c.vertical is not None)

    @cached_property
    def coordinates(self) -> dict[str, Coordinate]:
        """All coordinates but `steps_written`, by name."""
        time = {"units": "seconds since 1970-01-01 00:00:00", "calendar": self.calendar}
        coordinates = {
            "init_time": Coordinate(
                ("init_time",),
                np.asarray(self.init_times, np.int64),
                {"standard_name": "forecast_reference_time", "long_name": "initial time", "axis": "T", **time},
            ),
            "lead_time": self._lead_time(),
            "valid_time": Coordinate(
                ("init_time", "lead_time"),
                self.valid_times,
                {"standard_name": "time", "long_name": "valid time", **time},
            ),
            "latitude": Coordinate(
                ("latitude",),
                np.asarray(self.grid.latitude),
                {"standard_name": "latitude", "long_name": "latitude", "units": "degrees_north", "axis": "Y"},
            ),
            "longitude": Coordinate(
                ("longitude",),
                np.asarray(self.grid.longitude),
                {"standard_name": "longitude", "long_name": "longitude", "units": "degrees_east", "axis": "X"},
            ),
        }
        for variable in self.variables:
            if variable.level_dim and variable.level_dim not in coordinates:
                first = self.channels[variable.positions[0]]
                assert first.vertical is not None
                values = np.array([self.channels[i].level for i in variable.positions], np.float64)
                attributes = {**LEVEL_ATTRIBUTES[first.vertical], "axis": "Z"}
                coordinates[variable.level_dim] = Coordinate((variable.level_dim,), values, attributes)
        return coordinates

    def _lead_time(self) -> Coordinate:
        attributes: dict[str, Any] = {"standard_name": "forecast_period", "long_name": "time since the initial time"}
        leads = np.array(self.leads, np.int64)
        if not self.step.fixed:
            return Coordinate(("lead_time",), leads * self.step.months, {**attributes, "units": "months"})
        unit, name = (3600, "hours") if self.step.seconds % 3600 == 0 else (1, "seconds")
        # the attribute `dtype` is how xarray knows, without being told, that a duration is meant
        return Coordinate(
            ("lead_time",), leads * self.step.seconds // unit, {**attributes, "units": name, "dtype": "timedelta64[ns]"}
        )

    @cached_property
    def budget_variables(self) -> dict[str, dict[str, Any]]:
        """Name → CF attributes of the numbers [init_time, lead_time] that each budget has: size of the correction, relative residual."""
        found = {}
        for name, units in self.budgets.items():
            shown = name.replace("_", " ")
            found[f"budget_{name}_correction"] = {
                "long_name": f"size of the correction of {shown} in the step that ends here",
                "units": units,
            }
            found[f"budget_{name}_residual"] = {
                "long_name": f"what the budget of {shown} leaves open in the step that ends here, relative to its terms",
                "units": "1",
            }
        return found

    def map_attributes(self, name: str) -> dict[str, Any]:
        """CF attributes of a field without time."""
        known = lookup(name)
        return _named(known.standard_name, known.units) if known else {"long_name": name}

    def identity(self) -> dict[str, str]:
        """What two stores must have in common for one to be the other's continuation: digests, by what they are of."""
        parts = {
            "initial times": self.init_times.tolist(),
            "lead times": [str(self.step), *self.leads],
            "variables and levels": [channel.to_json() for channel in self.channels],
            "grid": self.grid.to_json(),
            "calendar": self.calendar,
        }
        return {what: hashlib.sha256(json.dumps(part).encode()).hexdigest()[:16] for what, part in parts.items()}


def kept_channels(outputs: Channels, variables: Sequence[str] | None, levels: Sequence[float] | None) -> Channels:
    """The channels that are written, of those that a model predicts.

    Parameters
    ----------
    variables : sequence of str, optional
        Names of variables; default all.
    levels : sequence of float, optional
        Of those on levels; default all. Variables without levels are kept.

    Raises
    ------
    ConfigError
        For a variable or a level that the model does not predict.
    """
    for name in variables or ():
        if name not in outputs.variables:
            raise ConfigError(
                f"forecast.output.variables: the model does not predict '{name}'.{did_you_mean(name, outputs.variables)}"
            )
    have = {channel.level for channel in outputs if channel.level is not None}
    if absent := [level for level in levels or () if level not in have]:
        there = ", ".join(f"{level:g}" for level in sorted(have)) or "none"
        raise ConfigError(f"forecast.output.levels: the model has no level {absent[0]:g}. It has: {there}.")
    return Channels(
        channel
        for channel in outputs
        if (variables is None or channel.variable in variables)
        and (levels is None or channel.level is None or channel.level in levels)
    )


def _attributes(channels: Channels, variable: str, coordinates: Sequence[str]) -> dict[str, Any]:
    channel = channels[channels.of(variable)[0]]
    known = lookup(variable)
    named = _named(known.standard_name, channel.units) if known else {"long_name": variable, "units": channel.units}
    return {**named, "cell_methods": _CELL_METHODS[channel.kind], "coordinates": " ".join(coordinates)}


def _named(standard_name: str, units: str) -> dict[str, Any]:
    return {"standard_name": standard_name, "long_name": standard_name.replace("_", " "), "units": units}
