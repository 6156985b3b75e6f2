"""When training saves itself and stops before its end: a walltime, a signal. Nothing is lost, and the same command goes on."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from credit_ray.training.parallel import Workers

log = logging.getLogger(__name__)

_ASK_SECONDS = 0.5


class StopSign:
    """Rank 0's look at the clock and at the driver's wish; it never waits for an answer.

    Parameters
    ----------
    board : actor
        Where the driver leaves its wish.
    deadline : float, optional
        Seconds since 1970.
    """

    def __init__(self, board: Any, deadline: float | None, workers: Workers) -> None:
        self._board = board if workers.rank == 0 else None
        self._deadline = deadline
        self._asked: Any = None
        self._next = 0.0
        self.reason = "asked to stop"

    def is_set(self) -> bool:
        """Whether it is time to save and stop."""
        if self._board is None:
            return False
        if self._deadline is not None and time.time() > self._deadline:
            self.reason = "walltime"
            return True
        wish = self._wish(self._board)
        if wish:
            self.reason = wish
        return bool(wish)

    def _wish(self, board: Any) -> str | None:
        import ray

        if self._asked is not None:
            ready, _ = ray.wait([self._asked], timeout=0)
            if not ready:
                return None
            answer, self._asked = ray.get(ready[0]), None
            return str(answer) if answer else None
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _ASK_SECONDS
            self._asked = board.wish.remote()
        return None


@contextmanager
def stop_on_signals(board: Any) -> Iterator[None]:
    """SIGTERM and SIGUSR1, which queueing systems send before they kill, ask the workers to save and stop; a second SIGTERM ends at once."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals reach the main thread only: whoever runs a training in another one has to stop it by its walltime
        return

    def ask(number: int, _: Any) -> None:
        name = signal.Signals(number).name
        log.warning("%s: training saves itself and stops", name)
        board.stop.remote(name)
        if number == signal.SIGTERM:
            signal.signal(number, before[number])

    before: dict[int, Any] = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGUSR1)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
