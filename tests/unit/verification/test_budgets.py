"""Budgets of forecast stores: contents by plain sums, drift against the data, residuals of the fluxes, what can't be measured."""

from __future__ import annotations

import csv
import io
from typing import Any

import numpy as np
import pytest
import xarray as xr

from credit_ray.config.experiment import Experiment
from credit_ray.errors import ConfigError
from credit_ray.grid.latlon import LatLonGrid
from credit_ray.physics.constants import GRAVITY
from credit_ray.state import Channel, Channels, StateSpec
from credit_ray.times import Step
from credit_ray.verification.budget_curves import budgets_csv, budgets_figure
from credit_ray.verification.budgets import DATA, BudgetCurves, measure_budgets
from credit_ray.verification.forecasts import Forecasts
from credit_ray.verification.scores import MODEL

GRID = LatLonGrid.gaussian(6)
SIGMA = np.array([0.1, 0.3, 0.5, 0.7, 0.9])  # middles of five equal layers
STEP = 21600
LEADS = np.arange(4)


def store(leak: float = 0.0, leads: np.ndarray[Any, Any] = LEADS, **other: Any) -> xr.Dataset:
    """Two forecasts in which water comes and goes with the fluxes, but for a leak of kg m⁻² a step."""
    draw = np.random.default_rng(1)
    count = int(leads[-1]) + 1
    evaporation = 1e-5 * (1 + draw.random((2, count, *GRID.shape)))
    rain = 1e-5 * (1 + draw.random((2, count, *GRID.shape)))
    sp = np.full((2, count, *GRID.shape), 98_000.0)
    change = STEP * (evaporation - rain) + leak
    change[:, 0] = 0
    column = 30 + np.cumsum(change, 1)  # kg m⁻²
    q = (column * GRAVITY / sp)[:, :, None] * np.ones((5, 1, 1))
    dims = ("init_time", "lead_time", "level", "latitude", "longitude")
    flat = (*dims[:2], *dims[3:])
    full = np.ones_like(q)
    data = {
        "q": (dims, q, {"units": "kg kg-1"}),
        "t": (dims, 250 * full, {"units": "K"}),
        "u": (dims, 10 * full, {"units": "m s-1"}),
        "v": (dims, 0 * full, {"units": "m s-1"}),
        "sp": (flat, sp, {"units": "Pa"}),
        "pr": (flat, rain, {"units": "kg m-2 s-1"}),
        "evspsbl": (flat, evaporation, {"units": "kg m-2 s-1"}),
    }
    times = np.array([0, 40 * STEP]).astype("datetime64[s]").astype("datetime64[ns]")
    coordinates = {
        "init_time": times,
        "lead_time": (np.arange(count) * STEP).astype("timedelta64[s]").astype("timedelta64[ns]"),
        "level": ("level", SIGMA, {"standard_name": "atmosphere_sigma_coordinate", "units": "1"}),
        "latitude": GRID.latitude,
        "longitude": GRID.longitude,
    }
    return xr.Dataset(data, coordinates, {"timestep": "6h", "model_name": "leaky", **other}).isel(lead_time=leads)


class Data:
    """Truth that stays what the first forecast began with; with a hill of constant height."""

    def __init__(self, forecasts: Forecasts, *, hill: bool = True) -> None:
        static = Channels([Channel(variable="orography", units="m")] if hill else [])
        self.spec = StateSpec(prognostic=forecasts.channels, grid=GRID, step=Step.parse("6h"), static=static)
        names = [forecasts.read(v, 0, 0) for v in forecasts.variables]
        self._state = np.concatenate(names)
        self.reads = 0

    def has(self, times: Any) -> Any:
        return np.asarray(times) < 10 * STEP

    def fields(self, times: Any, channels: Channels) -> Any:
        self.reads += len(times)
        return np.stack([self._state] * len(times))

    def statics(self) -> Any:
        return np.full((len(self.spec.static), *GRID.shape), 100.0, np.float32)


def experiment(*constraints: dict[str, Any]) -> Experiment:
    source = {"store": "x.zarr", "prognostic": ["q", "t", "u", "v", "sp"], "diagnostic": ["pr", "evspsbl"]}
    splits = {"train": ["1970-01-01", "1970-01-05"]}
    data = {"timestep": "6h", "sources": {"air": source}, "splits": splits}
    return Experiment.model_validate({"name": "trial", "data": data, "constraints": list(constraints)})


def curves(dataset: xr.Dataset, *constraints: dict[str, Any], hill: bool = True) -> BudgetCurves:
    forecasts = Forecasts(dataset, "f.zarr")
    truth: Any = Data(forecasts, hill=hill)
    found = measure_budgets(forecasts, truth, experiment(*constraints))
    assert truth.reads == len(found.leads)  # each time once
    return found


AREA = GRID.cell_areas().sum()


def test_contents_are_the_plain_sums() -> None:
    found = curves(store())
    dry = AREA * (98_000 / GRAVITY - 30)
    assert found.content[MODEL, "dry_air_mass"][0, 0] == pytest.approx(dry, rel=1e-6)
    assert found.content[MODEL, "water"][0, 0] == pytest.approx(AREA * 30, rel=1e-6)
    q = 30 * GRAVITY / 98_000
    dry_capacity, vapour_capacity = 3.5 * 287.0597, 4 * 461.525
    heat = 250 * ((1 - q) * dry_capacity + q * vapour_capacity) + 2.5008e6 * q + 100 * GRAVITY + 50
    assert found.content[MODEL, "energy"][0, 0] == pytest.approx(AREA * 98_000 / GRAVITY * heat, rel=1e-6)


