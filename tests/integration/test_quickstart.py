"""The whole path on a tiny setting: what `make demo` does, and what is left to look at."""

from __future__ import annotations

from pathlib import Path

import pytest

from credit_ray.quickstart import run_quickstart

TINY = (
    "data.splits.train=[2000-01-01, 2000-01-20]",
    "data.splits.validation=[2000-01-21, 2000-01-25]",
    "data.splits.test=[2000-01-26, 2000-02-09]",
    "model.width=8",
    "training.max_epochs=2",
    "training.validation.inits=4",
    "forecast.max_inits=3",
    "forecast.lead=2d",
)


@pytest.mark.usefixtures("ray_cluster")
def test_the_quickstart_ends_with_scores_a_forecast_and_a_registered_model(tmp_path: Path) -> None:
    import xarray as xr
    from mlflow.tracking import MlflowClient

    result = run_quickstart(tmp_path / "demo", states=160, overrides=TINY)
    forecast = xr.open_zarr(result.forecast)
    assert dict(forecast.sizes) == {"init_time": 3, "lead_time": 8, "latitude": 32, "longitude": 64}
    assert set(forecast.data_vars) >= {"u", "v", "z", "tracer", "vo"}
    assert bool(forecast["tracer"].min() >= 0), "the constraint of the config was not applied"
    assert MlflowClient(result.tracking_uri).get_model_version_by_alias("sample", "candidate").version == 1
    for path in (result.report, result.plot, result.model):
        assert Path(path).exists()
    again = run_quickstart(tmp_path / "demo", states=160, overrides=TINY)
    assert again.model == result.model, "a second run trained again"
    assert again.scores == result.scores
    assert all(word in str(result) for word in ("persistence", "climatology", result.tracking_uri, result.forecast))
