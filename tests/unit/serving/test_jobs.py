from __future__ import annotations

import multiprocessing
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from credit_ray.serving.jobs import Accepted, JobTable, Progress


def accepted(table: JobTable, **changes: Any) -> Accepted:
    values: dict[str, Any] = dict(
        id=table.new_id(changes.get("created", 1_000_000_000.0)),
        owner="everyone",
        created=1_000_000_000.0,
        model="m",
        init_time=0,
        steps=10,
        every=3,
        step="6h",
        calendar="standard",
        channels=({"variable": "t2m", "level": None, "units": "K"},),
        asked={"model": "m"},
    )
    return Accepted(**values | changes)


def test_what_was_accepted_is_read_back_by_another_process(tmp_path: Path) -> None:
    table = JobTable(tmp_path / "results")
    job = accepted(table)
    table.add(job)
    later = JobTable(tmp_path / "results")
    assert later.ids() == [job.id]
    assert later.accepted(job.id) == job
    assert later.progress(job.id) == Progress()


def test_ids_sort_by_time_and_lead_nowhere_else(tmp_path: Path) -> None:
    table = JobTable(tmp_path)
    jobs = [accepted(table, created=created) for created in (3e8, 1e9, 2e9)]
    for job in reversed(jobs):
        table.add(job)
    assert table.ids() == [job.id for job in jobs]
    for id in ("../secret", "", ".", "20000101T000000-xyz", jobs[0].id + "/.."):
        assert table.accepted(id) is None


def test_progress_is_replaced_whole(tmp_path: Path) -> None:
    table = JobTable(tmp_path)
    job = accepted(table)
    table.add(job)
    progress = Progress(state="running", steps_done=3, lineage={"version": "2"})
    table.write_progress(job.id, progress)
    assert table.progress(job.id) == progress
    assert sorted(os.listdir(tmp_path / job.id)) == ["accepted.json", "progress.json"]


def test_a_damaged_record_is_left_aside_and_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    table = JobTable(tmp_path)
    job = accepted(table)
    table.add(job)
    (tmp_path / job.id / "accepted.json").write_text('{"id": ')
    assert table.accepted(job.id) is None
    assert "damaged" in caplog.text


def test_one_that_nobody_has_begun_is_cancelled_at_once_and_one_that_runs_when_its_engine_says_so(
    tmp_path: Path,
) -> None:
    table = JobTable(tmp_path)
    waiting, running = accepted(table), accepted(table)
    for job in (waiting, running):
        table.add(job)
    table.write_progress(running.id, Progress(state="running"))
    for job in (waiting, running):
        table.cancel(job.id)
        assert table.cancel_asked(job.id)
    assert table.progress(waiting.id).state == "cancelled"
    assert table.progress(running.id).state == "running"


def test_a_removed_forecast_leaves_nothing(tmp_path: Path) -> None:
    table = JobTable(tmp_path)
    job = accepted(table)
    table.add(job)
    table.data(job.id).mkdir()
    table.remove(job.id)
    table.remove(job.id)
    assert os.listdir(tmp_path) == []
    assert table.cancel_asked(job.id)


def test_the_remains_of_a_process_that_died_are_cleaned_away(tmp_path: Path) -> None:
    table = JobTable(tmp_path)
    job = accepted(table)
    table.add(job)
    for name in (".trash-x", ".new-y"):
        (tmp_path / name / "data.zarr").mkdir(parents=True)
    table.clean()
    assert os.listdir(tmp_path) == [job.id]


def test_a_record_that_cannot_be_written_is_not_accepted(tmp_path: Path) -> None:
    table = JobTable(tmp_path)
    with pytest.raises(TypeError):
        table.add(accepted(table, asked={"not": object()}))
    assert os.listdir(tmp_path) == []


def _hold(root: Path, id: str, ready: Any) -> None:
    with JobTable(root).claim(id) as mine:
        ready.put(mine)
        signal.pause()


def test_a_claim_is_for_one_process_and_ends_with_it(tmp_path: Path) -> None:
    table = JobTable(tmp_path)
    job = accepted(table)
    table.add(job)
    context = multiprocessing.get_context("spawn")
    ready = context.Queue()
    holder = context.Process(target=_hold, args=(tmp_path, job.id, ready))
    holder.start()
    assert ready.get(timeout=60) is True
    with table.claim(job.id) as mine:
        assert mine is False
    assert holder.pid is not None
    os.kill(holder.pid, signal.SIGKILL)
    holder.join(timeout=60)
    with table.claim(job.id) as mine:
        assert mine is True


def test_nobody_can_claim_what_is_removed(tmp_path: Path) -> None:
    table = JobTable(tmp_path)
    with table.claim(accepted(table).id) as mine:
        assert mine is False


def test_leads_and_valid_times_follow_the_calendar(tmp_path: Path) -> None:
    table = JobTable(tmp_path)
    job = accepted(table)
    assert list(job.kept) == [3, 6, 9]
    assert [job.lead(n) for n in (1, 3, 4)] == ["6h", "18h", "1D"]
    monthly = replace(job, step="1MS", init_time=0)
    assert [monthly.time(n) for n in (0, 1, 12)] == ["1970-01-01T00:00", "1970-02-01T00:00", "1971-01-01T00:00"]
    assert monthly.lead(14) == "14MS"
