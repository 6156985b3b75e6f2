"""Requests that fail for a passing reason are made again, for a while; what fails for good ends in one error.

A server that is busy (429, 5xx), slow, silent, or that hangs up in the middle of an answer is asked again after a pause that doubles each
time and is jittered, so that a thousand readers do not return together. What no patience mends (401, 403, bad requests) fails at once.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import random
import re
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from credit_ray.data.access import Access

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 10.0
_PASSING_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504, 509, 529})
_PASSING_ERRNO = frozenset({errno.EBUSY, errno.EIO, errno.EAGAIN, errno.ETIMEDOUT, errno.ECONNRESET, errno.EPIPE})
_PASSING_NAME = re.compile(r"Timeout|Connect|Disconnect|Payload|IncompleteRead|Closed|SlowDown|Throttl")


class StoreFailure(OSError):
    """What a store did not give.

    Parameters
    ----------
    key : str
        Of the chunk or document that was asked for.
    why : str
        For a message; holds no credentials.
    hint : str
        What to do.
    """

    def __init__(self, key: str, why: str, hint: str) -> None:
        super().__init__(f"{key}: {why}")
        self.key, self.why, self.hint = key, why, hint
        self.region: tuple[slice, ...] | None = None
        """Of the array, where `key` is one of its chunks."""


@dataclass
class Traffic:
    """What was asked of a store so far."""

    requests: int = 0
    retries: int = 0
    bytes: int = 0


class Patience:
    """Makes requests to one store.

    Parameters
    ----------
    access : Access
        Says for how long.
    """

    def __init__(self, access: Access) -> None:
        self.access, self.traffic = access, Traffic()
        self._jitter = random.Random()

    async def ask(self, key: str, request: Callable[[], Awaitable[Answer]]) -> Answer:
        """The answer to a request of an event loop.

        Raises
        ------
        StoreFailure
            Where there is none.
        """
        started, attempt = time.monotonic(), 0
        while True:
            attempt += 1
            self.traffic.requests += 1
            try:
                return await asyncio.wait_for(request(), self.access.request_seconds)
            except Exception as error:  # of any library
                await asyncio.sleep(self._pause(key, error, attempt, started))

    def ask_now(self, key: str, request: Callable[[], Answer]) -> Answer:
        """The same for a library that waits by itself."""
        started, attempt = time.monotonic(), 0
        while True:
            attempt += 1
            self.traffic.requests += 1
            try:
                return request()
            except Exception as error:  # of any library
                time.sleep(self._pause(key, error, attempt, started))

    def _pause(self, key: str, error: Exception, attempt: int, started: float) -> float:
        """Seconds until the next attempt.

        Raises
        ------
        StoreFailure
            Where there is to be none.
        """
        if isinstance(error, FileNotFoundError):
            if status_of(error) in (None, 404, 410) or not isinstance(error.__cause__, Exception):
                raise error
            error = error.__cause__  # fsspec calls everything missing that it can't look at
        said = self._said(error)
        if not passing(error):
            raise StoreFailure(key, said, _hint(status_of(error))) from None
        elapsed = time.monotonic() - started
        pause = min(_FIRST_PAUSE * 2 ** (attempt - 1), _LONGEST_PAUSE) * self._jitter.uniform(0.5, 1.5)
        if elapsed + pause > self.access.retry_seconds:
            raise StoreFailure(
                key,
                f"{said}, {attempt} times within {elapsed:.3g} s",
                f"The store does not answer; nothing is wrong with what is asked of it. Try again later, or wait longer with "
                f"'retry_seconds' (now {self.access.retry_seconds:g}) or 'request_seconds' (now {self.access.request_seconds:g}).",
            ) from None
        self.traffic.retries += 1
        log.warning("%s: %s; asked again in %.1f s.", key, said, pause)
        return pause

    def _said(self, error: Exception) -> str:
        if isinstance(error, TimeoutError):
            return f"no answer within {self.access.request_seconds:g} s"
        return self.access.said(error)


def passing(error: BaseException) -> bool:
    """Whether the same request may well succeed a moment later."""
    if isinstance(error, TimeoutError | ConnectionError) or _PASSING_NAME.search(type(error).__name__):
        return True  # before any status: aiohttp gives a broken body one of its own
    status = status_of(error)
    if status is not None:
        return status in _PASSING_STATUS
    if isinstance(error, PermissionError | FileNotFoundError):
        return False
    if any(_PASSING_NAME.search(type(each).__name__) for each in _chain(error)):
        return True
    if type(error).__module__.startswith("obstore"):  # no status: the connection failed, or broke off
        return type(error).__name__ == "GenericError"
    return isinstance(error, OSError) and error.errno in _PASSING_ERRNO


def status_of(error: BaseException) -> int | None:
    """The HTTP status that an error of obstore, aiohttp, botocore or gcsfs tells of."""
    for each in _chain(error):
        response = getattr(each, "response", None)
        told: Any = getattr(each, "status", None) or getattr(each, "code", None)
        if isinstance(response, dict):
            told = response.get("ResponseMetadata", {}).get("HTTPStatusCode", told)
        found = re.search(r"status code: (\d{3})", str(each))
        told = int(found[1]) if found else told
        if isinstance(told, int | str) and str(told).isdigit() and 100 <= int(told) < 600:
            return int(told)
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _hint(status: int | None) -> str:
    if status in (401, 403):
        return (
            "The store refuses: credentials are missing, wrong or expired. Give new ones in the environment (AWS_ACCESS_KEY_ID, …, "
            "GOOGLE_APPLICATION_CREDENTIALS) or in 'storage_options'; for a public store say 'storage_options: {anon: true}' "
            "(Google: {token: anon})."
        )
    return "The request can't succeed as it is: check the URL and 'storage_options'."
