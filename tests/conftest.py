"""What all tests share: an environment in which nothing leaves the machine, one small Ray cluster, and the real data."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# Few examples for each property, found anew in each run at a desk and always the same ones in CI; a slow machine is no failure.
settings.register_profile("here", max_examples=40, deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("here")

# Set before anything imports Ray, torch or MLflow, which read it once; the processes that Ray starts inherit it.
os.environ.update(
    RAY_AUTH_MODE="disabled",  # no token written into the home directory
    RAY_ENABLE_UV_RUN_RUNTIME_ENV="0",  # `uv run pytest` must not build an environment for each worker
    RAY_USAGE_STATS_ENABLED="0",
    RAY_TRAIN_HEALTH_CHECK_INTERVAL_S="0.5",  # a report, and a restart after a kill, wait for this
    RAY_DATA_DISABLE_PROGRESS_BARS="1",
    RAY_worker_niceness="0",  # workers at low priority starve on a machine that is busy otherwise
    MLFLOW_DISABLE_TELEMETRY="true",
    OMP_NUM_THREADS="1",  # sums in one order, whatever the machine
)
for name in ("RAY_ADDRESS", "MLFLOW_TRACKING_URI"):
    os.environ.pop(name, None)  # never the developer's own cluster or server


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """A local Ray cluster of four logical CPUs, for the whole session.

    Its temporary directory has a short name because Unix socket paths end at 107 bytes. The dashboard is on because Ray Train asks it whether a
    stopped trial has ended: without it, the trial's CPUs would never come back.
    """
    import ray

    directory = tempfile.mkdtemp(prefix="cr", dir="/tmp")
    ray.init(
        address="local",
        num_cpus=4,
        num_gpus=0,
        include_dashboard=True,
        object_store_memory=300 * 1024**2,
        _temp_dir=directory,
    )
    yield
    ray.shutdown()
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data that CREDIT_RAY_TEST_DATA names; the test is skipped where it is unset."""
    folder = os.environ.get("CREDIT_RAY_TEST_DATA")
    if not folder:
        pytest.skip("CREDIT_RAY_TEST_DATA is not set")
    path = Path(folder)
    if not path.is_dir():
        pytest.fail(f"CREDIT_RAY_TEST_DATA is {folder}, which is no folder")
    return path


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whoever asks for the real data carries the mark, so that `-m real_data` selects all of them."""
    for item in items:
        if "real_data" in getattr(item, "fixturenames", ()):
            item.add_marker("real_data")
