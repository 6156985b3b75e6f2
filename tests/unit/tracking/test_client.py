"""Which tracking server is meant, that it answers, and that MLflow keeps quiet."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from credit_ray.config.experiment import Experiment
from credit_ray.errors import ClusterError, ConfigError, ModelNotFoundError
from credit_ray.tracking.client import absolute_uri, connect, few_retries, open_registry, tracking_uri

Vary = Callable[..., Experiment]


def test_the_config_goes_before_the_environment_and_that_before_the_output(
    vary: Vary, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tracking_uri(vary()) == f"sqlite:///{output}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://server:5000")
    assert tracking_uri(vary()) == "http://server:5000"
    assert tracking_uri(vary(tracking__uri="http://other:5000")) == "http://other:5000"


def test_relative_places_become_absolute(vary: Vary, output: Path) -> None:
    here = output.parent
    assert tracking_uri(vary(output="there")) == f"sqlite:///{here}/there/mlflow.db"
    assert tracking_uri(vary(tracking__uri="sqlite:///db/mlflow.db")) == f"sqlite:///{here}/db/mlflow.db"
    assert tracking_uri() == f"sqlite:///{here}/runs/mlflow.db"


def test_an_output_in_an_object_store_needs_a_server(vary: Vary) -> None:
    with pytest.raises(ConfigError, match=r"tracking.uri.*s3://bucket/runs"):
        tracking_uri(vary(output="s3://bucket/runs"))


@pytest.mark.parametrize("uri", ["./mlruns", "file:///tmp/mlruns", "file:mlruns"])
def test_a_plain_folder_is_refused_with_what_to_write_instead(uri: str) -> None:
    with pytest.raises(ConfigError, match=r"sqlite:///.*mlruns/mlflow\.db"):
        absolute_uri(uri)


def test_a_server_that_does_not_answer_is_named_within_seconds_and_its_password_is_not() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: refused at once
        port = taken.getsockname()[1]
        with pytest.raises(ClusterError, match=rf"http://127\.0\.0\.1:{port}") as caught:
            connect(f"http://alice:hunter2@127.0.0.1:{port}")
    assert "hunter2" not in str(caught.value)


def test_a_server_that_never_says_anything_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow's own patience is seven tries of two minutes, longer than this test may take."""
    monkeypatch.setattr("credit_ray.tracking.client.PROBE_SECONDS", 1)
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(ClusterError, match=str(silent.getsockname()[1])),
    ):
        connect(f"http://127.0.0.1:{silent.getsockname()[1]}")


def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    path.write_text("a thesis, in no danger")
    with pytest.raises(ClusterError, match="no SQLite database"):
        connect(f"sqlite:///{path}", create=True)
    assert path.read_text() == "a thesis, in no danger"


def test_a_place_that_can_not_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ClusterError, match=r"file/mlflow\.db"):
        connect(f"sqlite:///{tmp_path}/file/mlflow.db", create=True)


def test_looking_makes_no_database(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="nothing was trained"):
        open_registry(f"sqlite:///{tmp_path}/mlflow.db")
    assert list(tmp_path.iterdir()) == []


def test_two_drivers_may_begin_on_a_fresh_database_at_once_and_mlflow_is_quiet(fresh_database: Any) -> None:
    assert [driver.returncode for driver in fresh_database.drivers] == [0, 0], fresh_database.drivers
    assert [driver.stdout + driver.stderr for driver in fresh_database.drivers] == ["", ""]
    assert connect(f"sqlite:///{fresh_database.path}").search_experiments()


def test_impatience_is_over_with_its_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "77")
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", raising=False)
    with few_retries(3):
        assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "3"
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "77"
    assert "MLFLOW_HTTP_REQUEST_MAX_RETRIES" not in os.environ


def test_importing_the_folder_does_not_import_mlflow() -> None:
    modules = ("client", "runs", "spool", "registry", "fetching", "browse", "trace", "card")
    program = "; ".join(f"import credit_ray.tracking.{name}" for name in modules)
    program += "; import sys; print(*{'mlflow', 'torch', 'ray', 'xarray'} & set(sys.modules))"
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.strip() == ""
