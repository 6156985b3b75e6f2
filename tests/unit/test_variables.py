"""The vocabulary: one name inside, whatever a store calls it."""

from __future__ import annotations

import re

import pytest

from credit_ray.data.units import conversion
from credit_ray.errors import DataError
from credit_ray.variables import (
    VOCABULARY,
    Variable,
    canonical_name,
    counted_positive,
    find_in_store,
    interval_in_name,
    lookup,
)

every = pytest.mark.parametrize("variable", VOCABULARY, ids=lambda v: v.name)


@every
def test_every_name_of_a_variable_finds_it(variable: Variable) -> None:
    for name in variable.names:
        assert lookup(name) is variable
        assert canonical_name(name) == variable.name
        assert find_in_store(variable.name, {name: ""}, {}, "store") == name


@every
def test_every_unit_can_be_read(variable: Variable) -> None:
    # a spelling that is not the vocabulary's own, so that it really is parsed
    assert conversion(f"{variable.units} ", variable.units, variable.name) == (1.0, 0.0)
    assert conversion(
        re.sub("(?<=[a-z])(?<!1e)-", "**-", variable.units), variable.units, variable.name
    ) == pytest.approx((1.0, 0.0))


def test_horizontal_vectors_are_known_as_such() -> None:
    vectors = {variable.name for variable in VOCABULARY if variable.vector}
    assert vectors == {"u", "v", "u10", "v10", "u100", "v100", "ocu", "ocv", "tauuo", "tauvo"}


@every
def test_a_counterpart_is_the_same_flux_as_the_other_of_mean_and_accumulation(variable: Variable) -> None:
    if variable.counterpart:
        other = lookup(variable.counterpart)
        assert other is not None
        assert other.counterpart == variable.name
        assert {other.kind, variable.kind} == {"mean", "accumulated"}
        assert bool(other.positive) == bool(variable.positive)
        per = "s-1" if other.kind == "mean" else "s"
        assert conversion(other.units, f"{variable.units} {per}", variable.name) == pytest.approx((1.0, 0.0))


@every
def test_radiation_heat_and_evaporation_say_their_direction(variable: Variable) -> None:
    assert bool(variable.positive) == (
        variable.units in ("W m-2", "J m-2", "N m-2") or variable.name in ("e", "evspsbl")
    )


def test_a_counterpart_is_found_where_the_variable_is_not() -> None:
    assert find_in_store("e", {"QFLX": "", "T": ""}, {}, "store") == "QFLX"
    assert find_in_store("rsds", {"surface_solar_radiation_downwards": ""}, {}, "store") == (
        "surface_solar_radiation_downwards"
    )
    assert find_in_store("rsds", {"surface_solar_radiation_downwards": "", "FSDS": ""}, {}, "store") == "FSDS"


def test_a_name_may_carry_its_interval() -> None:
    assert canonical_name("total_precipitation_6hr") == "tp"
    assert interval_in_name("total_precipitation_24hr") == 86400
    assert interval_in_name("total_precipitation") is None
    assert canonical_name("temperature_6hr") == "temperature_6hr"  # of an instant: nothing to say
    with pytest.raises(DataError, match="may be total_precipitation_6hr or total_precipitation_24hr"):
        find_in_store("tp", {"total_precipitation_6hr": "", "total_precipitation_24hr": ""}, {}, "store")


@pytest.mark.parametrize(
    ("array", "attributes", "positive"),
    [
        ("slhf", {}, "down"),
        ("slhf", {"standard_name": "surface_upward_latent_heat_flux"}, "down"),  # as in many of ECMWF's files
        ("mean_surface_latent_heat_flux", {}, "down"),
        ("hfls", {"positive": "up"}, "up"),
        ("LHFLX", {}, "up"),
        ("LHFLX", {"positive": "Down"}, "down"),
        ("x", {"standard_name": "surface_upward_latent_heat_flux"}, "up"),
        ("x", {}, ""),
        ("t", {}, ""),
    ],
)
def test_the_direction_of_a_flux_is_told_by_attribute_then_name_then_standard_name(
    array: str, attributes: dict[str, str], positive: str
) -> None:
    assert counted_positive(array, attributes) == positive


def test_a_name_that_is_not_listed_means_itself() -> None:
    assert lookup("my_tracer") is None
    assert canonical_name("my_tracer") == "my_tracer"
    assert find_in_store("my_tracer", {"my_tracer": ""}, {}, "store") == "my_tracer"


def test_the_stores_own_name_goes_before_the_vocabulary() -> None:
    assert find_in_store("t", {"t": "", "temperature": ""}, {}, "store") == "t"


def test_a_name_goes_before_an_attribute() -> None:
    assert find_in_store("t", {"temperature": "", "other": "air_temperature"}, {}, "store") == "temperature"
    assert find_in_store("t", {"var130": "air_temperature", "x": ""}, {}, "store") == "var130"


@pytest.mark.parametrize("available", [{"ta": "", "temperature": ""}, {"a": "air_temperature", "b": "air_temperature"}])
def test_several_candidates_are_asked_about(available: dict[str, str]) -> None:
    with pytest.raises(DataError, match=rf"In store 't' may be {' or '.join(available)}: say which"):
        find_in_store("t", available, {}, "store")


def test_the_configs_answer_is_final() -> None:
    available = {"ta": "", "temperature": "", "t": ""}
    assert find_in_store("t", available, {"t": "ta"}, "store") == "ta"
    assert find_in_store("temperature", available, {"t": "ta"}, "store") == "ta"  # under its canonical name too
    with pytest.raises(DataError, match="store has no array 'taa', which 'rename' gives for 't'. Did you mean 'ta'"):
        find_in_store("t", available, {"t": "taa"}, "store")


def test_what_is_not_there_is_answered_with_the_nearest_name_in_either_spelling() -> None:
    available = {"geopotential": "", "specific_humidity": "", "surface_pressure": ""}
    with pytest.raises(DataError, match=r"store has no variable 'surface_presure'\. Did you mean 'surface_pressure'"):
        find_in_store("surface_presure", available, {}, "store")
    with pytest.raises(DataError, match=r"no variable 't'\..*There is: geopotential, q, sp,"):
        find_in_store("t", available, {}, "store")
