"""Where an optimiser step's time goes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


class StepTimer:
    """Seconds of a step's parts, by name; on a GPU by its own clock, so that nothing waits for the measurement.

    Parameters
    ----------
    device : torch.device
        Whose work is measured.
    """

    def __init__(self, device: torch.device) -> None:
        self._gpu = device.type == "cuda"
        self._running: dict[str, tuple[Any, Any]] = {}
        self._finished: dict[str, tuple[Any, Any]] = {}

    def begin(self) -> None:
        """A step begins; the one before is what `seconds` tells of."""
        self._finished, self._running = self._running, {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """What happens in this block is the part `name`; a part may come several times in a step."""
        began = self._now()
        yield
        ended, earlier = self._now(), self._running.get(name)
        if earlier is None or self._gpu:
            self._running[name] = (earlier[0] if earlier else began, ended)
        else:
            self._running[name] = (earlier[0], earlier[1] + ended - began)

    def seconds(self) -> dict[str, float]:
        """Of the step before the one that is running, all of whose work is done."""
        if not self._gpu:
            return {name: ended - began for name, (began, ended) in self._finished.items()}
        return {
            name: began.elapsed_time(ended) / 1e3 for name, (began, ended) in self._finished.items() if ended.query()
        }

    def _now(self) -> Any:
        if not self._gpu:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event
