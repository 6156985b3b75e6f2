"""`verify` for notebooks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from credit_ray.verification.baselines import Climatology
from credit_ray.verification.datasets import DatasetFields
from credit_ray.verification.forecasts import Forecasts
from credit_ray.verification.metrics import METRICS
from credit_ray.verification.scores import MODEL, Scores
from credit_ray.verification.scoring import score_forecasts

if TYPE_CHECKING:
    import xarray


def verify(
    forecast: xarray.Dataset, truth: xarray.Dataset, climatology: xarray.Dataset | None = None
) -> xarray.Dataset:
    """Score forecasts against the truth: area-weighted, over all initial times.

    Parameters
    ----------
    forecast : xarray.Dataset
        Variables (init_time, lead_time, [level,] latitude, longitude), as `open_forecast` gives them.
    truth : xarray.Dataset
        The same variables (time, [level,] latitude, longitude); forecasts whose valid time it does not have are left out.
    climatology : xarray.Dataset, optional
        The same variables with twelve times, one for each month from January on, or with one; for the anomaly correlation.

    Returns
    -------
    xarray.Dataset
        Each variable with dimensions (metric, lead_time, [level]); metrics are "rmse", "bias" and, with a climatology, "acc".
        `count` (lead_time) says how many forecasts each score is over.

    Raises
    ------
    DataError
        Where forecast and truth do not share variables, levels, units or times.
    """
    import xarray

    forecasts = Forecasts(forecast, "The forecast")
    average = None
    if climatology is not None:
        source = DatasetFields(climatology, "The climatology")
        fields = source.fields(source.times, forecasts.channels)
        average = Climatology(fields, "monthly" if len(fields) == 12 else "mean", forecasts.calendar)
    metrics = [name for name, metric in METRICS.items() if average is not None or not metric.needs_climatology]
    totals = score_forecasts(forecasts, DatasetFields(truth, "The truth"), metrics=metrics, climatology=average)
    scores = Scores.of(totals, forecasts, metrics)
    found = {}
    for variable in forecasts.variables:
        own, dim = forecasts.channels.of(variable), forecasts.level_dim(variable)
        values = np.stack([scores.values[MODEL, name][:, own] for name in metrics])  # [metric, lead, level]
        dims = ("metric", "lead_time", *((dim,) if dim else ()))
        found[variable] = (
            dims,
            values if dim else values[..., 0],
            {"units": forecast[variable].attrs.get("units", "")},
        )
    coordinates = {"metric": metrics, "lead_time": forecast["lead_time"]}
    coordinates |= {dim: forecast[dim] for v in forecasts.variables if (dim := forecasts.level_dim(v))}
    counted = ("lead_time", scores.count.max(1), {"long_name": "number of forecasts"})
    return xarray.Dataset({**found, "count": counted}, coordinates)
