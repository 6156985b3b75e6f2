"""Training by Ray Train, for real: workers that die, workers that share, and what MLflow knows afterwards."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from credit_ray.config.experiment import Experiment
from credit_ray.package import load_package
from credit_ray.training import TrainResult, run_training

MakeExperiment = Callable[..., Experiment]


def kill_worker_after_a_checkpoint(output: Path, killed: list[int]) -> None:
    """Send SIGKILL to the training worker in the middle of the epoch that follows its first checkpoint."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        time.sleep(0.05)
        snapshots = list(output.glob("*/*/checkpoints/checkpoint_manager_snapshot.json"))
        if not snapshots:
            continue
        try:
            newest = json.loads(snapshots[0].read_text())["latest_checkpoint_result"]
        except (json.JSONDecodeError, KeyError):
            continue
        if newest and (workers := processes("RayTrainWorker")):
            killed.append(workers[0])
            os.kill(workers[0], signal.SIGKILL)
            return


def processes(title: str) -> list[int]:
    """Processes of this test's own cluster whose title holds this text; another cluster on the machine is none of ours."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it may end while we look
            if title in path.read_bytes().decode(errors="replace") and os.getpid() in ancestors(int(path.parent.name)):
                found.append(int(path.parent.name))
    return found


def ancestors(process: int) -> Iterator[int]:
    while process > 1:
        # The second field, a name in parentheses, may hold blanks.
        process = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
        yield process


def weights(result: TrainResult) -> dict[str, torch.Tensor]:
    return load_package(result.package).stepper.network.state_dict()


def history(result: TrainResult, metric: str) -> list[int]:
    """Steps at which MLflow has a metric, in order."""
    from mlflow.tracking import MlflowClient

    return sorted(point.step for point in MlflowClient(result.tracking_uri).get_metric_history(result.run_id, metric))


@pytest.mark.usefixtures("ray_cluster")
def test_a_killed_worker_costs_nothing_but_time(make_experiment: MakeExperiment, tmp_path: Path) -> None:
    training = {"batch_size": 2, "max_epochs": 4, "validation": {"lead": "6h", "inits": 2}}
    whole = run_training(make_experiment(output=str(tmp_path / "whole"), training=training))
    killed: list[int] = []
    killer = threading.Thread(target=kill_worker_after_a_checkpoint, args=(tmp_path / "killed", killed))
    killer.start()
    resumed = run_training(make_experiment(output=str(tmp_path / "killed"), training=training))
    killer.join()
    assert killed, "the worker was never killed, so nothing was tested"
    expected, found = weights(whole), weights(resumed)
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    steps = history(resumed, "train/loss")
    assert steps == list(range(1, resumed.steps + 1))
    assert steps == history(whole, "train/loss")


@pytest.mark.usefixtures("ray_cluster")
def test_two_workers_train_the_same_model_as_one(make_experiment: MakeExperiment, tmp_path: Path) -> None:
    training = {"batch_size": 8, "max_epochs": 1, "ema": None, "validation": {"lead": "6h", "inits": 3}}
    models = {}
    for workers in (1, 2):
        experiment = make_experiment(
            output=str(tmp_path / f"{workers}"),
            training=training,
            resources={"workers": workers, "threads": 1, "cpus_per_worker": 1},
        )
        models[workers] = weights(run_training(experiment))
    # float32 sums in another order, through a few Adam steps
    for name, one in models[1].items():
        torch.testing.assert_close(models[2][name], one, rtol=2e-3, atol=2e-4)


@pytest.mark.usefixtures("ray_cluster")
def test_history_rollouts_and_the_local_reader_train_too(make_experiment: MakeExperiment) -> None:
    experiment = make_experiment(
        training={
            "max_epochs": None,
            "max_steps": 12,
            "curriculum": [{"epoch": 0, "steps": 1}, {"epoch": 1, "steps": 2}],
            "validation": {"inits": 2},
        },
        model={"network": "unet", "width": 8, "multipliers": [1, 1], "blocks": [1, 1], "residual": False},
    )
    data = experiment.data.model_copy(
        update={"history": 2, "ingest": experiment.data.ingest.model_copy(update={"reader": "local"})}
    )
    result = run_training(experiment.model_copy(update={"data": data}))
    assert result.steps == 12
    assert load_package(result.package).stepper.spec.history == 2


@pytest.mark.usefixtures("ray_cluster")
def test_the_linear_model_is_solved_and_beats_persistence(make_experiment: MakeExperiment) -> None:
    result = run_training(
        make_experiment(
            model={"network": "linear"}, training={"max_epochs": 1, "validation": {"lead": "6h", "inits": 4}}
        )
    )
    assert result.score is not None
    assert result.score < 0.7
