"""The progress of a forecast as server-sent events: one per kept lead time, then how it ended.

Read from the table, not from the engine: a listener sees no difference where an engine dies and another goes on, and one that comes
late, or comes back with Last-Event-ID, gets all that it has missed.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

from credit_ray.serving.jobs import FINISHED, Accepted, JobTable

LOOK_SECONDS = 0.1
HEARTBEAT_SECONDS = 15.0


async def events(
    table: JobTable, job: Accepted, after: int, heartbeat_seconds: float = HEARTBEAT_SECONDS
) -> AsyncIterator[str]:
    """Events of the steps after `after`, as they come, then `done`, `failed` or `cancelled`.

    A comment is sent where nothing has happened for `heartbeat_seconds`, so that nobody on the way takes the connection for dead.
    """
    last_sent = time.monotonic()
    while True:
        progress = await asyncio.to_thread(table.progress, job.id)
        for step in job.kept:
            if after < step <= progress.steps_done:
                yield _event(
                    "step", step, {"step": step, "of": job.steps, "lead": job.lead(step), "valid_time": job.time(step)}
                )
                after, last_sent = step, time.monotonic()
        removed = not table.root.joinpath(job.id).exists()
        if progress.state in FINISHED or removed:
            state = "cancelled" if removed else progress.state
            yield _event(state, None, {"state": state, "steps_done": progress.steps_done, "error": progress.error})
            return
        if time.monotonic() - last_sent >= heartbeat_seconds:
            yield ": still here\n\n"
            last_sent = time.monotonic()
        await asyncio.sleep(LOOK_SECONDS)


def _event(name: str, id: int | None, data: dict[str, Any]) -> str:
    marked = "" if id is None else f"id: {id}\n"
    return f"event: {name}\n{marked}data: {json.dumps(data)}\n\n"
