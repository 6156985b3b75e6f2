"""`run_verification`: from a forecast store and the data to tables, plots and a page."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from credit_ray.config.experiment import Experiment
from credit_ray.data.dataset import Dataset, open_dataset
from credit_ray.data.statistics import cached_statistics
from credit_ray.errors import ConfigError, CreditRayError, SpecMismatchError
from credit_ray.progress import shown_progress
from credit_ray.times import format_time
from credit_ray.tracking.client import tracking_uri
from credit_ray.tracking.places import find
from credit_ray.tracking.records import run_root
from credit_ray.verification.baselines import Climatology
from credit_ray.verification.folder import results_folder, whole_or_not_at_all, write_results
from credit_ray.verification.forecasts import Forecasts, open_forecast
from credit_ray.verification.headline import headline_metrics, headline_rows, headline_table, registry_scores
from credit_ray.verification.metrics import METRICS
from credit_ray.verification.scores import Scores
from credit_ray.verification.scoring import score_forecasts

if TYPE_CHECKING:
    from credit_ray.verification.budgets import BudgetCurves

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class VerificationResult:
    """Scores, and where they are.

    Parameters
    ----------
    forecast, model : str
        What was scored.
    period : str
        First and last initial time.
    forecasts : int
        How many initial times were scored.
    left_out : int
        Fields, of all lead times, for which the data have no truth.
    scores : tuple of mapping
        Headline channels at some leads: channel, lead, units, rmse, acc, and the RMSE of each baseline.
    table : str
        The same as text.
    report, csv, json : str
        Files.
    run_id : str
        In MLflow.
    seconds : float
        In all.
    """

    forecast: str
    model: str
    period: str
    forecasts: int
    left_out: int
    scores: tuple[Mapping[str, Any], ...]
    table: str
    report: str
    csv: str
    json: str
    run_id: str
    seconds: float

    def __str__(self) -> str:
        left_out = f"; {self.left_out} fields without truth are left out" if self.left_out else ""
        return (
            f"{self.forecasts} forecast{'s' * (self.forecasts != 1)} of {self.model}, from {self.period}{left_out}. Area-weighted RMSE:\n\n"
            f"{self.table}\n\n"
            f"  report   {self.report}\n"
            f"  scores   {self.csv}\n"
            f"  trace    credit-ray models trace {self.forecast}"
        )


def run_verification(experiment: Experiment) -> VerificationResult:
    """Score a forecast store against the data, and against persistence and climatology on the same times.

    Raises
    ------
    CreditRayError
        For a store that is missing, unfinished or of other variables than the data; for times without truth.
    """
    from credit_ray.tracking.runs import start_run

    began, config = time.monotonic(), experiment.verification
    url = config.forecast or experiment.forecast.output.store or _newest_store(experiment)
    forecasts = Forecasts(open_forecast(url), url)
    forecasts.refuse_incomplete()
    dataset = open_dataset(experiment.data)
    _refuse_other_channels(forecasts, dataset)
    target = results_folder(experiment, url)
    tags = {
        "model": forecasts.attributes.get("model"),
        "model_digest": forecasts.attributes.get("model_digest"),
        "forecast": url,
    }
    with start_run(experiment, stage="verify", dataset=dataset, tags=tags) as run:
        with shown_progress("verifying", "fields") as show:
            totals = score_forecasts(
                forecasts,
                dataset,
                metrics=config.metrics,
                baselines=config.baselines,
                climatology=_climatology(experiment, dataset, forecasts),
                progress=show,
            )
        scores = Scores.of(totals, forecasts, config.metrics)
        budgets = _budgets(experiment, dataset, forecasts) if config.budgets else None
        with whole_or_not_at_all(target) as folder:
            write_results(folder, forecasts, dataset, totals, scores, experiment, budgets)
        run.log_artifact(target, "verification")
        run.log_metrics(headline_metrics(scores))
        _record(experiment, forecasts, scores)
    inits = forecasts.init_times[totals.used.any(1)]
    return VerificationResult(
        forecast=url,
        model=forecasts.model,
        period=f"{format_time(inits[0], forecasts.calendar)} … {format_time(inits[-1], forecasts.calendar)}",
        forecasts=len(inits),
        left_out=totals.left_out(forecasts),
        scores=tuple(headline_rows(scores)),
        table=headline_table(scores),
        report=str(target / "index.html"),
        csv=str(target / "scores.csv"),
        json=str(target / "scores.json"),
        run_id=run.run_id,
        seconds=time.monotonic() - began,
    )


def _budgets(experiment: Experiment, dataset: Dataset, forecasts: Forecasts) -> BudgetCurves:
    from credit_ray.verification.budgets import measure_budgets

    with shown_progress("measuring", "forecasts") as show:
        curves = measure_budgets(forecasts, dataset, experiment, progress=show)
    for what, why in curves.missing.items():
        log.info("Not measured: %s. %s", what, why)
    return curves


def _newest_store(experiment: Experiment) -> str:
    stores = sorted((path for path in find(run_root(experiment), "forecast.zarr")), key=_created)
    if not stores:
        raise ConfigError(
            f"Which forecast? Nothing is named by verification.forecast or forecast.output.store, and there is no forecast.zarr "
            f"in the runs under {run_root(experiment)}. Make one: credit-ray forecast."
        )
    log.info("Verifying the newest forecast, %s", stores[-1])
    return stores[-1]


def _created(url: str) -> str:
    return str(open_forecast(url).attrs.get("created", ""))


def _refuse_other_channels(forecasts: Forecasts, dataset: Dataset) -> None:
    have = {channel.name: channel for channel in dataset.spec.outputs}
    absent = [name for name in forecasts.channels.names if name not in have]
    if absent:
        raise SpecMismatchError(
            f"{forecasts.where} forecasts {', '.join(absent)}, which the data of this config don't have. They have: {', '.join(have)}."
        )
    for channel in forecasts.channels:
        if channel.units != have[channel.name].units:
            raise SpecMismatchError(
                f"{forecasts.where} has {channel.name} in '{channel.units}', the data in '{have[channel.name].units}'."
            )
    if forecasts.grid != dataset.spec.grid:
        raise SpecMismatchError(
            f"{forecasts.where} is on a {forecasts.grid.describe()}, the data on a {dataset.spec.grid.describe()}."
        )
    if forecasts.calendar != dataset.spec.calendar:
        raise SpecMismatchError(
            f"{forecasts.where} has the calendar {forecasts.calendar}, the data {dataset.spec.calendar}."
        )


def _climatology(experiment: Experiment, dataset: Dataset, forecasts: Forecasts) -> Climatology | None:
    """The training period's, where something is compared with it."""
    config = experiment.verification
    if "climatology" not in config.baselines and not any(METRICS[name].needs_climatology for name in config.metrics):
        return None
    statistics = cached_statistics(experiment, dataset)
    picked = [dataset.spec.outputs.index(name) for name in forecasts.channels.names]
    return Climatology(statistics.climatology[:, picked], experiment.data.climatology, dataset.spec.calendar)


def _record(experiment: Experiment, forecasts: Forecasts, scores: Scores) -> None:
    """Put the scores on the registered version that made the forecasts, if there is one."""
    from credit_ray.tracking.registry import record_scores

    model = str(forecasts.attributes.get("model", ""))
    if not model.startswith("models:/") or "rmse" not in scores.metrics:
        return
    first, last = (format_time(int(t), forecasts.calendar) for t in forecasts.init_times[[0, -1]])
    try:
        record_scores(
            model, registry_scores(scores), period=f"{first} to {last}", tracking_uri=tracking_uri(experiment)
        )
    except CreditRayError as error:
        log.warning("The scores are not on the registered model: %s", error)
