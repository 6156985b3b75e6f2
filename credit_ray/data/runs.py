"""Stretches of time without a gap, and the runs of windows that they are cut into."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from credit_ray.errors import ConfigError

Ints: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True)
class Segments:
    """Stretches of the time axis without a gap: positions [start, stop)."""

    start: Ints
    stop: Ints

    @classmethod
    def of(cls, first: int, adjacent: NDArray[np.bool_]) -> Segments:
        """From position `first` on, cut wherever a time is not one step after the one before it.

        Parameters
        ----------
        adjacent : array [times − 1]
            Whether each time is one step before the next.
        """
        cuts = np.flatnonzero(~adjacent) + 1
        edges = np.concatenate([[0], cuts, [len(adjacent) + 1]]) + first
        return cls(edges[:-1].astype(np.int64), edges[1:].astype(np.int64))

    def windows(self, length: int) -> int:
        """How many windows of that many times they hold."""
        return int(np.maximum(self.stop - self.start - length + 1, 0).sum())


def cut_runs(segments: Segments, length: int, slab_states: int, chunk: int, at_least: int) -> tuple[Ints, Ints]:
    """Runs of windows: first window and number of windows of each.

    As long as memory allows, so that the overlap of neighbouring slabs stays small; shortened so that there are `at_least` runs, but
    not below four times the overlap, in whole chunks, where reading it twice would cost more than a quarter.

    Raises
    ------
    ConfigError
        Where not even one window fits into a slab.
    """
    overlap = length - 1
    most = slab_states - overlap
    if most < 1:
        raise ConfigError(
            f"One window of {length} times does not fit into a slab of {slab_states}: raise data.ingest.slab_bytes, or shorten the rollout."
        )
    shortest = max(4 * ceil(overlap / chunk), 1) * chunk
    size = min(most, max(segments.windows(length) // max(at_least, 1), shortest))
    if size >= chunk:
        size -= size % chunk
    first, last = segments.start, np.maximum(segments.stop - overlap, segments.start)  # windows start in [first, last)
    starts, counts = [], []
    for a, b in zip(first.tolist(), last.tolist(), strict=True):
        edges = np.unique(np.concatenate([[a, b], np.arange(-(-a // size) * size, b, size)]))
        starts.append(edges[:-1])
        counts.append(np.diff(edges))
    start, count = np.concatenate(starts).astype(np.int64), np.concatenate(counts).astype(np.int64)
    return start[count > 0], count[count > 0]
