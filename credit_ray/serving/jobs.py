"""Every accepted forecast as a folder: the queue, the progress and the results survive whichever process dies.

    <results>/<id>/accepted.json    what was asked, written once, before the caller is told
    <results>/<id>/progress.json    how far it is, written by whoever holds the lock
    <results>/<id>/cancel           there if the caller wants it no more
    <results>/<id>/lock             held by the engine that works on it; the kernel lets go of it when that process dies
    <results>/<id>/data.zarr        the forecast

Each file has one writer and is replaced whole, so that readers need no lock.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from credit_ray.times import Step, format_time

log = logging.getLogger(__name__)

JobState = Literal["queued", "running", "done", "failed", "cancelled"]
FINISHED: frozenset[JobState] = frozenset({"done", "failed", "cancelled"})

_ID = re.compile(r"\d{8}T\d{6}-[0-9a-f]{16}")


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """What was asked, and by whom.

    Parameters
    ----------
    id : str
        Of the forecast.
    owner : str
        Hash of the caller's token.
    created : float
        Seconds since 1970.
    model : str
        Registered name.
    init_time : int
        Seconds since 1970, in the model's calendar.
    steps : int
        Of the model, to the last lead time.
    every : int
        Each so-many-th step is kept.
    step, calendar : str
        Of the model.
    channels : tuple of mapping
        That are kept, as `Channel.to_json` gives them.
    asked : mapping
        The request as it came.
    key : str, optional
        Hash of the idempotency key.
    """

    id: str
    owner: str
    created: float
    model: str
    init_time: int
    steps: int
    every: int
    step: str
    calendar: str
    channels: tuple[Mapping[str, Any], ...]
    asked: Mapping[str, Any]
    key: str | None = None

    def lead(self, steps: int) -> str:
        """So many steps as a lead: `18h`, `10D`, `3MS`."""
        return lead_text(Step.parse(self.step), steps)

    def time(self, steps: int) -> str:
        """The valid time after so many steps."""
        return format_time(int(Step.parse(self.step).add(self.init_time, steps, self.calendar)), self.calendar)

    @property
    def kept(self) -> range:
        """Steps whose results are kept."""
        return range(self.every, self.steps + 1, self.every)


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a forecast is.

    Parameters
    ----------
    state : str
        queued, running, done, failed or cancelled.
    steps_done : int
        Steps whose results can be read.
    attempts : int
        How often an engine has begun it.
    started, finished : float, optional
        Seconds since 1970.
    step_seconds : float, optional
        Mean time of a step.
    error : str, optional
        Why it failed.
    lineage : mapping
        Model version, digest and run that made it.
    """

    state: JobState = "queued"
    steps_done: int = 0
    attempts: int = 0
    started: float | None = None
    finished: float | None = None
    step_seconds: float | None = None
    error: str | None = None
    lineage: Mapping[str, Any] = field(default_factory=dict)


class JobTable:
    """The accepted forecasts under one folder of a file system that the whole service shares.

    Parameters
    ----------
    root : Path
        The folder; made if it is not there.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)

    def new_id(self, created: float) -> str:
        """An id that sorts by time and can't be guessed."""
        return time.strftime("%Y%m%dT%H%M%S", time.gmtime(created)) + f"-{secrets.token_hex(8)}"

    def add(self, job: Accepted) -> None:
        """Accept: on disk, in whole, when this returns."""
        making = self.root / f".new-{job.id}"
        making.mkdir()
        try:
            with (making / "accepted.json").open("w") as file:
                json.dump(asdict(job), file)
                file.flush()
                os.fsync(file.fileno())
            making.rename(self.root / job.id)
        except BaseException:
            shutil.rmtree(making, ignore_errors=True)
            raise
        _sync_folder(self.root)

    def ids(self) -> list[str]:
        """All accepted forecasts, oldest first."""
        return sorted(name for name in os.listdir(self.root) if _ID.fullmatch(name))

    def accepted(self, id: str) -> Accepted | None:
        """What was asked; None if there is no such forecast."""
        if not _ID.fullmatch(id) or (plain := _read(self.root / id / "accepted.json")) is None:
            return None
        return Accepted(**plain | {"channels": tuple(plain["channels"])})

    def progress(self, id: str) -> Progress:
        """How far it is. One that nobody has begun, and that is wanted no more, counts as cancelled at once."""
        plain = _read(self.root / id / "progress.json")
        if plain is not None:
            return Progress(**plain)
        try:
            return Progress(state="cancelled", finished=(self.root / id / "cancel").stat().st_mtime)
        except FileNotFoundError:
            return Progress()

    def write_progress(self, id: str, progress: Progress) -> None:
        """Replace it; only for the holder of the claim."""
        path = self.root / id / "progress.json"
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(asdict(progress)))
        partial.replace(path)

    def cancel(self, id: str) -> None:
        """Ask whoever works on it to stop."""
        (self.root / id / "cancel").touch()

    def cancel_asked(self, id: str) -> bool:
        """Whether it is wanted no more; also when it has been removed."""
        folder = self.root / id
        return (folder / "cancel").exists() or not folder.exists()

    def data(self, id: str) -> Path:
        """Where the forecast is written."""
        return self.root / id / "data.zarr"

    def remove(self, id: str) -> None:
        """Gone at once for readers, and then from the disk."""
        trash = self.root / f".trash-{id}"
        try:
            (self.root / id).rename(trash)
        except FileNotFoundError:
            return
        shutil.rmtree(trash, ignore_errors=True)

    def clean(self) -> None:
        """Remove what a process that died was removing, or had not yet accepted."""
        for name in os.listdir(self.root):
            if name.startswith((".trash-", ".new-")):
                shutil.rmtree(self.root / name, ignore_errors=True)

    @contextmanager
    def claim(self, id: str) -> Iterator[bool]:
        """Whether this process may work on it: True for one at a time, until the block ends or the process dies."""
        try:
            file = (self.root / id / "lock").open("w")
        except FileNotFoundError:
            yield False
            return
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True


def lead_text(step: Step, count: int) -> str:
    """So many steps as a lead: `18h`, `10D`, `3MS`."""
    return str(Step(seconds=step.seconds * count, months=step.months * count))


def utc(seconds: float | None) -> str | None:
    """ISO 8601 text of seconds since 1970."""
    return None if seconds is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return dict(json.loads(path.read_text()))
    except FileNotFoundError:
        return None
    except ValueError:
        log.error("%s is damaged; this forecast is left aside", path)
        return None


def _sync_folder(folder: Path) -> None:
    """A new name in a folder is on disk only once the folder is."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
