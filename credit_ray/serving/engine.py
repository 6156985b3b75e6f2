"""The engine of one served model: a thread that takes forecasts from the table and makes them, one after the other.

One at a time, so that a forecast is the same, to the last bit, whatever else waits. It holds a lock on the one that it works on; if
its process dies, the next engine finds the lock free and begins that forecast again, over the lead times that are there already.
"""

from __future__ import annotations

import errno
import logging
import shutil
import threading
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from credit_ray.errors import CreditRayError
from credit_ray.forecasting.fill import fill, forecast_layout
from credit_ray.forecasting.writer import create_store
from credit_ray.serving.jobs import FINISHED, Accepted, JobState, JobTable, Progress, utc
from credit_ray.serving.metrics import EngineNumbers
from credit_ray.serving.served import ServedModel
from credit_ray.state import Channel, Channels

if TYPE_CHECKING:
    from credit_ray.forecasting.rollout import InitialData
    from credit_ray.stepper import Stepper

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0  # how often an idle engine looks into the table by itself
REFRESH_SECONDS = 30.0  # how often it asks the registry whether the alias has moved
MADE_BY = ("model_digest", "data_digest")  # two engines that agree in these make the same forecast
MOST_ATTEMPTS = 3  # a forecast that kills its engine as often as this is given up


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A model in memory.

    Parameters
    ----------
    served : ServedModel
        What its callers see.
    stepper : Stepper
        What steps.
    data : InitialData
        What it starts from.
    lineage : mapping
        Of what it makes, as the attributes of the stores that it writes: model, version, digests, run, code; plain values.
    """

    served: ServedModel
    stepper: Stepper
    data: InitialData
    lineage: Mapping[str, Any]


class ModelSource(Protocol):
    """Where an engine gets its model: the registry, or a test."""

    def load(self, current: Loaded | None) -> Loaded | None:
        """The model that is to be served now; None if it is still `current`."""
        ...


class _Stopped(Exception):
    """The engine is to end; the forecast stays in the table for the next one."""


class _Cancelled(Exception):
    """The caller wants it no more."""


class Engine:
    """Makes the forecasts of one model.

    Parameters
    ----------
    name : str
        Of the model; it takes the forecasts that ask for it.
    table : JobTable
        Where it takes them from.
    source : ModelSource
        Loaded from at once; asked again every `REFRESH_SECONDS`, between forecasts.
    device : str, optional
        Default: a GPU, if there is one.
    """

    def __init__(self, name: str, table: JobTable, source: ModelSource, device: str | None = None) -> None:
        self.name, self.table, self.source, self.device = name, table, source, device
        loaded = source.load(None)
        assert loaded is not None, "a source gives a model where there is none"
        self._loaded = loaded
        self._refreshed = time.monotonic()
        self._numbers = EngineNumbers()
        self._settled: set[str] = set()
        self._stop, self._woken = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, name=f"engine-{name}", daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def stop(self) -> None:
        """End after the step that is being made; an unfinished forecast stays in the table."""
        self._stop.set()
        self._woken.set()
        if self._thread.is_alive():
            self._thread.join()

    def wake(self) -> None:
        """There is something new in the table."""
        self._woken.set()

    def describe(self, known: str | None) -> ServedModel | None:
        """What is loaded; None if its identity is still `known`."""
        served = self._loaded.served
        return None if served.identity == known else served

    def numbers(self) -> EngineNumbers:
        """What it has done, as of now."""
        return replace(self._numbers, finished=self._numbers.finished.copy())

    def check_health(self) -> None:
        """Raise if it can't work any more."""
        if not self._thread.is_alive() and not self._stop.is_set():
            raise RuntimeError(f"the thread of the engine of {self.name} has ended")

    def _work(self) -> None:
        while not self._stop.is_set():
            self._refresh()
            try:
                took = self._take_one()
            except Exception:  # a folder that can't be read or written now may be there again in a while
                log.exception("The forecasts in %s can't be worked on", self.table.root)
                took = False
            if not took:
                self._woken.wait(LOOK_SECONDS)
                self._woken.clear()

    def _refresh(self) -> None:
        """Swap to the version that the alias means now; between forecasts, so that none is made by two."""
        if time.monotonic() - self._refreshed < REFRESH_SECONDS:
            return
        self._refreshed = time.monotonic()
        try:
            fresh = self.source.load(self._loaded)
        except Exception:  # the registry may be away, the new version may be damaged: what is loaded still serves
            log.exception(
                "%s could not be looked up again; serving version %s on", self.name, self._loaded.served.version
            )
            return
        if fresh is not None:
            log.info("%s@%s is now version %s", self.name, fresh.served.alias, fresh.served.version)
            self._loaded = fresh

    def _take_one(self) -> bool:
        """Make the oldest forecast that nobody works on; False if there is none."""
        ids = self.table.ids()
        self._settled &= set(ids)
        for id in ids:
            if id in self._settled:
                continue
            job = self.table.accepted(id)
            if job is None or job.model != self.name:
                self._settled.add(id)
                continue
            with self.table.claim(id) as mine:
                if not mine:
                    continue
                progress = self.table.progress(id)
                if progress.state in FINISHED:
                    self._settled.add(id)
                    continue
                self._make(job, progress)
                return True
        return False

    def _make(self, job: Accepted, before: Progress) -> None:
        """Begin, or begin again; how it ends is in the table."""
        loaded, run = self._loaded, before
        try:
            run = self._begun(job, before, loaded)
            self._roll_out(job, run, loaded)
        except _Stopped:
            log.info("Forecast %s waits for the next engine", job.id)
            self._update(job, attempts=run.attempts - 1)
        except _Cancelled:
            self._end(job, "cancelled")
        except CreditRayError as error:
            self._end(job, "failed", str(error))
        except OSError as error:
            log.exception("Forecast %s failed", job.id)
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            self._end(
                job,
                "failed",
                "The disk that holds the results is full." if full else "The results could not be written.",
            )
        except Exception:
            log.exception("Forecast %s failed", job.id)
            self._end(job, "failed", "Something went wrong on our side; the server's log has the details.")
        else:
            self._end(job, "done")

    def _begun(self, job: Accepted, before: Progress, loaded: Loaded) -> Progress:
        same = not before.lineage or all(before.lineage.get(key) == loaded.lineage.get(key) for key in MADE_BY)
        if not same:
            log.warning(
                "Forecast %s begins anew: %s is another version now, or its data have changed", job.id, self.name
            )
            shutil.rmtree(self.table.data(job.id), ignore_errors=True)
        run = replace(
            before,
            state="running",
            attempts=before.attempts + 1,
            started=before.started or time.time(),
            steps_done=before.steps_done if same else 0,
            lineage=loaded.lineage,
        )
        self.table.write_progress(job.id, run)
        if run.attempts > MOST_ATTEMPTS:
            raise CreditRayError(f"The engine died {MOST_ATTEMPTS} times while it made this forecast; it is given up.")
        return run

    def _roll_out(self, job: Accepted, run: Progress, loaded: Loaded) -> None:
        """The rollout of any forecast, into a store with a chunk for each lead time."""
        self._refuse_to_go_on(job)
        channels = Channels(Channel(**plain) for plain in job.channels)
        layout = forecast_layout(loaded.stepper, channels, np.array([job.init_time], np.int64), tuple(job.kept))
        lineage = {**loaded.lineage, "forecast_id": job.id, "created": utc(job.created)}
        store = create_store(str(self.table.data(job.id)), layout, lineage, leads_per_chunk=1)

        def written(leads: int) -> None:
            # lead times that an earlier engine wrote are there, and the same: what was told is not taken back
            done = max(run.steps_done, layout.leads[leads - 1])
            self._update(job, steps_done=done, step_seconds=self._numbers.mean_step_seconds)

        began = time.monotonic()
        with closing(fill(loaded.stepper, loaded.data, store, [0], device=self.device, on_written=written)) as steps:
            for _ in steps:
                self._numbers.count(time.monotonic() - began)
                began = time.monotonic()
                self._refuse_to_go_on(job)
        store.finish()

    def _refuse_to_go_on(self, job: Accepted) -> None:
        if self._stop.is_set():
            raise _Stopped
        if self.table.cancel_asked(job.id):
            raise _Cancelled

    def _update(self, job: Accepted, **changes: Any) -> None:
        self.table.write_progress(job.id, replace(self.table.progress(job.id), **changes))

    def _end(self, job: Accepted, state: JobState, error: str | None = None) -> None:
        log.info("Forecast %s: %s%s", job.id, state, f": {error}" if error else "")
        self._update(job, state=state, error=error, finished=time.time())
        self._numbers.finished[state] += 1
        self._settled.add(job.id)
