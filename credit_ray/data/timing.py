"""How a source's times meet the experiment's: the same dates, the latest before, or the same place in a year that repeats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from credit_ray.config.data import SourceConfig
from credit_ray.data.layer import Layer
from credit_ray.data.source import FieldsByVariable, Source
from credit_ray.errors import DataError
from credit_ray.times import Step, Times, convert_calendar, format_time, in_year, usual_step, year_of

_DAY = 86_400


@dataclass(frozen=True)
class DatedSource(Layer):
    """A source of another calendar, by date: a date that only one of the calendars has is a time that the source lacks.

    Parameters
    ----------
    experiment_calendar : str
        In which it is asked.
    """

    experiment_calendar: str = "standard"

    @property
    def calendar(self) -> str:
        return self.experiment_calendar

    @property
    def times(self) -> Times | None:
        if self.inner.times is None:
            return None
        converted, exist = convert_calendar(self.inner.times, self.inner.calendar or "standard", self.calendar)
        return converted[exist]

    def covers(self, times: Times) -> NDArray[np.bool_]:
        own, exist = self._own(times)
        return exist & self.inner.covers(own)

    def read(self, variables: Sequence[str], times: Times) -> FieldsByVariable:
        return self.inner.read(variables, self._own(times)[0])

    def _own(self, times: Times) -> tuple[Times, NDArray[np.bool_]]:
        return convert_calendar(times, self.calendar, self.inner.calendar or "standard")


@dataclass(frozen=True)
class HeldSource(Layer):
    """A source whose latest value stands until the next, for at most `hold` seconds; of one year only, where that repeats.

    Parameters
    ----------
    experiment_calendar : str
        In which it is asked.
    own : Times
        Times of the source, of the one year where it repeats.
    hold : int
        Seconds.
    year : int, optional
        The one that repeats.
    """

    experiment_calendar: str = "standard"
    own: Times = field(default_factory=lambda: np.empty(0, np.int64), repr=False)
    hold: int = 0
    year: int | None = None

    @property
    def calendar(self) -> str:
        return self.experiment_calendar

    @property
    def times(self) -> None:
        return None

    @property
    def time_chunk(self) -> int:
        return 1

    def covers(self, times: Times) -> NDArray[np.bool_]:
        return self._latest(times)[1] <= self.hold

    def read(self, variables: Sequence[str], times: Times) -> FieldsByVariable:
        unique, inverse = np.unique(self._latest(times)[0], return_inverse=True)
        fields = self.inner.read(variables, unique)
        if np.array_equal(inverse, np.arange(len(unique))):
            return fields
        return {v: f if self.is_static(v) else f[inverse] for v, f in fields.items()}

    def _latest(self, times: Times) -> tuple[Times, NDArray[np.int64]]:
        """The latest own time at or before each time, and how long before; for ever, where there is none."""
        calendar = self.inner.calendar or "standard"
        asked = convert_calendar(np.asarray(times, np.int64), self.calendar, calendar)[0]
        if self.year is not None:
            asked = in_year(asked, self.year, calendar)
        position = np.searchsorted(self.own, asked, side="right") - 1
        age = asked - self.own[position.clip(min=0)]
        if self.year is None:
            return self.own[position.clip(min=0)], np.where(position < 0, np.iinfo(np.int64).max, age)
        length = Step(months=12).add(self.own[-1], 1, calendar) - self.own[-1]
        return self.own[position], np.where(
            position < 0, asked + length - self.own[-1], age
        )  # −1: the last of the year


def on_time_axis(source: Source, config: SourceConfig, calendar: str) -> Source:
    """The source as the experiment's times see it.

    Parameters
    ----------
    calendar : str
        The experiment's.

    Raises
    ------
    DataError
        Where a source of several years is to repeat one of them and does not say which, or has nothing of it.
    """
    own, own_calendar = source.times, source.calendar
    if own is None or own_calendar is None:
        return source
    if config.time == "exact":
        return source if own_calendar == calendar else DatedSource(source, calendar)
    year = None
    if config.time == "cyclic":
        years = year_of(own, own_calendar)
        year = config.cycle_year if config.cycle_year is not None else int(years[0])
        if config.cycle_year is None and years[0] != years[-1]:
            raise DataError(
                f"data.sources.{source.name} goes from {format_time(own[0], own_calendar)} to {format_time(own[-1], own_calendar)}: "
                f"say which year repeats, 'cycle_year: {years[0]}', or give a source of one year."
            )
        own = own[years == year]
        if not len(own):
            raise DataError(f"data.sources.{source.name} has no time in its cycle_year, {year}.")
    return HeldSource(source, calendar, own, _hold(config, own, own_calendar), year)


def _hold(config: SourceConfig, own: Times, calendar: str) -> int:
    """The longest that a value stands: as the config says, else the usual step of the source."""
    step = Step.parse(config.hold) if config.hold else usual_step(own, calendar)
    if step is None:
        return 366 * _DAY
    return step.seconds or 31 * _DAY * step.months
