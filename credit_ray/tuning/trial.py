"""One trial: the same training that `credit-ray train` runs, reporting to the search, registering nothing."""

from __future__ import annotations

from typing import Any

from credit_ray.config.experiment import Experiment
from credit_ray.training.run import fit
from credit_ray.tuning.space import with_values


def run_trial(values: dict[str, Any], *, experiment: Experiment, parent_run: str, metric: str) -> None:
    """Train with these values; runs in a process of Ray Tune's.

    Parameters
    ----------
    values : dict
        Dotted key → value, drawn from the space.
    parent_run : str
        MLflow run of the search.
    metric : str
        What the search compares; reports without it (a checkpoint between two validations) are kept from it.
    """
    from ray.tune.integration.ray_train import TuneReportCallback

    class ReportValidations(TuneReportCallback):
        """Pass on what can be compared."""

        def after_report(self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Any) -> None:
            if metric in metrics[0]:
                super().after_report(run_context, metrics, checkpoint)

    fit(
        with_values(experiment, values),
        resume="never",
        parent_run=parent_run,
        callbacks=(ReportValidations(),),
    )
