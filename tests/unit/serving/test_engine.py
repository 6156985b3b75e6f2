from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import xarray

from credit_ray.errors import PackageError
from credit_ray.serving import engine as engine_module

if TYPE_CHECKING:
    from tests.unit.serving.conftest import House


def test_another_engine_goes_on_where_one_ended_and_the_result_is_the_same(slow_house: House, tmp_path: Path) -> None:
    id = slow_house.begin(lead="3d")
    slow_house.let_go(5)
    slow_house.until(id, "running", steps=4)
    slow_house.engines[0]._stop.set()
    slow_house.let_go()
    slow_house.engines[0].stop()
    left = slow_house.until(id, "running", steps=4)
    assert left["steps_done"] < 12
    slow_house.next_engine()
    done = slow_house.until(id, "done", steps=12)
    assert done["started"] == left["started"]
    truth = xarray.open_zarr(slow_house.batch_forecast(tmp_path / "batch.zarr", "2000-01-02T06:00", 12), chunks=None)
    xarray.testing.assert_equal(xarray.open_zarr(slow_house.table.data(id), chunks=None), truth)


def test_what_was_told_of_the_progress_is_not_taken_back(slow_house: House) -> None:
    id = slow_house.begin(lead="3d")
    slow_house.let_go(5)
    slow_house.until(id, "running", steps=4)
    slow_house.engines[0]._stop.set()
    slow_house.let_go()
    slow_house.engines[0].stop()
    before = slow_house.until(id, "running")["steps_done"]
    slow_house.close_gate()
    slow_house.next_engine()
    slow_house.let_go(2)
    slow_house.until_attempt(id, 1)
    assert slow_house.until(id, "running")["steps_done"] >= before


def test_a_forecast_that_another_version_goes_on_with_begins_anew(slow_house: House) -> None:
    id = slow_house.begin(lead="3d")
    slow_house.let_go(5)
    slow_house.until(id, "running", steps=4)
    slow_house.engines[0]._stop.set()
    slow_house.let_go()
    slow_house.engines[0].stop()
    slow_house.next_engine(version="4", seed=1)
    assert slow_house.until(id, "done")["lineage"]["model_version"] == "4"
    other = slow_house.begin(lead="3d")
    slow_house.until(other, "done")
    stores = [xarray.open_zarr(slow_house.table.data(each), chunks=None) for each in (id, other)]
    xarray.testing.assert_equal(*stores)


def test_a_forecast_that_kills_its_engines_is_given_up(slow_house: House) -> None:
    id = slow_house.begin()
    slow_house.until(id, "running")
    slow_house.engines[0]._stop.set()
    slow_house.let_go()
    slow_house.engines[0].stop()
    progress = slow_house.table.progress(id)
    assert progress.attempts == 0, "an orderly end is no failed attempt"
    slow_house.table.write_progress(id, replace(progress, attempts=engine_module.MOST_ATTEMPTS))
    slow_house.next_engine()
    assert "3 times" in slow_house.until(id, "failed")["error"]


def test_a_forecast_that_blows_up_fails_and_says_where(house: House) -> None:
    house.poison()
    id = house.begin()
    failed = house.until(id, "failed")
    assert "2000-01-02T12:00" in failed["error"]
    assert "z_500" in failed["error"]
    assert "failed" in house.client.get(f"/v1/forecasts/{id}/events").text


def test_a_defect_is_logged_and_not_told(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise KeyError("secret")

    monkeypatch.setattr(engine_module, "create_store", broken)
    id = house.begin()
    assert "secret" not in house.until(id, "failed")["error"]
    assert "secret" in caplog.text
    monkeypatch.undo()
    house.until(house.begin())


def test_a_full_disk_is_told(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(engine_module, "create_store", full)
    assert "full" in house.until(house.begin(), "failed")["error"]


def test_the_alias_moves_and_the_next_forecast_is_by_the_new_version(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert house.until(house.begin())["lineage"]["model_version"] == "3"
    monkeypatch.setattr(engine_module, "REFRESH_SECONDS", 0.0)
    house.put_on_shelf(version="4", seed=1)
    house.until_version("4")
    assert house.until(house.begin())["lineage"]["model_version"] == "4"


def test_what_cannot_be_loaded_leaves_the_old_version_in_service(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def damaged(current: object) -> None:
        raise PackageError("weights.safetensors is missing")

    monkeypatch.setattr(house.engines[0].source, "load", damaged)
    monkeypatch.setattr(engine_module, "REFRESH_SECONDS", 0.0)
    assert house.until(house.begin())["lineage"]["model_version"] == "3"
    assert "weights.safetensors is missing" in caplog.text


def test_two_engines_share_the_work_and_no_forecast_is_made_twice(house: House) -> None:
    house.next_engine()
    ids = [house.begin() for _ in range(8)]
    for id in ids:
        house.until(id)
    assert sum(engine.numbers().finished["done"] for engine in house.engines) == len(ids)
    assert all(house.table.progress(id).attempts == 1 for id in ids)


def test_an_engine_leaves_the_forecasts_of_other_models_alone(house: House) -> None:
    id = house.begin()
    house.until(id)
    other = house.accept_for("another")
    house.until(house.begin())
    assert house.table.progress(other).state == "queued"


def test_an_engine_whose_thread_has_ended_is_not_healthy(house: House) -> None:
    engine = house.engines[0]
    engine.check_health()
    engine.stop()
    engine.check_health()
    engine._stop.clear()
    with pytest.raises(RuntimeError, match="tiny"):
        engine.check_health()


def test_a_folder_that_is_away_for_a_while_ends_no_engine(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    away = threading.Event()

    def ids() -> list[str]:
        away.set()
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(house.table, "ids", ids)
    house.engines[0].wake()
    assert away.wait(timeout=30)
    monkeypatch.undo()
    house.until(house.begin())
    assert "Input/output error" in caplog.text
