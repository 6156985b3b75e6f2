"""No metric is lost and none is stored twice, whatever the server does and however the process ends."""

from __future__ import annotations

import json
import logging
import math
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from credit_ray.tracking import spool as module
from credit_ray.tracking.spool import MetricSpool, Point, RefusedError, leftover


class Server:
    """Stores points as MLflow does, which appends whatever it is sent; fails as its plan says.

    `plan` has one entry for each call of `send`: "ok", "away" (nothing is stored), "lost answer" (stored, but the caller learns nothing).
    """

    def __init__(self, plan: Sequence[str] = ()) -> None:
        self.stored: list[Point] = []
        self.plan = list(plan)
        self.away = False

    def send(self, points: Sequence[Point]) -> None:
        what = self.plan.pop(0) if self.plan else "ok"
        if self.away or what == "away":
            raise ConnectionError("connection refused")
        self.stored += points
        if what == "lost answer":
            raise TimeoutError("read timed out")

    def last_steps(self) -> dict[str, int]:
        if self.away:
            raise ConnectionError("connection refused")
        last: dict[str, int] = {}
        for point in self.stored:
            last[point.key] = max(point.step, last.get(point.key, -1))
        return last

    def curve(self, key: str) -> list[tuple[int, float]]:
        return [(p.step, p.value) for p in self.stored if p.key == key]


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_EVERY_SECONDS", 0.005)
    monkeypatch.setattr(module, "_LONGEST_WAIT", 0.02)


@pytest.fixture
def opened(tmp_path: Path) -> Callable[[Server], MetricSpool]:
    return lambda server: open_spool(tmp_path, server)


def open_spool(folder: Path, server: Server) -> MetricSpool:
    return MetricSpool(str(folder), run_id="r", tracking_uri="http://nowhere", sink=server)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 200
    while not condition():
        assert time.monotonic() < deadline, "nothing happened for 200 s"
        time.sleep(0.002)


def test_what_is_logged_is_stored_in_order(opened: Callable[[Server], MetricSpool]) -> None:
    server = Server()
    spool = opened(server)
    for step in range(50):
        spool.log({"loss": step / 10, "rate": 1.0}, step=step)
    assert spool.close() == 0
    assert server.curve("loss") == [(step, step / 10) for step in range(50)]
    assert server.curve("rate") == [(step, 1.0) for step in range(50)]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    plan=st.lists(st.sampled_from(["ok", "away", "lost answer"]), max_size=12),
    restarts=st.lists(st.tuples(st.integers(1, 30), st.integers(0, 10)), min_size=1, max_size=4),
)
def test_each_step_is_stored_once_through_outages_lost_answers_and_restarts(
    tmp_path_factory: pytest.TempPathFactory, plan: list[str], restarts: list[tuple[int, int]]
) -> None:
    """Each life logs some steps; the next begins at a checkpoint a few steps before, and repeats what came after it."""
    folder, server = tmp_path_factory.mktemp("spool"), Server(plan)
    done = 0
    for count, repeated in restarts:
        spool = open_spool(folder, server)
        start = max(done - repeated, 0)
        for step in range(start, start + count):
            spool.log({"loss": float(step)}, step=step)
        done = max(done, start + count)
        spool.close(0.01)
    server.plan.clear()
    assert open_spool(folder, server).close() == 0
    assert server.curve("loss") == [(step, float(step)) for step in range(done)]


def test_an_outage_costs_the_caller_nothing_and_is_said_once(
    opened: Callable[[Server], MetricSpool], caplog: pytest.LogCaptureFixture
) -> None:
    server = Server()
    server.away = True
    with caplog.at_level(logging.WARNING, module.log.name):
        spool = opened(server)
        for step in range(20):
            spool.log({"loss": 1.0}, step=step)
        until(lambda: len(caplog.records) >= 1)
        server.away = False
        assert spool.close() == 0
    said = [record.getMessage() for record in caplog.records]
    assert sum("does not answer" in text for text in said) == 1
    assert "answers again" in said[-1]
    assert len(server.curve("loss")) == 20


def test_closing_waits_no_longer_than_asked_and_says_what_is_left(
    opened: Callable[[Server], MetricSpool], caplog: pytest.LogCaptureFixture
) -> None:
    server = Server()
    server.away = True
    spool = opened(server)
    for step in range(7):
        spool.log({"loss": 1.0}, step=step)
    assert spool.close(0.05) == 7
    assert str(spool.path) in caplog.text
    server.away = False
    assert opened(server).close() == 0
    assert len(server.curve("loss")) == 7


def test_a_run_that_is_gone_stops_the_sending_not_the_training(
    opened: Callable[[Server], MetricSpool], caplog: pytest.LogCaptureFixture
) -> None:
    class Gone(Server):
        def send(self, points: Sequence[Point]) -> None:
            raise RefusedError("run not found")

    spool = opened(Gone())
    spool.log({"loss": 1.0}, step=0)
    until(lambda: "run not found" in caplog.text)
    spool.log({"loss": 1.0}, step=1)
    assert spool.close() == 2


def test_a_line_that_a_killed_process_left_unfinished_is_no_hindrance(
    tmp_path: Path, opened: Callable[[Server], MetricSpool]
) -> None:
    away, server = Server(), Server()
    away.away = True
    spool = opened(away)
    spool.log({"loss": 0.5}, step=1)
    spool.close(0.01)
    with spool.path.open("a") as file:
        file.write('{"step": 2, "time_ms": 3, "metr')
    spool = opened(server)
    spool.log({"loss": 0.25}, step=2)
    assert spool.close() == 0
    assert server.curve("loss") == [(1, 0.5), (2, 0.25)]


