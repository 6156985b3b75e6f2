"""Which times of a store are used, and what a value at one of them covers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from credit_ray.config.data import SourceConfig
from credit_ray.data.axes import Axes
from credit_ray.data.locate import Located
from credit_ray.errors import DataError
from credit_ray.times import Step, Times, format_time, format_times, month_start, parse_end, parse_time


@dataclass(frozen=True)
class TimeAxis:
    """Ascending times that are used, their calendar, what a value of an interval covers, and where the times lie in the store.

    `cell` is the width of the intervals and how long after the time they end, in seconds; `positions` is None where all times are used.
    """

    times: Times | None = None
    calendar: str | None = None
    cell: tuple[int, int] | None = None
    positions: NDArray[np.intp] | None = None


def time_axis(axes: Axes, timed: Sequence[Located], config: SourceConfig, step: Step | None) -> TimeAxis:
    """The times of some variables, as a source uses them.

    Raises
    ------
    DataError
        Where none lies in the source's `dates`, or several in a month that is one step.
    """
    dim = axes.dimension("time", [where.array for where in timed])
    times, calendar = axes.times(dim)
    of_intervals = [where for where in timed if where.meaning.kind != "instantaneous"]
    bounds = axes.time_bounds(dim) if of_intervals else None  # [time, start and end]
    if step is not None and not step.fixed:
        # a mean of January is often labelled with the first instant of February
        times = _by_month(times if bounds is None else bounds[:, 0], calendar, config.store, step, timed)
    kept = np.zeros(len(times), bool)
    for first, last in config.dates:
        kept |= (times >= parse_time(first, calendar)) & (times <= parse_end(last, calendar))
    if config.dates and not kept.any():
        raise DataError(
            f"{config.store} has no time in its 'dates'; it goes from {format_time(times[0], calendar)} to {format_time(times[-1], calendar)}."
        )
    positions = np.flatnonzero(kept) if config.dates else None
    return TimeAxis(times if positions is None else times[positions], calendar, _cell(bounds, times), positions)


def _cell(bounds: Times | None, times: Times) -> tuple[int, int] | None:
    """Width of the intervals and their end after the time, in seconds, where all have the same."""
    if bounds is None:
        return None
    cells = np.unique(np.stack([bounds[:, 1] - bounds[:, 0], bounds[:, 1] - times], 1), axis=0)
    return (int(cells[0, 0]), int(cells[0, 1])) if len(cells) == 1 and cells[0, 0] > 0 else None


def _by_month(times: Times, calendar: str, store: str, step: Step, timed: Sequence[Located]) -> Times:
    """The first instant of each time's month; the times as they are, where several in a month can be summed or averaged over it."""
    months = month_start(times, calendar)
    again = np.flatnonzero(np.diff(months) == 0)
    if not len(again):
        return months
    if instants := [where.array for where in timed if where.meaning.kind == "instantaneous"]:
        raise DataError(
            f"{store} has several times in one month ({format_times(times[again[0] : again[0] + 2], calendar)}), but data.timestep is {step}, and "
            f"'{instants[0]}' belongs to instants: give monthly data, or another time step."
        )
    return times
