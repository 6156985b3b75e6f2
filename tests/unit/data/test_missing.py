"""What stands where values are missing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import xarray as xr
from numpy.testing import assert_allclose, assert_array_equal
from pydantic import ValidationError

from credit_ray.config.data import SourceConfig
from credit_ray.errors import DataError
from tests.unit.data.conftest import Make, Open

Save = Callable[..., str]


def without(dataset: xr.Dataset, times: list[int], place: Any = slice(None), name: str = "sp") -> xr.Dataset:
    """The data set with `name` missing at these times, everywhere or in some columns."""
    values = dataset[name].values.copy()
    values[times, ..., place] = np.nan
    return dataset.assign({name: (dataset[name].dims, values, dataset[name].attrs)})


def test_gaps_are_bridged_by_straight_lines_in_time(make: Make, open_weather: Open) -> None:
    gappy = without(without(make(12), [4, 5]), [8], 3)
    dataset = open_weather(gappy, missing={"sp": "interpolate"})
    found = dataset.columns(dataset.times, dataset.spec.outputs)["sp"]
    assert_allclose(found, make(12)["sp"].values, rtol=1e-6)  # the fixture is linear in time


def test_what_stands_in_a_gap_does_not_depend_on_what_else_is_read(make: Make, open_weather: Open) -> None:
    dataset = open_weather(without(make(12), [4, 5, 9], 2), missing="interpolate")
    whole = dataset.fields(dataset.times, dataset.spec.outputs)
    for i in (3, 4, 5, 9):
        assert_array_equal(dataset.fields(dataset.times[[i]], dataset.spec.outputs)[0], whole[i])


@pytest.mark.parametrize("times", [[3, 4, 5, 6], [0], [11]])
def test_a_gap_that_is_too_long_or_open_is_refused_by_time_and_count(
    make: Make, open_weather: Open, times: list[int]
) -> None:
    dataset = open_weather(without(make(12), times, 2), missing="interpolate")
    message = (
        r"weather: 'sp' has 6 missing values at 2000-01-0\dT\d\d:00 that have no values before and after them within 1D"
    )
    with pytest.raises(DataError, match=message):
        dataset.columns(dataset.times, dataset.spec.outputs)
    if len(times) > 1:
        longer = open_weather(without(make(12), times, 2), missing="interpolate", interpolate_within="30h")
        assert np.isfinite(longer.columns(longer.times, longer.spec.outputs)["sp"]).all()


def test_a_number_stands_where_a_forcing_is_missing_and_a_channel_says_where(make: Make, open_weather: Open) -> None:
    gappy = without(without(make(12), [0], 1), list(range(12)), 4)
    dataset = open_weather(gappy, prognostic=["t"], forcing=["sp"], missing={"sp": -5.0})
    assert dataset.spec.forcing.names == ("sp", "sp_present")
    fields = dataset.fields(dataset.times, dataset.spec.forcing)
    absent = np.isnan(gappy["sp"].values)
    assert absent.any()
    assert_array_equal(fields[:, 0][absent], -5.0)
    assert_array_equal(fields[:, 0][~absent], gappy["sp"].values[~absent])
    assert_array_equal(fields[:, 1], ~absent)
    assert "sp_present" in dataset.stored_variables


def test_levels_and_statics_have_their_own_channels(make: Make, open_weather: Open) -> None:
    gappy = without(make(4), [0], 1, "t")
    orography = gappy["orography"].values.copy()
    orography[0, 0] = np.nan
    gappy = gappy.assign(orography=(("latitude", "longitude"), orography, {"units": "m"}))
    dataset = open_weather(
        gappy, prognostic=["sp"], forcing=["t"], static=["orography"], missing={"t": 0.0, "orography": 0.0}
    )
    assert dataset.spec.forcing.names[3:] == ("t_present_200", "t_present_500", "t_present_850")
    assert dataset.spec.static.names == ("orography", "orography_present")
    assert_array_equal(dataset.statics()[1], np.isfinite(orography))


def test_a_number_is_put_in_after_regridding_so_that_it_blurs_nothing(make: Make, open_weather: Open) -> None:
    gappy = without(make(2), [0, 1], slice(4, None))
    dataset = open_weather(
        gappy,
        prognostic=["t"],
        forcing=["sp"],
        missing={"sp": -1e6},
        regrid="bilinear",
    )
    assert dataset.spec.grid.shape == (6, 8)
    sp = dataset.fields(dataset.times, dataset.spec.forcing)[:, 0]
    assert set(np.unique(sp < -1e3).tolist()) == {False, True}
    assert_array_equal(sp[sp < 0], -1e6)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"prognostic": ["t"], "missing": 0.0}, "t is predicted, and a filled-in number is no truth"),
        ({"forcing": ["t"], "missing": {"q": "mask"}}, "'missing' names q, which the source does not take"),
        ({"static": ["lsm"], "missing": {"lsm": "interpolate"}}, "lsm is static"),
        ({"forcing": ["t"], "interpolate_within": "1MS"}, "no fixed length"),
    ],
)
def test_what_can_not_be_meant_is_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SourceConfig(store="x.zarr", **config)


def test_a_policy_finds_its_variable_by_any_name(make: Make, open_weather: Open) -> None:
    dataset = open_weather(without(make(12), [4]), missing={"surface_pressure": "interpolate"})
    assert np.isfinite(dataset.fields(dataset.times, dataset.spec.outputs)).all()
