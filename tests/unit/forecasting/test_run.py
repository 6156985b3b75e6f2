"""`run_forecast`: from a package and data to a store, whole or gone on with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from credit_ray.config.experiment import Experiment
from credit_ray.errors import ConfigError, DataError
from credit_ray.forecasting import run as run_module
from credit_ray.forecasting.api import forecast
from credit_ray.forecasting.run import run_forecast
from credit_ray.package import save_package
from credit_ray.stepper import Stepper

Make = Callable[..., Experiment]
FILL = vars(run_module)["fill"]
INITS = ["1970-01-02", "1970-01-03", "1970-01-04", "1970-01-05"]


@dataclass
class FakeRun:
    """In place of MLflow."""

    directory: Path
    run_id: str = "r1"
    tags: dict[str, Any] = field(default_factory=dict)
    lineage: dict[str, Any] = field(
        default_factory=lambda: {
            "run_id": "r1",
            "data_digest": "d1",
            "code_revision": "c1",
            "config_digest": "g1",
            "attribution": {"air": {"license": "CC BY 4.0"}},
        }
    )

    def path(self, name: str) -> str:
        return str(self.directory / name)

    def set_tags(self, **tags: Any) -> None:
        self.tags |= tags

    def log_metrics(self, metrics: dict[str, float]) -> None:
        self.tags |= metrics


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeRun:
    found = FakeRun(tmp_path / "runs" / "r1")

    @contextmanager
    def start_run(experiment: Experiment, *, stage: str, dataset: Any, tags: dict[str, Any]) -> Iterator[FakeRun]:
        assert stage == "forecast"
        found.tags |= tags
        yield found

    monkeypatch.setattr("credit_ray.tracking.runs.start_run", start_run)
    return found


@pytest.fixture
def air(stepper: Stepper, data: Any) -> xr.Dataset:
    """Forty states."""
    times = np.arange(40) * 21600
    fields = data.values(times, 3)
    dims = ("time", "level", "latitude", "longitude")
    return xr.Dataset(
        {
            "z": (dims, fields[:, :2], {"units": "m2 s-2"}),
            "sst": ((dims[0], *dims[2:]), fields[:, 2], {"units": "K"}),
            "tp": ((dims[0], *dims[2:]), fields[:, 0] ** 2, {"units": "kg m-2"}),
            "lsm": (dims[2:], stepper.statics[0].numpy(), {"units": "1"}),
        },
        {
            "time": times.astype("datetime64[s]").astype("datetime64[ns]"),
            "level": ("level", [500.0, 850.0], {"units": "hPa"}),
            "latitude": stepper.spec.grid.latitude,
            "longitude": stepper.spec.grid.longitude,
        },
    )


@pytest.fixture
def make(stepper: Stepper, air: xr.Dataset, tmp_path: Path) -> Make:
    """An experiment with four forecasts over one day, two at a time."""
    save_package(stepper, tmp_path / "package", summary={}, lineage={})
    air.to_zarr(tmp_path / "air.zarr", zarr_format=3, consolidated=False)

    def build(output: dict[str, Any] | None = None, **changed: Any) -> Experiment:
        sources = {
            "air": {
                "store": str(tmp_path / "air.zarr"),
                "prognostic": ["z", "sst"],
                "diagnostic": ["tp"],
                "static": ["lsm"],
            },
            "sun": {"store": "derived", "forcing": ["rsdt"], "at": "input"},
        }
        plain = {
            "name": "trial",
            "output": str(tmp_path / "runs"),
            "data": {
                "timestep": "6h",
                "history": 2,
                "sources": sources,
                "splits": {"train": ["1970-01-01", "1970-01-05"], "test": ["1970-01-06", "1970-01-10"]},
            },
            "forecast": {
                "model": str(tmp_path / "package"),
                "inits": INITS,
                "lead": "1d",
                "batch_size": 2,
                "output": {"store": str(tmp_path / "forecast.zarr"), **(output or {})},
                **changed,
            },
        }
        return Experiment.model_validate(plain)

    return build


def test_each_forecast_is_the_one_that_a_notebook_makes(
    make: Make, run: FakeRun, stepper: Stepper, air: xr.Dataset, tmp_path: Path
) -> None:
    result = run_forecast(make())
    stored = xr.open_zarr(result.store)
    assert stored.attrs["complete"] == 1
    for i, init in enumerate(INITS):
        position = int(np.flatnonzero(air["time"].values == np.datetime64(init))[0])
        alone = forecast(stepper, air.isel(time=slice(position - 1, position + 1)), "1d")
        for name in ("z", "sst", "tp"):
            np.testing.assert_allclose(stored[name].values[i], alone[name].values[0], rtol=0, atol=1e-5)


def test_the_result_says_what_was_made_and_what_to_do_next(make: Make, run: FakeRun, tmp_path: Path) -> None:
    text = str(run_forecast(make()))
    store = tmp_path / "forecast.zarr"
    assert "4 forecasts over 1 d" in text
    assert f"credit-ray verify {store} --data CONFIG" in text
    assert f"credit-ray plot {store} --variable z_500 --lead 1d" in text


def test_the_store_carries_its_lineage(make: Make, run: FakeRun) -> None:
    attributes = xr.open_zarr(run_forecast(make()).store).attrs
    assert attributes["model_digest"] == run.tags["model_digest"]
    assert (attributes["data_digest"], attributes["code_revision"], attributes["config_digest"]) == ("d1", "c1", "g1")
    assert attributes["attribution"] == "air: CC BY 4.0"
    assert attributes["software"].startswith("credit_ray ")


def test_made_again_nothing_is_left_to_do(make: Make, run: FakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    run_forecast(make())
    monkeypatch.setattr(run_module, "fill", lambda *_: pytest.fail("nothing is left to do"))
    result = run_forecast(make())
    assert result.resumed == 4
    assert "4 of them were there already" in str(result)


def test_an_interrupted_run_goes_on_and_gives_the_same(
    make: Make, run: FakeRun, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    whole = xr.open_zarr(run_forecast(make({"store": str(tmp_path / "whole.zarr")})).store)

    def interrupted(stepper: Any, dataset: Any, store: Any, batch: list[int]) -> Iterator[int]:
        for step in FILL(stepper, dataset, store, batch):
            if batch[0] == 2 and step == 3:
                raise KeyboardInterrupt
            yield step

    monkeypatch.setattr(run_module, "fill", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_forecast(make())
    assert xr.open_zarr(tmp_path / "forecast.zarr").attrs["complete"] == 0
    monkeypatch.undo()
    monkeypatch.setattr("credit_ray.tracking.runs.start_run", _starter(run))
    result = run_forecast(make())
    assert result.resumed == 2
    xr.testing.assert_identical(xr.open_zarr(result.store).drop_attrs(deep=False), whole.drop_attrs(deep=False))


def _starter(run: FakeRun) -> Any:
    @contextmanager
    def start_run(*_: Any, **__: Any) -> Iterator[FakeRun]:
        yield run

    return start_run


def test_some_variables_levels_and_leads_may_be_kept(make: Make, run: FakeRun, tmp_path: Path) -> None:
    whole = xr.open_zarr(run_forecast(make({"store": str(tmp_path / "whole.zarr")})).store)
    some = xr.open_zarr(
        run_forecast(make({"variables": ["z", "tp"], "levels": [850], "every": 2, "initial": True})).store
    )
    assert set(some.data_vars) == {"z", "tp"}
    assert some["level"].values.tolist() == [850]
    assert (some["lead_time"].values / np.timedelta64(1, "h")).tolist() == [0, 12, 24]
    np.testing.assert_array_equal(some["z"].values[:, 1:, 0], whole["z"].values[:, 1::2, 1])
    assert np.isnan(some["tp"].values[:, 0]).all()


def test_without_a_place_the_store_is_in_the_runs_folder(make: Make, run: FakeRun, tmp_path: Path) -> None:
    assert run_forecast(make({"store": None})).store == str(tmp_path / "runs" / "r1" / "forecast.zarr")


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"inits": ["1970-02-01"]}, DataError, "initial time 1970-02-01T00:00"),
        ({"inits": ["1970-01-01"]}, DataError, "input time 1969-12-31T18:00"),
        ({"lead": "7h"}, ConfigError, "no whole number of steps"),
        ({"output": {"variables": ["zz"]}}, ConfigError, "does not predict 'zz'"),
    ],
)
def test_what_can_not_be_made_fails_before_anything_is_written(
    make: Make, run: FakeRun, tmp_path: Path, changed: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        run_forecast(make(**changed))
    assert not (tmp_path / "forecast.zarr").exists()
    assert not run.tags


def test_other_forecasts_in_its_place_are_not_overwritten(make: Make, run: FakeRun) -> None:
    before = xr.open_zarr(run_forecast(make()).store).load()
    with pytest.raises(DataError, match="holds other forecasts already"):
        run_forecast(make(lead="12h"))
    xr.testing.assert_identical(
        xr.open_zarr(before.encoding.get("source", make().forecast.output.store)).load(), before
    )
