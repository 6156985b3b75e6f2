"""Step metrics on their way to MLflow: first to a file, then, by a thread of their own, to the server.

The training step only appends a line to a file. The thread sends lines in batches and writes down how far it got; while the server is away
it waits, longer each time, and lines stay in the file, where the next process that opens the spool finds them. MLflow itself would append
what it is sent twice, so that at the start and after every failed call the spool asks for the last step of each key, and sends only what
lies beyond.
"""

from __future__ import annotations

import json
import logging
import os
import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from credit_ray.tracking.client import quiet_mlflow, reason
from credit_ray.tracking.places import local_folder, redact

log = logging.getLogger(__name__)

_BATCH = 1000  # MLflow's limit of metrics per call
_EVERY_SECONDS = 1.0
_LONGEST_WAIT = 60.0
_COMPACT_BYTES = 8_000_000
_KEY = re.compile(r"[/\w.\- ]{1,250}")


@dataclass(frozen=True)
class Point:
    """One value of one metric.

    Parameters
    ----------
    key : str
        Name of the metric.
    value : float
        May be NaN or infinite.
    step : int
        Ascends, for each key.
    time_ms : int
        When, in ms since 1970.
    """

    key: str
    value: float
    step: int
    time_ms: int


class Sink(Protocol):
    """Where points go; both methods raise while it does not answer."""

    def send(self, points: Sequence[Point]) -> None:
        """Store all of them, at most 1000."""
        ...

    def last_steps(self) -> dict[str, int]:
        """Newest stored step of each metric."""
        ...


class RefusedError(Exception):
    """The sink answers, and will never take these points: the run is gone, or writing to it is not allowed."""


class MlflowSink:
    """The metrics of one MLflow run."""

    def __init__(self, run_id: str, tracking_uri: str) -> None:
        self.run_id, self.tracking_uri = run_id, tracking_uri

    def send(self, points: Sequence[Point]) -> None:
        quiet_mlflow()
        from mlflow.entities import Metric
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient

        try:
            MlflowClient(self.tracking_uri).log_batch(
                self.run_id, metrics=[Metric(p.key, p.value, p.time_ms, p.step) for p in points], synchronous=True
            )
        except MlflowException as error:
            if error.error_code in {"RESOURCE_DOES_NOT_EXIST", "PERMISSION_DENIED", "INVALID_PARAMETER_VALUE"}:
                raise RefusedError(reason(error)) from error
            raise

    def last_steps(self) -> dict[str, int]:
        quiet_mlflow()
        from mlflow.tracking import MlflowClient

        # The run's own data hold the newest point of each metric; `get_metric_history` would fetch all of a long run's.
        newest = MlflowClient(self.tracking_uri).get_run(self.run_id).data.to_proto().metrics
        return {metric.key: metric.step for metric in newest}

    def __str__(self) -> str:
        return f"run {self.run_id} at {redact(self.tracking_uri)}"


