"""The folder of a verification: tables, pictures and the page, all of them or none."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from uuid import uuid4

import numpy as np

from credit_ray.config.experiment import Experiment
from credit_ray.data.dataset import Dataset
from credit_ray.errors import ConfigError
from credit_ray.times import format_time
from credit_ray.tracking.places import is_url, output_root
from credit_ray.verification.forecasts import Forecasts
from credit_ray.verification.headline import headline_rows
from credit_ray.verification.leads import nearest_leads
from credit_ray.verification.report import Report
from credit_ray.verification.scores import Scores
from credit_ray.verification.scoring import Totals

if TYPE_CHECKING:
    from credit_ray.verification.budgets import BudgetCurves

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


def results_folder(experiment: Experiment, url: str) -> Path:
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
        given = f"{output_root(experiment.output)}/{experiment.name}/{_named_after(url)}"
    target = Path(given or Path(url).parent / _named_after(url)).absolute()
    if target.exists() and not (target / "scores.json").exists() and (not target.is_dir() or any(target.iterdir())):
        raise ConfigError(f"verification.output: {target} holds something else than scores: choose another folder.")
    return target


def _named_after(url: str) -> str:
    """`forecast.zarr` → `forecast.verification`, so that two stores in one folder keep their scores apart."""
    return f"{PurePosixPath(url.rstrip('/')).stem}.verification"


@contextmanager
def whole_or_not_at_all(target: Path) -> Iterator[Path]:
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


def write_results(
    folder: Path,
    forecasts: Forecasts,
    dataset: Dataset,
    totals: Totals,
    scores: Scores,
    experiment: Experiment,
    budgets: BudgetCurves | None = None,
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
    if budgets:
        pictures["What the forecasts hold, beside the data: change since the first lead."] = _write_budgets(
            folder, budgets, forecasts.model
        )
    used = forecasts.init_times[totals.used.any(1)]
    first, last = (format_time(t, forecasts.calendar).replace("T", " ") for t in (used[0], used[-1]))
    report = Report(
        model=forecasts.model,
        scores=scores,
        grouping=experiment.data.climatology,
        summary=(
            f"{len(used)} forecast{'s' * (len(used) != 1)} from {first} to {last} UTC, up to {scores.lead_text(scores.scored[-1])} ahead: "
            f"{len(scores.channels)} channel{'s' * (len(scores.channels) != 1)} on a {forecasts.grid.describe()}, against the data of {experiment.name}."
        ),
        notes=_notes(forecasts, totals, budgets),
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
        "left_out": totals.left_out(forecasts),
        "headline": list(headline_rows(scores)),
        "scores": list(scores.rows(forecasts.model)),
    }
    (folder / "scores.json").write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")


def _write_budgets(folder: Path, budgets: BudgetCurves, model: str) -> bytes:
    """Table and picture of budgets; the picture once more for the page."""
    from credit_ray.verification.budget_curves import budgets_csv, budgets_figure
    from credit_ray.verification.maps import to_png

    png = to_png(budgets_figure(budgets, model=model))
    (folder / "budgets.png").write_bytes(png)
    (folder / "budgets.csv").write_text(budgets_csv(budgets, model), encoding="utf-8")
    return png


def _notes(forecasts: Forecasts, totals: Totals, budgets: BudgetCurves | None) -> list[str]:
    notes = []
    if left_out := totals.left_out(forecasts):
        whole = int((forecasts.leads > 0).sum()) * len(forecasts.init_times)
        notes.append(f"{left_out} of {whole} fields are left out: the data do not have their valid or initial time.")
    if budgets:
        notes += [f"Not measured: {what}. {why}" for what, why in budgets.missing.items()]
    return notes
