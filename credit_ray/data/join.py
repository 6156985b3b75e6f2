"""How sources join: on one grid, one calendar and the times that all have, each variable in one role."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from credit_ray.config.data import DataConfig
from credit_ray.data.intervals import IntervalSource, over_steps
from credit_ray.data.layer import Layer
from credit_ray.data.missing import filled, interpolated
from credit_ray.data.regridded import grid_named, on_grid
from credit_ray.data.source import Source, StoreSource
from credit_ray.data.timing import on_time_axis
from credit_ray.errors import ConfigError, DataError, SpecMismatchError
from credit_ray.state import Channels
from credit_ray.times import Step, Times, format_time, format_times

log = logging.getLogger(__name__)


def aligned(stores: Mapping[str, StoreSource], config: DataConfig) -> dict[str, Source]:
    """Stores as the experiment sees them: values of intervals at its step, on its grid, in its calendar.

    Grid and calendar are those of the first source with a prognostic variable, unless `data.grid` names another grid.

    Raises
    ------
    SpecMismatchError
        For a source on another grid that does not say how to regrid.
    DataError
        Where intervals do not fill the steps.
    """
    first = next(source for source in stores.values() if source.channels["prognostic"])
    grid = grid_named(config.grid, stores) if config.grid else first.grid
    of = f"data.grid '{config.grid}'" if config.grid else f"data.sources.{first.name}"
    calendar = first.calendar or "standard"
    joined: dict[str, Source] = {}
    for name, store in stores.items():
        asked = config.sources[name]
        source = interpolated(store, asked)
        source = over_steps(source, config.step, holds=asked.time != "exact")
        source = filled(on_grid(source, asked, grid, of), asked)
        joined[name] = on_time_axis(source, asked, calendar)
    return joined


def common_times(sources: Sequence[Source], step: Step, calendar: str) -> Times:
    """Times that all sources have, at the model's step where the data's is finer.

    Raises
    ------
    SpecMismatchError
        For sources without a common time.
    """
    timed = [(source.name, source.times) for source in sources if source.times is not None]
    if not timed:
        raise DataError("No source has times.")
    first, times = timed[0]
    for name, others in timed[1:]:
        common = np.intersect1d(times, others, assume_unique=True)
        if not len(common):
            raise SpecMismatchError(
                f"data.sources.{first} and data.sources.{name} have no time in common: the first has "
                f"{format_times(times, calendar)}, the second {format_times(others, calendar)}."
            )
        times = common
    for source in sources:
        covered = source.covers(times)
        if not covered.any():
            raise SpecMismatchError(
                f"data.sources.{source.name} has nothing for any of the times that the others have in common, {format_time(times[0], calendar)} … "
                f"{format_time(times[-1], calendar)}."
            )
        if not covered.all():
            log.info("data.sources.%s has nothing for %d of %d times.", source.name, (~covered).sum(), len(times))
        times = times[covered]
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


def read_bytes(source: Source, variables: Collection[str]) -> int:
    """What a store decodes for one time of some variables of a source, as float32."""
    parts: dict[str, int] = {}
    while isinstance(source, Layer):
        if isinstance(source, IntervalSource) and source.step.fixed:
            parts = {
                variable: source.step.seconds // seconds for variable, seconds in source.seconds.items() if seconds
            }
        source = source.inner
    levels = [c.variable for channels in source.channels.values() for c in channels if c.variable in variables]
    if source.stored is None:
        return 0
    return 4 * int(np.prod(source.grid.shape)) * sum(parts.get(variable, 1) for variable in levels)


def refuse_repetition(channels: Mapping[str, Channels]) -> None:
    """A channel has one role and one source."""
    seen: dict[str, str] = {}
    for role, members in channels.items():
        for name in members.variables:
            if name in seen:
                raise ConfigError(f"'{name}' is both {seen[name]} and {role}: a variable has one role, in one source.")
            seen[name] = role