@pytest.mark.parametrize("mark", ["", "x", "999999999", "-4"])
def test_a_mark_that_makes_no_sense_costs_a_repetition_that_the_server_never_sees(
    opened: Callable[[Server], MetricSpool], mark: str
) -> None:
    server = Server()
    spool = opened(server)
    for step in range(5):
        spool.log({"loss": 1.0}, step=step)
    spool.close()
    spool.path.with_suffix(".sent").write_text(mark)
    assert opened(server).close() == 0
    assert [step for step, _ in server.curve("loss")] == [0, 1, 2, 3, 4]


def test_a_full_disk_costs_no_metric(
    tmp_path: Path, opened: Callable[[Server], MetricSpool], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server()
    spool = opened(server)
    spool.log({"loss": 0.0}, step=0)
    real = Path.open

    def full(self: Path, mode: str = "r", *args: object, **keywords: object) -> object:
        if mode == "ab":
            raise OSError(28, "No space left on device")
        return real(self, mode, *args, **keywords)  # type: ignore[call-overload]

    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", full)
        spool.log({"loss": 1.0}, step=1)
        assert spool.pending() >= 1
    spool.log({"loss": 2.0}, step=2)
    assert spool.close() == 0
    assert server.curve("loss") == [(0, 0.0), (1, 1.0), (2, 2.0)]


def test_what_a_full_disk_refused_is_written_at_the_end(
    opened: Callable[[Server], MetricSpool], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server()
    spool = opened(server)
    with monkeypatch.context() as patched:
        patched.setattr(os, "truncate", lambda *_: None)
        patched.setattr(Path, "open", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        spool.log({"loss": 1.0}, step=1)
    assert spool.close() == 0
    assert server.curve("loss") == [(1, 1.0)]


def test_a_long_spool_that_is_all_sent_begins_anew(
    opened: Callable[[Server], MetricSpool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_COMPACT_BYTES", 500)
    server = Server()
    spool = opened(server)
    for step in range(100):
        spool.log({"loss": 1.0}, step=step)
        if step % 10 == 9:
            until(lambda: spool.pending() == 0)
    assert spool.close() == 0
    assert spool.path.stat().st_size < 1000
    assert [step for step, _ in server.curve("loss")] == list(range(100))


def test_no_call_holds_more_than_a_thousand_points(opened: Callable[[Server], MetricSpool]) -> None:
    sizes: list[int] = []

    class Counting(Server):
        def send(self, points: Sequence[Point]) -> None:
            sizes.append(len(points))
            super().send(points)

    server = Counting()
    server.away = True
    spool = opened(server)
    spool.log({f"rmse/{i}": 1.0 for i in range(2500)}, step=1)
    for step in range(2, 1500):
        spool.log({"a": 1.0, "b": 2.0}, step=step)
    server.away = False
    assert spool.close() == 0
    assert max(sizes) <= 1000
    assert len(server.stored) == 2500 + 2 * 1498


def test_values_that_are_not_finite_arrive_as_they_are(opened: Callable[[Server], MetricSpool]) -> None:
    server = Server()
    spool = opened(server)
    spool.log({"nan": math.nan, "inf": -math.inf}, step=1)
    spool.close()
    assert math.isnan(server.curve("nan")[0][1])
    assert server.curve("inf") == [(1, -math.inf)]


def test_what_is_no_metric_name_is_left_out_and_named(
    opened: Callable[[Server], MetricSpool], caplog: pytest.LogCaptureFixture
) -> None:
    server = Server()
    spool = opened(server)
    spool.log({"loss": 1.0, "los§": 2.0}, step=1)
    spool.close()
    assert [p.key for p in server.stored] == ["loss"]
    assert "'los§'" in caplog.text


def test_spools_of_one_run_are_found_again(tmp_path: Path) -> None:
    for name in ("train", "driver"):
        MetricSpool(str(tmp_path), run_id="r", tracking_uri="x", name=name, sink=Server()).log({"a": 1}, step=1)
    assert leftover(str(tmp_path), "r") == ["driver", "train"]
    assert leftover(str(tmp_path / "nothing"), "r") == []


def test_a_process_that_is_killed_leaves_all_that_it_logged(tmp_path: Path) -> None:
    program = textwrap.dedent(
        f"""
        import os, signal
        from credit_ray.tracking.spool import MetricSpool
        class Away:
            def send(self, points): raise ConnectionError
            def last_steps(self): raise ConnectionError
        spool = MetricSpool({str(tmp_path)!r}, run_id="r", tracking_uri="x", sink=Away())
        for step in range(300):
            spool.log({{"loss": step}}, step=step)
        os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    killed = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    server = Server()
    assert open_spool(tmp_path, server).close() == 0
    assert [step for step, _ in server.curve("loss")] == list(range(300))


def test_each_line_says_when_it_was_logged(opened: Callable[[Server], MetricSpool]) -> None:
    server = Server()
    server.away = True
    spool = opened(server)
    before = time.time_ns() // 1_000_000
    spool.log({"loss": 1.0}, step=1)
    after = time.time_ns() // 1_000_000
    spool.close(0.01)
    assert before <= json.loads(spool.path.read_text())["time_ms"] <= after