class MetricSpool:
    """Metrics of one run from one process, kept on disk until MLflow has them.

    Nothing of it raises into the caller, and `log` does not wait for a server.

    Parameters
    ----------
    run_directory : str
        Of the run; the spool's file lies in it, or in this machine's temporary folder where that is a URL.
    run_id, tracking_uri : str
        Where metrics go.
    name : str
        Tells apart the spools of one run: each has one writer at a time.
    sink : Sink, optional
        Instead of MLflow.
    """

    def __init__(
        self, run_directory: str, *, run_id: str, tracking_uri: str, name: str = "train", sink: Sink | None = None
    ) -> None:
        folder = local_folder(run_directory, run_id) / "metrics"
        folder.mkdir(parents=True, exist_ok=True)
        self.path, self._sent_path = folder / f"{name}.jsonl", folder / f"{name}.sent"
        self._sink: Sink = sink or MlflowSink(run_id, tracking_uri)
        self._last: dict[str, int] | None = None  # newest step of each key that the sink has; None: to be asked
        self._lock = threading.Lock()
        self._unwritten: list[str] = []
        self._wake, self._closing, self._over = threading.Event(), threading.Event(), threading.Event()
        self._sent = self._recover()
        self._thread = threading.Thread(target=self._drain_until_closed, name=f"metrics-{name}", daemon=True)
        self._thread.start()

    def log(self, metrics: Mapping[str, float], *, step: int) -> None:
        """Take metrics of one step; steps of a key must ascend, since what is not newer than the stored is taken for a repetition."""
        kept = {key: float(value) for key, value in metrics.items() if _KEY.fullmatch(key)}
        if len(kept) < len(metrics):
            log.error("Not metric names, left out: %s", ", ".join(repr(key) for key in metrics if key not in kept))
        line = json.dumps({"step": int(step), "time_ms": time.time_ns() // 1_000_000, "metrics": kept}) + "\n"
        with self._lock:
            self._append(line)

    def pending(self) -> int:
        """Lines that MLflow does not have yet."""
        with self._lock:
            return len(self._unwritten) + sum(1 for _ in self._lines())

    def close(self, timeout: float = 60.0) -> int:
        """Send what is left, for at most `timeout` seconds; returns how many lines remain (they are sent when the spool is next opened)."""
        with self._lock:
            if self._unwritten:
                self._append("")
        self._closing.set()
        self._wake.set()
        self._thread.join(timeout)
        self._over.set()
        left = self.pending()
        if left:
            log.warning("%d lines of metrics are not in MLflow yet (%s); they wait in %s", left, self._sink, self.path)
        return left

    def _recover(self) -> int:
        """The place up to which lines were sent; a line that a killed process left unfinished is cut off."""
        size = self.path.stat().st_size if self.path.exists() else 0
        if size:
            with self.path.open("rb+") as file:
                file.seek(max(0, size - 1_000_000))
                tail = file.read()
                size -= len(tail) - (tail.rfind(b"\n") + 1)
                file.truncate(size)
        mark = self._sent_path.read_text() if self._sent_path.exists() else ""
        return int(mark) if mark.isdigit() and int(mark) <= size else 0

    def _append(self, line: str) -> None:
        """Write, with what could not be written before; a full disk costs nothing but memory."""
        try:
            with self.path.open("ab") as file:
                start = file.tell()
                try:
                    file.write("".join([*self._unwritten, line]).encode())
                    file.flush()
                except OSError:
                    os.truncate(self.path, start)
                    raise
        except OSError as error:
            if not self._unwritten:
                log.warning(
                    "Metrics can't be written to %s (%s): kept in memory until they can", self.path, error.strerror
                )
            self._unwritten += [line] if line else []
        else:
            self._unwritten.clear()

    def _lines(self) -> Iterator[bytes]:
        """What is in the file and not sent."""
        if self.path.exists():
            with self.path.open("rb") as file:
                file.seek(self._sent)
                yield from file

    def _drain_until_closed(self) -> None:
        wait, away_since = _EVERY_SECONDS, None
        while not self._over.is_set():
            closing = self._closing.is_set()
            try:
                while self._send_some():
                    pass
                if away_since is not None:
                    log.warning(
                        "MLflow answers again after %.0f s; no metric was lost (%s)",
                        time.monotonic() - away_since,
                        self._sink,
                    )
                if closing:
                    return
                wait, away_since = _EVERY_SECONDS, None
            except RefusedError as error:
                log.error("MLflow refuses metrics (%s): %s. They stay in %s", self._sink, error, self.path)
                return
            except Exception as error:  # whatever it is, training goes on, and so does the attempt
                if away_since is None:
                    away_since = time.monotonic()
                    log.warning(
                        "MLflow does not answer (%s): %s. Metrics wait in %s", self._sink, reason(error), self.path
                    )
                self._last = None  # a call that failed may have been carried out: ask again
                wait = min(wait * 2, _LONGEST_WAIT)
            self._wake.wait(_EVERY_SECONDS if self._closing.is_set() else wait)
            self._wake.clear()

    def _send_some(self) -> bool:
        """One batch; whether there was any."""
        points: list[Point] = []
        size = 0
        with self._lock:
            for line in self._lines():
                points += _points(line)
                size += len(line)
                if len(points) >= _BATCH:
                    break
        if not size:
            return False
        if self._last is None:
            self._last = self._sink.last_steps()
        new, last = [], dict(self._last)
        for point in points:
            if point.step > last.get(point.key, -1):
                last[point.key] = point.step
                new.append(point)
        for start in range(0, len(new), _BATCH):
            self._sink.send(new[start : start + _BATCH])
        self._last = last
        self._acknowledge(size)
        return True

    def _acknowledge(self, size: int) -> None:
        """Write down that `size` more bytes are sent; a long file that is all sent begins anew."""
        with self._lock:
            self._sent += size
            try:
                if self._sent > _COMPACT_BYTES and self._sent == self.path.stat().st_size:
                    os.truncate(self.path, 0)  # before the mark: a mark beyond the end reads as 0
                    self._sent = 0
                fresh = self._sent_path.with_suffix(".new")
                fresh.write_text(str(self._sent))
                fresh.replace(self._sent_path)
            except OSError as error:
                log.debug(
                    "The mark of sent metrics can't be written (%s): repeated lines will be told by their step", error
                )


def _points(line: bytes) -> list[Point]:
    try:
        entry = json.loads(line)
        return [Point(key, float(value), entry["step"], entry["time_ms"]) for key, value in entry["metrics"].items()]
    except (ValueError, KeyError, TypeError, AttributeError):
        log.warning("A line of metrics can't be read, left out: %r", line[:80])
        return []


def leftover(run_directory: str, run_id: str) -> list[str]:
    """Names of a run's spools in this machine's reach that may hold lines still to be sent."""
    folder = local_folder(run_directory, run_id) / "metrics"
    return sorted(path.stem for path in folder.glob("*.jsonl"))
