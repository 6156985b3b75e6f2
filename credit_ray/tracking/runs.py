"""Runs: the driver makes one, or goes on with one; its workers get the id.

A run has a page in MLflow and a folder `<output>/<name>/<run_id>`. What MLflow misses while it is away is in the folder.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any

from credit_ray.config.dump import dump_yaml, science, science_digest
from credit_ray.errors import ConfigError, StoppedError
from credit_ray.tracking import page
from credit_ray.tracking.client import connect, few_retries, reason, tracking_uri
from credit_ray.tracking.places import join, local_folder, redact, without_secrets, write_text
from credit_ray.tracking.records import RunRecord, Stage, Status, hold, params, run_root, unfinished
from credit_ray.tracking.registry import register_model
from credit_ray.tracking.revision import code_revision
from credit_ray.tracking.scores import Score
from credit_ray.tracking.spool import MetricSpool, leftover
from credit_ray.tracking.system import SystemMetrics

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

    from credit_ray.config.experiment import Experiment
    from credit_ray.data.dataset import Dataset
    from credit_ray.data.statistics import Statistics

log = logging.getLogger(__name__)

_MLFLOW_STATUS: dict[Status, str] = {
    "running": "RUNNING",
    "finished": "FINISHED",
    "failed": "FAILED",
    "stopped": "KILLED",
}


class Run:
    """A run that this process works on; as a context, it ends as its block does. Made by `start_run`.

    A worker needs only its `run_id`, `directory` and `tracking_uri`, to open a `MetricSpool`.

    Attributes
    ----------
    record : RunRecord
        What its folder says of it.
    tracking_uri : str
        Where its page is.
    lineage : dict
        What its results were made from, for packages and forecasts: `run_id`, `data_digest`, `data_content`, `code_revision`,
        `config_digest`, `config` (the science), `attribution` (what the data's stores say of their origin).
    """

    def __init__(
        self,
        record: RunRecord,
        experiment: Experiment,
        lineage: Mapping[str, Any],
        uri: str,
        client: MlflowClient,
        lock: IO[str] | None,
    ) -> None:
        self.record, self.tracking_uri, self.lineage = record, uri, dict(lineage)
        self._experiment, self._client, self._lock = experiment, client, lock
        self.spool = MetricSpool(record.directory, run_id=record.run_id, tracking_uri=uri, name="driver")
        self._system = SystemMetrics(
            self.spool, since=record.created, disk=str(local_folder(record.directory, record.run_id))
        )

    @property
    def run_id(self) -> str:
        """In MLflow."""
        return self.record.run_id

    @property
    def directory(self) -> str:
        """Folder or URL of its files."""
        return self.record.directory

    @property
    def resumed(self) -> bool:
        """Whether it goes on with an earlier one."""
        return self.record.restarts > 0

    @property
    def url(self) -> str:
        """Its page, where a server shows it; else the command that shows it."""
        if self.tracking_uri.startswith("http"):
            place = f"#/experiments/{self.record.experiment_id}/runs/{self.run_id}"
            view = (
                "?workflowType=machine_learning"  # else a browser that was never here shows what language models need
            )
            return f"{redact(self.tracking_uri).rstrip('/')}/{place}{view}"
        return f"mlflow ui --backend-store-uri {redact(self.tracking_uri)}"

    def path(self, *names: str) -> str:
        """A place in its folder."""
        return join(self.directory, *names)

    def log_metrics(self, metrics: Mapping[str, float], *, step: int = 0) -> None:
        """Metrics of the driver's own: scores, durations."""
        self.spool.log(metrics, step=step)

    def set_tags(self, **tags: Any) -> None:
        """Tags `credit_ray.<name>` of the run's page; what is None is left out."""
        texts = {f"{page.PREFIX}{name}": str(value)[:8000] for name, value in tags.items() if value is not None}
        self._try("its tags", lambda: page.set_tags(self._client, self.run_id, texts))

    def log_artifact(self, path: str | Path, folder: str | None = None) -> None:
        """Copy a file or folder of this machine into the run's artifacts."""
        send = self._client.log_artifacts if Path(path).is_dir() else self._client.log_artifact
        self._try(str(path), lambda: send(self.run_id, str(path), folder))

    def log_text(self, text: str, name: str) -> None:
        """Write a text into the run's folder, and into its artifacts."""
        write_text(self.path(name), text)
        self._try(name, lambda: self._client.log_text(self.run_id, text, name))

    def register(
        self, package: str | Path, *, metrics: Mapping[str, float] | None = None, scores: Sequence[Score] = ()
    ) -> str:
        """Register a model package of this run under the config's name and alias; returns its version.

        Raises
        ------
        ClusterError
            Where MLflow does not answer: the package stays where it is, and can be registered later.
        """
        registry = self._experiment.registry
        return register_model(
            package,
            run_id=self.run_id,
            name=self._experiment.model_name,
            alias=registry.alias,
            metrics=metrics,
            scores=scores,
            tracking_uri=self.tracking_uri,
        ).version

    def finish(self, status: Status = "finished", *, patience: float = 30.0) -> None:
        """End the run: send the metrics that wait, here and in spools that killed workers left, for at most `patience` seconds each."""
        self._system.stop()
        self.spool.close(patience)
        for name in leftover(self.directory, self.run_id):
            if name != "driver":
                MetricSpool(self.directory, run_id=self.run_id, tracking_uri=self.tracking_uri, name=name).close(
                    patience
                )
        self._try("its end", lambda: self._client.set_terminated(self.run_id, _MLFLOW_STATUS[status]))
        self.record = replace(self.record, status=status)
        self.record.save()
        if self._lock:
            self._lock.close()

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        stopped = isinstance(error, StoppedError) or not isinstance(error, Exception)
        self.finish("finished" if error is None else "stopped" if stopped else "failed")

    def _try(self, what: str, send: Callable[[], object]) -> None:
        """MLflow's absence ends no run: what it should have is in the run's folder."""
        try:
            with few_retries(60):
                send()
        except Exception as error:  # its client raises its own, its HTTP library's and its database's errors
            log.warning("Run %s: %s did not reach MLflow: %s", self.run_id, what, reason(error))


def start_run(
    experiment: Experiment,
    *,
    stage: Stage,
    dataset: Dataset | None = None,
    statistics: Statistics | None = None,
    resume: str = "never",
    parent: str | None = None,
    name: str | None = None,
    tags: Mapping[str, Any] | None = None,
) -> Run:
    """Make a run, or go on with one; done once, by the driver, before its workers start.

    Parameters
    ----------
    experiment : Experiment
        Its science becomes the run's parameters.
    stage : {"train", "tune", "forecast", "verify"}
        What kind of run.
    dataset, statistics : Dataset, Statistics, optional
        Recorded as the run's input, and its identity.
    resume : {"auto", "never"} or path
        Go on with the newest unfinished run of the same science and data, if there is one; never; or with the run of that folder.
    parent : str, optional
        Id of the run that this is a part of; `auto` goes on only with parts of the same.
    name : str, optional
        Of its page; default: the experiment's, with the stage.
    tags : mapping, optional
        Further tags, without the prefix `credit_ray.`: which model a forecast used.

    Raises
    ------
    ClusterError
        Where MLflow does not answer.
    ConfigError
        Where the run to go on with is another experiment's, naming what differs, or someone works on it.
    """
    uri = tracking_uri(experiment)
    client = connect(uri, create=True)
    data_digest = dataset.data_id if dataset else None
    found = _to_resume(client, experiment, stage, resume, data_digest, parent)
    if found is None:
        record = _new_record(client, experiment, stage, data_digest, uri, parent, name)
    else:
        client.update_run(found.run_id, status="RUNNING")
        record = replace(found, status="running", restarts=found.restarts + 1)
    lock = hold(record)
    record.save()
    lineage = {
        "run_id": record.run_id,
        "data_digest": data_digest,
        "data_content": statistics.content if statistics else None,
        "code_revision": str(code_revision()),
        "config_digest": record.science_digest,
        "config": page.without_secrets_in(science(experiment)),
        "attribution": page.attribution(dataset) if dataset else {},
    }
    run = Run(record, experiment, lineage, uri, client, lock)
    try:
        _describe(run, client, experiment, dataset, tags or {})
    except BaseException:
        run.finish("failed", patience=5)
        raise
    return run


def _to_resume(
    client: MlflowClient, experiment: Experiment, stage: Stage, resume: str, data_digest: str | None, parent: str | None
) -> RunRecord | None:
    if resume == "never":
        return None
    if resume != "auto":
        record = RunRecord.read(resume)
        record.refuse_other(experiment, stage)
        if not page.exists(client, record.run_id):
            raise ConfigError(
                f"MLflow at {redact(tracking_uri(experiment))} has no run {record.run_id} (of {resume}). Set tracking.uri to where it is."
            )
        return record
    for record in unfinished(experiment, stage, data_digest, parent):
        if page.exists(client, record.run_id):
            log.info("Going on with run %s", record.run_id)
            return record
        log.warning(
            "Not going on with run %s: MLflow at %s does not have it", record.run_id, redact(tracking_uri(experiment))
        )
    return None


def _new_record(
    client: MlflowClient,
    experiment: Experiment,
    stage: Stage,
    data_digest: str | None,
    uri: str,
    parent: str | None,
    name: str | None,
) -> RunRecord:
    title = name or (experiment.name if stage == "train" else f"{experiment.name}-{stage}")
    experiment_id = page.experiment_id(client, experiment, uri)
    run_id = client.create_run(experiment_id, tags=page.mlflow_tags(title, stage, parent)).info.run_id
    return RunRecord(
        run_id=run_id,
        experiment_id=experiment_id,
        stage=stage,
        science_digest=science_digest(experiment, stage),
        params=params(experiment),
        data_digest=data_digest,
        parent=parent,
        created=time.time(),
        directory=join(run_root(experiment), run_id),
    )


def _describe(
    run: Run, client: MlflowClient, experiment: Experiment, dataset: Dataset | None, tags: Mapping[str, Any]
) -> None:
    """Parameters, tags, input and the resolved config; on a restart only what may have changed."""
    restarts = run.record.restarts
    if not restarts:
        page.log_params(client, run.run_id, run.record.params)
    known = {key: run.lineage[key] for key in ("data_digest", "data_content", "code_revision", "config_digest")}
    run.set_tags(stage=run.record.stage, directory=redact(run.directory), restarts=restarts or None, **known, **tags)
    run.log_text(
        without_secrets(dump_yaml(experiment)), f"config.restart-{restarts}.yaml" if restarts else "config.yaml"
    )
    if dataset is not None and not restarts:
        run._try("its data set", lambda: page.log_dataset(client, run.run_id, experiment, dataset))
