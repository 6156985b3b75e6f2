"""Sources joined: common times, roles, what a model narrows them to, and the two doors to the same numbers."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import xarray as xr

from credit_ray.config.data import DataConfig
from credit_ray.data.dataset import Dataset, open_dataset
from credit_ray.errors import ConfigError, DataError, SpecMismatchError
from credit_ray.state import Channel, Channels
from credit_ray.times import format_time, parse_time
from tests.unit.data.conftest import LONGITUDE, Make, Open

Save = Callable[..., str]
WHOLE = ("2000-01-01", "2000-12-31")


def test_channels_are_stacked_where_they_are_asked_for(make: Make, open_weather: Open) -> None:
    dataset = open_weather(make())
    some = Channels([dataset.spec.prognostic[i] for i in (3, 1, 0)])
    assert some.names == ("sp", "t_500", "t_200")
    fields = dataset.fields(dataset.times[[5, 2, 5]], some)
    columns = dataset.columns(dataset.times, dataset.spec.windowed)
    for row, position in enumerate((5, 2, 5)):
        np.testing.assert_array_equal(fields[row, 0], columns["sp"][position])
        np.testing.assert_array_equal(fields[row, 1], columns["t"][position, 1])
        np.testing.assert_array_equal(fields[row, 2], columns["t"][position, 0])


def test_a_time_that_is_not_there_is_named(make: Make, open_weather: Open) -> None:
    dataset = open_weather(make())
    with pytest.raises(
        DataError, match=r"data\.sources\.weather has nothing at 2000-01-01T07:00; it goes from 2000-01-01T00:00 to"
    ):
        dataset.fields(np.array([parse_time("2000-01-01T07")]), dataset.spec.prognostic)


def test_a_channel_that_is_not_there_is_answered_with_the_nearest_one(make: Make, open_weather: Open) -> None:
    dataset = open_weather(make())
    for variable in ("tt", "orography"):
        with pytest.raises(SpecMismatchError, match=f"no variable '{variable}'"):
            dataset.fields(dataset.times[:1], Channels([Channel(variable=variable, units="K")]))
    with pytest.raises(SpecMismatchError, match="no channel 't_300'"):
        dataset.fields(dataset.times[:1], Channels([Channel(variable="t", units="K", level=300, vertical="pressure")]))


def test_sources_join_on_the_times_that_all_have(make: Make, save: Save, open_weather: Open) -> None:
    other = save(make(range(12, 90, 12)).rename(sp="msl"), "other.zarr")
    dataset = open_weather(make(), sources={"surface": {"store": other, "diagnostic": ["msl"]}})
    assert [format_time(t) for t in dataset.times[[0, 1, -1]]] == [
        "2000-01-01T12:00",
        "2000-01-02T00:00",
        "2000-01-03T12:00",
    ]
    assert dataset.spec.outputs.names == ("t_200", "t_500", "t_850", "sp", "msl")
    fields = dataset.fields(dataset.times, dataset.spec.outputs)
    assert fields[1, 3, 5, 0] == 1000 * 4 + 500  # each source at its own position: the fourth time of the one
    assert fields[1, 4, 5, 0] == 1000 * 1 + 500  # is the first of the other


def test_sources_without_a_common_time_are_refused_with_their_times(make: Make, save: Save, open_weather: Open) -> None:
    other = save(make(range(3, 40, 6)).rename(sp="msl"), "other.zarr")
    with pytest.raises(
        SpecMismatchError, match=r"weather and data\.sources\.surface have no time in common: .*2000-01-01T03:00"
    ):
        open_weather(make(), sources={"surface": {"store": other, "diagnostic": ["msl"]}})


def test_sources_on_different_grids_are_refused(make: Make, save: Save, open_weather: Open) -> None:
    other = save(make(longitude=LONGITUDE + 22.5).rename(sp="msl"), "other.zarr")
    with pytest.raises(SpecMismatchError, match=r"data\.sources\.surface is on a .*, data\.sources\.weather on a"):
        open_weather(make(), sources={"surface": {"store": other, "diagnostic": ["msl"]}})


def test_statics_may_come_from_another_file_in_another_orientation(make: Make, save: Save, open_weather: Open) -> None:
    turned = make(1).isel(latitude=slice(None, None, -1)).drop_vars(["t", "sp", "tp", "time"])
    turned = turned.assign_coords(
        longitude=("longitude", np.where(LONGITUDE < 180, LONGITUDE, LONGITUDE - 360), turned["longitude"].attrs)
    )
    other = save(turned.sortby("longitude"), "static.zarr")
    one = open_weather(make(), static=["orography"])
    two = open_weather(make(), sources={"static": {"store": other, "static": ["orography"]}})
    np.testing.assert_array_equal(one.statics(), two.statics())
    assert two.spec.static.names == ("orography",)


def test_missing_statics_are_refused_by_name(make: Make, open_weather: Open) -> None:
    dataset = make()
    dataset["orography"].values[0, 0] = np.nan
    with pytest.raises(DataError, match="'orography' has 1 missing values"):
        open_weather(dataset, static=["orography"]).statics()
    with pytest.raises(DataError, match="The static fields orography have missing values"):
        open_weather(dataset, static=["orography"], missing="mask").statics()


def test_a_variable_has_one_role_and_one_source(make: Make, save: Save, open_weather: Open) -> None:
    with pytest.raises(ConfigError, match="'sp' is both prognostic and diagnostic"):
        open_weather(make(), sources={"again": {"store": save(make(), "again.zarr"), "diagnostic": ["sp"]}})


# Times


def test_a_finer_step_is_sampled_where_values_belong_to_times(make: Make, open_weather: Open) -> None:
    dataset = open_weather(make(40, step=1))
    assert np.diff(dataset.times).tolist() == [21600] * 6
    assert dataset.fields(dataset.times, dataset.spec.prognostic)[:, 3, 5, 0].tolist() == [
        1000.0 * 6 * i + 500 for i in range(7)
    ]


def test_gaps_stay_gaps(make: Make, open_weather: Open) -> None:
    dataset = open_weather(make([0, 6, 12, 48, 54, 60, 66]))
    assert len(dataset.times) == 7
    assert dataset.inits(WHOLE, 2).tolist() == dataset.times[[0, 3, 4]].tolist()
    with pytest.raises(DataError, match="No initial time in .* truth for all of its 5 steps"):
        dataset.inits(WHOLE, 5)


@pytest.mark.parametrize("calendar", ["noleap", "360_day", "standard"])
def test_months_follow_each_other_in_every_calendar(make: Make, open_weather: Open, calendar: str) -> None:
    days = {"noleap": (31, 28, 31, 30), "360_day": (30, 30, 30, 30), "standard": (31, 29, 31, 30)}[calendar]
    middles = np.concatenate([[0], np.cumsum(days)[:-1]]) + 14
    dataset = open_weather(make(middles, units="days since 2000-01-01", calendar=calendar), timestep="1MS")
    assert dataset.inits(("2000-01", "2000-12"), 3).tolist() == [parse_time("2000-01-01", calendar)]
    assert dataset.fields(np.array([parse_time("2000-03-01", calendar)]), dataset.spec.prognostic)[0, 3, 5, 0] == 2500


def test_initial_times_have_their_history_and_their_lead_and_are_spread_evenly(make: Make, open_weather: Open) -> None:
    dataset = open_weather(make(40), history=3)
    found = dataset.inits(WHOLE, 4)
    assert found.tolist() == dataset.times[2:36].tolist()
    some = dataset.inits(WHOLE, 4, at_most=5)
    assert len(some) == 5
    assert {some[0], some[-1]} == {found[0], found[-1]}
    assert np.ptp(np.diff(some)) <= 21600
    within = dataset.inits(("2000-01-03", "2000-01-04"), 4)
    assert format_time(within[0]) == "2000-01-03T00:00"  # history may come from before the period
    assert format_time(within[-1]) == "2000-01-03T18:00"  # truth may not come from after it


def test_a_period_without_data_says_which_there_are(make: Make, open_weather: Open) -> None:
    with pytest.raises(
        DataError,
        match=r"The period 1999-01 … 1999-02 holds none of the data's 12 times, which go from 2000-01-01T00:00 to",
    ):
        open_weather(make()).span(("1999-01", "1999-02"))


# The two doors


@pytest.mark.parametrize("at", ["input", "target"])
def test_forcings_are_at_the_time_that_the_config_declares(make: Make, open_weather: Open, at: str) -> None:
    dataset = open_weather(make(), forcing=["tp"], at=at)
    inits = dataset.times[[3, 5]]
    steps = [forcing[:, 0, 5, 0].tolist() for forcing in dataset.forcings(inits, 3)]
    later = 0 if at == "input" else 1
    assert steps == [[1000.0 * (3 + s + later) + 700, 1000.0 * (5 + s + later) + 700] for s in range(3)]


def test_a_state_holds_its_history_and_what_forced_it(make: Make, open_weather: Open) -> None:
    dataset = open_weather(make(), forcing=["tp"], history=3)
    state = dataset.initial_state(dataset.times[[4, 7]])
    assert state.fields.shape == (2, 3, 4, 6, 8)
    assert state.fields[:, :, 3, 5, 0].tolist() == [[2500, 3500, 4500], [5500, 6500, 7500]]
    assert state.forcing[:, :, 0, 5, 0].tolist() == [[3700, 4700], [6700, 7700]]
    assert state.valid_time.tolist() == dataset.times[[4, 7]].tolist()
    with pytest.raises(DataError, match=r"nothing at 1999-12-31T12:00, 1999-12-31T18:00"):
        dataset.initial_state(dataset.times[:1])


def test_forcings_that_are_computed_go_beyond_the_data(make: Make, open_weather: Open) -> None:
    dataset = open_weather(make(), sources={"sun": {"store": "derived", "forcing": ["rsdt"]}})
    assert len(list(dataset.forcings(dataset.times[-1:], 4))) == 4


# A model's part of it


def test_a_model_reads_its_own_channels_in_its_own_order(make: Make, open_weather: Open) -> None:
    dataset = open_weather(make(), diagnostic=["tp"], static=["orography"])
    spec = replace(
        dataset.spec, prognostic=Channels([dataset.spec.prognostic[i] for i in (3, 2)]), diagnostic=Channels()
    )
    narrow = dataset.for_model(spec)
    np.testing.assert_array_equal(
        narrow.fields(dataset.times, spec.windowed), dataset.fields(dataset.times, dataset.spec.windowed)[:, [3, 2]]
    )
    assert narrow.initial_state(dataset.times[:1]).fields.shape[2] == 2


def test_data_that_do_not_fit_a_model_are_refused_with_all_that_differs(make: Make, open_weather: Open) -> None:
    spec = open_weather(make(), diagnostic=["tp"]).spec
    other = open_weather(
        make(longitude=LONGITUDE[:4], calendar="noleap").drop_vars("sp"),
        prognostic=["t"],
        levels=[200, 500],
        timestep="12h",
    )
    said = r"data\.sources\.weather does not fit the model.*lacks: t_850, sp.*grid: .*time step: 12h, not 6h.*calendar: noleap, not standard"
    with pytest.raises(SpecMismatchError, match=said):
        other.for_model(spec)


# Identity


def test_the_identity_is_that_of_the_data_wherever_they_lie(make: Make, save: Save, open_weather: Open) -> None:
    dataset = open_weather(make())
    same = [
        open_weather(make(), encoding={"t": {"chunks": (1, 1, 6, 8)}}),
        open_weather(make().rename(t="temperature")),
        open_weather(make(latitude=make()["latitude"].values[::-1])),
        open_weather(make(), history=2),
        open_weather(make(units="hours since 2000-01-01 00:00:00")),
    ]
    others = [
        open_weather(make(11)),
        open_weather(make(), levels=[200, 500]),
        open_weather(make(calendar="noleap")),
        open_weather(make(), timestep="12h"),
        open_weather(make(longitude=LONGITUDE + 1)),
    ]
    assert {dataset.data_id} == {other.data_id for other in same}
    assert len({dataset.data_id, *(other.data_id for other in others)}) == len(others) + 1


def test_a_data_set_travels_small_and_reads_the_same(make: Make, open_weather: Open) -> None:
    dataset = open_weather(make())
    fields = dataset.fields(dataset.times, dataset.spec.prognostic)
    travelled: Dataset = pickle.loads(pickle.dumps(dataset))
    assert len(pickle.dumps(dataset)) < 50_000
    assert travelled.spec == dataset.spec
    assert {dataset.spec.prognostic: 1}[travelled.spec.prognostic] == 1
    np.testing.assert_array_equal(travelled.fields(dataset.times, dataset.spec.prognostic), fields)


def test_time_chunks_are_counted_in_times_that_are_used(make: Make, open_weather: Open) -> None:
    assert (
        open_weather(
            make(48, step=1), encoding={"t": {"chunks": (24, 3, 6, 8)}, "sp": {"chunks": (12, 6, 8)}}
        ).time_chunk
        == 4
    )
    assert open_weather(make(48), encoding={"t": {"chunks": (8, 3, 6, 8)}, "sp": {"chunks": (4, 6, 8)}}).time_chunk == 8


def test_only_derived_sources_are_no_data() -> None:
    config: dict[str, Any] = {
        "timestep": "6h",
        "sources": {"a": {"store": "nowhere", "prognostic": ["t"]}},
        "splits": {"train": WHOLE},
    }
    sun = DataConfig.model_validate(
        {**config, "sources": {"sun": {"store": "derived", "forcing": ["rsdt"]}} | config["sources"]}
    )
    only_sun = sun.model_copy(update={"sources": {"sun": sun.sources["sun"]}})
    with pytest.raises(ConfigError, match="only derived ones"):
        open_dataset(only_sun)


def test_values_survive_the_whole_way_bit_by_bit(make: Make, open_weather: Open) -> None:
    stored: xr.Dataset = make()
    dataset = open_weather(stored)
    read = dataset.fields(dataset.times, dataset.spec.prognostic)
    np.testing.assert_array_equal(read[:, :3], stored["t"].values)
    np.testing.assert_array_equal(read[:, 3], stored["sp"].values)
