"""`ray job submit` to a cluster that wants a token: the commands of docs/clusters.md, on this machine."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
TINY = [
    "model.width=8",
    "data.splits={train: [2000-01-01, 2000-01-07], validation: [2000-01-08, 2000-01-10], test: null}",
    "training={batch_size: 8, max_epochs: null, max_steps: 3, validation: {lead: 6h, inits: 1}}",
]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@dataclass
class Head:
    """A running head.

    Parameters
    ----------
    address, dashboard : str
        For drivers, and for jobs.
    environment : dict
        Of its users: with the token.
    folder : Path
        Where it was started.
    """

    address: str
    dashboard: str
    environment: dict[str, str]
    folder: Path

    def submit(
        self, folder: Path, command: Sequence[str], env_vars: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """`ray job submit --working-dir .` in a folder; waits for the job's end."""
        ray = ["ray", "job", "submit", "--address", self.dashboard, "--working-dir", "."]
        if env_vars:
            ray += ["--runtime-env-json", json.dumps({"env_vars": env_vars})]
        return subprocess.run(
            [*ray, "--", *command],
            cwd=folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )


def free_ports(count: int) -> list[int]:
    """Not among those that Ray gives to its workers (10002–19999), nor those that the system gives to anyone (32768 and above)."""
    found: list[int] = []
    while len(found) < count:
        port = 20000 + secrets.randbelow(12000)
        with socket.socket() as trial:
            if port not in found and trial.connect_ex(("127.0.0.1", port)):
                found.append(port)
    return found


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Head]:
    """A cluster of this machine with its own token and its own folder; ended by a signal to it alone."""
    folder = tmp_path_factory.mktemp("head")
    port, dashboard, client = free_ports(3)
    temporary = tempfile.mkdtemp(prefix="cr", dir="/tmp")
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(PROJECT),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
    }
    options = {
        "port": port,
        "dashboard-port": dashboard,
        "ray-client-server-port": client,
        "dashboard-agent-listen-port": 0,
        "num-cpus": 4,
        "object-store-memory": 200 * 1024**2,
        "temp-dir": temporary,
    }
    command = ["ray", "start", "--head", "--block", *(f"--{name}={value}" for name, value in options.items())]
    log = folder / "head.log"
    (folder / "empty").mkdir()
    head = Head(f"127.0.0.1:{port}", f"http://127.0.0.1:{dashboard}", environment, folder)
    for _ in range(3):  # on a busy machine one of its parts may miss a time limit of Ray's own, and the head ends
        with log.open("w") as output:
            process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=output)
        # The part that takes jobs is the last to start.
        while process.poll() is None and "succeeded" not in head.submit(folder / "empty", ["true"]).stdout:
            time.sleep(1)
        if process.poll() is None:
            break
    try:
        assert process.poll() is None, log.read_text()
        yield head
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()
        shutil.rmtree(temporary, ignore_errors=True)


@pytest.fixture(scope="module")
def submitter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with sample data where the sample's config expects them."""
    from credit_ray.data.sample import write_sample

    folder = tmp_path_factory.mktemp("submitter")
    write_sample(folder / "demo/sample.zarr", states=40)
    return folder


def test_the_sample_is_trained_and_registered_in_the_submitters_folder(head: Head, submitter: Path) -> None:
    job = ["python", "jobs/train.py", "--config", "configs/experiments/sample.yaml"]
    settings = [word for setting in TINY for word in ("--set", setting)]
    done = head.submit(PROJECT, [*job, *settings], {"CREDIT_RAY_SUBMIT_DIR": str(submitter)})
    assert done.returncode == 0, done.stdout
    assert f"Relative paths are those of {submitter}" in done.stdout
    assert "Trained sample version 1 (alias candidate): 3 steps" in done.stdout
    runs = submitter / "demo/runs"
    assert (runs / "mlflow.db").is_file()
    (package,) = runs.glob("sample/*/package")
    assert f"model package   {package.relative_to(submitter)}" in done.stdout

    from credit_ray.package import load_package

    assert load_package(package).stepper.recipe.network == "unet"


def test_a_job_finds_the_folder_in_which_its_cluster_was_started(head: Head, submitter: Path) -> None:
    sample = (PROJECT / "configs/experiments/sample.yaml").read_text()
    (head.folder / "mine.yaml").write_text(sample)
    shutil.copytree(submitter / "demo/sample.zarr", head.folder / "demo/sample.zarr", dirs_exist_ok=True)
    (head.folder / ".rayignore").write_text("/demo/\n")
    plan = ["python", "-m", "credit_ray.cli", "data", "plan", "mine.yaml", "--set", TINY[1]]
    done = head.submit(head.folder, plan)
    assert done.returncode == 0, done.stdout
    assert f"Relative paths are those of {head.folder}" in done.stdout


def test_relative_paths_that_nobody_can_place_are_refused(head: Head, tmp_path: Path) -> None:
    sample = (PROJECT / "configs/experiments/sample.yaml").read_text()
    (tmp_path / "mine.yaml").write_text(f"# unlike any other\n{sample}")
    done = head.submit(tmp_path, ["python", "-m", "credit_ray.cli", "train", "mine.yaml"])
    assert done.returncode == 1  # Ray's own, whatever the job's was
    assert "output is 'demo/runs'" in done.stdout
    assert "CREDIT_RAY_SUBMIT_DIR" in done.stdout


def test_a_wrong_token_is_named_at_once(head: Head) -> None:
    check = [sys.executable, "-c", "from credit_ray.cluster import *; ray_session(Resources()).__enter__()"]
    environment = {**head.environment, "RAY_ADDRESS": head.address}
    subprocess.run(check, env=environment, check=True, capture_output=True)
    wrong = {**environment, "RAY_AUTH_TOKEN": "0" * 64}
    done = subprocess.run(check, env=wrong, capture_output=True, text=True, check=False)
    assert done.returncode
    assert f"the cluster at {head.address} refuses this token" in done.stderr
    none = {**environment, "RAY_AUTH_MODE": "disabled"}
    done = subprocess.run(check, env=none, capture_output=True, text=True, check=False)
    assert "wants a token, and none was given" in done.stderr
