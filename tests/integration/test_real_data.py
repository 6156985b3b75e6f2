"""The real-data experiments run the whole chain: shortened here, with their own configs."""

from __future__ import annotations

from pathlib import Path

import pytest

from credit_ray.config.loader import load_experiment
from credit_ray.training import run_training

CONFIGS = Path(__file__).parents[2] / "configs/experiments"

SHORT = {
    "era5_msl": ["data.splits.train=[2025-12-01, 2025-12-10]", "data.splits.validation=[2025-12-11, 2025-12-14]"],
    "speedy": ["data.splits.train=[2000-03-31, 2000-04-06]", "data.splits.validation=[2000-04-07, 2000-04-10]"],
    "cobe_sst": ["data.splits.train=[1950-01, 1953-12]", "data.splits.validation=[1954-01, 1955-12]"],
}


@pytest.mark.real_data
@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.parametrize("name", SHORT)
def test_an_experiment_on_real_data_trains_forecasts_and_scores(
    name: str, real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from credit_ray.forecasting import run_forecast
    from credit_ray.verification import run_verification

    monkeypatch.setenv("CREDIT_RAY_TEST_DATA", str(real_data))
    monkeypatch.setenv("CREDIT_RAY_OUTPUT", str(tmp_path / "runs"))
    small = ["model.width=8", "training.max_steps=6", "training.max_epochs=null", "training.validation.inits=2"]
    forecast = ["forecast.lead=2steps", "forecast.max_inits=2", f"forecast.output.store={tmp_path / 'forecast.zarr'}"]
    experiment = load_experiment(CONFIGS / f"{name}.yaml", [*SHORT[name], *small, *forecast])
    trained = run_training(experiment)
    assert trained.steps == 6
    assert trained.score is not None
    assert trained.score < 2, "one short look at the data, and far worse than persistence: something is scaled wrongly"
    run_forecast(experiment)
    verified = run_verification(experiment)
    assert "persistence" in verified.table
    assert Path(verified.report).exists()
