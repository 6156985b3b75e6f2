"""The same against a real tracking server, which is killed and comes back."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from credit_ray.config.experiment import Experiment
from credit_ray.errors import ClusterError
from credit_ray.package import load_package
from credit_ray.tracking.browse import list_models
from credit_ray.tracking.client import connect
from credit_ray.tracking.fetching import cache_folder
from credit_ray.tracking.registry import fetch_model, record_scores
from credit_ray.tracking.runs import start_run
from credit_ray.tracking.scores import Score
from credit_ray.tracking.spool import MetricSpool

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

Vary = Callable[..., Experiment]


class Server:
    """`mlflow server` on loopback; its database and artifacts are not where `output` is."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--port", str(self.port)]
        command += ["--host", "127.0.0.1", "--backend-store-uri", f"sqlite:///{self.folder}/mlflow.db"]
        command += ["--artifacts-destination", str(self.folder / "artifacts")]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self.folder, env=environment, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + 240
        while not self._answers():
            assert self._process.poll() is None, (self.folder / "log").read_text()[-2000:]
            assert time.monotonic() < deadline, (self.folder / "log").read_text()[-2000:]
            time.sleep(0.2)

    def kill(self) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=1) as answer:
                return answer.status == 200
        except OSError:
            return False


@pytest.fixture
def server(tmp_path: Path, fresh_database: object) -> Iterator[Server]:
    folder = tmp_path / "server"
    folder.mkdir()
    shutil.copy(fresh_database.path, folder / "mlflow.db")  # type: ignore[attr-defined]
    made = Server(folder)
    made.start()
    yield made
    made.kill()


def test_metrics_outlive_a_killed_server_each_once(server: Server, vary: Vary) -> None:
    run = start_run(vary(tracking__uri=server.uri), stage="train")
    spool = MetricSpool(run.directory, run_id=run.run_id, tracking_uri=run.tracking_uri)
    for step in range(1000):
        spool.log({"train/loss": 1 / (step + 1), "train/rate": 2.0}, step=step)
        if step == 200:
            while spool.pending() > 150:  # some of them have arrived
                time.sleep(0.05)
            server.kill()
    assert spool.pending() > 700
    server.start()
    assert spool.close(120) == 0
    run.finish()
    assert run.url.startswith(f"{server.uri}/#/experiments/")
    client = connect(server.uri)
    assert client.get_run(run.run_id).info.status == "FINISHED"
    for key in ("train/loss", "train/rate"):
        assert [point.step for point in client.get_metric_history(run.run_id, key)] == list(range(1000))


def test_a_run_ends_while_the_server_is_away_and_is_told_later(server: Server, vary: Vary) -> None:
    experiment = vary(tracking__uri=server.uri)
    run = start_run(experiment, stage="train")
    server.kill()
    run.log_metrics({"score": 0.5})
    run.finish("stopped", patience=1)
    with pytest.raises(ClusterError, match=server.uri):
        start_run(experiment, stage="train", resume="auto")
    server.start()
    with start_run(experiment, stage="train", resume="auto") as again:
        assert again.run_id == run.run_id
    assert connect(server.uri).get_run(run.run_id).data.metrics["score"] == 0.5


def test_a_package_goes_to_the_server_and_comes_back(
    server: Server, vary: Vary, make_package: Callable[..., Path], output: Path
) -> None:
    with start_run(vary(tracking__uri=server.uri), stage="train") as run:
        run.register(make_package(lineage=run.lineage), metrics={"validation/score": 0.4})
    for name in ("models:/tiny@candidate", f"runs:/{run.run_id}"):
        fetched = fetch_model(name, server.uri)
        assert fetched.directory.parent == cache_folder()
        assert load_package(fetched.directory, digest=fetched.digest).stepper
    assert not (output / "mlartifacts").exists(), "the server keeps the artifacts"
    score = Score(channel="t2m", lead="6h", rmse=1.0, persistence=4.0)
    record_scores("tiny@candidate", [score], period="test", tracking_uri=server.uri)
    assert "| `t2m` | 6h | 1 | 4 |" in (fetch_model("models:/tiny/1", server.uri).directory / "card.md").read_text()
    assert "6h 0.25" in str(list_models(tracking_uri=server.uri))
    import mlflow

    downloaded = mlflow.artifacts.download_artifacts(
        artifact_uri=connect(server.uri).get_model_version_download_uri("tiny", "1"), tracking_uri=server.uri
    )
    assert load_package(downloaded).digest == fetch_model("models:/tiny/1", server.uri).digest
