"""The search: from a config to the best trial, registered."""

from __future__ import annotations

import logging
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from credit_ray.cluster import ray_session
from credit_ray.config.experiment import Experiment
from credit_ray.config.tuning import TuningConfig
from credit_ray.data.dataset import open_dataset
from credit_ray.data.statistics import cached_statistics
from credit_ray.errors import ConfigError, TrainingError
from credit_ray.training.checkpoint import PACKAGE
from credit_ray.tuning.space import check_space, ray_space
from credit_ray.tuning.trial import run_trial

log = logging.getLogger(__name__)

_SEARCH = "search"


@dataclass(frozen=True)
class TuneResult:
    """A finished search.

    Parameters
    ----------
    name, version, alias : str
        Of the best trial's model, in the registry.
    values : dict
        Its values.
    metric : str
        What was compared.
    score : float
        Its value of the best trial.
    trials : list of dict
        All trials, best first: values, metric, epochs, and how they ended.
    run_id, run_directory, tracking_uri : str
        The search in MLflow; its trials are runs below it.
    seconds : float
        In all.
    """

    name: str
    version: str
    alias: str
    values: dict[str, Any]
    metric: str
    score: float
    trials: list[dict[str, Any]]
    run_id: str
    run_directory: str
    tracking_uri: str
    seconds: float

    def __str__(self) -> str:
        keys = list(self.values)
        rows = [
            [*(_short(t["values"][k]) for k in keys), _short(t["score"]), str(t["epochs"]), t["end"]]
            for t in self.trials
        ]
        header = [*keys, self.metric, "epochs", "end"]
        widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
        table = "\n".join(
            "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in [header, *rows]
        )
        return (
            f"{table}\n\nBest of {len(self.trials)} trials in {self.seconds:.0f} s: {self.name} version {self.version} (alias {self.alias}), "
            f"{self.metric} {self.score:.4g}\n"
            f"  all trials      mlflow ui --backend-store-uri {self.tracking_uri}\n"
            f"  model card      credit-ray models card {self.name}@{self.alias} --tracking-uri {self.tracking_uri}"
        )


def run_tuning(experiment: Experiment, *, resume: bool = False) -> TuneResult:
    """Search, and register the best trial's model.

    Parameters
    ----------
    experiment : Experiment
        With a `tuning` section.
    resume : bool
        Go on with the newest unfinished search of the same config.

    Raises
    ------
    ConfigError
        Without a `tuning` section, or for a space that can't work.
    TrainingError
        Where no trial came to a score.
    """
    from credit_ray.tracking.runs import start_run

    if (tuning := experiment.tuning) is None:
        raise ConfigError("The config has no 'tuning:' section: say which keys to search, under tuning.space.")
    if experiment.data.splits.validation is None:
        raise ConfigError("data.splits.validation is not given: trials are compared by it.")
    check_space(experiment, tuning)
    started = time.monotonic()
    dataset = open_dataset(experiment.data)
    statistics = cached_statistics(experiment, dataset)  # once, before the trials would all compute it
    with (
        start_run(
            experiment, stage="tune", dataset=dataset, statistics=statistics, resume="auto" if resume else "never"
        ) as run,
        ray_session(experiment.resources, dashboard=True),
    ):
        results = _search(experiment, tuning, run.run_id, run.directory)
        trials = sorted(_outcomes(results, tuning), key=lambda t: t["score"], reverse=tuning.mode == "max")
        if not trials:
            errors = "; ".join(str(error) for error in results.errors)[:500]
            raise TrainingError(f"None of the {tuning.trials} trials came to a {tuning.metric}. {errors}")
        best = trials[0]
        package = Path(run.directory) / PACKAGE
        shutil.rmtree(package, ignore_errors=True)
        shutil.copytree(Path(best["checkpoint"]) / PACKAGE, package)
        run.log_metrics({tuning.metric: best["score"]})
        version = run.register(package, metrics={tuning.metric: best["score"]})
    return TuneResult(
        name=experiment.model_name,
        version=version,
        alias=experiment.registry.alias,
        values=best["values"],
        metric=tuning.metric,
        score=best["score"],
        trials=[{k: v for k, v in trial.items() if k != "checkpoint"} for trial in trials],
        run_id=run.run_id,
        run_directory=run.directory,
        tracking_uri=run.tracking_uri,
        seconds=time.monotonic() - started,
    )


def _search(experiment: Experiment, tuning: TuningConfig, run_id: str, directory: str) -> Any:
    """Run the trials; goes on with those that a stopped search left."""
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler

    from credit_ray.tuning.freeing import FreeReservations

    trainable = tune.with_resources(
        tune.with_parameters(run_trial, experiment=experiment, parent_run=run_id, metric=tuning.metric), {"cpu": 0.1}
    )
    path = str(Path(directory) / _SEARCH)
    if tune.Tuner.can_restore(path):
        return tune.Tuner.restore(path, trainable, resume_unfinished=True, restart_errored=True).fit()
    scheduler = None
    if tuning.scheduler.kind == "asha":
        longest = experiment.training.max_epochs or 100
        scheduler = ASHAScheduler(
            grace_period=tuning.scheduler.grace, reduction_factor=tuning.scheduler.reduction, max_t=longest
        )
    tuner = tune.Tuner(
        trainable,
        param_space=ray_space(tuning),
        tune_config=tune.TuneConfig(
            metric=tuning.metric,
            mode=tuning.mode,
            num_samples=tuning.trials,
            scheduler=scheduler,
            # Said to the generator: Ray Tune ignores its own `max_concurrent_trials` beside one.
            search_alg=tune.search.BasicVariantGenerator(
                random_state=experiment.seed, max_concurrent=tuning.concurrent or _room(experiment)
            ),
        ),
        run_config=tune.RunConfig(name=_SEARCH, storage_path=directory, verbose=0, callbacks=[FreeReservations()]),
    )
    return tuner.fit()


def _room(experiment: Experiment) -> int:
    """Trials that fit into the cluster at a time: a driver, its workers, and one reader each."""
    import ray

    asked = experiment.resources.cpus_per_worker
    each = experiment.resources.most_workers * (1.0 if asked == "auto" else asked) + 1.1
    return max(int(ray.cluster_resources().get("CPU", 1) // each), 1)


def _outcomes(results: Any, tuning: TuningConfig) -> list[dict[str, Any]]:
    """Each trial at its best validation."""
    found = []
    for result in results:
        history = result.metrics_dataframe
        if history is None or tuning.metric not in history:
            log.warning("Trial with %s came to no score: %s", result.config, result.error)
            continue
        scores = history[tuning.metric]
        row = history.loc[scores.idxmin() if tuning.mode == "min" else scores.idxmax()]
        end = (
            "failed"
            if result.error
            else "finished"
            if history["epoch"].max() + 1 == history["epochs"].max()
            else "stopped early"
        )
        found.append(
            {
                "values": dict(result.config),
                "score": float(row[tuning.metric]),
                "epochs": int(history["epoch"].max()) + 1,
                "end": end,
                "checkpoint": row["checkpoint_path"],
            }
        )
    return found


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
