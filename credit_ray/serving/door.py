"""What every request passes first: the limit on its body, a count by status, and a net under whatever was not foreseen."""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING

from credit_ray.serving.problems import Problem, internal_problem

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger(__name__)

CLIENT_GONE = 499  # no response has begun: the customary status in logs


class Door:
    """ASGI middleware.

    Parameters
    ----------
    app : ASGI application
        What is behind.
    body_bytes : int
        Largest request body; over it: 413.
    counts : Counter
        Requests by status, which it adds to.
    """

    def __init__(self, app: ASGIApp, *, body_bytes: int, counts: Counter[int]) -> None:
        self.app, self.body_bytes, self.counts = app, body_bytes, counts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status = CLIENT_GONE

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            try:
                await self.app(scope, await self._bounded(scope, receive), watch)
            except Problem as problem:
                await problem.response(scope["path"])(scope, receive, watch)
            except Exception:
                log.exception("%s %s failed", scope["method"], scope["path"])
                if status != CLIENT_GONE:
                    raise  # the answer has begun: only a broken connection can say that it is not whole
                await internal_problem().response(scope["path"])(scope, receive, watch)
        finally:
            self.counts[status] += 1

    async def _bounded(self, scope: Scope, receive: Receive) -> Receive:
        """A `receive` that holds the whole body, which is small; read here, so that a limit is met before any of it is parsed."""
        if scope["method"] in ("GET", "HEAD"):
            return receive
        headers = {name.lower(): value for name, value in scope["headers"]}
        announced = headers.get(b"content-length", b"")
        if announced.isdigit() and int(announced) > self.body_bytes:
            raise self._too_large()
        body, more = bytearray(), True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                break
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > self.body_bytes:
                raise self._too_large()
        given = False

        async def replay() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": bytes(body), "more_body": False}

        return replay

    def _too_large(self) -> Problem:
        return Problem(
            413, "body-too-large", f"The body may have {self.body_bytes} bytes at most.", limit=self.body_bytes
        )
