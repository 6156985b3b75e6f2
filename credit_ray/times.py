"""Time as integers: int64 seconds since 1970-01-01 00:00 in a calendar, and steps that are durations or calendar months.

Whatever asks "are these two states adjacent?", "what is the valid time?" or "how many steps is 10 days?" asks here, so that nothing
else assumes six hours, or that a month has thirty days.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from credit_ray.errors import ConfigError, DataError

Times: TypeAlias = NDArray[np.int64]

STANDARD_CALENDARS = frozenset({"standard", "gregorian", "proleptic_gregorian"})
CALENDARS = STANDARD_CALENDARS | {"noleap", "365_day", "all_leap", "366_day", "360_day", "julian"}

_SECONDS = {"s": 1, "min": 60, "h": 3600, "H": 3600, "d": 86400, "D": 86400}
_MONTHS = {"mo": 1, "MS": 1, "M": 1, "YS": 12, "y": 12}
_CF_SECONDS = {
    **dict.fromkeys(("second", "seconds", "sec", "secs", "s"), 1.0),
    **dict.fromkeys(("minute", "minutes", "min", "mins"), 60.0),
    **dict.fromkeys(("hour", "hours", "hr", "hrs", "h"), 3600.0),
    **dict.fromkeys(("day", "days", "d"), 86400.0),
    **dict.fromkeys(("millisecond", "milliseconds", "ms"), 1e-3),
    **dict.fromkeys(("microsecond", "microseconds"), 1e-6),
    **dict.fromkeys(("nanosecond", "nanoseconds"), 1e-9),
}


@dataclass(frozen=True)
class Step:
    """A model's time step: a fixed duration or a number of calendar months, never both.

    Parameters
    ----------
    seconds : int
        Length of a fixed step, else 0.
    months : int
        Length of a calendar step, else 0.
    """

    seconds: int = 0
    months: int = 0

    def __post_init__(self) -> None:
        if (self.seconds > 0) == (self.months > 0) or min(self.seconds, self.months) < 0:
            raise ValueError("a step is a positive number of seconds, or of months")

    @classmethod
    def parse(cls, text: str) -> Step:
        """Read `6h`, `90min`, `5D`, `1MS` (months) or `1YS` (years)."""
        match = re.fullmatch(r"\s*(\d+)\s*([A-Za-z]+)\s*", str(text))
        count, unit = (int(match[1]), match[2]) if match else (0, "")
        if count and unit in _SECONDS:
            return cls(seconds=count * _SECONDS[unit])
        if count and unit in _MONTHS:
            return cls(months=count * _MONTHS[unit])
        raise ConfigError(f"'{text}' is not a time step: write 6h, 90min, 5D, 1MS (month) or 1YS (year).")

    def __str__(self) -> str:
        if self.months:
            return f"{self.months // 12}YS" if self.months % 12 == 0 else f"{self.months}MS"
        for unit, size in (("D", 86400), ("h", 3600), ("min", 60)):
            if self.seconds % size == 0:
                return f"{self.seconds // size}{unit}"
        return f"{self.seconds}s"

    @property
    def fixed(self) -> bool:
        """True where the step is a duration, not a number of calendar months."""
        return self.seconds > 0

    def add(self, times: Times | int, count: int | Times, calendar: str) -> Times:
        """Times `count` steps later (earlier, if negative), element by element."""
        times, count = np.broadcast_arrays(np.asarray(times, np.int64), np.asarray(count, np.int64))
        if self.fixed:
            return times + self.seconds * count
        return _add_months(times, self.months * count, calendar)

    def between(self, earlier: Times, later: Times, calendar: str) -> NDArray[np.int64]:
        """Whole steps from `earlier` to `later`; −1 where they are no whole number of steps apart, or out of order.

        Monthly data carry dates anywhere in their month (the 1st, the 15th, the 16th at noon); two of them are a month apart when
        their months are.
        """
        if self.fixed:
            count, rest = np.divmod(np.asarray(later) - np.asarray(earlier), self.seconds)
        else:
            count, rest = np.divmod(_month_number(later, calendar) - _month_number(earlier, calendar), self.months)
        return np.where((rest == 0) & (count >= 0), count, -1).astype(np.int64)

    def count_in(self, lead: str) -> int:
        """How many steps a lead such as `10d`, `12mo` or `40steps` is.

        Raises
        ------
        ConfigError
            Where the lead is no whole number of steps.
        """
        if match := re.fullmatch(r"\s*(\d+)\s*steps?\s*", lead):
            count = int(match[1])
        else:
            span = Step.parse(lead)
            whole, unit = (span.seconds, self.seconds) if self.fixed else (span.months, self.months)
            if not whole or whole % unit:
                raise ConfigError(
                    f"A lead of '{lead}' is no whole number of steps of {self}; write it as so many steps, '40steps'."
                )
            count = whole // unit
        if count < 1:
            raise ConfigError(f"A lead of '{lead}' has no step.")
        return count


def parse_time(text: str, calendar: str = "standard") -> int:
    """Seconds since 1970 of an ISO 8601 date or time (UTC; `2000-03-31`, `2000-03-31T06`, `2000-03-31T06:00:00Z`)."""
    match = re.fullmatch(
        r"(\d{4})-(\d{1,2})(?:-(\d{1,2}))?(?:[T ](\d{1,2})(?::?(\d{2}))?(?::?(\d{2}))?)?Z?", str(text).strip()
    )
    if not match:
        raise ConfigError(f"'{text}' is not a time: write 2000-03-31 or 2000-03-31T06:00 (UTC).")
    year, month, day, hour, minute, second = (
        int(part) if part else default for part, default in zip(match.groups(), (0, 1, 1, 0, 0, 0), strict=True)
    )
    try:
        if calendar in STANDARD_CALENDARS:
            date = f"{year:04d}-{month:02d}-{day:02d}T{hour:02d}:{minute:02d}:{second:02d}"
            return int(np.datetime64(date, "s").astype(np.int64))
        import cftime

        return round(
            cftime.date2num(
                cftime.datetime(year, month, day, hour, minute, second, calendar=calendar), _EPOCH, calendar
            )
        )
    except ValueError as error:
        raise ConfigError(f"'{text}' is not a time of the calendar {calendar}: {error}.") from None


def parse_end(text: str, calendar: str = "standard") -> int:
    """Last second of a period that ends at `text`: a date without a time of day means the whole day, a month the whole month."""
    start = parse_time(text, calendar)
    if len(text.strip()) <= 7:
        return int(_add_months(np.asarray(start), np.asarray(1), calendar)) - 1
    return start + 86399 if len(text.strip()) <= 10 else start


def format_time(seconds: int, calendar: str = "standard") -> str:
    """ISO 8601 text, to the minute, of seconds since 1970; the seconds only where there are some."""
    if calendar in STANDARD_CALENDARS:
        text = str(np.datetime64(int(seconds), "s"))
    else:
        import cftime

        text = cftime.num2date(int(seconds), _EPOCH, calendar).strftime("%Y-%m-%dT%H:%M:%S")
    return text.removesuffix(":00")


def format_times(times: Iterable[int], calendar: str = "standard", show: int = 3) -> str:
    """A short list of times for a message."""
    listed = [format_time(t, calendar) for t in times]
    return ", ".join(listed[:show]) + (f", … ({len(listed)} in all)" if len(listed) > show else "")


def decode_times(values: NDArray, units: str, calendar: str = "standard") -> Times:
    """CF time values (`hours since 1970-01-01`) as seconds since 1970 in their own calendar.

    Raises
    ------
    DataError
        For units that are not a fixed length of time since a date, or an unknown calendar.
    """
    unit, since, start_text = units.strip().partition(" since ")
    if not since or unit.strip().lower() not in _CF_SECONDS:
        raise DataError(f"Time units '{units}' are not understood; expected for example 'hours since 1970-01-01'.")
    if calendar not in CALENDARS:
        raise DataError(f"There is no calendar '{calendar}'; known are {', '.join(sorted(CALENDARS))}.")
    if np.issubdtype(values.dtype, np.floating) and not np.isfinite(values).all():
        missing = int(np.flatnonzero(~np.isfinite(values))[0])
        raise DataError(f"time {missing} of {len(values)} is missing.")
    start, scale = _reference_time(start_text, calendar), _CF_SECONDS[unit.strip().lower()]
    if np.issubdtype(values.dtype, np.integer) and scale >= 1:
        return values.astype(np.int64) * int(scale) + start
    return np.rint(values.astype(np.float64) * scale).astype(np.int64) + start


def _reference_time(text: str, calendar: str) -> int:
    """Seconds since 1970 of the date that CF times count from, in any of the spellings that files have.

    By cftime, since many count from year 1 of the mixed calendar, in which 1582 lacks ten days.
    """
    import cftime

    try:
        return round(cftime.date2num(cftime.num2date(0, f"seconds since {text}", calendar), _EPOCH, calendar))
    except (ValueError, OverflowError) as error:
        raise DataError(f"Times counted since '{text}' are not understood: {error}.") from None


def fraction_of_year(times: Times, calendar: str) -> NDArray[np.float64]:
    """Position in the year, 0 at the start of 1 January, below 1 at the end of December."""
    first = _month_start(_month_number(times, calendar) // 12 * 12, calendar)
    following = _month_start(_month_number(times, calendar) // 12 * 12 + 12, calendar)
    return (times - first) / (following - first)


def month_of_year(times: Times, calendar: str) -> NDArray[np.int64]:
    """0 for January … 11 for December."""
    return _month_number(times, calendar) % 12


def month_start(times: Times, calendar: str) -> Times:
    """The first instant of each time's month."""
    return _month_start(_month_number(times, calendar), calendar)


