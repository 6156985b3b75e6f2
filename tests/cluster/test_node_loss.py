"""A node that is lost in the middle of an epoch costs nothing but time, whether another comes in its place or not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from credit_ray.data.sample import write_sample

pytestmark = pytest.mark.slow

EXPERIMENT: dict[str, Any] = {
    "name": "lost",
    "data": {
        "timestep": "6h",
        "sources": {"sample": {"store": "sample.zarr", "prognostic": ["z", "u", "v"]}},
        "splits": {"train": ["2000-01-01", "2000-01-20"], "validation": ["2000-01-21", "2000-01-24"]},
        "ingest": {"lanes": 2, "reader": "local"},
    },
    "model": {"network": "unet", "width": 8, "multipliers": [1, 1], "blocks": [1, 1]},
    "training": {"batch_size": 2, "max_epochs": 8, "validation": {"lead": "6h", "inits": 2}},
}


@pytest.fixture
def cluster() -> Iterator[Any]:
    """A head that offers no CPU, and a node with one."""
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": 100 * 2**20})
    yield made
    made.shutdown()


def until(true: Callable[[], Any], driver: subprocess.Popen[str], patience: float = 300) -> None:
    deadline = time.monotonic() + patience
    while not true():
        assert driver.poll() is None, driver.communicate()[0][-3000:]
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.2)


def steps_saved(folder: Path) -> int:
    for snapshot in folder.glob("runs/lost/*/checkpoints/checkpoint_manager_snapshot.json"):
        try:
            newest = json.loads(snapshot.read_text())["latest_checkpoint_result"]
            return int(newest["metrics"]["global_step"]) if newest else 0
        except (json.JSONDecodeError, KeyError):
            return 0
    return 0


@pytest.mark.parametrize("workers", [2, [1, 2]], ids=["another node comes", "it goes on with less"])
def test_training_ends_well_when_a_node_is_lost(cluster: Any, tmp_path: Path, workers: Any) -> None:
    write_sample(tmp_path / "sample.zarr", states=100)
    node = cluster.add_node(num_cpus=1, object_store_memory=100 * 2**20)
    config = {**EXPERIMENT, "resources": {"workers": workers, "threads": 1}}
    (tmp_path / "lost.yaml").write_text(yaml.safe_dump(config))
    environment = {**os.environ, "RAY_ADDRESS": cluster.address, "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "15"}
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    driver = subprocess.Popen(
        [sys.executable, "-m", "credit_ray.cli", "train", "lost.yaml", "--json"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        until(lambda: steps_saved(tmp_path) > 0, driver)
        cluster.remove_node(node, allow_graceful=False)
        if workers == 2:
            cluster.add_node(num_cpus=1, object_store_memory=100 * 2**20)
        said, _ = driver.communicate(timeout=420)
    finally:
        driver.kill()
    assert driver.returncode == 0, said[-3000:]
    result = json.loads(said.strip().splitlines()[-1])
    from mlflow.tracking import MlflowClient

    client = MlflowClient(result["tracking_uri"])
    (experiment,) = [e for e in client.search_experiments() if e.name == "lost"]
    (run,) = client.search_runs([experiment.experiment_id])
    points = sorted(point.step for point in client.get_metric_history(run.info.run_id, "train/loss"))
    assert points == list(range(1, result["steps"] + 1))