def test_what_fluxes_explain_leaves_nothing_and_a_leak_is_found() -> None:
    tight, leaky = curves(store()), curves(store(leak=0.01))
    gross = 2e-5 * STEP * AREA
    assert np.isnan(tight.residual["water"][:, 0]).all()  # nothing came before the first lead
    assert np.abs(tight.residual["water"][:, 1:]).max() < 3e-4 * gross  # the store's float32
    np.testing.assert_allclose(leaky.residual["water"][:, 1:], 0.01 * AREA, rtol=0.02)


def test_drift_is_seen_against_data_that_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    found = curves(store(leak=0.5))
    drift = found.drift(MODEL, "water")
    assert (drift[:, 1:] > 0.4 * LEADS[1:]).all()
    assert (found.drift(DATA, "water")[0] == 0).all()
    assert np.isnan(found.content[DATA, "water"][1]).all()  # the data end before the second forecast
    np.testing.assert_allclose(found.drift(MODEL, "dry_air_mass"), -drift, atol=1e-3)


def test_between_leads_that_do_not_follow_each_other_there_is_no_residual() -> None:
    found = curves(store(leads=np.array([0, 2, 3])))
    assert np.isnan(found.residual["water"][:, 1]).all()
    assert np.isfinite(found.residual["water"][:, 2]).all()


def test_what_cannot_be_measured_says_why() -> None:
    found = curves(store().drop_vars(["u", "evspsbl"]), hill=False)
    assert found.quantities == ["dry_air_mass", "water"]
    assert "needs 'u'" in found.missing["energy"]
    assert "needs precipitation and evaporation" in found.missing["water residual"]
    assert not found.residual
    with pytest.raises(ConfigError, match=r"No budget of f.zarr can be measured:\n  dry_air_mass: .*'q'"):
        curves(store().drop_vars("q"))


def test_model_levels_take_their_coefficients_from_the_constraints() -> None:
    levels = ("level", [1.0, 2.0, 3.0, 4.0, 5.0], {"standard_name": "model_level_number", "units": "1"})
    on_model_levels = store().assign_coords(level=levels)
    half = np.linspace(0, 1, 6).tolist()
    vertical = {"a_half": [0.0] * 6, "b_half": half}
    found = curves(on_model_levels, {"kind": "dry_air_mass", "vertical": vertical})
    expected = curves(store())
    for quantity in ("dry_air_mass", "water", "energy"):
        np.testing.assert_allclose(found.content[MODEL, quantity], expected.content[MODEL, quantity], rtol=1e-9)
    with pytest.raises(ConfigError, match="hybrid coefficients"):
        curves(on_model_levels)


def test_table_and_picture_say_the_same() -> None:
    found = curves(store(leak=0.5))
    rows = list(csv.DictReader(io.StringIO(budgets_csv(found, "leaky"))))
    row = next(r for r in rows if (r["model"], r["quantity"], r["lead_hours"]) == ("leaky", "water", "18.0"))
    drift = found.drift(MODEL, "water")[:, 3].mean()
    assert float(row["drift_per_m2"]) == pytest.approx(drift)
    assert float(row["residual"]) == pytest.approx(0.5 * AREA, rel=0.02)
    assert {r["model"] for r in rows} == {"leaky", "data"}
    figure = budgets_figure(found, model="leaky")
    panels = [axes for axes in figure.axes if axes.get_visible()]
    titles = [axes.get_title("left") for axes in panels]
    assert titles == ["Dry air", "Water in the air", "Energy", "Water in the air: unexplained"]
    line = next(line for line in panels[1].get_lines() if line.get_label() == MODEL)
    assert np.asarray(line.get_ydata(), float)[3] == pytest.approx(drift)


def test_tracers_that_a_constraint_names_are_measured_each() -> None:
    dataset = store()
    dataset["o3"] = dataset["q"] * 0 + 1e-6 * (
        1 + dataset["lead_time"].astype(float) / dataset["lead_time"].astype(float).max()
    )
    dataset["o3"].attrs["units"] = "kg kg-1"
    found = curves(dataset, {"kind": "tracer_mass", "variables": ["o3"]})
    assert found.quantities[-1] == "tracer_o3"
    air = 98_000 / GRAVITY * AREA
    np.testing.assert_allclose(found.content[MODEL, "tracer_o3"][:, 0], 1e-6 * air, rtol=1e-6)
    np.testing.assert_allclose(found.drift(MODEL, "tracer_o3")[:, -1], 1e-6 * 98_000 / GRAVITY, rtol=1e-5)
    titles = [axes.get_title("left") for axes in budgets_figure(found, model="leaky").axes]
    assert "o3" in titles
    assert "tracer_o3" not in curves(store()).quantities


def test_the_salt_of_an_ocean_is_measured() -> None:
    depth = ("level", [5.0, 20.0, 50.0], {"standard_name": "depth", "units": "m", "positive": "down"})
    salt = store().isel(level=slice(0, 3)).assign_coords(level=depth)[["q"]].rename(q="so") * 0 + 35.0
    salt["so"].attrs["units"] = "1e-3"
    salt.attrs.update(timestep="6h")
    found = curves(salt)
    assert found.quantities == ["salt"]
    content = found.content[MODEL, "salt"]
    per_metre = 0.035 * AREA  # kg of salt in a metre of sea water, per unit of its density
    assert 50 * 1000 * per_metre < content[0, 0] < 90 * 1100 * per_metre
    np.testing.assert_allclose(content, content[0, 0])
