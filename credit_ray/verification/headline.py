"""The few scores that are shown first: in a terminal, on a run's page, on a registered model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from credit_ray.tracking.scores import Score
from credit_ray.tracking.tables import table
from credit_ray.verification.leads import nearest_leads
from credit_ray.verification.report import number, percent
from credit_ray.verification.scores import MODEL, Scores, channel_title
from credit_ray.verification.styles import style_of, units_text


def headline_rows(scores: Scores) -> Iterator[dict[str, Any]]:
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


def headline_table(scores: Scores) -> str:
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


def headline_metrics(scores: Scores) -> dict[str, float]:
    return {
        f"verification/{metric}_{scores.lead_argument(lead)}/{scores.channels[channel].name}": value
        for metric in scores.metrics
        for channel in scores.headline()
        for lead in (scores.scored[i] for i in nearest_leads(scores.leads[scores.scored], scores.step))
        if np.isfinite(value := scores.value(MODEL, metric, lead, channel))
    }


def registry_scores(scores: Scores) -> list[Score]:
    """RMSE of every channel, as the registry keeps it."""
    leads = [scores.scored[i] for i in nearest_leads(scores.leads[scores.scored], scores.step)]

    def known(name: str, lead: int, channel: int) -> float | None:
        value = scores.value(name, "rmse", lead, channel)
        return value if np.isfinite(value) else None

    return [
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