def usual_step(times: Times, calendar: str) -> Step | None:
    """What lies between most neighbours of ascending times, a month or a year where it is as long as one; None for a single time."""
    if len(times) < 2:
        return None
    usual, day = int(np.median(np.diff(times))), _SECONDS["D"]
    if 28 * day <= usual <= 31 * day:
        return Step(months=1)
    return Step(months=12) if 360 * day <= usual <= 366 * day else Step(seconds=max(usual, 1))


def convert_calendar(times: Times, given: str, wanted: str) -> tuple[Times, NDArray[np.bool_]]:
    """The same dates and times of day in another calendar, and which of them it has.

    A date that the other calendar does not have (29 February, to `noleap`) becomes the last of its month.
    """
    times = np.asarray(times, np.int64)
    if given == wanted:
        return times, np.ones(times.shape, bool)
    months = _month_number(times, given)
    within = times - _month_start(months, given)
    start, end = _month_start(months, wanted), _month_start(months + 1, wanted)
    exists = start + within < end
    return np.where(exists, start + within, end - _SECONDS["D"] + within % _SECONDS["D"]), exists


def in_year(times: Times, year: int, calendar: str) -> Times:
    """The same dates in another year; 29 February becomes the 28th where that year has none."""
    months = _month_number(times, calendar)
    return _add_months(np.asarray(times, np.int64), (year - 1970) * 12 - months // 12 * 12, calendar)


def year_of(times: Times, calendar: str) -> NDArray[np.int64]:
    """Each time's year."""
    return 1970 + _month_number(times, calendar) // 12


_EPOCH = "seconds since 1970-01-01"


def _month_number(times: Times, calendar: str) -> NDArray[np.int64]:
    """Months since January 1970."""
    times = np.asarray(times, np.int64)
    if calendar in STANDARD_CALENDARS:
        return times.astype("datetime64[s]").astype("datetime64[M]").astype(np.int64)
    import cftime

    dates = np.atleast_1d(cftime.num2date(times, _EPOCH, calendar))
    return np.array([(d.year - 1970) * 12 + d.month - 1 for d in dates.ravel()], np.int64).reshape(times.shape)


def _month_start(months: NDArray[np.int64], calendar: str) -> Times:
    months = np.asarray(months, np.int64)
    if calendar in STANDARD_CALENDARS:
        return months.astype("datetime64[M]").astype("datetime64[s]").astype(np.int64)
    import cftime

    dates = [cftime.datetime(1970 + int(m) // 12, int(m) % 12 + 1, 1, calendar=calendar) for m in months.ravel()]
    return np.rint(cftime.date2num(dates, _EPOCH, calendar)).astype(np.int64).reshape(months.shape)


def _add_months(times: Times, count: NDArray[np.int64], calendar: str) -> Times:
    """Same place in a later month; a day that the later month does not have becomes its last."""
    months = _month_number(times, calendar)
    within = times - _month_start(months, calendar)
    start, end = _month_start(months + count, calendar), _month_start(months + count + 1, calendar)
    last_day = (end - start) // 86400 * 86400 - 86400 + within % 86400
    return start + np.minimum(within, last_day)
