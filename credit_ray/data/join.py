"""How sources join: on the times that all have, each variable in one role."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import numpy as np

from credit_ray.data.source import StoreSource
from credit_ray.errors import ConfigError, DataError, SpecMismatchError
from credit_ray.state import Channels
from credit_ray.times import Step, Times, format_time, format_times

log = logging.getLogger(__name__)


def common_times(timed: Sequence[StoreSource], step: Step, calendar: str) -> Times:
    """Times that all sources have, at the model's step where the data's is finer."""
    times = _times_of(timed[0])
    for source in timed[1:]:
        common = np.intersect1d(times, _times_of(source), assume_unique=True)
        if not len(common):
            raise SpecMismatchError(
                f"data.sources.{timed[0].name} and data.sources.{source.name} have no time in common: the first has "
                f"{format_times(times, calendar)}, the second {format_times(_times_of(source), calendar)}."
            )
        times = common
    for source in timed:
        if interval := [c.name for channels in source.channels.values() for c in channels if c.kind != "instantaneous"]:
            _refuse_finer(source, step, interval)
    on_step = step.between(np.full_like(times, times[0]), times, calendar) >= 0
    if not on_step.all():
        log.info(
            "%d of %d times are a whole number of steps of %s after %s; the others are not used.",
            on_step.sum(),
            len(times),
            step,
            format_time(times[0], calendar),
        )
    return times[on_step]


def _refuse_finer(source: StoreSource, step: Step, interval: Sequence[str]) -> None:
    """Values of intervals can't be sampled: hourly rain at every sixth hour would lose five sixths of it."""
    times, calendar = _times_of(source), source.calendar or "standard"
    early = np.flatnonzero(times[1:] < step.add(times[:-1], 1, calendar))
    if len(early):
        i = int(early[0])
        raise DataError(
            f"data.sources.{source.name} has times between the steps of {step} ({format_times(times[i : i + 2], calendar)}), and "
            f"{', '.join(interval[:5])} belong to intervals: taking every n-th would lose what falls between. Give data whose "
            f"intervals are the step, or leave them out."
        )


def _times_of(source: StoreSource) -> Times:
    assert source.times is not None, source.name
    return source.times


def refuse_repetition(channels: Mapping[str, Channels]) -> None:
    """A channel has one role and one source."""
    seen: dict[str, str] = {}
    for role, members in channels.items():
        for name in members.variables:
            if name in seen:
                raise ConfigError(f"'{name}' is both {seen[name]} and {role}: a variable has one role, in one source.")
            seen[name] = role
