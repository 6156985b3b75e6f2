"""The driver of a training: from a config to a registered model."""

from __future__ import annotations

import logging
import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from credit_ray.cluster import own_error, ray_session
from credit_ray.config.experiment import Experiment
from credit_ray.data.dataset import Dataset, open_dataset
from credit_ray.data.plan import Plan
from credit_ray.data.plan_report import training_plan, training_steps
from credit_ray.data.statistics import Statistics, cached_statistics
from credit_ray.errors import ClusterError, CreditRayError, StoppedError, TrainingError
from credit_ray.times import Times

if TYPE_CHECKING:
    from credit_ray.tracking.fetching import FetchedModel
    from credit_ray.tracking.runs import Run

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainResult:
    """A trained, registered model.

    Parameters
    ----------
    name, version, alias : str
        In the registry.
    package : str
        Folder of the model package.
    run_id, run_directory, tracking_uri : str
        Where all about it is recorded.
    steps : int
        Optimiser steps.
    score : float or None
        Validation RMSE relative to persistence, mean over channels and leads.
    seconds : float
        From the first worker to the last checkpoint.
    """

    name: str
    version: str
    alias: str
    package: str
    run_id: str
    run_directory: str
    tracking_uri: str
    steps: int
    score: float | None
    seconds: float

    def __str__(self) -> str:
        score = f", validation RMSE {self.score:.3f} of persistence" if self.score is not None else ""
        return (
            f"Trained {self.name} version {self.version} (alias {self.alias}): {self.steps} steps in {self.seconds:.0f} s{score}.\n"
            f"  model package   {self.package}\n"
            f"  MLflow          mlflow ui --backend-store-uri {self.tracking_uri}\n"
            f"  model card      credit-ray models card {self.name}@{self.alias} --tracking-uri {self.tracking_uri}"
        )


def run_training(experiment: Experiment, *, resume: str = "auto") -> TrainResult:
    """Train a model, and register it.

    Parameters
    ----------
    experiment : Experiment
        The config.
    resume : {"auto", "never"} or path
        `auto` goes on with the newest unfinished run of the same science: data, model, loss, constraints and training. A path: with
        the run of that folder.

    Raises
    ------
    CreditRayError
        For what is wrong with config, data or cluster, before anything starts where possible.
    """
    return fit(experiment, resume=resume)


def fit(
    experiment: Experiment,
    *,
    resume: str,
    parent_run: str | None = None,
    callbacks: tuple[Any, ...] = (),
) -> TrainResult:
    """Train a model, and register it unless it is a trial of a search.

    Parameters
    ----------
    parent_run : str, optional
        MLflow run of the search.
    callbacks : tuple
        Of Ray Train, for a search that watches its trials.
    """
    from credit_ray.tracking.runs import start_run

    deadline = _deadline(experiment)
    dataset = open_dataset(experiment.data)
    plan = training_plan(experiment, dataset)
    statistics = cached_statistics(experiment, dataset)
    donor = _donor(experiment)
    _try_one_step(experiment, dataset, statistics, str(donor.directory) if donor else None)
    inits, lead = validation_inits(experiment, dataset, plan)
    with start_run(
        experiment, stage="train", dataset=dataset, statistics=statistics, resume=resume, parent=parent_run
    ) as run:
        started = time.monotonic()
        with ray_session(experiment.resources):
            metrics = _fit(experiment, dataset, plan, statistics, inits, lead, run, callbacks, donor, deadline)
        seconds = time.monotonic() - started
        if "stopped" in metrics:
            raise StoppedError(
                f"Training saved itself after step {metrics['global_step']} of {training_steps(experiment, plan)} and stopped ({metrics['stopped']}). "
                f"The same command goes on with it: run {run.run_id}."
            )
        package = Path(run.directory) / "package"
        headline = {"validation/score": metrics["validation/score"]} if "validation/score" in metrics else {}
        version = run.register(package, metrics=headline) if parent_run is None else ""
    return TrainResult(
        name=experiment.model_name,
        version=version,
        alias=experiment.registry.alias,
        package=str(package),
        run_id=run.run_id,
        run_directory=str(run.directory),
        tracking_uri=run.tracking_uri,
        steps=int(metrics["global_step"]),
        score=metrics.get("validation/score"),
        seconds=seconds,
    )


