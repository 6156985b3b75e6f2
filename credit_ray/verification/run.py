"""`run_verification`: from a forecast store and the data to tables, plots and a page."""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from credit_ray.config.experiment import Experiment
from credit_ray.data.dataset import Dataset, open_dataset
from credit_ray.data.statistics import cached_statistics
from credit_ray.errors import ConfigError, CreditRayError, SpecMismatchError
from credit_ray.progress import shown_progress
from credit_ray.times import format_time
from credit_ray.tracking.client import tracking_uri
from credit_ray.tracking.places import find, is_url, output_root
from credit_ray.tracking.records import run_root
from credit_ray.tracking.scores import Score
from credit_ray.tracking.tables import table
from credit_ray.verification.baselines import Climatology
from credit_ray.verification.forecasts import Forecasts, nearest_leads, open_forecast
from credit_ray.verification.maps import style_of, units_text
from credit_ray.verification.metrics import METRICS
from credit_ray.verification.report import Report, number, percent
from credit_ray.verification.scores import MODEL, Scores, channel_title
from credit_ray.verification.scoring import Totals, score_forecasts

log = logging.getLogger(__name__)

_LINEAGE = {  # attributes of a forecast store, as the page names them
    "model": "model",
    "model_digest": "package digest",
    "run_id": "training run",
    "forecast_run_id": "forecast run",
    "data_digest": "data it started from",
    "code_revision": "code",
    "config_digest": "config",
    "software": "software",
    "created": "forecasts made",
}


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
    target = _target(experiment, url)
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
        with _whole_or_not_at_all(target) as folder:
            _write(folder, forecasts, dataset, totals, scores, experiment)
        run.log_artifact(target, "verification")
        run.log_metrics(_headline_metrics(scores))
        _record(experiment, forecasts, scores)
    inits = forecasts.init_times[totals.used.any(1)]
    return VerificationResult(
        forecast=url,
        model=forecasts.model,
        period=f"{format_time(inits[0], forecasts.calendar)} … {format_time(inits[-1], forecasts.calendar)}",
        forecasts=len(inits),
        left_out=_left_out(totals, forecasts),
        scores=tuple(_headline_rows(scores)),
        table=_table(scores),
        report=str(target / "index.html"),
        csv=str(target / "scores.csv"),
        json=str(target / "scores.json"),
        run_id=run.run_id,
        seconds=time.monotonic() - began,
    )


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


def _left_out(totals: Totals, forecasts: Forecasts) -> int:
    return int((~totals.used[:, forecasts.leads > 0]).sum())


def _target(experiment: Experiment, url: str) -> Path:
    """The folder for the results, before anything is computed.

    Raises
    ------
    ConfigError
        Where it holds something else.
    """
    given = experiment.verification.output
    if given and is_url(given):
        raise ConfigError(f"verification.output: {given} is a URL; the page and its tables are written into a folder.")
    if given is None and is_url(url):
        given = f"{output_root(experiment.output)}/{experiment.name}/verification"
    target = Path(given or Path(url).parent / "verification").absolute()
    if target.exists() and not (target / "scores.json").exists() and (not target.is_dir() or any(target.iterdir())):
        raise ConfigError(f"verification.output: {target} holds something else than scores: choose another folder.")
    return target


@contextmanager
def _whole_or_not_at_all(target: Path) -> Iterator[Path]:
    """A sibling folder to write into, which becomes `target` in one step, or vanishes where writing fails."""
    target.parent.mkdir(parents=True, exist_ok=True)
    writing = target.with_name(f".{target.name}.writing-{uuid4().hex[:8]}")
    writing.mkdir()
    try:
        yield writing
        replaced = writing.with_name(writing.name.replace("writing", "replaced"))
        if target.exists():
            target.rename(replaced)
        writing.rename(target)
        shutil.rmtree(replaced, ignore_errors=True)
    finally:
        shutil.rmtree(writing, ignore_errors=True)


