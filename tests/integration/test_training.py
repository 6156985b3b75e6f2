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
from typing import Any

import pytest
import torch

from credit_ray.config.experiment import Experiment
from credit_ray.errors import StoppedError, TrainingError
from credit_ray.package import load_package
from credit_ray.training import TrainResult, run_training

MakeExperiment = Callable[..., Experiment]


def after_a_checkpoint(output: Path, strike: Callable[[], bool], struck: list[bool]) -> None:
    """Do something in the middle of the epoch that follows a run's first checkpoint."""
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        time.sleep(0.05)
        snapshots = list(output.glob("*/*/checkpoints/checkpoint_manager_snapshot.json"))
        if not snapshots:
            continue
        try:
            newest = json.loads(snapshots[0].read_text())["latest_checkpoint_result"]
        except (json.JSONDecodeError, KeyError):
            continue
        if newest and strike():
            struck.append(True)
            return


def kill_a_worker() -> bool:
    workers = processes("RayTrainWorker")
    if workers:
        os.kill(workers[0], signal.SIGKILL)
    return bool(workers)


def signal_the_driver() -> bool:
    os.kill(os.getpid(), signal.SIGUSR1)
    return True


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


LONG: dict[str, Any] = {"batch_size": 2, "max_epochs": 8, "validation": {"lead": "6h", "inits": 2}}


@pytest.fixture(scope="module")
def whole(
    ray_cluster: None, make_experiment_in: MakeExperiment, tmp_path_factory: pytest.TempPathFactory
) -> TrainResult:
    """A training that nothing disturbed."""
    return run_training(make_experiment_in(tmp_path_factory.mktemp("whole"), training=LONG))


@contextlib.contextmanager
def struck(output: Path, strike: Callable[[], bool]) -> Iterator[None]:
    """A training inside this block is struck after its first checkpoint."""
    done: list[bool] = []
    thread = threading.Thread(target=after_a_checkpoint, args=(output, strike, done))
    thread.start()
    try:
        yield
    finally:
        thread.join()
    assert done, "training was over before it was struck, so nothing was tested"


def assert_same(one: TrainResult, other: TrainResult) -> None:
    """The same weights bit for bit, and each step once in MLflow."""
    expected, found = weights(other), weights(one)
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    steps = history(one, "train/loss")
    assert steps == list(range(1, one.steps + 1))
    assert steps == history(other, "train/loss")


def test_a_killed_worker_costs_nothing_but_time(
    whole: TrainResult, make_experiment: MakeExperiment, tmp_path: Path
) -> None:
    with struck(tmp_path, kill_a_worker):
        resumed = run_training(make_experiment(output=str(tmp_path), training=LONG))
    assert_same(resumed, whole)


def test_a_signal_saves_and_the_same_command_goes_on(
    whole: TrainResult, make_experiment: MakeExperiment, tmp_path: Path
) -> None:
    experiment = make_experiment(output=str(tmp_path), training=LONG)
    with (
        struck(tmp_path, signal_the_driver),
        pytest.raises(StoppedError, match=r"SIGUSR1.*same command goes on") as stopped,
    ):
        run_training(experiment)
    assert stopped.value.exit_code == 75
    resumed = run_training(experiment)
    assert resumed.run_id in str(stopped.value)
    assert_same(resumed, whole)


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_a_training_that_diverges_tries_another_order_then_gives_up_by_name(
    make_experiment: MakeExperiment, tmp_path: Path
) -> None:
    hopeless = {
        "optimizer": {"lr": 1e30},
        "clip": None,
        "guard": {"patience": 2, "rollbacks": 1},
        "max_failures": 2,
        "validation": {"inits": 1},
    }
    with pytest.raises(TrainingError, match=r"At step \d+.*not finite.*went back to a checkpoint 1 times"):
        run_training(make_experiment(output=str(tmp_path), training=hopeless))
    (record,) = tmp_path.glob("waves/*/detours.json")
    assert json.loads(record.read_text())["epochs"] == [0]


@pytest.mark.usefixtures("ray_cluster")
def test_training_starts_from_a_model_that_exists(
    whole: TrainResult, make_experiment: MakeExperiment, tmp_path: Path
) -> None:
    training = {"max_epochs": 1, "validation": {"lead": "12h", "inits": 3}, "ema": None, "freeze": ["head.*"]}
    tuned = run_training(
        make_experiment(
            output=str(tmp_path), training={**training, "start_from": whole.package, "optimizer": {"lr": 1e-9}}
        )
    )
    before, after = weights(whole), weights(tuned)
    assert torch.equal(after["head.weight"], before["head.weight"])
    for name, weight in before.items():
        torch.testing.assert_close(after[name], weight, rtol=1e-4, atol=1e-5)
    lineage = load_package(tuned.package).lineage
    assert lineage["started_from"]["digest"] == load_package(whole.package).digest


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_validation_beside_training_finds_the_same_scores(
    whole: TrainResult, make_experiment: MakeExperiment, tmp_path: Path
) -> None:
    training = {**LONG, "validation": {**LONG["validation"], "beside": True}}
    beside = run_training(make_experiment(output=str(tmp_path), training=training))
    assert history(beside, "validation/score") == history(whole, "validation/score")
    assert beside.score == pytest.approx(whole.score, rel=1e-6)
    expected, found = weights(whole), weights(beside)
    assert all(torch.equal(expected[name], found[name]) for name in expected)


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


@pytest.mark.slow
@pytest.mark.parametrize("axis", ["shard", "domain"])
@pytest.mark.usefixtures("ray_cluster")
def test_two_workers_that_share_weights_or_latitudes_train_the_same_model_as_one(
    axis: str, make_experiment: MakeExperiment, tmp_path: Path
) -> None:
    training = {"batch_size": 8, "max_epochs": 1, "validation": {"lead": "6h", "inits": 3}}
    models = {}
    for workers in (1, 2):
        experiment = make_experiment(
            output=str(tmp_path / f"{workers}"),
            training=training,
            data={"ingest": {"reader": "ray"}},
            resources={"workers": workers, "threads": 1, "cpus_per_worker": 1, "parallel": {axis: workers}},
        )
        models[workers] = weights(run_training(experiment))
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