def validation_inits(experiment: Experiment, dataset: Dataset, plan: Plan) -> tuple[Times, int]:
    """Initial times to validate from, and how many steps; none without a validation period."""
    config = experiment.training.validation
    longest = max(times for _, times in plan.stages) - dataset.spec.history
    lead = dataset.spec.step.count_in(config.lead) if config.lead else longest
    if experiment.data.splits.validation is None:
        return np.empty(0, np.int64), lead
    return dataset.inits(dataset.period("validation"), lead, config.inits), lead


def _deadline(experiment: Experiment) -> float | None:
    """Seconds since 1970 at which the workers save themselves."""
    seconds = experiment.training.walltime_seconds
    return None if seconds is None else time.time() + seconds


def _donor(experiment: Experiment) -> FetchedModel | None:
    """The model that training starts from."""
    from credit_ray.tracking.client import tracking_uri
    from credit_ray.tracking.fetching import fetch_model

    given = experiment.training.start_from
    return None if given is None else fetch_model(given, tracking_uri(experiment))


def _try_one_step(experiment: Experiment, dataset: Dataset, statistics: Statistics, start_from: str | None) -> None:
    """Build the model and step once from real data, so that what can't work fails here and not on a cluster."""
    import torch

    from credit_ray.training.loop import build_loss, new_stepper

    stepper = new_stepper(experiment, dataset, statistics, start_from).eval()
    build_loss(experiment, stepper, statistics)
    first = dataset.inits(dataset.period("train"), 1, 1)
    with torch.inference_mode():
        stepper.step(stepper.start(dataset.initial_state(first)), next(iter(dataset.forcings(first, 1))))


