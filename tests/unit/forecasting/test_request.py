"""What `forecast:` asks for, checked before anything starts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from credit_ray.config.data import DataConfig
from credit_ray.config.forecast import ForecastConfig
from credit_ray.data.dataset import Dataset, open_dataset
from credit_ray.errors import ConfigError, DataError
from credit_ray.forecasting.request import kept_leads, refuse_uncovered, requested_inits
from credit_ray.times import format_time

MakeDataset = Callable[..., Dataset]


@pytest.fixture
def make_dataset(tmp_path: Path) -> MakeDataset:
    """Six-hourly data of January 2000; `u` is predicted, and `solar`, in a store of its own, forces."""

    def store(name: str, variable: str, hours: Any, units: str) -> str:
        values = np.zeros((len(hours), 4, 8), np.float32)
        coordinates = {
            "time": ("time", np.asarray(hours), {"units": "hours since 2000-01-01"}),
            "latitude": [67.5, 22.5, -22.5, -67.5],
            "longitude": np.arange(8) * 45.0,
        }
        data = xr.Dataset({variable: (("time", "latitude", "longitude"), values, {"units": units})}, coordinates)
        path = tmp_path / f"{name}.zarr"
        data.to_zarr(path, consolidated=False, mode="w")
        return str(path)

    def make(history: int = 1, gap: int | None = None, at: str = "target", forcing_hours: int = 124 * 6) -> Dataset:
        hours = [h for h in range(0, 124 * 6, 6) if h != gap]
        sources = {
            "air": {"store": store("air", "u", hours, "m s-1"), "prognostic": ["u"]},
            "sun": {"store": store("sun", "rsdt", range(0, forcing_hours, 6), "W m-2"), "forcing": ["rsdt"], "at": at},
            "clock": {"store": "derived", "forcing": ["cos_local_time"]},
        }
        splits = {"train": ["2000-01-01", "2000-01-15"], "test": ["2000-01-20", "2000-01-25"]}
        plain = {"timestep": "6h", "history": history, "sources": sources, "splits": splits}
        return open_dataset(DataConfig.model_validate(plain))

    return make


def inits_of(config: dict[str, Any], dataset: Dataset, steps: int = 4) -> list[str]:
    return [format_time(t) for t in requested_inits(ForecastConfig.model_validate(config), dataset, steps)]


def test_initial_times_may_be_listed_in_any_order(make_dataset: MakeDataset) -> None:
    found = inits_of({"inits": ["2000-01-03", "2000-01-02T06", "2000-01-03"]}, make_dataset())
    assert found == ["2000-01-02T06:00", "2000-01-03T00:00"]


def test_a_range_of_initial_times_has_both_its_ends(make_dataset: MakeDataset) -> None:
    config = {"inits": {"start": "2000-01-02", "end": "2000-01-04", "every": "1D"}}
    assert inits_of(config, make_dataset()) == ["2000-01-02T00:00", "2000-01-03T00:00", "2000-01-04T00:00"]


def test_of_many_initial_times_some_are_taken_evenly(make_dataset: MakeDataset) -> None:
    config = {"inits": {"start": "2000-01-02", "end": "2000-01-12T00", "every": "1D"}, "max_inits": 3}
    assert inits_of(config, make_dataset()) == ["2000-01-02T00:00", "2000-01-07T00:00", "2000-01-12T00:00"]


def test_initial_times_of_a_split_have_truth_for_the_whole_lead(make_dataset: MakeDataset) -> None:
    found = inits_of({"inits": "test"}, make_dataset())
    assert (found[0], found[-1]) == ("2000-01-20T00:00", "2000-01-24T18:00")


def test_an_empty_range_is_an_error(make_dataset: MakeDataset) -> None:
    with pytest.raises(ConfigError, match="before it starts"):
        inits_of({"inits": {"start": "2000-01-05", "end": "2000-01-02", "every": "1D"}}, make_dataset())


def refused(dataset: Dataset, init: str, steps: int) -> str:
    config = ForecastConfig.model_validate({"inits": [init]})
    with pytest.raises(DataError) as error:
        refuse_uncovered(dataset, requested_inits(config, dataset, steps), steps)
    return str(error.value)


def test_a_missing_initial_time_is_named(make_dataset: MakeDataset) -> None:
    assert "initial time 2000-02-03T00:00" in refused(make_dataset(), "2000-02-03", 1)
    assert "initial time 2000-01-02T03:00" in refused(make_dataset(), "2000-01-02T03", 1)


def test_a_missing_input_time_is_named_with_its_forecast(make_dataset: MakeDataset) -> None:
    said = refused(make_dataset(history=2, gap=18), "2000-01-02", 1)
    assert "2000-01-01T18:00 of the forecast from 2000-01-02T00:00" in said


def test_a_missing_forcing_is_named_with_its_time_and_forecast(make_dataset: MakeDataset) -> None:
    dataset = make_dataset(forcing_hours=48)
    assert "no 'rsdt' at 2000-01-03T00:00, which the forecast from 2000-01-02T00:00" in refused(
        dataset, "2000-01-02", 4
    )


@pytest.mark.parametrize(("at", "steps"), [("target", 3), ("input", 4)])
def test_a_forecast_may_go_as_far_as_its_forcings(make_dataset: MakeDataset, at: str, steps: int) -> None:
    dataset = make_dataset(forcing_hours=48, at=at)
    start = requested_inits(ForecastConfig.model_validate({"inits": ["2000-01-02"]}), dataset, 1)
    refuse_uncovered(dataset, start, steps)
    with pytest.raises(DataError):
        refuse_uncovered(dataset, start, steps + 1)


def test_kept_lead_times_are_each_so_many_steps() -> None:
    assert kept_leads(6, 2, False) == (2, 4, 6)
    assert kept_leads(7, 3, True) == (0, 3, 6)
    with pytest.raises(ConfigError, match="nothing would be written"):
        kept_leads(2, 3, False)
