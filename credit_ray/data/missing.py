"""What stands where values are missing: the straight line between the values around them in time, or a number and a channel that says where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from credit_ray.config.data import SourceConfig
from credit_ray.data.layer import Layer
from credit_ray.data.source import FieldsByVariable, Source
from credit_ray.errors import DataError
from credit_ray.state import Channel, Channels
from credit_ray.times import Step, Times, format_time

PRESENT = "_present"
"""Ends the name of the channel that is 1 where a variable has a value of its own and 0 where it was filled in."""


@dataclass(frozen=True)
class InterpolatedSource(Layer):
    """Missing values of some variables by linear interpolation between the nearest times before and after that have one.

    A value depends on the store and its time alone, never on which other times are read with it.

    Parameters
    ----------
    variables : frozenset of str
        Those that are interpolated.
    within : int
        Longest stretch between the two times, in seconds.
    """

    variables: frozenset[str] = frozenset()
    within: int = 0

    def read(self, variables: Sequence[str], times: Times) -> FieldsByVariable:
        fields = dict(self.inner.read(variables, times))
        for variable in self.variables.intersection(variables):
            bad = np.isnan(fields[variable]).reshape(len(times), -1).any(1)
            if bad.any():
                filled = fields[variable].copy()
                for i in np.flatnonzero(bad):
                    filled[i] = self._between(variable, int(times[i]), filled[i])
                fields[variable] = filled
        return fields

    def identity(self) -> Mapping[str, Any]:
        return {**self.inner.identity(), "interpolated": [sorted(self.variables), self.within]}

    def _between(self, variable: str, time: int, known: NDArray[np.float32]) -> NDArray[np.float32]:
        """The field at a time, its missing values interpolated."""
        assert self.inner.times is not None
        near = self.inner.times[np.abs(self.inner.times - time) <= self.within]
        fields = self.inner.read([variable], near)[variable].astype(np.float64)  # [time, (level,) *grid]
        there, at = ~np.isnan(fields), near.reshape(-1, *[1] * (fields.ndim - 1))
        earlier = np.where(there & (at < time), np.arange(len(near)).reshape(at.shape), -1).max(0)
        later = np.where(there & (at > time), np.arange(len(near)).reshape(at.shape), len(near)).min(0)
        found = (earlier >= 0) & (later < len(near))
        a, b = earlier.clip(min=0), later.clip(max=len(near) - 1)
        found &= near[b] - near[a] <= self.within
        before, after = (np.take_along_axis(fields, i[None], 0)[0] for i in (a, b))
        share = (time - near[a]) / np.maximum(near[b] - near[a], 1)
        line = np.where(found, before + share * (after - before), np.nan).astype(np.float32)
        whole = np.where(np.isnan(known), line, known)
        if np.isnan(whole).any():
            raise DataError(
                f"data.sources.{self.name}: '{variable}' has {int(np.isnan(whole).sum())} missing values at "
                f"{format_time(time, self.calendar or 'standard')} that have no values before and after them within "
                f"{Step(seconds=self.within)} ('interpolate_within')."
            )
        return whole


@dataclass(frozen=True)
class FilledSource(Layer):
    """Numbers in place of missing values, and for each such variable a channel `<name>_present` in the same role.

    Parameters
    ----------
    values : mapping of str to float
        By variable, in its own units.
    """

    values: Mapping[str, float] = field(default_factory=dict)

    @property
    def channels(self) -> Mapping[str, Channels]:
        return {
            role: Channels([*channels, *(_presence(c) for c in channels if c.variable in self.values)])
            for role, channels in self.inner.channels.items()
        }

    def read(self, variables: Sequence[str], times: Times) -> FieldsByVariable:
        needed = dict.fromkeys(self._present.get(v, v) for v in variables)
        raw = self.inner.read(list(needed), times)
        fields: FieldsByVariable = {}
        for variable in variables:
            if of := self._present.get(variable):
                fields[variable] = (~np.isnan(raw[of])).astype(np.float32)
            elif variable in self.values:
                fields[variable] = np.nan_to_num(raw[variable], nan=self.values[variable])
            else:
                fields[variable] = raw[variable]
        return fields

    def identity(self) -> Mapping[str, Any]:
        return {**self.inner.identity(), "filled": dict(sorted(self.values.items()))}

    @property
    def _present(self) -> dict[str, str]:
        return {f"{variable}{PRESENT}": variable for variable in self.values}


def _presence(channel: Channel) -> Channel:
    return Channel(
        variable=f"{channel.variable}{PRESENT}",
        units="1",
        level=channel.level,
        vertical=channel.vertical,
        at=channel.at,
    )


def interpolated(source: Source, config: SourceConfig) -> Source:
    """The source, its variables with `missing: interpolate` interpolated in time."""
    variables = frozenset(v for v in _timed(source) if config.policy(v) == "interpolate")
    if not variables:
        return source
    return InterpolatedSource(source, variables, Step.parse(config.interpolate_within).seconds)


def filled(source: Source, config: SourceConfig) -> Source:
    """The source, its variables with a number as `missing` filled with it."""
    members = {c.variable for role in ("forcing", "static") for c in source.channels[role]}
    values = {v: policy for v in sorted(members) if not isinstance(policy := config.policy(v), str)}
    return FilledSource(source, values) if values else source


def _timed(source: Source) -> set[str]:
    return {c.variable for role in ("prognostic", "diagnostic", "forcing") for c in source.channels[role]}
