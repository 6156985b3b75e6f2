"""`run_verification`: from a store and data to a folder of tables, plots and a page, all of it or nothing."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from credit_ray.config.experiment import Experiment
from credit_ray.errors import ConfigError, CreditRayError, DataError, SpecMismatchError
from credit_ray.verification.folder import results_folder
from credit_ray.verification.run import run_verification

Make = Callable[..., Experiment]


@dataclass
class Recorded:
    """What reached the tracking server."""

    tags: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    artifacts: list[str] = field(default_factory=list)
    scores: list[Any] = field(default_factory=list)
    run_id: str = "r1"

    def log_metrics(self, metrics: dict[str, float]) -> None:
        self.metrics |= metrics

    def log_artifact(self, path: Path, folder: str) -> None:
        self.artifacts += sorted(entry.name for entry in Path(path).iterdir())


@pytest.fixture
def pictures() -> None:
    """Tests that ask for this draw them; for the others an empty one will do."""


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Recorded:
    """In place of MLflow."""
    found = Recorded()
    if "pictures" not in request.fixturenames:
        monkeypatch.setattr("credit_ray.verification.case.case_figure", lambda *_, **__: None)
        monkeypatch.setattr("credit_ray.verification.curves.curves_figure", lambda *_, **__: None)
        monkeypatch.setattr("credit_ray.verification.maps.to_png", lambda _: b"")

    @contextmanager
    def start_run(experiment: Experiment, *, stage: str, dataset: Any, tags: dict[str, Any]) -> Iterator[Recorded]:
        assert stage == "verify"
        found.tags |= tags
        yield found

    monkeypatch.setattr("credit_ray.tracking.runs.start_run", start_run)
    monkeypatch.setattr(
        "credit_ray.tracking.registry.record_scores", lambda model, scores, **_: found.scores.append((model, scores))
    )
    return found


@pytest.fixture
def make(world: Any, tmp_path: Path) -> Make:
    """An experiment whose data are the world's truth, and a forecast store beside them."""

    def build(forecast: xr.Dataset | None = None, times: slice = slice(None), **verification: Any) -> Experiment:
        complete = {
            "complete": 1,
            "model": "models:/unet/3",
            "model_name": "unet",
            "model_version": "3",
            "model_digest": "abc",
        }
        stored = world.forecasts(**complete).dataset if forecast is None else forecast
        stored.to_zarr(tmp_path / "forecast.zarr", mode="w", zarr_format=3)
        world.truth_dataset().isel(time=times).to_zarr(tmp_path / "truth.zarr", mode="w", consolidated=False)
        source = {"store": str(tmp_path / "truth.zarr"), "prognostic": ["t", "msl"], "vertical": "pressure"}
        plain = {
            "name": "trial",
            "output": str(tmp_path / "runs"),
            "data": {"timestep": "6h", "sources": {"air": source}, "splits": {"train": ["1970-01-01", "1970-01-05"]}},
            "verification": {"forecast": str(tmp_path / "forecast.zarr"), **verification},
        }
        return Experiment.model_validate(plain)

    return build


def test_everything_is_there_and_says_the_same(
    make: Make, recorded: Recorded, pictures: None, world: Any, plain_scores: Any, tmp_path: Path
) -> None:
    result = run_verification(make())
    folder = tmp_path / "forecast.verification"
    expected_files = {"index.html", "scores.csv", "scores.json", "rmse.png", "bias.png", "acc.png", "case.png"}
    assert {entry.name for entry in folder.iterdir()} == expected_files
    rows = list(csv.DictReader((folder / "scores.csv").read_text().splitlines()))
    row = next(
        r
        for r in rows
        if (r["model"], r["variable"], r["metric"], float(r["lead_hours"])) == ("unet v3", "msl", "rmse", 24)
    )
    expected = plain_scores(world.forecast[:, 3, 2], world.verifying[:, 3, 2], world.climatology[2])["rmse"]
    assert float(row["value"]) == pytest.approx(expected, rel=1e-6)
    in_json = json.loads((folder / "scores.json").read_text())
    assert len(in_json["scores"]) == len(rows)
    headline = next(r for r in result.scores if (r["channel"], r["lead"]) == ("msl", "1 d"))
    assert headline["rmse"] == pytest.approx(expected, rel=1e-6)
    assert f"{expected / 100:.2f}"[:3] in result.table  # pressures are shown in hPa
    assert result.left_out == 0
    assert "6 forecasts of unet v3" in str(result)
    assert str(folder / "index.html") in str(result)


