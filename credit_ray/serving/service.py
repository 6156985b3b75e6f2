"""What the API does, without HTTP and without Ray: accepts forecasts, tells how far they are, gives their results, forgets them.

The table on disk is what it knows; the engines only need to be woken.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Protocol

from credit_ray.config.serving import Limits
from credit_ray.serving.auth import Tokens
from credit_ray.serving.byterange import file_response
from credit_ray.serving.events import HEARTBEAT_SECONDS, events
from credit_ray.serving.jobs import FINISHED, Accepted, JobTable, Progress, utc
from credit_ray.serving.metrics import Depth, EngineNumbers, render
from credit_ray.serving.problems import RETRY_SECONDS, Problem
from credit_ray.serving.requests import ForecastRequest
from credit_ray.serving.results import ForecastField, read_field, read_point
from credit_ray.serving.served import ServedModel, unknown_model
from credit_ray.state import Channel

if TYPE_CHECKING:
    from starlette.responses import Response

log = logging.getLogger(__name__)

ENGINE_SECONDS = 3.0  # an engine that does not answer in so long is starting, or starting again
MOST_RETRY_SECONDS = 300


class EngineLink(Protocol):
    """How an engine is reached: by a Serve handle, or in this process."""

    async def describe(self, known: str | None) -> ServedModel | None:
        """The loaded model; None if its identity is still `known`."""
        ...

    async def wake(self) -> None:
        """There is something new in the table."""
        ...

    async def numbers(self) -> EngineNumbers:
        """What it has done."""
        ...


@dataclass(kw_only=True)
class ForecastService:
    """The API behind its routes; one per service.

    Parameters
    ----------
    table : JobTable
        The accepted forecasts.
    engines : mapping
        Served models by name.
    limits : Limits
        Over which a request is refused.
    tokens : Tokens
        Who may ask.
    heartbeat_seconds : float
        Longest silence of a stream of events.
    """

    table: JobTable
    engines: Mapping[str, EngineLink]
    limits: Limits
    tokens: Tokens = field(default_factory=Tokens)
    heartbeat_seconds: float = HEARTBEAT_SECONDS
    requests: Counter[int] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.table.clean()
        self._jobs = {id: job for id in self.table.ids() if (job := self.table.accepted(id))}
        self._ended = {id for id in self._jobs if self.table.progress(id).state in FINISHED}
        self._known: dict[str, ServedModel] = {}
        self._accepting = asyncio.Lock()

    # models

    async def model(self, name: str) -> ServedModel:
        """A served model; as it was last known, while its engine starts again."""
        if name not in self.engines:
            raise unknown_model(name, self.engines)
        known = self._known.get(name)
        try:
            fresh = await asyncio.wait_for(
                self.engines[name].describe(known.identity if known else None), ENGINE_SECONDS
            )
        except Exception as error:
            log.warning("The engine of %s does not answer: %s", name, type(error).__name__)
            if known is None:
                raise Problem(
                    503, "starting", f"The model '{name}' is being loaded.", retry_after=RETRY_SECONDS
                ) from None
            return known
        if fresh is not None:
            self._known[name] = known = fresh
        assert known is not None
        return known

    async def models(self) -> Sequence[ServedModel]:
        """All served models."""
        return await asyncio.gather(*(self.model(name) for name in self.engines))

    async def ready(self) -> None:
        """Return if every engine answers; else raise 503."""
        answers = await asyncio.gather(
            *(asyncio.wait_for(engine.numbers(), ENGINE_SECONDS) for engine in self.engines.values()),
            return_exceptions=True,
        )
        missing = [
            name for name, answer in zip(self.engines, answers, strict=True) if isinstance(answer, BaseException)
        ]
        if missing:
            raise Problem(503, "starting", f"Not loaded yet: {', '.join(missing)}.", retry_after=RETRY_SECONDS)

    # forecasts

    async def submit(self, owner: str, request: ForecastRequest, key: str | None) -> dict[str, Any]:
        """Accept a forecast: it is on disk when this returns, and will be made whatever dies.

        Raises
        ------
        Problem
            404, 422 for what makes no sense; 409 for an idempotency key that came with another request; 429 for a full queue.
        """
        if key is not None and not 1 <= len(key) <= 255:
            raise Problem(400, "malformed-request", "An Idempotency-Key has 1 to 255 characters.")
        hashed = None if key is None else sha256(f"{owner}\n{key}".encode()).hexdigest()
        asked = request.model_dump(mode="json")
        if earlier := self._earlier(hashed, asked):
            return self._status(earlier)
        model = await self.model(request.model)
        plan = model.plan(request, self.limits)
        async with self._accepting:
            if earlier := self._earlier(hashed, asked):
                return self._status(earlier)
            await asyncio.to_thread(self._refuse_full_queue)
            created = time.time()
            job = Accepted(
                id=self.table.new_id(created),
                owner=owner,
                created=created,
                model=model.name,
                init_time=plan.init_time,
                steps=plan.steps,
                every=plan.every,
                step=str(model.spec.step),
                calendar=model.spec.calendar,
                channels=tuple(channel.to_json() for channel in plan.channels),
                asked=asked,
                key=hashed,
            )
            try:
                await asyncio.to_thread(self.table.add, job)
            except OSError as error:
                log.exception("A forecast could not be accepted")
                detail = f"The forecast can't be stored ({error.strerror})."
                raise Problem(503, "storage", detail, retry_after=MOST_RETRY_SECONDS) from None
            self._jobs[job.id] = job
        await self._wake(job.model)
        return self._status(job)

    def forecasts(self, owner: str, limit: int) -> dict[str, Any]:
        """The caller's forecasts, newest first."""
        mine = sorted(
            (job for job in self._jobs.values() if job.owner == owner), key=lambda job: job.created, reverse=True
        )
        return {"forecasts": [self._status(job) for job in mine[:limit]], "count": len(mine)}

    def status(self, owner: str, id: str) -> dict[str, Any]:
        """One forecast: state, steps, lineage, links, error."""
        return self._status(self._job(owner, id))

    def events(self, owner: str, id: str, after: int) -> AsyncIterator[str]:
        """Its progress, from the step after `after` on, as server-sent events."""
        return events(self.table, self._job(owner, id), after, self.heartbeat_seconds)

    async def delete(self, owner: str, id: str) -> dict[str, Any] | None:
        """Cancel it; or, if it has ended, remove it, and return None."""
        job = self._job(owner, id)
        if self._progress(job).state in FINISHED and await asyncio.to_thread(self._remove, id):
            return None
        self.table.cancel(id)
        await self._wake(job.model)
        return self._status(job)

    # results

    def data(self, owner: str, id: str, path: str, range_header: str | None, *, head: bool) -> Response:
        """One object of the forecast's Zarr store. An absent one is a chunk that is not written, or that will never be."""
        job = self._job(owner, id)
        whole = self._progress(job).state == "done"
        store = self.table.data(id).resolve()
        wanted = (
            store / path.replace("\0", "")
        ).resolve()  # no name on disk has a zero byte, and no system call takes one
        found = None
        if wanted.is_relative_to(store):
            cache = "private, max-age=3600" if whole else "no-store"
            found = file_response(wanted, range_header, {"Cache-Control": cache}, head=head)
        if found is None:
            detail = f"The store of {id} has no '{path}'" + ("." if whole else ", or not yet.")
            raise Problem(404, "not-found", detail, headers={"Cache-Control": "no-store"})
        return found

    def field(self, owner: str, id: str, variable: str, lead: str, level: float | None) -> ForecastField:
        """One field of it."""
        job = self._job(owner, id)
        return read_field(self.table.data(id), job, self._progress(job), variable, lead, level)

    def point(self, owner: str, id: str, latitude: float, longitude: float) -> dict[str, Any]:
        """All its channels at one place."""
        job = self._job(owner, id)
        return {"id": id} | read_point(self.table.data(id), job, self._progress(job), latitude, longitude)

    # upkeep

    async def metrics(self) -> str:
        """Prometheus text."""
        answers = await asyncio.gather(
            *(asyncio.wait_for(engine.numbers(), ENGINE_SECONDS) for engine in self.engines.values()),
            return_exceptions=True,
        )
        numbers = {name: n for name, n in zip(self.engines, answers, strict=True) if isinstance(n, EngineNumbers)}
        states: Counter[tuple[str, str]] = Counter((job.model, self._progress(job).state) for job in self._unfinished())
        depths = {name: Depth(queued=states[name, "queued"], running=states[name, "running"]) for name in self.engines}
        return render(self.requests, depths, numbers, list(self._known.values()))

    def sweep(self) -> None:
        """Remove what ended longer ago than results are kept."""
        oldest = time.time() - self.limits.keep_hours * 3600
        for job in list(self._jobs.values()):
            progress = self._progress(job)
            if progress.state in FINISHED and (progress.finished or job.created) < oldest:
                self._remove(job.id)

    def _job(self, owner: str, id: str) -> Accepted:
        job = self._jobs.get(id)
        if job is None or job.owner != owner:
            raise Problem(404, "unknown-forecast", f"There is no forecast '{id}', or no more, or it is not yours.")
        return job

    def _progress(self, job: Accepted) -> Progress:
        progress = self.table.progress(job.id)
        if progress.state in FINISHED:
            self._ended.add(job.id)
        return progress

    def _unfinished(self) -> list[Accepted]:
        return [job for id, job in list(self._jobs.items()) if id not in self._ended]

    def _earlier(self, key: str | None, asked: Mapping[str, Any]) -> Accepted | None:
        """What became of the same request, sent before with the same idempotency key."""
        earlier = next((job for job in list(self._jobs.values()) if key and job.key == key), None)
        if earlier and earlier.asked != asked:
            detail = f"The Idempotency-Key came before with another request, which became {earlier.id}."
            raise Problem(409, "idempotency-key-reused", detail, links={"self": f"/v1/forecasts/{earlier.id}"})
        return earlier

    def _refuse_full_queue(self) -> None:
        waiting, seconds = 0, 0.0
        for job in self._unfinished():
            progress = self._progress(job)
            waiting += progress.state == "queued"
            if progress.state == "running":
                seconds += (job.steps - progress.steps_done) * (progress.step_seconds or 0.0)
        if waiting >= self.limits.queue:
            retry = round(min(max(seconds, RETRY_SECONDS), MOST_RETRY_SECONDS))
            detail = f"{waiting} forecasts wait, which is as many as may. Try again in {retry} s."
            raise Problem(429, "queue-full", detail, retry_after=retry, queued=waiting)

    def _remove(self, id: str) -> bool:
        """False if an engine works on it after all."""
        with self.table.claim(id) as mine:
            if not mine:
                return False
            self.table.remove(id)
        self._jobs.pop(id, None)
        self._ended.discard(id)
        return True

    async def _wake(self, model: str) -> None:
        """Best effort: an engine that does not hear it finds the forecast in the table."""
        try:
            await asyncio.wait_for(self.engines[model].wake(), ENGINE_SECONDS)
        except Exception as error:
            log.warning("The engine of %s was not woken: %s", model, type(error).__name__)

    def _status(self, job: Accepted) -> dict[str, Any]:
        progress = self._progress(job)
        link = f"/v1/forecasts/{job.id}"
        return {
            "id": job.id,
            "state": progress.state,
            "steps_done": progress.steps_done,
            "steps_total": job.steps,
            "model": job.model,
            "init_time": job.time(0),
            "lead": job.lead(job.steps),
            "every": job.every,
            "channels": [Channel(**plain).name for plain in job.channels],
            "created": utc(job.created),
            "started": utc(progress.started),
            "finished": utc(progress.finished),
            "step_seconds": progress.step_seconds,
            "error": progress.error,
            "lineage": json.loads(json.dumps(progress.lineage)),
            "links": {
                "self": link,
                "events": f"{link}/events",
                "data": f"{link}/data.zarr",
                "fields": f"{link}/fields/{{variable}}?lead={{lead}}&level={{level}}",
                "point": f"{link}/point?latitude={{latitude}}&longitude={{longitude}}",
            },
        }
