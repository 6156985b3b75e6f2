"""Scores in a notebook."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr

from credit_ray.errors import DataError
from credit_ray.verification.api import verify


def test_scores_come_back_by_metric_lead_and_level(world: Any, plain_scores: Any) -> None:
    truth = world.truth_dataset()
    climatology = truth.isel(time=[0]).copy(deep=True)
    climatology["t"][0] = world.climatology[:2]
    climatology["msl"][0] = world.climatology[2]
    found = verify(world.forecasts().dataset, truth, climatology)
    assert found["t"].dims == ("metric", "lead_time", "level")
    assert found["msl"].dims == ("metric", "lead_time")
    assert found["count"].values.tolist() == [6] * 5
    for metric in ("rmse", "bias", "acc"):
        expected = plain_scores(world.forecast[:, 3, 1], world.verifying[:, 3, 1], world.climatology[1])[metric]
        value = float(found["t"].sel(metric=metric, level=850).isel(lead_time=3))
        assert value == pytest.approx(expected, rel=1e-5)


def test_without_climatology_there_is_no_anomaly_correlation(world: Any) -> None:
    assert verify(world.forecasts().dataset, world.truth_dataset())["metric"].values.tolist() == ["rmse", "bias"]


def test_truth_may_have_other_names_units_and_orientation(world: Any) -> None:
    truth = world.truth_dataset()
    other = truth.rename(t="temperature", msl="MSL", latitude="lat", longitude="lon", level="plev")
    other["MSL"] = (other["MSL"] / 100).assign_attrs(units="hPa")
    other = (
        other.assign_coords(lon=np.where(other["lon"] > 180, other["lon"] - 360, other["lon"]))
        .sortby("lon")
        .sortby("lat")
    )
    found = verify(world.forecasts().dataset, other.transpose("lat", "lon", "plev", "time"))
    expected = verify(world.forecasts().dataset, truth)
    xr.testing.assert_allclose(found, expected, rtol=1e-4)


def test_forecasts_beyond_the_truth_are_left_out_and_counted(world: Any) -> None:
    last = int(np.sort(world.init)[-1])
    found = verify(world.forecasts().dataset, world.truth_dataset().isel(time=slice(0, last + 3)))
    assert found["count"].values.tolist() == [6, 6, *(int((world.init + k <= last + 2).sum()) for k in (3, 4, 5))]


def test_truth_of_other_levels_is_refused(world: Any) -> None:
    with pytest.raises(DataError, match="'t' has no level 850"):
        verify(world.forecasts().dataset, world.truth_dataset().isel(level=[0]))
