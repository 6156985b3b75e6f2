"""Calendar arithmetic: steps, leads, adjacency and text, in every calendar."""

from __future__ import annotations

import cftime
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from credit_ray.errors import ConfigError, DataError
from credit_ray.times import (
    CALENDARS,
    Step,
    decode_times,
    format_time,
    format_times,
    fraction_of_year,
    month_of_year,
    month_start,
    parse_end,
    parse_time,
)

EPOCH = "seconds since 1970-01-01"
calendars = st.sampled_from(sorted(CALENDARS))
instants = st.integers(-(10**10), 10**10)
steps = st.builds(Step, seconds=st.integers(1, 10**7)) | st.builds(Step, months=st.integers(1, 60))
few = settings(max_examples=60, deadline=None)


@few
@given(steps)
def test_a_step_is_read_as_it_is_written(step: Step) -> None:
    assert Step.parse(str(step)) == step


@pytest.mark.parametrize(
    ("text", "step"),
    [
        ("6h", Step(seconds=21600)),
        ("90min", Step(seconds=5400)),
        ("5D", Step(seconds=432000)),
        (" 1 d ", Step(seconds=86400)),
        ("1MS", Step(months=1)),
        ("3mo", Step(months=3)),
        ("1YS", Step(months=12)),
    ],
)
def test_steps_have_several_spellings(text: str, step: Step) -> None:
    assert Step.parse(text) == step


@pytest.mark.parametrize("text", ["", "h", "0h", "-6h", "6 hours", "1.5d", "6h30", "1W"])
def test_what_is_no_step_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ConfigError, match="is not a time step: write 6h"):
        Step.parse(text)


@few
@given(steps, instants, st.integers(0, 40), calendars)
def test_a_time_so_many_steps_later_is_so_many_steps_away(step: Step, start: int, count: int, calendar: str) -> None:
    # monthly times stand at the start of their month, where every month has the same place
    first = np.array([start]) if step.fixed else month_start(np.array([start]), calendar)
    later = step.add(first, count, calendar)
    assert step.between(first, later, calendar).tolist() == [count]
    assert step.add(later, -count, calendar).tolist() == first.tolist()
    if count:
        assert step.between(later, first, calendar).tolist() == [-1]


@few
@given(instants, st.integers(1, 30), calendars)
def test_months_are_added_as_the_calendar_has_them(start: int, count: int, calendar: str) -> None:
    date = cftime.num2date(start, EPOCH, calendar)
    later = cftime.num2date(int(Step(months=count).add(np.array([start]), 1, calendar)[0]), EPOCH, calendar)
    if date.year < 1583 and calendar in ("standard", "gregorian"):
        return  # ours is proleptic: it has no jump in 1582
    assert (later.year * 12 + later.month) - (date.year * 12 + date.month) == count
    assert (later.hour, later.minute, later.second) == (date.hour, date.minute, date.second)
    assert later.day == date.day or later.day < date.day <= 31


def test_the_last_day_of_a_month_stays_inside_the_next() -> None:
    january = np.array([parse_time("2001-01-31T06")])
    assert format_time(Step.parse("1MS").add(january, 1, "standard")[0]) == "2001-02-28T06:00"
    assert format_time(Step.parse("1MS").add(january, 1, "360_day")[0], "360_day").startswith("2001-0")


def test_months_anywhere_in_them_are_adjacent() -> None:
    times = np.array([parse_time(t) for t in ("2000-01-16T12", "2000-02-15", "2000-03-16T12", "2000-05-01")])
    assert Step.parse("1MS").between(times[:-1], times[1:], "standard").tolist() == [1, 1, 2]
    assert Step.parse("2MS").between(times[:-1], times[1:], "standard").tolist() == [-1, -1, 1]


@pytest.mark.parametrize(
    ("lead", "step", "count"),
    [
        ("10d", "6h", 40),
        ("40steps", "6h", 40),
        ("1 step", "6h", 1),
        ("12mo", "1MS", 12),
        ("2y", "3MS", 8),
        ("90min", "30min", 3),
    ],
)
def test_leads_are_whole_numbers_of_steps(lead: str, step: str, count: int) -> None:
    assert Step.parse(step).count_in(lead) == count


@pytest.mark.parametrize(
    ("lead", "step"), [("7h", "6h"), ("1d", "1MS"), ("1mo", "6h"), ("0steps", "6h"), ("1MS", "2MS"), ("soon", "6h")]
)
def test_leads_that_are_no_whole_number_of_steps_are_refused(lead: str, step: str) -> None:
    with pytest.raises(ConfigError):
        Step.parse(step).count_in(lead)


@few
@given(instants, calendars)
def test_a_time_is_read_as_it_is_written(seconds: int, calendar: str) -> None:
    seconds -= seconds % 60
    text = format_time(seconds, calendar)
    if len(text) == 16:  # years of four digits
        assert parse_time(text, calendar) == seconds


