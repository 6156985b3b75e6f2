"""Forecasts by real processes: killed and gone on with, shared out by Ray, verified."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr

from credit_ray.config.dump import dump_yaml
from credit_ray.config.experiment import Experiment
from credit_ray.data.dataset import open_dataset
from credit_ray.data.statistics import cached_statistics
from credit_ray.forecasting import run_forecast
from credit_ray.package import save_package
from credit_ray.stepper import build_stepper
from credit_ray.verification import run_verification

MakeExperiment = Callable[..., Experiment]


@pytest.fixture
def make_forecast(make_experiment: MakeExperiment, tmp_path: Path) -> MakeExperiment:
    """The experiment with an untrained model, whose forecasts differ all the same; twelve of them, two at a time."""
    import torch

    bare = make_experiment()
    dataset = open_dataset(bare.data)
    statistics = cached_statistics(bare, dataset)
    stepper = build_stepper(bare, dataset.spec, statistics, torch.from_numpy(dataset.statics()))
    save_package(stepper, tmp_path / "package", summary={}, lineage={"data_digest": dataset.data_id})

    def make(store: str, **sections: Any) -> Experiment:
        inits = {"start": "2000-01-05", "end": "2000-01-16T00", "every": "1D"}
        forecast = {
            "model": str(tmp_path / "package"),
            "inits": inits,
            "max_inits": None,
            "lead": "10d",
            "batch_size": 2,
        }
        output = {"store": str(tmp_path / store)}
        return make_experiment(forecast={**forecast, "output": output}, **sections)

    return make


def same_fields(a: str, b: str) -> bool:
    left, right = (xr.open_zarr(url).load() for url in (a, b))
    return left.drop_attrs(deep=False).identical(right.drop_attrs(deep=False))


def test_a_killed_forecast_goes_on_where_it_stopped_and_equals_an_uninterrupted_one(
    make_forecast: MakeExperiment, tmp_path: Path
) -> None:
    experiment = make_forecast("killed.zarr")
    (tmp_path / "config.yaml").write_text(dump_yaml(experiment))
    program = (
        "import sys, torch; torch.set_num_threads(1)\n"
        "from credit_ray.config.loader import load_experiment\n"
        "from credit_ray.forecasting import run_forecast\n"
        "run_forecast(load_experiment(sys.argv[1]))"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "config.yaml")], stderr=subprocess.PIPE)
    try:
        while process.poll() is None and not (0 < written(tmp_path / "killed.zarr") < 12):
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        _, errors = process.communicate()
    assert process.returncode == -signal.SIGKILL, errors.decode()
    there = written(tmp_path / "killed.zarr")
    assert 0 < there < 12
    assert xr.open_zarr(tmp_path / "killed.zarr").attrs["complete"] == 0
    resumed = run_forecast(experiment)
    assert there <= resumed.resumed < 12
    whole = run_forecast(make_forecast("whole.zarr"))
    assert whole.resumed == 0
    assert same_fields(resumed.store, whole.store)


def written(store: Path) -> int:
    """Forecasts that are whole."""
    try:
        return int(np.count_nonzero(np.asarray(zarr.open_array(store / "steps_written", mode="r")[:]) == 40))
    except FileNotFoundError:
        return 0


@pytest.mark.usefixtures("ray_cluster")
def test_forecasts_shared_out_by_ray_are_those_of_one_process(make_forecast: MakeExperiment) -> None:
    alone = run_forecast(make_forecast("alone.zarr"))
    shared = run_forecast(make_forecast("shared.zarr", resources={"workers": 2, "gpus_per_worker": 0}))
    assert same_fields(alone.store, shared.store)


def test_forecasts_are_verified_against_the_data(make_forecast: MakeExperiment, waves: Path, tmp_path: Path) -> None:
    made = run_forecast(make_forecast("f.zarr"))
    result = run_verification(make_forecast("f.zarr"))
    stored, truth = xr.open_zarr(made.store), xr.open_zarr(waves)
    at = truth.get_index("time").get_indexer(stored["valid_time"].values[:, 3])
    error = stored["z"].values[:, 3].astype(np.float64) - truth["z"].values[at]
    areas = open_dataset(make_forecast("f.zarr").data).spec.grid.cell_areas()
    expected = np.sqrt(np.average(error**2, axis=(1, 2), weights=np.broadcast_to(areas, error.shape)).mean())
    row = next(row for row in result.scores if (row["channel"], row["lead"]) == ("z", "1 d"))
    assert row["rmse"] == pytest.approx(expected, rel=1e-5)
    assert (tmp_path / "f.verification" / "index.html").stat().st_size > 10_000
