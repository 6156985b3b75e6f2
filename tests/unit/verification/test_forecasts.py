"""A forecast store as scores and plots read it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from credit_ray.errors import ConfigError, DataError
from credit_ray.times import Step
from credit_ray.verification.forecasts import Forecasts
from credit_ray.verification.leads import lead_argument, lead_text, nearest_leads


def test_channels_leads_and_times_are_found_in_the_store(world: Any) -> None:
    found = world.forecasts()
    assert found.channels.names == ("t_500", "t_850", "msl")
    assert found.leads.tolist() == [1, 2, 3, 4, 5]
    assert (found.init_times == world.init_times).all()
    assert (found.valid_times[:, 1] == world.init_times + 2 * 21600).all()


def test_without_the_models_step_leads_are_counted_in_their_common_divisor(world: Any) -> None:
    dataset = world.forecasts().dataset.isel(lead_time=[1, 3])  # 12 h, 24 h
    found = Forecasts(dataset.drop_attrs(deep=False), "f")
    assert (found.step, found.leads.tolist()) == (Step(seconds=43200), [1, 2])


def test_months_are_counted(world: Any) -> None:
    dataset = world.forecasts().dataset.assign_coords(lead_time=("lead_time", [1, 2, 3, 4, 12], {"units": "months"}))
    found = Forecasts(dataset.assign_attrs(timestep="1MS"), "f")
    assert (found.step, found.leads.tolist()) == (Step(months=1), [1, 2, 3, 4, 12])
    assert (found.find_lead("12mo"), found.lead_text(0), found.lead_text(4)) == (4, "1 month", "12 months")


def test_fields_are_read_at_any_index(world: Any) -> None:
    found = world.forecasts()
    np.testing.assert_array_equal(found.read("t", 1, 2, 0), world.forecast[1, 2, 0].astype("f4"))
    np.testing.assert_array_equal(found.read("t", slice(2, 4), slice(1, 3)), world.forecast[2:4, 1:3, :2].astype("f4"))
    np.testing.assert_array_equal(
        found.read("msl", slice(0, 1), slice(None))[0, :, 0], world.forecast[0, :, 2].astype("f4")
    )


@pytest.mark.parametrize(
    ("variable", "level", "name", "position"),
    [("t", 850.0, "t_850", 1), ("t_500", None, "t_500", 0), ("msl", None, "msl", 0)],
)
def test_a_channel_is_found_by_variable_and_level_or_by_its_name(
    world: Any, variable: str, level: float | None, name: str, position: int
) -> None:
    channel, found = world.forecasts().find_channel(variable, level)
    assert (channel.name, found) == (name, position)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda f: f.find_channel("tt", None), "Did you mean 't'"),
        (lambda f: f.find_channel("t", None), "levels 500, 850; say which"),
        (lambda f: f.find_channel("t", 700), "not on 700"),
        (lambda f: f.find_lead("2d"), "no lead of 2d. It has: 6 h, 12 h, 18 h, 1 d, 30 h"),
        (lambda f: f.find_lead("7h"), "no whole number of steps"),
        (lambda f: f.find_init("1980-01-01"), "no forecast from 1980-01-01"),
    ],
)
def test_what_it_does_not_have_is_an_error_that_says_what_it_has(world: Any, ask: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ask(world.forecasts())


def test_an_unfinished_store_is_not_scored(world: Any) -> None:
    found = world.forecasts(complete=0)
    written = found.dataset.assign_coords(steps_written=("init_time", [5, 5, 2, 0, 0, 0]))
    with pytest.raises(DataError, match="2 of 6 forecasts are whole"):
        replace(found, dataset=written).refuse_incomplete()
    world.forecasts(complete=1).refuse_incomplete()


def test_what_is_no_forecast_is_refused() -> None:
    with pytest.raises(DataError, match="lacks the coordinate 'init_time'"):
        Forecasts(xr.Dataset(coords={"lead_time": [1]}), "f")


def test_times_of_a_model_calendar_are_its_own_seconds(world: Any) -> None:
    times = xr.date_range("2000-02-28", periods=6, freq="D", calendar="noleap", use_cftime=True)
    found = replace(world.forecasts(), dataset=world.forecasts().dataset.assign_coords(init_time=times))
    assert found.calendar == "noleap"
    assert np.diff(found.init_times).tolist() == [86400] * 5


@given(
    st.sampled_from([Step(seconds=3600), Step(seconds=21600), Step(seconds=86400), Step(months=1), Step(months=12)]),
    st.integers(1, 400),
)
def test_a_lead_can_be_given_to_a_command_as_it_is_printed(step: Step, lead: int) -> None:
    assert step.count_in(lead_argument(lead, step)) == lead
    assert lead_argument(lead, step)[:-2] in lead_text(lead, step)


@given(st.lists(st.integers(0, 200), min_size=1, unique=True), st.sampled_from([Step(seconds=21600), Step(months=1)]))
def test_a_short_table_has_the_last_lead_and_few_others(leads: list[int], step: Step) -> None:
    leads = sorted(leads)
    found = nearest_leads(leads, step)
    assert found == sorted(set(found))
    assert found[-1] == len(leads) - 1
    assert len(found) <= 4


def test_a_short_table_has_six_hours_a_day_and_three_days() -> None:
    assert [lead + 1 for lead in nearest_leads(range(1, 41), Step(seconds=21600))] == [1, 4, 12, 40]