@pytest.mark.parametrize(
    ("text", "last"),
    [
        ("2000-02", "2000-02-29T23:59:59"),
        ("2000-2", "2000-02-29T23:59:59"),
        ("2000-02-28", "2000-02-28T23:59:59"),
        ("2000-02-28T06", "2000-02-28T06:00"),
        ("2000-02-28T06:30:15Z", "2000-02-28T06:30:15"),
    ],
)
def test_a_period_ends_with_the_whole_of_what_it_names(text: str, last: str) -> None:
    assert format_time(parse_end(text)) == last


def test_each_calendar_has_its_own_days() -> None:
    assert parse_time("2001-03-01", "noleap") - parse_time("2001-02-28", "noleap") == 86400
    assert parse_time("2000-03-01", "noleap") - parse_time("2000-02-28", "noleap") == 86400
    assert parse_time("2000-03-01", "360_day") - parse_time("2000-02-30", "360_day") == 86400
    for text, calendar in (
        ("2000-02-29", "noleap"),
        ("2001-02-29", "standard"),
        ("2000-01-31", "360_day"),
        ("2000-13-01", "standard"),
    ):
        with pytest.raises(ConfigError, match=f"'{text}' is not a time of the calendar {calendar}"):
            parse_time(text, calendar)
    with pytest.raises(ConfigError, match="'yesterday' is not a time: write"):
        parse_time("yesterday")


@few
@given(
    st.lists(st.integers(0, 10**6), min_size=1, max_size=5),
    st.sampled_from(["seconds", "minutes", "hours", "days"]),
    st.sampled_from(
        ["1970-01-01", "1850-01-01 00:00:00", "2000-06-30T12:00:00", "1900-1-1 0:0:0.0", "1583-01-01 00:00:00.000000"]
    ),
    calendars,
)
def test_cf_times_are_decoded_as_cftime_does(values: list[int], unit: str, start: str, calendar: str) -> None:
    units = f"{unit} since {start}"
    dates = cftime.num2date(values, units, calendar)
    wanted = np.rint(cftime.date2num(dates, EPOCH, calendar)).astype(np.int64)
    for array in (np.array(values), np.array(values, np.float64)):
        np.testing.assert_array_equal(decode_times(array, units, calendar), wanted)


@pytest.mark.parametrize("units", ["hours since 1-1-1 00:00:00", "days since 0001-01-01", "days since 1500-03-01"])
def test_times_counted_from_before_the_gregorian_calendar_are_those_of_the_mixed_one(units: str) -> None:
    number = {"hours": 17_531_000, "days": 730_500}[units.split()[0]]
    date = cftime.num2date(number, units, "standard")
    assert format_time(decode_times(np.array([number]), units, "standard")[0]) == date.strftime("%Y-%m-%dT%H:%M")
    proleptic = cftime.num2date(number, units, "proleptic_gregorian")
    assert format_time(decode_times(np.array([number]), units, "proleptic_gregorian")[0]) == proleptic.strftime(
        "%Y-%m-%dT%H:%M"
    )


def test_fractions_of_a_day_are_rounded_to_seconds() -> None:
    assert decode_times(np.array([0.25, 1 / 3]), "days since 1970-01-01").tolist() == [21600, 28800]
    assert decode_times(np.array([1500]), "milliseconds since 1970-01-01").tolist() == [2]


@pytest.mark.parametrize(
    ("units", "calendar", "said"),
    [
        ("hours", "standard", "Time units 'hours' are not understood; expected for example"),
        ("fortnights since 2000-01-01", "standard", "Time units 'fortnights since"),
        ("days since yesterday", "standard", "Times counted since 'yesterday' are not understood"),
        ("days since 2000-01-01", "lunar", "There is no calendar 'lunar'; known are 360_day"),
    ],
)
def test_times_that_can_not_be_decoded_are_refused(units: str, calendar: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        decode_times(np.array([1]), units, calendar)


def test_a_missing_time_is_refused() -> None:
    with pytest.raises(DataError, match="time 1 of 2 is missing"):
        decode_times(np.array([1.0, np.nan]), "days since 2000-01-01")


@few
@given(st.integers(-(10**9), 4 * 10**9), calendars)
def test_the_fraction_of_the_year_goes_from_nothing_to_one(seconds: int, calendar: str) -> None:
    fraction = fraction_of_year(np.array([seconds]), calendar)[0]
    assert 0 <= fraction < 1
    date = cftime.num2date(seconds, EPOCH, "proleptic_gregorian" if calendar in ("standard", "gregorian") else calendar)
    assert month_of_year(np.array([seconds]), calendar)[0] == date.month - 1
    assert abs(fraction * 365 - (date.dayofyr - 1)) < 8


def test_a_list_of_times_is_cut_short_for_a_message() -> None:
    assert format_times([0, 21600]) == "1970-01-01T00:00, 1970-01-01T06:00"
    assert format_times(range(0, 864000, 86400)).endswith("1970-01-03T00:00, … (10 in all)")
