"""Scores from mean statistics.

A metric names the statistics whose means it needs; many metrics share one pass over the data. All means are over the area of the
sphere and over all forecasts at once, then the metric is taken: RMSE is the root of the mean over the sample (as in the WMO's
exchange of scores, Manual on the GDPFS, WMO-No. 485, appendix 2.2.34), not a mean of roots.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from credit_ray.verification.aggregation import WeightedSum
from credit_ray.verification.statistics import (
    ANOMALY_PRODUCT,
    ERROR,
    SQUARED_ERROR,
    SQUARED_FORECAST_ANOMALY,
    SQUARED_TRUTH_ANOMALY,
    Statistic,
)

Mean = Callable[[Statistic], NDArray[np.float64]]


@dataclass(frozen=True)
class Metric:
    """A score.

    Parameters
    ----------
    name, title : str
        In tables, and for people.
    statistics : tuple of Statistic
        Whose means it needs.
    formula : callable
        From the means [lead, channel] to the score.
    units : bool
        Whether it has the units of the field.
    """

    name: str
    title: str
    statistics: tuple[Statistic, ...]
    formula: Callable[[Mean], NDArray[np.float64]]
    units: bool

    @property
    def needs_climatology(self) -> bool:
        """Whether it compares anomalies."""
        return any("anomaly" in statistic.name for statistic in self.statistics)

    def of(self, total: WeightedSum) -> NDArray[np.float64]:
        """The score by lead time and channel: [lead, channel]."""
        return self.formula(lambda statistic: total.mean(statistic.name))


def _rmse(mean: Mean) -> NDArray[np.float64]:
    return np.sqrt(mean(SQUARED_ERROR))


def _acc(mean: Mean) -> NDArray[np.float64]:
    # one root of the product: a perfect forecast then scores exactly one
    variance = np.sqrt(np.multiply(mean(SQUARED_FORECAST_ANOMALY), mean(SQUARED_TRUTH_ANOMALY)))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(variance > 0, mean(ANOMALY_PRODUCT) / variance, np.nan)


RMSE = Metric("rmse", "Root-mean-square error", (SQUARED_ERROR,), _rmse, units=True)
"""√⟨(f − t)²⟩, with ⟨⟩ the mean over area and forecasts (WMO-No. 485; Rasp et al. 2024, WeatherBench 2, eq. 1)."""

BIAS = Metric("bias", "Bias", (ERROR,), lambda mean: mean(ERROR), units=True)
"""⟨f − t⟩: positive where the forecast is too high."""

ACC = Metric(
    "acc",
    "Anomaly correlation",
    (ANOMALY_PRODUCT, SQUARED_FORECAST_ANOMALY, SQUARED_TRUTH_ANOMALY),
    _acc,
    units=False,
)
"""⟨f′t′⟩ / √(⟨f′²⟩⟨t′²⟩), f′ = f − c, t′ = t − c, with c the climatology.

Not centred: the area mean of the anomalies is not taken off, as in WeatherBench 2 (Rasp et al. 2024, eq. 4) and unlike the WMO's centred
coefficient; the two differ where a forecast is too warm or too cold as a whole, which this one counts. Not defined for climatology
itself.
"""

METRICS: dict[str, Metric] = {metric.name: metric for metric in (RMSE, BIAS, ACC)}
"""By name."""
