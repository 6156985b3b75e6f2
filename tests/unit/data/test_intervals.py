"""Sums and means over exactly (t − Δt, t], from a store made by hand, one value an hour."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import xarray as xr
from numpy.testing import assert_allclose, assert_array_equal

from credit_ray.config.data import DataConfig
from credit_ray.data.dataset import Dataset, open_dataset
from credit_ray.errors import DataError
from credit_ray.times import Step, format_time
from tests.unit.data.conftest import LATITUDE, LONGITUDE

Save = Callable[..., str]
HOURS = 60


def hourly(
    hours: Any = HOURS,
    *,
    name: str = "tp",
    units: str = "m",
    every: int = 1,
    origin: str = "2000-01-01",
    attributes: dict[str, str] | None = None,
) -> xr.Dataset:
    """`t` and a flux whose value at hour h, in its own units, is h + 1 at every place."""
    at = np.arange(hours) * every if isinstance(hours, int) else np.asarray(hours)
    shape = (len(at), len(LATITUDE), len(LONGITUDE))
    dims = ("time", "latitude", "longitude")
    flux = np.broadcast_to((at + 1.0)[:, None, None], shape).astype(np.float32)
    return xr.Dataset(
        {
            "t": (dims, 200 + flux, {"units": "K"}),
            name: (dims, flux, {"units": units, **(attributes or {})}),
        },
        {
            "time": ("time", at, {"units": f"hours since {origin}"}),
            "latitude": ("latitude", LATITUDE, {"units": "degrees_north"}),
            "longitude": ("longitude", LONGITUDE, {"units": "degrees_east"}),
        },
    )


def opened(store: str, *, step: str = "6h", asked: str = "tp", **source: Any) -> Dataset:
    weather = {"store": store, "prognostic": ["t"], "diagnostic": [asked], **source}
    return open_dataset(
        DataConfig.model_validate(
            {"timestep": step, "sources": {"weather": weather}, "splits": {"train": ["2000-01-01", "2000-12-30"]}}
        )
    )


def values(dataset: Dataset, variable: str) -> np.ndarray:
    """[time] at one place; all places have the same."""
    column = dataset.columns(dataset.times, dataset.spec.windowed)[variable]
    assert (column == column[:, :1, :1]).all()
    return column[:, 0, 0]


def hour(dataset: Dataset) -> np.ndarray:
    return (dataset.times - dataset.times[0] // 86400 * 86400) // 3600


@pytest.mark.parametrize("step", ["1h", "2h", "3h", "6h", "1D"])
def test_hourly_rain_is_summed_over_the_step_that_ends_at_each_time(save: Save, step: str) -> None:
    dataset, length = opened(save(hourly()), step=step), Step.parse(step).seconds // 3600
    ends = hour(dataset)
    assert ends[0] == max(length - 1, 0)  # the first hour's value ends at hour 0
    by_hand = [sum(1000.0 * (h + 1) for h in range(end - length + 1, end + 1)) for end in ends]  # m → kg m⁻²
    assert_allclose(values(dataset, "tp"), by_hand, rtol=1e-6)
    assert_allclose(values(dataset, "t"), 201 + ends)


def test_a_mean_flux_is_averaged(save: Save) -> None:
    dataset = opened(save(hourly(name="FSDS", units="W/m2")), asked="rsds")
    assert_allclose(values(dataset, "rsds"), hour(dataset) + 1 - 2.5)


def test_a_mean_flux_is_made_of_an_accumulation_and_back(save: Save) -> None:
    joules = save(hourly(name="surface_solar_radiation_downwards", units="J m**-2"), "joules.zarr")
    mean = opened(joules, asked="rsds")
    assert mean.spec.diagnostic[0].kind == "mean"
    assert mean.spec.diagnostic[0].units == "W m-2"
    assert_allclose(values(mean, "rsds"), (hour(mean) - 1.5) / 3600, rtol=1e-6)
    watts = save(hourly(name="FSDS", units="W m-2"), "watts.zarr")
    total = opened(watts, asked="ssrd")
    assert_allclose(values(total, "ssrd"), 21600 * (hour(total) - 1.5), rtol=1e-6)
    assert_allclose(values(opened(watts, asked="ssrd", step="1h"), "ssrd")[:4], 3600 * np.arange(1, 5))


def test_water_is_told_from_its_rate_by_units(save: Save) -> None:
    rate = save(hourly(name="PRECT", units="m/s"), "rate.zarr")
    assert_allclose(values(opened(rate, asked="tp", step="1h"), "tp")[:2], [3.6e6, 7.2e6])
    assert_allclose(values(opened(rate, asked="pr", step="1h"), "pr")[:2], [1e3, 2e3])


def test_a_sum_does_not_depend_on_how_much_is_read_at_once(save: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = opened(save(hourly(), encoding={"tp": {"chunks": (7, 6, 8)}}))
    whole = values(dataset, "tp")
    monkeypatch.setattr("credit_ray.data.intervals._PIECE_BYTES", 1)
    assert_array_equal(values(dataset, "tp"), whole)
    one_by_one = [dataset.columns(dataset.times[i : i + 1], dataset.spec.windowed)["tp"][0, 0, 0] for i in range(3)]
    assert_array_equal(one_by_one, whole[:3])


def test_all_values_that_are_added_up_count_as_read(save: Save) -> None:
    dataset = opened(save(hourly()))
    assert dataset.state_bytes == 4 * 2 * 48
    assert dataset.read_bytes == 4 * (1 + 6) * 48


def test_times_whose_step_is_not_filled_are_left_out(save: Save) -> None:
    dataset = opened(save(hourly([h for h in range(HOURS) if h != 20])))
    assert_array_equal(hour(dataset), [5, 11, 17, 29, 35, 41, 47, 53, 59])


@pytest.mark.parametrize(
    ("every", "source", "message"),
    [
        (4, {}, "a value of 'tp' covers 4h, which does not fill a step of 6h"),
        (6, {"interval": {"tp": "1h"}}, "no step of 6h is filled by values of 'tp' that cover 1h each"),
        (1, {"interval": {"tp": "12h"}}, "covers 12h, which does not fill a step of 6h"),
    ],
)
def test_intervals_that_do_not_tile_the_step_are_refused(
    save: Save, every: int, source: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        opened(save(hourly(every=every)), **source)


def test_running_sums_are_taken_at_the_step(save: Save) -> None:
    running = save(hourly(name="total_precipitation_6hr"))
    dataset = opened(running, asked="total_precipitation_6hr")
    assert_allclose(values(dataset, "tp"), 1000.0 * (hour(dataset) + 1))
    daily = opened(running, asked="tp", step="1D")  # four of the running sums fill a day, the others overlap
    assert_allclose(values(daily, "tp")[0], 1000 * sum(h + 1 for h in hour(daily)[0] - np.array([0, 6, 12, 18])))


@pytest.mark.parametrize(("label", "shift"), [("start", 2), ("middle", 1), ("end", 0)])
def test_a_label_says_where_in_the_interval_the_time_lies(save: Save, label: str, shift: int) -> None:
    rain = {"store": save(hourly(every=2).drop_vars("t")), "prognostic": ["tp"], "label": label}
    dataset = open_dataset(
        DataConfig.model_validate(
            {"timestep": "6h", "sources": {"rain": rain}, "splits": {"train": ["2000-01-01", "2000-12-30"]}}
        )
    )
    by_hand = [1000.0 * sum(end - shift - k + 1 for k in (0, 2, 4)) for end in hour(dataset)]
    assert_allclose(values(dataset, "tp"), by_hand, rtol=1e-6)


def test_a_label_that_leaves_no_common_end_is_refused(save: Save) -> None:
    with pytest.raises(DataError, match="no step of 6h is filled by values of 'tp' that cover 2h each"):
        opened(save(hourly(every=2)), label="middle")  # they end at odd hours, and the temperature is of even ones


def test_bounds_say_it_where_the_config_does_not(save: Save) -> None:
    store = hourly(every=2)
    store["time"].attrs["bounds"] = "time_bnds"
    at = store["time"].values
    store["time_bnds"] = (("time", "bnds"), np.stack([at, at + 2], 1))
    dataset = opened(save(store))
    assert_allclose(values(dataset, "tp")[0], 1000 * sum(hour(dataset)[0] - 2 - np.array([0, 2, 4]) + 1))


def test_days_are_summed_over_months_of_any_calendar(save: Save) -> None:
    days = hourly(24 * np.arange(1, 92), units="mm").drop_vars("t")
    store = save(days.rename(tp="precipitation_amount"))
    dataset = open_dataset(
        DataConfig.model_validate(
            {
                "timestep": "1MS",
                "sources": {"rain": {"store": store, "prognostic": ["tp"]}},
                "splits": {"train": ["2000-01", "2000-12"]},
            }
        )
    )
    assert [format_time(t) for t in dataset.times] == ["2000-01-01T00:00", "2000-02-01T00:00", "2000-03-01T00:00"]
    by_hand = [sum(24 * day + 1 for day in range(a, b)) for a, b in ((1, 32), (32, 61), (61, 92))]
    assert_allclose(values(dataset, "tp"), by_hand, rtol=1e-6)


def test_a_mean_labelled_with_the_end_of_its_month_belongs_to_that_month(save: Save) -> None:
    ends = 24 * np.array([31, 60, 91])
    store = hourly(ends, name="FSNS", units="W m-2").drop_vars("t")
    store["time"].attrs["bounds"] = "time_bnds"
    store["time_bnds"] = (("time", "bnds"), np.stack([24 * np.array([0, 31, 60]), ends], 1))
    config = {
        "timestep": "1MS",
        "sources": {"sun": {"store": save(store), "prognostic": ["rss"]}},
        "splits": {"train": ["2000-01", "2000-12"]},
    }
    dataset = open_dataset(DataConfig.model_validate(config))
    assert [format_time(t)[:7] for t in dataset.times] == ["2000-01", "2000-02", "2000-03"]
    assert_allclose(values(dataset, "rss"), ends + 1)
    config["sources"] = {"sun": {"store": config["sources"]["sun"]["store"], "prognostic": ["ssr"]}}  # type: ignore[index]
    total = open_dataset(DataConfig.model_validate(config))
    assert_allclose(values(total, "ssr"), (ends + 1) * 86400.0 * np.array([31, 29, 31]), rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "units", "asked", "sign"),
    [
        ("LHFLX", "W m-2", "slhf", -1),
        ("LHFLX", "W m-2", "hfls", 1),
        ("surface_latent_heat_flux", "J m-2", "slhf", 1),
        ("surface_latent_heat_flux", "J m-2", "hfls", -1),
        ("QFLX", "kg m-2 s-1", "e", -1),
        ("evaporation", "m", "evspsbl", -1),
        ("FLUT", "W m-2", "ttr", -1),
        ("FLNS", "W m-2", "str", -1),
    ],
)
def test_signs_of_fluxes_follow_the_vocabulary(save: Save, name: str, units: str, asked: str, sign: int) -> None:
    dataset = opened(save(hourly(name=name, units=units)), asked=asked, step="1h")
    assert np.sign(values(dataset, asked)[5]) == sign


def test_an_attribute_or_the_config_says_the_sign_of_an_unknown_name(save: Save) -> None:
    plain = save(hourly(name="myflux", units="W m-2"), "plain.zarr")
    with pytest.raises(
        DataError, match="'myflux' is to be the flux 'hfls', and neither .* Say 'positive: {hfls: down}'"
    ):
        opened(plain, asked="hfls", rename={"hfls": "myflux"}, step="1h")
    down = opened(plain, asked="hfls", rename={"hfls": "myflux"}, positive={"hfls": "down"}, step="1h")
    assert values(down, "hfls")[0] == -1
    said = save(hourly(name="myflux", units="W m-2", attributes={"positive": "up"}), "said.zarr")
    assert values(opened(said, asked="hfls", rename={"hfls": "myflux"}, step="1h"), "hfls")[0] == 1
