"""How far a long piece of work is: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_LINE_SECONDS = 15.0


@contextmanager
def shown_progress(what: str, unit: str) -> Iterator[Callable[[int, int], None]]:
    """Show how far a `with` block is, on standard error.

    Parameters
    ----------
    what, unit : str
        Before and after the numbers: `forecasting  120/400 steps`.

    Yields
    ------
    callable
        To be called with (done, in all).
    """
    show = _bar if sys.stderr.isatty() else _lines
    with show(what, unit) as update:
        yield update


@contextmanager
def _bar(what: str, unit: str) -> Iterator[Callable[[int, int], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(f"[bold]{what}"), BarColumn(), MofNCompleteColumn(), TextColumn(unit), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextmanager
def _lines(what: str, unit: str) -> Iterator[Callable[[int, int], None]]:
    following = time.monotonic() + _LINE_SECONDS

    def update(done: int, total: int) -> None:
        nonlocal following
        if time.monotonic() >= following:
            following = time.monotonic() + _LINE_SECONDS
            print(f"{what}: {done}/{total} {unit}", file=sys.stderr, flush=True)

    yield update
