"""What one is told of a store that one does not know."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from credit_ray.config.data import SourceConfig
from credit_ray.data.info import StoreInfo, describe_store
from credit_ray.data.source import open_source
from credit_ray.errors import DataError

LATITUDE = np.linspace(87.5, -87.5, 36)
LONGITUDE = np.arange(0.0, 360.0, 5.0)


def info(folder: Path, times: np.ndarray, units: str = "hours since 2000-01-01", **changes: str) -> StoreInfo:
    """Of a store with `t` on two levels, `tp`, something unknown, and orography, at these times."""
    shape = (len(times), len(LATITUDE), len(LONGITUDE))
    dataset = xr.Dataset(
        {
            "TEMP_AIR": (
                ("time", "plev", "lat", "lon"),
                np.zeros((shape[0], 2, *shape[1:]), np.float32),
                {"standard_name": "air_temperature", "units": "degC"},
            ),
            "tp": (("time", "lat", "lon"), np.zeros(shape, np.float32), {"units": changes.get("tp", "kg m-2")}),
            "mystery": (("time", "lat", "lon"), np.zeros(shape, np.float32)),
            "orog": (("lat", "lon"), np.zeros(shape[1:], np.float32), {"units": "m"}),
        },
        {
            "time": ("time", times, {"units": units}),
            "plev": ("plev", [50000.0, 85000.0], {"units": "Pa"}),
            "lat": ("lat", LATITUDE, {"units": "degrees_north"}),
            "lon": ("lon", LONGITUDE, {"units": "degrees_east"}),
        },
    )
    dataset.to_zarr(folder / "x.zarr", zarr_format=3, consolidated=False)
    return describe_store(str(folder / "x.zarr"))


def test_a_store_is_told_as_the_config_would_understand_it(tmp_path: Path) -> None:
    found = info(tmp_path, np.arange(8) * 6)
    assert (found.times, found.first, found.last, found.step) == (8, "2000-01-01T00:00", "2000-01-02T18:00", "6h")
    assert found.levels == {"plev": "2 of pressure: 500, 850"}
    assert {v.name: (v.known_as, v.role) for v in found.variables} == {
        "TEMP_AIR": ("t", "prognostic"),
        "tp": ("tp", "diagnostic"),
        "mystery": (None, "prognostic"),
        "orog": ("orography", "static"),
    }
    assert (found.gaps, found.problems) == ((), ())
    for part in ("36×72", "TEMP_AIR", "diagnostic: [tp]", "static: [orography]"):
        assert part in str(found)


def test_what_it_suggests_can_be_opened(tmp_path: Path) -> None:
    found = info(tmp_path, np.arange(8) * 6)
    roles = {
        role: [v.known_as or v.name for v in found.variables if v.role == role] for role in ("prognostic", "static")
    }
    units = {"mystery": "1"}
    source = open_source("x", SourceConfig(store=found.store, units=units, **roles))
    assert [channel.name for channel in source.channels["prognostic"]] == ["t_500", "t_850", "mystery"]


def test_gaps_are_named_by_the_times_around_them(tmp_path: Path) -> None:
    found = info(tmp_path, np.array([0, 6, 12, 30, 36, 42, 96, 102]))
    assert found.step == "6h"
    assert found.gaps == (("2000-01-01T12:00", "2000-01-02T06:00"), ("2000-01-02T18:00", "2000-01-05T00:00"))


def test_months_are_a_step_without_gaps(tmp_path: Path) -> None:
    found = info(tmp_path, np.array([0, 31, 60, 91, 121, 182]), "days since 2000-01-01")
    assert found.step == "1MS"
    assert found.gaps == (("2000-05-01T00:00", "2000-07-01T00:00"),)


@pytest.mark.parametrize(
    ("times", "said"),
    [
        (
            [0, 6, 6, 12, 18, 18, 18],
            "3 times repeat an earlier one: 2000-01-01T06:00, 2000-01-01T18:00; drop one of each",
        ),
        ([0, 12, 6, 18], "the times go back 1 time, first from 2000-01-01T12:00 to 2000-01-01T06:00 (position 2 of 4)"),
        ([12, 18, 0, 6, 30, 24], "the times go back 2 times, first from 2000-01-01T18:00 to 2000-01-01T00:00"),
    ],
)
def test_times_that_can_not_be_used_are_a_problem_and_no_failure(tmp_path: Path, times: list[int], said: str) -> None:
    found = info(tmp_path, np.array(times))
    assert len(found.problems) == 1
    assert said in found.problems[0]
    assert said in str(found)
    assert found.times == len(set(times))
    assert found.step == "6h"
    assert found.gaps == ()


def test_repeated_unsorted_and_missing_times_are_told_together(tmp_path: Path) -> None:
    found = info(tmp_path, np.array([0, 6, 6, 30, 24, 36, 42]))
    assert len(found.problems) == 2
    assert found.gaps == (("2000-01-01T06:00", "2000-01-02T00:00"),)


def test_a_flux_may_be_stored_as_its_counterpart(tmp_path: Path) -> None:
    assert info(tmp_path, np.arange(4), tp="m s-1").problems == ()


@pytest.mark.parametrize(("units", "said"), [("K", "'tp'"), ("", "has no units")])
def test_units_that_do_not_fit_are_a_problem(tmp_path: Path, units: str, said: str) -> None:
    (problem,) = info(tmp_path, np.arange(4), tp=units).problems
    assert said in problem


def test_a_store_without_a_sphere_says_what_it_has(tmp_path: Path) -> None:
    xr.Dataset({"a": ("x", [1.0, 2.0])}).to_zarr(tmp_path / "x.zarr", zarr_format=3, consolidated=False)
    found = describe_store(str(tmp_path / "x.zarr"))
    assert found.grid is None
    assert "it has a" in found.problems[0]


def test_no_store_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing\.zarr"):
        describe_store(str(tmp_path / "nothing.zarr"))
