"""A run's page and folder, and going on with one."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml

from credit_ray.config.experiment import Experiment
from credit_ray.errors import ConfigError
from credit_ray.grid.latlon import LatLonGrid
from credit_ray.state import Channel, Channels, StateSpec
from credit_ray.times import Step
from credit_ray.tracking.client import connect
from credit_ray.tracking.records import RECORD, RunRecord
from credit_ray.tracking.runs import Run, start_run
from credit_ray.tracking.spool import MetricSpool

Vary = Callable[..., Experiment]


def page_of(run: Run) -> Any:
    return connect(run.tracking_uri).get_run(run.run_id)


def dataset(digest: str = "d" * 64) -> Any:
    """As much of a data set as a run records."""
    spec = StateSpec(
        prognostic=Channels([Channel(variable="t2m", units="K")]),
        step=Step(seconds=21600),
        grid=LatLonGrid.gaussian(8),
    )
    return SimpleNamespace(data_id=digest, spec=spec, times=np.arange(5), sources=())


def everything_in(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_a_run_has_its_science_as_parameters_and_its_config_as_an_artifact(experiment: Experiment) -> None:
    with start_run(experiment, stage="train") as run:
        pass
    page = page_of(run)
    assert page.info.status == "FINISHED"
    assert page.info.run_name == "tiny"
    assert page.data.params["model.width"] == "4"
    assert page.data.params["model.kernel"] == "3", "defaults are parameters too"
    assert not [key for key in page.data.params if key.startswith(("resources", "output", "tracking"))]
    assert page.data.tags["credit_ray.stage"] == "train"
    assert page.data.tags["credit_ray.code_revision"].startswith("0.")
    assert page.data.tags["credit_ray.config_digest"] == run.lineage["config_digest"]
    artifact = Path(page.info.artifact_uri, "config.yaml")
    assert artifact.read_text() == Path(run.path("config.yaml")).read_text()
    assert yaml.safe_load(artifact.read_text())["training"]["batch_size"] == 8


def test_all_that_a_run_writes_is_in_the_output(experiment: Experiment, output: Path) -> None:
    with start_run(experiment, stage="train") as run:
        run.log_text("a plan", "plan.txt")
    assert Path(run.directory) == output / "tiny" / run.run_id
    assert page_of(run).info.artifact_uri.startswith(f"{output}/mlartifacts/")
    assert {path.name for path in output.parent.iterdir()} == {"runs"}


def test_no_secret_reaches_mlflow_or_the_folder(experiment: Experiment, output: Path) -> None:
    with start_run(experiment, stage="train", dataset=dataset()) as run:
        pass
    assert b"hunter2" not in everything_in(output)
    assert "hunter2" not in json.dumps(run.lineage)
    assert "https://example.org/weather.zarr" in page_of(run).data.params["data.sources.atmosphere.store"]


def test_the_data_are_the_runs_input(experiment: Experiment) -> None:
    with start_run(experiment, stage="train", dataset=dataset("e" * 64)) as run:
        pass
    (found,) = page_of(run).inputs.dataset_inputs
    assert found.dataset.digest == "e" * 36
    assert found.dataset.name == "atmosphere"
    assert "t2m" in found.dataset.schema
    assert page_of(run).data.tags["credit_ray.data_digest"] == "e" * 64
    assert run.lineage["data_digest"] == "e" * 64


def test_a_run_ends_as_its_block_does(experiment: Experiment) -> None:
    with pytest.raises(ValueError, match="boom"), start_run(experiment, stage="train") as failed:
        raise ValueError("boom")
    with pytest.raises(KeyboardInterrupt), start_run(experiment, stage="train") as stopped:
        raise KeyboardInterrupt
    assert page_of(failed).info.status == "FAILED"
    assert page_of(stopped).info.status == "KILLED"
    assert RunRecord.read(failed.directory).status == "failed"
    assert RunRecord.read(stopped.directory).status == "stopped"


def test_going_on_keeps_the_page_and_adds_the_new_config(experiment: Experiment, vary: Vary) -> None:
    with pytest.raises(KeyboardInterrupt), start_run(experiment, stage="train") as first:
        raise KeyboardInterrupt
    more = vary(resources__workers=2)
    with start_run(more, stage="train", resume="auto") as second:
        assert page_of(second).info.status == "RUNNING"
    assert second.run_id == first.run_id
    assert second.resumed
    assert page_of(second).info.status == "FINISHED"
    artifacts = {path.name for path in Path(page_of(second).info.artifact_uri).iterdir()}
    assert {"config.yaml", "config.restart-1.yaml"} <= artifacts
    assert yaml.safe_load(Path(second.path("config.restart-1.yaml")).read_text())["resources"]["workers"] == 2


@pytest.mark.parametrize(
    "change",
    [
        {"training__optimizer": {"lr": 0.1}},
        {"seed": 1},
        {"model__width": 8},
        {"data__sources__atmosphere__store": "other.zarr"},
    ],
)
def test_another_science_is_another_run_though_its_name_is_the_same(
    experiment: Experiment, vary: Vary, change: dict[str, Any]
) -> None:
    with pytest.raises(KeyboardInterrupt), start_run(experiment, stage="train") as first:
        raise KeyboardInterrupt
    with start_run(vary(**change), stage="train", resume="auto") as second:
        assert second.run_id != first.run_id


def test_other_data_under_the_same_url_are_another_run(
    experiment: Experiment, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(KeyboardInterrupt), start_run(experiment, stage="train", dataset=dataset("a" * 64)) as first:
        raise KeyboardInterrupt
    with start_run(experiment, stage="train", dataset=dataset("b" * 64), resume="auto") as second:
        assert second.run_id != first.run_id
    assert "data have changed" in caplog.text


def test_only_an_unfinished_run_of_the_same_kind_is_gone_on_with(experiment: Experiment) -> None:
    with start_run(experiment, stage="train") as finished:
        pass
    with pytest.raises(KeyboardInterrupt), start_run(experiment, stage="tune") as search:
        raise KeyboardInterrupt
    with start_run(experiment, stage="train", resume="auto") as run:
        assert run.run_id not in (finished.run_id, search.run_id)


def test_the_newest_is_gone_on_with_and_never_means_never(experiment: Experiment) -> None:
    ids = []
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt), start_run(experiment, stage="train", resume="never") as run:
            raise KeyboardInterrupt
        ids.append(run.run_id)
    assert ids[0] != ids[1]
    with start_run(experiment, stage="train", resume="auto") as run:
        assert run.run_id == ids[1]


def test_a_part_goes_on_only_under_its_own_parent(experiment: Experiment) -> None:
    with start_run(experiment, stage="tune") as search:
        with pytest.raises(KeyboardInterrupt), start_run(experiment, stage="train", parent=search.run_id) as trial:
            raise KeyboardInterrupt
        assert page_of(trial).data.tags["mlflow.parentRunId"] == search.run_id
        with start_run(experiment, stage="train", resume="auto") as alone:
            assert alone.run_id != trial.run_id
        with start_run(experiment, stage="train", parent=search.run_id, resume="auto") as again:
            assert again.run_id == trial.run_id


def test_a_run_that_someone_works_on_is_left_alone(experiment: Experiment, caplog: pytest.LogCaptureFixture) -> None:
    with start_run(experiment, stage="train") as busy:
        with start_run(experiment, stage="train", resume="auto") as other:
            assert other.run_id != busy.run_id
        with pytest.raises(ConfigError, match="Another process"):
            start_run(experiment, stage="train", resume=busy.directory)
    assert "another process is working on it" in caplog.text


def test_a_folder_of_another_experiment_is_refused_with_what_differs(experiment: Experiment, vary: Vary) -> None:
    with pytest.raises(KeyboardInterrupt), start_run(experiment, stage="train") as run:
        raise KeyboardInterrupt
    with pytest.raises(ConfigError, match="training.batch_size was 8, now 16"):
        start_run(vary(training__batch_size=16), stage="train", resume=run.directory)
    with pytest.raises(ConfigError, match="no run's folder"):
        start_run(experiment, stage="train", resume=str(Path(run.directory).parent))
    with start_run(experiment, stage="train", resume=run.directory) as again:
        assert again.run_id == run.run_id


def test_a_run_that_mlflow_lost_is_begun_anew(experiment: Experiment, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(KeyboardInterrupt), start_run(experiment, stage="train") as run:
        raise KeyboardInterrupt
    connect(run.tracking_uri).delete_run(run.run_id)
    with start_run(experiment, stage="train", resume="auto") as other:
        assert other.run_id != run.run_id
    assert "does not have it" in caplog.text


def test_a_driver_that_is_killed_leaves_a_run_to_go_on_with_and_its_metrics(
    experiment: Experiment, output: Path
) -> None:
    program = textwrap.dedent(
        f"""
        import os, signal, sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from conftest import make_experiment
        from credit_ray.tracking.runs import start_run
        from credit_ray.tracking.spool import MetricSpool
        from pathlib import Path
        run = start_run(make_experiment(Path({str(output)!r})), stage="train")
        spool = MetricSpool(run.directory, run_id=run.run_id, tracking_uri=run.tracking_uri)
        for step in range(100):
            spool.log({{"train/loss": step}}, step=step)
        print(run.run_id, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    killed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    with start_run(experiment, stage="train", resume="auto") as run:
        assert run.run_id == killed.stdout.strip()
        spool = MetricSpool(run.directory, run_id=run.run_id, tracking_uri=run.tracking_uri)
        for step in range(90, 120):  # a checkpoint at 90
            spool.log({"train/loss": step}, step=step)
        spool.close()
    history = connect(run.tracking_uri).get_metric_history(run.run_id, "train/loss")
    assert [point.step for point in history] == list(range(120))


def test_metrics_that_a_killed_worker_left_are_sent_when_the_run_ends(experiment: Experiment) -> None:
    with start_run(experiment, stage="train") as run:
        folder = Path(run.directory, "metrics")
        folder.mkdir(exist_ok=True)
        (folder / "train.jsonl").write_text('{"step": 3, "time_ms": 1, "metrics": {"train/loss": 0.5}}\n')
    assert page_of(run).data.metrics["train/loss"] == 0.5


def test_the_drivers_own_metrics_arrive(experiment: Experiment) -> None:
    with start_run(experiment, stage="verify") as run:
        run.log_metrics({"rmse/6h/t2m": 0.5})
    assert page_of(run).data.metrics["rmse/6h/t2m"] == 0.5
    assert page_of(run).info.run_name == "tiny-verify"


def test_a_run_outlives_its_database(
    experiment: Experiment, output: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = start_run(experiment, stage="train")
    monkeypatch.setattr(run, "_client", SimpleNamespace())  # every call to it raises
    with caplog.at_level(logging.WARNING):
        run.log_text("a plan", "plan.txt")
        run.set_tags(data_content="x")
        run.finish(patience=1)
    assert Path(run.path("plan.txt")).read_text() == "a plan"
    assert json.loads(Path(run.path(RECORD)).read_text())["status"] == "finished"
    assert "plan.txt did not reach MLflow" in caplog.text


def test_the_folder_may_be_moved(experiment: Experiment, output: Path) -> None:
    with pytest.raises(KeyboardInterrupt), start_run(experiment, stage="train") as run:
        raise KeyboardInterrupt
    moved = output / "tiny" / "moved"
    os.rename(run.directory, moved)
    assert RunRecord.read(str(moved)).directory == str(moved)
    with start_run(experiment, stage="train", resume="auto") as again:
        assert again.directory == str(moved)


def test_a_deleted_experiment_is_named(experiment: Experiment) -> None:
    with start_run(experiment, stage="train") as run:
        pass
    connect(run.tracking_uri).delete_experiment(run.record.experiment_id)
    with pytest.raises(ConfigError, match="'tiny' was deleted"):
        start_run(experiment, stage="train")


def test_an_output_in_an_object_store_holds_the_record(vary: Vary, uri: str) -> None:
    """`memory://` stands for one: fsspec reads and writes it alike."""
    there = vary(output="memory://bucket/runs", tracking__uri=uri)
    with pytest.raises(KeyboardInterrupt), start_run(there, stage="train") as run:
        raise KeyboardInterrupt
    assert run.directory == f"memory://bucket/runs/tiny/{run.run_id}"
    with start_run(there, stage="train", resume="auto") as again:
        assert again.run_id == run.run_id
