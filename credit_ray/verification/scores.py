"""Scores as a table: what is reported, written to CSV and JSON, and drawn."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from credit_ray.state import Channel, Channels
from credit_ray.times import Step
from credit_ray.verification.forecasts import Forecasts
from credit_ray.verification.leads import lead_argument, lead_text
from credit_ray.verification.metrics import METRICS
from credit_ray.verification.scoring import Totals

MODEL = "model"
_PREFERRED = {  # of variables on levels, the one that is shown first: hPa, sigma
    "z": (500.0, 0.5),
    "gh": (500.0, 0.5),
    "t": (850.0, 0.835),
    "q": (700.0, 0.7),
    "u": (500.0, 0.5),
    "v": (500.0, 0.5),
    "w": (500.0, 0.5),
}
_FIRST = ("z", "gh", "h", "msl", "t", "t2m", "sst", "u", "u10", "sp", "q", "tp", "vo", "v")


@dataclass(frozen=True)
class Scores:
    """By forecaster and metric.

    Parameters
    ----------
    channels : Channels
        What was scored.
    leads : array [lead]
        In steps.
    step : Step
        Of the model.
    values : mapping of (forecaster, metric) to array [lead, channel]
        The forecaster "model", and the baselines. NaN where nothing was scored, or a metric is not defined.
    count : array [lead, channel]
        Number of forecasts behind each score.
    """

    channels: Channels
    leads: NDArray[np.int64]
    step: Step
    values: Mapping[tuple[str, str], NDArray[np.float64]]
    count: NDArray[np.int64]

    @classmethod
    def of(cls, totals: Totals, forecasts: Forecasts, metrics: Sequence[str]) -> Scores:
        """The metrics of what was summed."""
        values = {
            (forecaster, name): METRICS[name].of(total)
            for forecaster, total in totals.sums.items()
            for name in metrics
            if all(s.name in total.totals for s in METRICS[name].statistics)
        }
        return cls(forecasts.channels, forecasts.leads, forecasts.step, values, totals.sums[MODEL].count())

    @property
    def forecasters(self) -> tuple[str, ...]:
        """ "model", then the baselines."""
        return tuple(dict.fromkeys(forecaster for forecaster, _ in self.values))

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names."""
        return tuple(dict.fromkeys(metric for _, metric in self.values))

    @property
    def scored(self) -> list[int]:
        """Positions of the lead times that have scores."""
        return np.flatnonzero(self.count.any(1)).tolist()

    def value(self, forecaster: str, metric: str, lead: int, channel: int) -> float:
        """One score, at positions of its lead time and channel; NaN where there is none."""
        values = self.values.get((forecaster, metric))
        return float("nan") if values is None else float(values[lead, channel])

    def skill(self, baseline: str, lead: int, channel: int) -> float:
        """1 − RMSE / RMSE of the baseline: 1 is perfect, below 0 is worse than the baseline."""
        reference = self.value(baseline, "rmse", lead, channel)
        return 1 - self.value(MODEL, "rmse", lead, channel) / reference if reference > 0 else float("nan")

    def headline(self, at_most: int = 6) -> list[int]:
        """Positions of the channels that a short table shows: one level of each variable, the best known first."""
        variables = sorted(self.channels.variables, key=lambda v: _FIRST.index(v) if v in _FIRST else len(_FIRST))
        return [self._shown(variable) for variable in variables[:at_most]]

    def _shown(self, variable: str) -> int:
        own = self.channels.of(variable)
        first = self.channels[own[0]]
        if first.vertical in ("pressure", "sigma"):
            wanted = _PREFERRED.get(variable, (500.0, 0.5))[first.vertical == "sigma"]
            return min(own, key=lambda i: abs((self.channels[i].level or 0.0) - wanted))
        return own[0] if first.vertical != "model" else own[len(own) // 2]

    def lead_number(self, lead: int) -> float:
        """Hours of a fixed step, else months: what `lead_column` names."""
        count = int(self.leads[lead])
        return count * self.step.seconds / 3600 if self.step.fixed else float(count * self.step.months)

    @property
    def lead_column(self) -> str:
        """`lead_hours` or `lead_months`."""
        return "lead_hours" if self.step.fixed else "lead_months"

    def lead_text(self, lead: int) -> str:
        """`6 h`."""
        return lead_text(int(self.leads[lead]), self.step)

    def lead_argument(self, lead: int) -> str:
        """`6h`, as commands take it."""
        return lead_argument(int(self.leads[lead]), self.step)

    def rows(self, model: str) -> Iterator[dict[str, Any]]:
        """Tidy: one score a row."""
        for (forecaster, metric), values in self.values.items():
            for c, channel in enumerate(self.channels):
                for lead in self.scored:
                    yield {
                        "model": model if forecaster == MODEL else forecaster,
                        "variable": channel.variable,
                        "level": channel.level,
                        self.lead_column: self.lead_number(lead),
                        "metric": metric,
                        "value": None if np.isnan(values[lead, c]) else float(values[lead, c]),
                        "n": int(self.count[lead, c]),
                    }

    def to_csv(self, model: str) -> str:
        """The rows as CSV: floats to nine digits, nothing for what is not defined."""
        text = io.StringIO()
        writer = csv.DictWriter(
            text, ["model", "variable", "level", self.lead_column, "metric", "value", "n"], lineterminator="\n"
        )
        writer.writeheader()
        for row in self.rows(model):
            writer.writerow({k: f"{v:.9g}" if isinstance(v, float) else v for k, v in row.items()})
        return text.getvalue()


def channel_title(channel: Channel) -> str:
    """`z 500 hPa`, `t σ 0.835`, `msl`."""
    if channel.level is None:
        return channel.variable
    before, after = {"pressure": ("", " hPa"), "model": ("level ", ""), "sigma": ("σ ", ""), "depth": ("", " m")}[
        channel.vertical or "model"
    ]
    return f"{channel.variable} {before}{channel.level:g}{after}"
