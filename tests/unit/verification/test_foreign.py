"""Forecasts that others made, read as ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from credit_ray.verification.forecasts import Forecasts, open_forecast
from credit_ray.verification.foreign import under_our_names

INITS = np.array(["2020-01-01", "2020-01-02"], "datetime64[ns]")
LEADS = (np.arange(1, 4) * 6).astype("timedelta64[h]").astype("timedelta64[ns]")
LATITUDE, LONGITUDE = np.linspace(75, -75, 6), np.arange(12) * 30.0
VALUES = np.random.default_rng(0).normal(size=(2, 3, 2, 6, 12)).astype("f4")


def weatherbench() -> xr.Dataset:
    """Names, dimension order and units as in WeatherBench 2's stores of forecasts."""
    dims = ("time", "prediction_timedelta", "level", "longitude", "latitude")
    coordinates = {
        "time": INITS,
        "prediction_timedelta": LEADS,
        "level": [500, 850],
        "longitude": LONGITUDE,
        "latitude": LATITUDE,
    }
    fields = {"temperature": (dims, np.swapaxes(VALUES, -1, -2), {"units": "K"})}
    return xr.Dataset(fields, coordinates)


def cfgrib() -> xr.Dataset:
    """One forecast, as cfgrib reads it: a scalar time, steps, levels in Pa here."""
    dims = ("step", "isobaricInPa", "latitude", "longitude")
    coordinates = {
        "time": ((), INITS[0], {"standard_name": "forecast_reference_time"}),
        "step": ("step", LEADS, {"standard_name": "forecast_period"}),
        "isobaricInPa": ("isobaricInPa", [50000.0, 85000.0], {"standard_name": "air_pressure", "units": "Pa"}),
        "latitude": LATITUDE,
        "longitude": LONGITUDE,
        "valid_time": ("step", INITS[0] + LEADS, {"standard_name": "time"}),
    }
    return xr.Dataset({"t": (dims, VALUES[0], {"units": "K"})}, coordinates)


def in_hours() -> xr.Dataset:
    """Plain CF with short names and leads in hours."""
    dims = ("initial_time", "lead", "plev", "lat", "lon")
    coordinates = {
        "initial_time": INITS,
        "lead": ("lead", [6, 12, 18], {"units": "h"}),
        "plev": ("plev", [50000.0, 85000.0], {"units": "Pa"}),
        "lat": LATITUDE,
        "lon": LONGITUDE,
    }
    return xr.Dataset({"air_temperature": (dims, VALUES, {"units": "K"})}, coordinates)


@pytest.mark.parametrize("make", [weatherbench, cfgrib, in_hours])
def test_names_dimensions_and_units_become_ours(make: Any) -> None:
    found = Forecasts(under_our_names(make()), "theirs")
    inits = len(found.init_times)
    assert found.channels.names == ("t_500", "t_850")
    assert found.channels[0].vertical == "pressure"
    assert found.leads.tolist() == [1, 2, 3]
    assert found.step.seconds == 21600
    assert found.init_times[0] == INITS[0].astype("datetime64[s]").astype(int)
    np.testing.assert_array_equal(found.read("t", slice(None), slice(None)), VALUES[:inits])


def test_they_are_opened_from_zarr_and_from_netcdf(tmp_path: Path) -> None:
    weatherbench().to_zarr(tmp_path / "theirs.zarr", zarr_format=2)
    cfgrib().to_netcdf(tmp_path / "theirs.nc", engine="h5netcdf")
    for name in ("theirs.zarr", "theirs.nc"):
        found = Forecasts(open_forecast(str(tmp_path / name)), name)
        np.testing.assert_array_equal(found.read("t", 0, slice(None)), VALUES[0])


def test_data_without_leads_are_no_forecasts_and_ours_stay_as_they_are(world: Any) -> None:
    data = weatherbench().isel(prediction_timedelta=0, drop=True)
    assert under_our_names(data) is data
    ours = world.forecasts().dataset
    assert under_our_names(ours) is ours


def test_a_name_that_is_taken_is_left_alone() -> None:
    both = weatherbench().assign(t=weatherbench()["temperature"] * 2)
    assert {"t", "temperature"} <= set(under_our_names(both).data_vars)
