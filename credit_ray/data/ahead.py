"""Reading ahead: what is asked for next is made in a thread meanwhile."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

Item = TypeVar("Item")


def ahead(items: Iterable[Item], depth: int = 2) -> Iterator[Item]:
    """The same items in the same order, made in a thread up to `depth` before they are asked for.

    What fails in the thread is raised here, at the item that it failed on.
    """
    source, end = iter(items), object()
    pending: deque[Future[Any]] = deque()
    with ThreadPoolExecutor(1, thread_name_prefix="read-ahead") as thread:
        for _ in range(depth):
            pending.append(thread.submit(next, source, end))
        while (item := pending.popleft().result()) is not end:
            pending.append(thread.submit(next, source, end))
            yield item
