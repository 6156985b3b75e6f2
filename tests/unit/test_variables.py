"""The vocabulary: one name inside, whatever a store calls it."""

from __future__ import annotations

import re

import pytest

from credit_ray.data.units import conversion
from credit_ray.errors import DataError
from credit_ray.variables import VOCABULARY, Variable, canonical_name, find_in_store, lookup

every = pytest.mark.parametrize("variable", VOCABULARY, ids=lambda v: v.name)


@every
def test_every_name_of_a_variable_finds_it(variable: Variable) -> None:
    for name in (variable.name, variable.standard_name, *variable.aliases):
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
    assert {variable.name for variable in VOCABULARY if variable.vector} == {"u", "v", "u10", "v10"}


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