def test_the_page_needs_nothing_but_itself(make: Make, recorded: Recorded, tmp_path: Path) -> None:
    run_verification(make())
    page = (tmp_path / "forecast.verification" / "index.html").read_text()
    links = re.findall(r"(?:src|href)=[\"']?([^\"'\s>]{1,40})", page)
    assert links
    assert all(link.startswith("data:image/png;base64,") or link in ("scores.csv", "scores.json") for link in links)
    assert "<script" not in page
    assert "url(" not in page
    for said in ("unet v3", "models:/unet/3", "abc", "Scorecard against persistence", "Scorecard against climatology"):
        assert said in page


def test_what_is_strange_in_a_name_is_no_markup(make: Make, recorded: Recorded, world: Any, tmp_path: Path) -> None:
    dataset = world.forecasts(complete=1, model_name="<script>alert(1)</script>").dataset
    run_verification(make(dataset))
    assert "<script" not in (tmp_path / "forecast.verification" / "index.html").read_text()


def test_the_run_is_linked_to_the_model_and_the_model_to_its_scores(make: Make, recorded: Recorded) -> None:
    run_verification(make())
    assert recorded.tags["model"] == "models:/unet/3"
    assert "index.html" in recorded.artifacts
    assert "verification/rmse_1d/msl" in recorded.metrics
    [(model, scores)] = recorded.scores
    assert model == "models:/unet/3"
    assert {(s.channel, s.lead) for s in scores} >= {("t_500", "6h"), ("msl", "1d")}
    assert all(s.rmse > 0 and s.persistence > 0 and s.climatology > 0 for s in scores)


