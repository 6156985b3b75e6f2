"""Sources of other steps, years and calendars on one time axis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from pydantic import ValidationError

from credit_ray.config.data import SourceConfig
from credit_ray.data.dataset import Dataset
from credit_ray.errors import DataError, SpecMismatchError
from credit_ray.times import format_time, parse_time
from tests.unit.data.conftest import Make, Open

Save = Callable[..., str]


def positions(dataset: Dataset, variable: str) -> np.ndarray:
    """Which of the store's times was read at each time."""
    column = dataset.columns(dataset.times, dataset.spec.windowed)[variable]
    return (column[:, 0, 0] // 1000).astype(int)


def forcing(store: str, **config: Any) -> dict[str, Any]:
    return {"ocean": {"store": store, "forcing": ["skt"], **config}}


def test_the_latest_value_stands_until_the_next(make: Make, save: Save, open_weather: Open) -> None:
    daily = save(
        make(range(6, 80, 24)).rename(sp="skt").assign_attrs(),
        "daily.zarr",
    )
    dataset = open_weather(make(14), sources=forcing(daily, time="persist", units={"skt": "K"}))
    assert format_time(dataset.times[0]) == "2000-01-01T06:00"  # nothing stands before the first
    assert_array_equal(positions(dataset, "skt"), [0] * 4 + [1] * 4 + [2] * 4 + [3])
    one = dataset.columns(dataset.times[[7]], dataset.spec.windowed)["skt"]
    assert_array_equal(one[0], dataset.columns(dataset.times, dataset.spec.windowed)["skt"][7])


def test_a_value_stands_no_longer_than_the_sources_step_or_hold(make: Make, save: Save, open_weather: Open) -> None:
    gappy = save(make([0, 12, 24, 60, 72]).rename(sp="skt"), "gappy.zarr")
    there = open_weather(make(16), sources=forcing(gappy, time="persist", units={"skt": "K"}))
    hours = (there.times - parse_time("2000-01-01")) // 3600
    assert_array_equal(hours, [0, 6, 12, 18, 24, 30, 36, 60, 66, 72, 78, 84])
    longer = open_weather(make(16), sources=forcing(gappy, time="persist", hold="1D", units={"skt": "K"}))
    assert_array_equal((longer.times - parse_time("2000-01-01")) // 3600, [h for h in range(0, 96, 6) if h != 54])
    with pytest.raises(DataError, match=r"ocean has nothing at 2000-01-03T06:00"):
        longer.columns(np.array([parse_time("2000-01-03T06:00")]), longer.spec.forcing)


def test_one_year_repeats(make: Make, save: Save, open_weather: Open) -> None:
    days = np.array([0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334])
    climatology = save(make(24 * days, units="hours since 1850-01-01", calendar="noleap").rename(sp="skt"), "year.zarr")
    weather = make(24 * np.arange(0, 3 * 366, 10))
    dataset = open_weather(
        weather,
        sources=forcing(climatology, time="cyclic", units={"skt": "K"}),
        timestep="10D",
    )
    assert len(dataset.times) == 110
    months = [int(format_time(t)[5:7]) - 1 for t in dataset.times]
    assert_array_equal(positions(dataset, "skt"), months)
    far = np.array([parse_time("2150-06-30T12")])
    assert dataset.columns(far, dataset.spec.forcing)["skt"][0, 0, 0] // 1000 == 5


def test_the_turn_of_the_year_and_the_29th_of_february_have_values(make: Make, save: Save, open_weather: Open) -> None:
    daily = save(make(24 * np.arange(365) + 12, units="hours since 2001-01-01").rename(sp="skt"), "daily.zarr")
    dataset = open_weather(
        make(24 * np.arange(70)), sources=forcing(daily, time="cyclic", units={"skt": "K"}), timestep="1D"
    )
    found = positions(dataset, "skt")
    assert found[0] == 364  # midnight of new year: the noon of the old year's last day
    assert_array_equal(found[1:59], np.arange(58))
    assert found[59] == 57  # 29 February is looked up on the 28th
    assert found[60] == 58


def test_several_years_are_asked_which_repeats(make: Make, save: Save, open_weather: Open) -> None:
    store = save(make(24 * 30 * np.arange(25)).rename(sp="skt"), "years.zarr")
    with pytest.raises(DataError, match="say which year repeats, 'cycle_year: 2000'"):
        open_weather(make(), sources=forcing(store, time="cyclic", units={"skt": "K"}))
    dataset = open_weather(make(), sources=forcing(store, time="cyclic", cycle_year=2001, units={"skt": "K"}))
    assert_array_equal(
        np.unique(positions(dataset, "skt")), [24]
    )  # the last before new year, from the year's other end
    with pytest.raises(DataError, match="has no time in its cycle_year, 1999"):
        open_weather(make(), sources=forcing(store, time="cyclic", cycle_year=1999, units={"skt": "K"}))


@pytest.mark.parametrize(("calendar", "lost"), [("noleap", [59]), ("360_day", [30])])
def test_calendars_meet_by_date(make: Make, save: Save, open_weather: Open, calendar: str, lost: list[int]) -> None:
    other = save(make(24 * np.arange(80), calendar=calendar).rename(sp="skt"), "other.zarr")
    dataset = open_weather(make(24 * np.arange(70)), sources=forcing(other, units={"skt": "K"}), timestep="1D")
    assert dataset.spec.calendar == "standard"
    day = (dataset.times - parse_time("2000-01-01")) // 86400
    assert_array_equal(day, [d for d in range(70) if d not in lost])
    month = np.array([int(format_time(t)[5:7]) for t in dataset.times])
    of_month = np.array([int(format_time(t)[8:10]) for t in dataset.times])
    before = {"noleap": np.array([0, 31, 59]), "360_day": np.array([0, 30, 60])}[calendar]
    assert_array_equal(positions(dataset, "skt"), before[month - 1] + of_month - 1)


def test_only_the_dates_that_are_given_are_used(make: Make, open_weather: Open) -> None:
    dates = [["2000-01-01", "2000-01-01T12"], ["2000-01-02T12", "2000-01-03"]]
    dataset = open_weather(make(20), dates=dates)
    assert_array_equal(positions(dataset, "sp"), [0, 1, 2, 6, 7, 8, 9, 10, 11])
    with pytest.raises(DataError, match="no time in its 'dates'; it goes from 2000-01-01T00:00 to"):
        open_weather(make(20), dates=[["1999-01-01", "1999-12-31"]])


def test_what_never_covers_the_others_is_refused_by_name(make: Make, save: Save, open_weather: Open) -> None:
    late = save(make(12, units="hours since 2010-01-01").rename(sp="skt"), "late.zarr")
    with pytest.raises(SpecMismatchError, match=r"data\.sources\.ocean has nothing for any of the times"):
        open_weather(make(), sources=forcing(late, time="persist", units={"skt": "K"}))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"prognostic": ["t"], "time": "persist"}, "no truth to learn from"),
        ({"forcing": ["t"], "hold": "1D"}, "'hold' goes with"),
        ({"forcing": ["t"], "time": "persist", "hold": "1MS"}, "no fixed length of time"),
        ({"forcing": ["t"], "time": "persist", "cycle_year": 2000}, "'cycle_year' goes with"),
        ({"forcing": ["t"], "interval": {"t": "1MS"}}, "no fixed length of time"),
        ({"forcing": ["t"], "dates": [["2000-13-01", "2001"]]}, "write dates as"),
    ],
)
def test_what_can_not_be_meant_is_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SourceConfig(store="x.zarr", **config)
