"""Values of intervals at the model's step: sums and means over exactly (t − Δt, t], fluxes from accumulations and back.

Hourly rain at every sixth hour would lose five sixths of it; a value of an interval can be added up, never sampled. Where steps are
months, a value is named by its month, as monthly data are, and covers it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from credit_ray.data.layer import Layer, has_times
from credit_ray.data.meaning import Meaning
from credit_ray.data.source import FieldsByVariable, Source, StoreSource
from credit_ray.errors import DataError
from credit_ray.state import ROLES
from credit_ray.times import Step, Times, format_time, month_start, usual_step

_PIECE_BYTES = 64_000_000  # of the store's own values that are held at a time


@dataclass(frozen=True)
class IntervalSource(Layer):
    """Sums and means over the model's step.

    Parameters
    ----------
    step : Step
        The model's.
    seconds : mapping of str to int
        What a stored value of each variable covers; 0 for a whole step that is counted in months.
    shift : int
        From the store's times to the ends of their intervals, in seconds.
    own_times : Times
        Times whose intervals are whole.
    """

    step: Step = field(default_factory=lambda: Step(seconds=1))
    seconds: Mapping[str, int] = field(default_factory=dict)
    shift: int = 0
    own_times: Times = field(default_factory=lambda: np.empty(0, np.int64), repr=False)

    @property
    def times(self) -> Times:
        return self.own_times

    @property
    def source(self) -> StoreSource:
        """What holds the values."""
        assert self.inner.stored is not None
        return self.inner.stored

    def read(self, variables: Sequence[str], times: Times) -> FieldsByVariable:
        at_times = [v for v in variables if v not in self.seconds]
        fields = dict(self.inner.read(at_times, times)) if at_times else {}
        for variable in variables:
            if variable in self.seconds:
                fields[variable] = self._reduced(variable, times)
        return fields

    def identity(self) -> Mapping[str, Any]:
        stored = {v: f"{self.source.located[v].meaning.stored} over {s} s" for v, s in sorted(self.seconds.items())}
        return {**self.inner.identity(), "intervals": stored, "shift": self.shift}

    def _reduced(self, variable: str, times: Times) -> NDArray[np.float32]:
        meaning, columns = self.source.located[variable].meaning, []
        for piece in self._pieces(variable, times):
            parts, counts = tiles(*bounds(piece, self.step, self.calendar), self.seconds[variable])
            wanted, back = np.unique(parts - self.shift, return_inverse=True)
            values = self.inner.read([variable], wanted)[variable]
            if not np.array_equal(back, np.arange(len(wanted))):
                values = values[back]  # intervals overlap: times are closer than the step
            starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
            total = np.add.reduceat(values, starts, axis=0, dtype=np.float64)  # [time, (level,) *grid]
            factor = self._factor(meaning, piece, counts, self.seconds[variable])
            columns.append((total * factor.reshape(-1, *[1] * (total.ndim - 1))).astype(np.float32))
        return np.concatenate(columns)

    def _factor(self, meaning: Meaning, times: Times, counts: NDArray[np.intp], seconds: int) -> NDArray[np.float64]:
        """What makes the variable of the sum of the stored values."""
        lower, upper = bounds(times, self.step, self.calendar)
        whole = (upper - lower).astype(np.float64)
        if meaning.stored == "mean":
            return 1.0 / counts if meaning.kind == "mean" else whole / counts
        return np.ones(len(times)) if meaning.kind == "accumulated" else 1.0 / whole

    def _pieces(self, variable: str, times: Times) -> Iterator[Times]:
        """Times whose intervals together take a bounded memory."""
        levels = len(self.source.located[variable].channels)
        one = 4 * levels * int(np.prod(self.grid.shape))
        lower, upper = bounds(times[:1], self.step, self.calendar)
        each = int((upper - lower)[0]) // self.seconds[variable] if self.seconds[variable] else 1
        together = max(_PIECE_BYTES // (one * each), 1)
        return (times[a : a + together] for a in range(0, len(times), together))


def bounds(times: Times, step: Step, calendar: str | None) -> tuple[Times, Times]:
    """Start and end of the interval that belongs to each time: the step before it, or the month that it begins."""
    calendar = calendar or "standard"
    return (step.add(times, -1, calendar), times) if step.fixed else (times, step.add(times, 1, calendar))


def tiles(lower: Times, upper: Times, seconds: int) -> tuple[Times, NDArray[np.intp]]:
    """Ends of the intervals of so many seconds that fill (lower, upper], one after the other, and how many fill each.

    With 0 seconds the one interval is the whole, and is named by its start.
    """
    if not seconds:
        return lower, np.ones(len(lower), np.intp)
    counts = ((upper - lower) // seconds).astype(np.intp)
    first = np.repeat(np.cumsum(counts) - counts, counts)
    position = np.arange(int(counts.sum())) - first + 1
    return np.repeat(lower, counts) + seconds * position, counts


def over_steps(source: Source, step: Step, holds: bool = False) -> Source:
    """The source with its values of intervals summed or averaged over the model's steps; the source itself, where it has none.

    Parameters
    ----------
    step : Step
        The model's.
    holds : bool
        Whether values are to be held or repeated at steps shorter than their interval; they then keep their own interval.

    Raises
    ------
    DataError
        Where the intervals do not tile the step.
    """
    store = source.stored
    if store is None:
        return source
    located = store.located
    timed = [v for role in ROLES if role != "static" for v in source.channels[role].variables]
    interval = [v for v in timed if located[v].meaning.kind != "instantaneous"]
    if not interval or source.times is None or not len(source.times):
        return source
    calendar = source.calendar or "standard"
    usual = usual_step(source.times, calendar) or step
    plain = all(located[v].meaning.kind == located[v].meaning.stored for v in interval)
    if holds and usual != step:
        if sums := [v for v in interval if located[v].meaning.kind == "accumulated"]:
            raise DataError(
                f"data.sources.{source.name}: {', '.join(sums)} accumulated over {usual} can't be held over steps of {step}: ask for the mean flux."
            )
        if plain and (usual.months or usual.seconds > step.seconds):
            return source
        step = max(step, usual, key=lambda s: s.seconds)
    seconds = {v: _covered(store, v, usual, step) for v in interval}
    shift = _shift(store, max(seconds.values()))
    if plain and not shift and all(s in (0, step.seconds) for s in seconds.values()):
        return source
    for variable, covered in seconds.items():
        _refuse_what_does_not_tile(store, variable, covered, step)
    times = source.times if len(interval) < len(timed) else np.unique(_ends(source.times, shift, step, calendar))
    for variable in interval:
        whole = _whole(source.times + shift, times, step, calendar, seconds[variable])
        if not whole.any():
            raise DataError(
                f"data.sources.{source.name}: no step of {step} is filled by values of '{variable}' that cover {Step(seconds=seconds[variable])} "
                f"each; its times go from {format_time(source.times[0], calendar)} on, {usual} apart. {_HINT}"
            )
        times = times[whole]
    return IntervalSource(source, step, seconds, shift, times)


_HINT = "Give data whose intervals fill the step, or say in 'interval' what a value covers."


def _covered(source: StoreSource, variable: str, usual: Step, step: Step) -> int:
    meaning = source.located[variable].meaning
    if meaning.interval:
        return meaning.interval
    if source.cell:
        return source.cell[0]
    return 0 if usual.months and usual == step else usual.seconds or _refuse_calendar_interval(source, variable, usual)


def _refuse_calendar_interval(source: StoreSource, variable: str, usual: Step) -> int:
    raise DataError(
        f"data.sources.{source.name}: a value of '{variable}' covers {usual}, which is not the model's step, nor a part of it. {_HINT}"
    )


def _shift(source: StoreSource, seconds: int) -> int:
    """From the store's times to the ends of the intervals."""
    label = source.config.label
    if label is None:
        return source.cell[1] if source.cell else 0
    return {"end": 0, "middle": seconds // 2, "start": seconds}[label]


def _ends(times: Times, shift: int, step: Step, calendar: str) -> Times:
    """Times at which a step may end; the months, where steps are months."""
    return times + shift if step.fixed else month_start(times, calendar)


def _refuse_what_does_not_tile(source: StoreSource, variable: str, seconds: int, step: Step) -> None:
    if step.fixed and seconds and step.seconds % seconds:
        raise DataError(
            f"data.sources.{source.name}: a value of '{variable}' covers {Step(seconds=seconds)}, which does not fill a step of {step} "
            f"without a rest. {_HINT}"
        )


def _whole(ends: Times, times: Times, step: Step, calendar: str, seconds: int) -> NDArray[np.bool_]:
    """For which times all the intervals are there."""
    if not len(times):
        return np.zeros(0, bool)
    lower, upper = bounds(times, step, calendar)
    if seconds and ((upper - lower) % seconds).any():
        return np.zeros(len(times), bool)
    parts, counts = tiles(lower, upper, seconds)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    return np.logical_and.reduceat(has_times(ends, parts), starts)