def test_a_registry_that_is_away_does_not_lose_the_scores(
    make: Make, recorded: Recorded, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise CreditRayError("MLflow does not answer")

    monkeypatch.setattr("credit_ray.tracking.registry.record_scores", away)
    run_verification(make())
    assert (tmp_path / "forecast.verification" / "scores.csv").exists()


def test_scores_replace_earlier_ones_only_when_they_are_whole(
    make: Make, recorded: Recorded, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run_verification(make())
    before = (tmp_path / "forecast.verification" / "scores.csv").read_text()
    experiment = make(metrics=["rmse"])

    def full(*_: Any, **__: Any) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("credit_ray.verification.report.Report.to_html", full)
        with pytest.raises(OSError, match="no space left"):
            run_verification(experiment)
    assert (tmp_path / "forecast.verification" / "scores.csv").read_text() == before
    assert {p.name for p in tmp_path.iterdir()} == {"forecast.verification", "forecast.zarr", "truth.zarr", "runs"}
    run_verification(experiment)
    assert "bias" not in (tmp_path / "forecast.verification" / "scores.csv").read_text()


def test_a_folder_with_something_else_is_left_alone(make: Make, recorded: Recorded, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    with pytest.raises(ConfigError, match="holds something else"):
        run_verification(make(output=str(tmp_path / "mine")))
    assert (tmp_path / "mine" / "notes.txt").read_text() == "keep"


def test_fields_without_truth_are_counted_in_what_is_said(
    make: Make, recorded: Recorded, world: Any, tmp_path: Path
) -> None:
    last = int(np.sort(world.init)[-1])
    result = run_verification(make(times=slice(0, last + 3)))
    wanted = int(((world.init[:, None] + np.arange(1, 6)) > last + 2).sum())
    assert result.left_out == wanted
    assert f"{wanted} fields without truth are left out" in str(result)
    assert f"{wanted} of 30 fields are left out" in (tmp_path / "forecast.verification" / "index.html").read_text()


def test_baselines_and_metrics_may_be_left_out(make: Make, recorded: Recorded, tmp_path: Path) -> None:
    result = run_verification(make(baselines=[], metrics=["bias"]))
    rows = list(csv.DictReader(Path(result.csv).read_text().splitlines()))
    assert {(row["model"], row["metric"]) for row in rows} == {("unet v3", "bias")}
    assert not (tmp_path / "forecast.verification" / "rmse.png").exists()


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (lambda d: d.assign_attrs(complete=0), DataError, "not complete"),
        (lambda d: d.rename(msl="sp"), SpecMismatchError, "forecasts sp, which the data of this config don't have"),
        (
            lambda d: d.assign(msl=d["msl"].assign_attrs(units="hPa")),
            SpecMismatchError,
            "msl in 'hPa', the data in 'Pa'",
        ),
        (lambda d: d.isel(latitude=slice(1, None)), SpecMismatchError, "is on a 7×16"),
    ],
)
def test_what_does_not_fit_the_data_is_refused(
    make: Make, recorded: Recorded, world: Any, spoil: Any, error: type[Exception], message: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        run_verification(make(spoil(world.forecasts(complete=1).dataset)))
    assert not (tmp_path / "forecast.verification").exists()


def test_without_a_name_the_newest_forecast_of_the_experiment_is_scored(
    make: Make, recorded: Recorded, world: Any, tmp_path: Path
) -> None:
    experiment = make()
    unnamed = experiment.model_copy(
        update={"verification": experiment.verification.model_copy(update={"forecast": None})}
    )
    with pytest.raises(ConfigError, match="Which forecast"):
        run_verification(unnamed)
    for run, created in (("a", "2026-01-02"), ("b", "2026-01-03"), ("c", "2026-01-01")):
        dataset = world.forecasts(complete=1, created=created, model_name=run).dataset
        dataset.to_zarr(tmp_path / "runs" / "trial" / run / "forecast.zarr", zarr_format=3)
    assert run_verification(unnamed).model == "b"


def test_a_verification_without_forecast_zarr_in_a_folder_of_its_own_says_where_results_go(make: Make) -> None:
    experiment = make(output="s3://bucket/scores")
    with pytest.raises(ConfigError, match="is a URL"):
        results_folder(experiment, "x/forecast.zarr")


def test_budgets_that_cannot_be_measured_are_a_mistake_in_the_config_and_leave_nothing(
    make: Make, recorded: Recorded, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"No budget of .*forecast.zarr can be measured:\n  dry_air_mass: .*'q'"):
        run_verification(make(budgets=True))
    assert not (tmp_path / "verification").exists()


def test_budgets_are_in_the_folder_and_on_the_page(
    make: Make, recorded: Recorded, world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from credit_ray.verification.budgets import BudgetCurves

    def measured(forecasts: Any, *_: Any, **__: Any) -> BudgetCurves:
        shape = (len(forecasts.init_times), len(forecasts.leads))
        content = {("model", "water"): np.full(shape, 1e16), ("data", "water"): np.full(shape, 1e16)}
        missing = {"energy": "there is no wind"}
        return BudgetCurves(content, {}, {}, missing, forecasts.leads, forecasts.step, 5e14)

    monkeypatch.setattr("credit_ray.verification.budgets.measure_budgets", measured)
    result = run_verification(make(budgets=True))
    folder = Path(result.report).parent
    assert "drift_per_m2" in (folder / "budgets.csv").read_text()
    assert (folder / "budgets.png").exists()
    page = (folder / "index.html").read_text()
    assert "change since the first lead" in page
    assert "Not measured: energy. there is no wind" in page