def _write(
    folder: Path, forecasts: Forecasts, dataset: Dataset, totals: Totals, scores: Scores, experiment: Experiment
) -> None:
    from credit_ray.verification.case import case_figure
    from credit_ray.verification.curves import curves_figure
    from credit_ray.verification.maps import to_png

    shown = scores.headline()
    pictures = {}
    for metric in scores.metrics:
        (folder / f"{metric}.png").write_bytes(to_png(curves_figure(scores, [metric], shown, model=forecasts.model)))
    pictures["By lead time."] = to_png(curves_figure(scores, scores.metrics, shown, model=forecasts.model))
    init = int(np.flatnonzero(totals.used.any(1))[totals.used.any(1).sum() // 2])
    leads = [lead for lead in nearest_leads(scores.leads, scores.step) if totals.used[init, lead]]
    if leads:
        lead = leads[max(len(leads) - 2, 0)]
        png = to_png(case_figure(forecasts, dataset, forecasts.channels[shown[0]], init, lead))
        (folder / "case.png").write_bytes(png)
        pictures["One of the forecasts, beside what happened."] = png
    used = forecasts.init_times[totals.used.any(1)]
    first, last = (format_time(t, forecasts.calendar).replace("T", " ") for t in (used[0], used[-1]))
    report = Report(
        model=forecasts.model,
        scores=scores,
        summary=(
            f"{len(used)} forecast{'s' * (len(used) != 1)} from {first} to {last} UTC, up to {scores.lead_text(scores.scored[-1])} ahead: "
            f"{len(scores.channels)} channel{'s' * (len(scores.channels) != 1)} on a {forecasts.grid.describe()}, against the data of {experiment.name}."
        ),
        notes=_notes(forecasts, totals),
        attribution=str(forecasts.attributes.get("attribution", "")),
        pictures=pictures,
        lineage={
            title: str(forecasts.attributes[key]) for key, title in _LINEAGE.items() if forecasts.attributes.get(key)
        }
        | {"store": forecasts.where, "data it is scored against": dataset.data_id},
    )
    (folder / "index.html").write_text(report.to_html(), encoding="utf-8")
    (folder / "scores.csv").write_text(scores.to_csv(forecasts.model), encoding="utf-8")
    plain = {
        "model": forecasts.model,
        "forecast": forecasts.where,
        "lineage": dict(report.lineage),
        "left_out": _left_out(totals, forecasts),
        "headline": list(_headline_rows(scores)),
        "scores": list(scores.rows(forecasts.model)),
    }
    (folder / "scores.json").write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")


def _notes(forecasts: Forecasts, totals: Totals) -> list[str]:
    notes = []
    if left_out := _left_out(totals, forecasts):
        whole = int((forecasts.leads > 0).sum()) * len(forecasts.init_times)
        notes.append(f"{left_out} of {whole} fields are left out: the data do not have their valid or initial time.")
    return notes


def _headline_rows(scores: Scores) -> Iterator[dict[str, Any]]:
    leads = [scores.scored[i] for i in nearest_leads(scores.leads[scores.scored], scores.step)]
    for channel in scores.headline():
        for lead in leads:
            named = {
                "rmse": scores.value(MODEL, "rmse", lead, channel),
                "acc": scores.value(MODEL, "acc", lead, channel),
                **{name: scores.value(name, "rmse", lead, channel) for name in scores.forecasters if name != MODEL},
            }
            yield {
                "channel": scores.channels[channel].name,
                "lead": scores.lead_text(lead),
                "units": scores.channels[channel].units,
                **{name: value if np.isfinite(value) else None for name, value in named.items()},
            }


def _table(scores: Scores) -> str:
    """Variable × lead: the model, and each baseline with the model's skill against it."""
    baselines = [name for name in scores.forecasters if name != MODEL]
    leads = [scores.scored[i] for i in nearest_leads(scores.leads[scores.scored], scores.step)]
    rows = []
    for channel in scores.headline():
        what = scores.channels[channel]
        style = style_of(what.variable, np.zeros(1))
        for lead in leads:
            cells = [number(scores.value(MODEL, "rmse", lead, channel) * style.factor)]
            for name in baselines:
                cells += [
                    number(scores.value(name, "rmse", lead, channel) * style.factor),
                    percent(scores.skill(name, lead, channel)),
                ]
            acc = scores.value(MODEL, "acc", lead, channel)
            name = f"{channel_title(what)} ({units_text(style.units or what.units)})" if lead == leads[0] else " "
            rows.append([name, scores.lead_text(lead), *cells, f"{acc:.3f}" if np.isfinite(acc) else "–"])
    header = ["variable", "lead", "model", *(cell for name in baselines for cell in (name, "skill")), "ACC"]
    return table(header, rows)


def _headline_metrics(scores: Scores) -> dict[str, float]:
    return {
        f"verification/{metric}_{scores.lead_argument(lead)}/{scores.channels[channel].name}": value
        for metric in scores.metrics
        for channel in scores.headline()
        for lead in (scores.scored[i] for i in nearest_leads(scores.leads[scores.scored], scores.step))
        if np.isfinite(value := scores.value(MODEL, metric, lead, channel))
    }


def _record(experiment: Experiment, forecasts: Forecasts, scores: Scores) -> None:
    """Put the scores on the registered version that made the forecasts, if there is one."""
    from credit_ray.tracking.registry import record_scores

    model = str(forecasts.attributes.get("model", ""))
    if not model.startswith("models:/") or "rmse" not in scores.metrics:
        return
    leads = [scores.scored[i] for i in nearest_leads(scores.leads[scores.scored], scores.step)]

    def known(name: str, lead: int, channel: int) -> float | None:
        value = scores.value(name, "rmse", lead, channel)
        return value if np.isfinite(value) else None

    found = [
        Score(
            channel=scores.channels[channel].name,
            lead=scores.lead_argument(lead),
            rmse=scores.value(MODEL, "rmse", lead, channel),
            persistence=known("persistence", lead, channel),
            climatology=known("climatology", lead, channel),
        )
        for lead in leads
        for channel in range(len(scores.channels))
    ]
    first, last = (format_time(int(t), forecasts.calendar) for t in forecasts.init_times[[0, -1]])
    try:
        record_scores(model, found, period=f"{first} to {last}", tracking_uri=tracking_uri(experiment))
    except CreditRayError as error:
        log.warning("The scores are not on the registered model: %s", error)
