"""Forecasts in a notebook: xarray in, xarray out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from torch import Tensor

from credit_ray.data.derived import mean_solar_flux
from credit_ray.errors import DataError, SpecMismatchError
from credit_ray.forecasting.api import forecast, open_forecast
from credit_ray.forecasting.layout import ForecastLayout
from credit_ray.forecasting.rollout import forecast as roll_out
from credit_ray.forecasting.writer import create_store
from credit_ray.stepper import Stepper

TIMES = np.array([0, 21600], "datetime64[s]")


@pytest.fixture
def initial(stepper: Stepper, data: Any) -> xr.Dataset:
    """Two input times, as a reanalysis might have them: other names, other units, south to north, 180° W to 180° E."""
    grid = stepper.spec.grid
    fields = data.initial_state(np.array([21600])).fields[0].numpy()  # [time, channel, *grid]
    dims = ("time", "lat", "lon")
    found = xr.Dataset(
        {
            "geopotential": (("time", "plev", "lat", "lon"), fields[:, :2], {"units": "m2 s-2"}),
            "SST": (dims, fields[:, 2] - 273.15, {"units": "degC"}),
        },
        {
            "time": TIMES.astype("datetime64[ns]"),
            "plev": ("plev", [50000.0, 85000.0], {"units": "Pa"}),
            "lat": grid.latitude,
            "lon": np.where(grid.longitude > 180, grid.longitude - 360, grid.longitude),
        },
    )
    return found.sortby("lat").sortby("lon").isel(plev=[1, 0])


class SunlitData:
    """The same start, with the sun as forcing."""

    def __init__(self, data: Any) -> None:
        self.data, self.spec = data, data.spec

    def initial_state(self, init_times: Any) -> Any:
        from dataclasses import replace

        import torch

        state = self.data.initial_state(init_times)
        return replace(state, forcing=torch.from_numpy(self._sun(init_times - 21600))[:, None])

    def forcings(self, init_times: Any, steps: int) -> Iterator[Tensor]:
        import torch

        for step in range(steps):
            yield torch.from_numpy(self._sun(init_times + step * 21600))

    def _sun(self, times: Any) -> Any:
        return mean_solar_flux(times, self.spec.step, self.spec.grid).astype(np.float32)[:, None]


def test_a_forecast_in_memory_is_the_forecast_of_the_same_state(
    stepper: Stepper, data: Any, initial: xr.Dataset
) -> None:
    found = forecast(stepper, initial, "1d")
    steps = list(roll_out(stepper, SunlitData(data), np.array([21600]), 4, device="cpu"))
    for lead, step in enumerate(steps):
        expected = step.outputs[0].numpy()
        np.testing.assert_allclose(found["z"].values[0, lead], expected[:2], atol=1e-4)
        np.testing.assert_allclose(found["sst"].values[0, lead], expected[2], atol=1e-4)
        np.testing.assert_allclose(found["tp"].values[0, lead], expected[3], atol=1e-4)
    assert found["init_time"].values[0] == np.datetime64("1970-01-01T06:00")
    assert found["lead_time"].values.tolist() == [h * 3600 * 10**9 for h in (6, 12, 18, 24)]
    assert found["level"].values.tolist() == [500, 850]


def test_a_forecast_in_memory_looks_like_one_from_a_store(
    stepper: Stepper, initial: xr.Dataset, make_layout: Callable[..., ForecastLayout], tmp_path: Path
) -> None:
    create_store(str(tmp_path / "f.zarr"), make_layout(), {"model_digest": "m", "data_digest": "d"})
    stored, made = open_forecast(str(tmp_path / "f.zarr")), forecast(stepper, initial, "30h")
    assert {name: v.dims for name, v in made.data_vars.items()} == {
        name: v.dims for name, v in stored.data_vars.items()
    }
    assert set(made.coords) == set(stored.coords) - {"steps_written"}
    assert made["z"].attrs == stored["z"].attrs


def test_a_given_forcing_is_used(stepper: Stepper, initial: xr.Dataset) -> None:
    times = np.arange(0, 6 * 21600, 21600).astype("datetime64[s]").astype("datetime64[ns]")
    grid = stepper.spec.grid
    coordinates = {"time": times, "latitude": grid.latitude, "longitude": grid.longitude}
    dark = xr.Dataset(
        {"rsdt": (("time", "latitude", "longitude"), np.zeros((6, *grid.shape)), {"units": "W m-2"})}, coordinates
    )
    assert not np.array_equal(forecast(stepper, initial, "1d", dark)["z"], forecast(stepper, initial, "1d")["z"])


def test_a_forcing_that_is_too_short_is_an_error_that_names_the_time(stepper: Stepper, initial: xr.Dataset) -> None:
    grid = stepper.spec.grid
    coordinates = {"time": TIMES.astype("datetime64[ns]"), "latitude": grid.latitude, "longitude": grid.longitude}
    short = xr.Dataset(
        {"rsdt": (("time", "latitude", "longitude"), np.zeros((2, *grid.shape)), {"units": "W m-2"})}, coordinates
    )
    with pytest.raises(DataError, match=r"The forcing has nothing at 1970-01-01T12:00"):
        forecast(stepper, initial, "1d", short)


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (lambda d: d.drop_vars("SST"), DataError, "no variable 'sst'"),
        (lambda d: d.isel(plev=[0]), DataError, "'z' has no level 50000; it has 85000"),
        (lambda d: d.isel(time=[1]), DataError, "nothing at 1970-01-01T00:00"),
        (lambda d: d.isel(lat=slice(1, None)), SpecMismatchError, "The initial state is on a"),
        (lambda d: d.assign(SST=d["SST"].assign_attrs(units="m")), DataError, "SST|sst"),
        (lambda d: d.drop_vars("lat").rename(lat="y"), DataError, "no dimension 'latitude'"),
    ],
)
def test_what_an_initial_state_lacks_is_named(
    stepper: Stepper, initial: xr.Dataset, spoil: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        forecast(stepper, spoil(initial), "1d")


def test_there_is_no_store_where_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="can't be opened as a forecast store"):
        open_forecast(str(tmp_path / "absent.zarr"))
