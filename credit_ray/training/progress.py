"""What the driver sees while workers train: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.5
_LINE_SECONDS = 30.0


class Board:
    """Between driver and workers: the newest state of a training, written by rank 0, and the driver's wish to stop. Lives in a Ray actor."""

    def __init__(self) -> None:
        self.state: dict[str, Any] = {}
        self._wish: str | None = None

    def stop(self, reason: str) -> None:
        """The driver wants training to save itself and stop."""
        self._wish = reason

    def wish(self) -> str | None:
        """Why it should stop, if it should."""
        return self._wish

    def post(self, state: dict[str, Any]) -> None:
        """Replace what is shown."""
        self.state |= state

    def read(self) -> dict[str, Any]:
        """What is shown."""
        return self.state


class BoardWriter:
    """Rank 0's end: posts at most twice a second, and never waits."""

    def __init__(self, board: Any) -> None:
        self._board, self._next = board, 0.0

    def post(self, now: bool = False, **state: Any) -> None:
        """Show this, unless something was shown a moment ago."""
        if now or time.monotonic() >= self._next:
            self._next = time.monotonic() + _POLL_SECONDS
            self._board.post.remote(state)


@contextmanager
def shown_progress(total_steps: int) -> Iterator[Any]:
    """Follow a board until the block ends; yields the actor that workers post to."""
    import ray

    board: Any = ray.remote(num_cpus=0)(Board).remote()
    done = threading.Event()
    follow = _bar if sys.stderr.isatty() else _lines
    thread = threading.Thread(target=follow, args=(board, total_steps, done), daemon=True)
    thread.start()
    try:
        yield board
    finally:
        done.set()
        thread.join(timeout=5)
        ray.kill(board)


def _states(board: Any, done: threading.Event) -> Iterator[dict[str, Any]]:
    import ray

    while not done.wait(_POLL_SECONDS):
        try:
            state = ray.get(board.read.remote(), timeout=5)
        except Exception as error:  # progress must never stop a training
            log.debug("No progress to show: %s", error)
            continue
        if "step" in state:  # a model that is solved has a score before it has a step
            yield state


def _text(state: dict[str, Any]) -> str:
    parts = [
        f"epoch {state['epoch'] + 1}/{state['epochs']}",
        f"loss {state['loss']:.4f}",
        f"{state['samples_per_second']:.1f} windows/s",
    ]
    if state["waiting"] > 0.05:  # else reading keeps up, which is no news
        parts.append(f"waiting for data {state['waiting']:.0%}")
    if "score" in state:
        parts.append(f"validation {state['score']:.3f} of persistence")
    return ", ".join(parts)


def _bar(board: Any, total: int, done: threading.Event) -> None:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("[bold]training"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.description}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("starting workers", total=total)
        for state in _states(board, done):
            progress.update(task, completed=state["step"], description=_text(state))


def _lines(board: Any, total: int, done: threading.Event) -> None:
    following = 0.0
    for state in _states(board, done):
        if time.monotonic() >= following:
            following = time.monotonic() + _LINE_SECONDS
            print(f"training: step {state['step']}/{total}, {_text(state)}", file=sys.stderr, flush=True)