def _fit(
    experiment: Experiment,
    dataset: Dataset,
    plan: Plan,
    statistics: Statistics,
    inits: Times,
    lead: int,
    run: Run,
    callbacks: tuple[Any, ...],
    donor: FetchedModel | None,
    deadline: float | None,
) -> dict[str, Any]:
    """Run the workers to the end, and leave the best package in the run's folder; gives that checkpoint's metrics."""
    import ray.train
    from ray.train.torch import TorchTrainer
    from ray.train.v2.api.exceptions import ControllerError, WorkerGroupError

    from credit_ray.data.ingest import configure_ray_data, in_order, ray_slabs
    from credit_ray.training.beside import ValidationTask, validation_config
    from credit_ray.training.checkpoint import PACKAGE, RAY_RUN, newest_checkpoint
    from credit_ray.training.detours import Detours
    from credit_ray.training.layout import planned_bands
    from credit_ray.training.loop import Job, new_stepper, train_worker
    from credit_ray.training.placement import choose_reader, scaling_config
    from credit_ray.training.progress import shown_progress
    from credit_ray.training.stopping import stop_on_signals

    resources, config = experiment.resources, experiment.training
    total, reader = training_steps(experiment, plan), choose_reader(experiment, dataset, plan)
    readers = None if resources.readers == "auto" else resources.readers
    directory, epochs = str(run.directory), plan.locate(total - 1)[0] + 1
    Detours(directory).try_again()
    lineage = {**run.lineage, "training_period": list(dataset.period("train"))}
    if donor is not None:
        lineage["started_from"] = {"uri": donor.uri, "digest": donor.digest}
    datasets: dict[str, Any] = {}
    if reader == "ray":
        configure_ray_data()
        domain = resources.parallel.domain  # its workers are neighbours, and read the bands of the same slabs
        bands = planned_bands(new_stepper(experiment, dataset, statistics), domain)

        def slabs() -> Any:
            """Called by the controller each time it starts workers: from where they go on, in the order that they will ask for."""
            newest = newest_checkpoint(directory)
            ordered = replace(plan, detours=Detours(directory).epochs())
            rows = ordered.rows(resources.most_workers // domain, newest.step if newest else 0, epochs)
            return ray_slabs(dataset, rows, readers=readers, bounds=bands.bounds if bands else ())

        datasets["train"] = slabs
    with shown_progress(total) as board:
        job = Job(
            experiment=experiment,
            dataset=dataset,
            statistics=statistics,
            reader=reader,
            validation_inits=inits,
            validation_lead=lead,
            run_id=run.run_id,
            run_directory=directory,
            tracking_uri=run.tracking_uri,
            lineage=lineage,
            board=board,
            deadline=deadline,
            start_from=_kept(donor, run),
        )
        scaling = scaling_config(experiment)
        validation = ValidationTask(
            dataset=dataset,
            init_times=inits,
            lead_steps=lead,
            batch_size=config.batch_size,
            run_id=run.run_id,
            run_directory=directory,
            tracking_uri=run.tracking_uri,
        )
        trainer = TorchTrainer(
            lambda config: train_worker(config["job"]),
            train_loop_config={"job": job},
            scaling_config=scaling,
            # Missing in the annotations of the class that is exported.
            validation_config=validation_config(  # type: ignore[call-arg]
                experiment, validation, gpus=(scaling.resources_per_worker or {}).get("GPU", 0)
            ),
            run_config=ray.train.RunConfig(
                name=RAY_RUN,
                storage_path=directory,
                failure_config=ray.train.FailureConfig(max_failures=config.max_failures),
                checkpoint_config=ray.train.CheckpointConfig(
                    num_to_keep=config.checkpoint.keep,
                    checkpoint_score_attribute="validation/score" if len(inits) else None,
                    checkpoint_score_order="min",
                ),
                callbacks=list(callbacks),
            ),
            datasets=datasets,
            dataset_config=ray.train.DataConfig(execution_options=in_order()),
        )
        try:
            with stop_on_signals(board):
                result = trainer.fit()
        except WorkerGroupError as error:
            raise _the_cause(error) from error
        except ControllerError as error:
            raise ClusterError(f"Ray Train could not run its workers: {error}") from error
    if "stopped" in (result.metrics or {}):
        return dict(result.metrics or {})
    scored = [(c, m) for c, m in result.best_checkpoints or [] if "validation/score" in m]
    if scored:
        checkpoint, metrics = min(scored, key=lambda pair: pair[1]["validation/score"])
    else:
        checkpoint, metrics = result.checkpoint, result.metrics or {}
    with checkpoint.as_directory() as folder:
        whole, kept = Path(directory) / "package.partial", Path(directory) / "package"
        shutil.rmtree(whole, ignore_errors=True)
        shutil.copytree(Path(folder) / PACKAGE, whole)
        shutil.rmtree(kept, ignore_errors=True)
        whole.rename(kept)
    return dict(metrics)


def _kept(donor: FetchedModel | None, run: Run) -> str | None:
    """The donor's package in the run's folder, where all workers see it, now and when training goes on."""
    if donor is None:
        return None
    folder = Path(run.directory) / "start_from"
    shutil.copytree(donor.directory, folder, dirs_exist_ok=True)
    return str(folder)


def _the_cause(error: Any) -> CreditRayError:
    """The error that a user can act on, out of Ray's account of which worker died of what."""
    for rank, failure in error.worker_failures.items():
        cause = own_error(getattr(failure, "_base_exc", failure))
        if isinstance(cause, CreditRayError):
            return cause
        log.debug("Worker %s: %s", rank, failure)
    rank, failure = next(iter(error.worker_failures.items()))
    return TrainingError(f"Worker {rank} failed, and so did its restarts: {failure}")
