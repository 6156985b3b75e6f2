"""What lies between a store's own fields and an experiment's: sources over sources, each of one idea."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from credit_ray.data.source import FieldsByVariable, Source, StoreSource
from credit_ray.grid.latlon import LatLonGrid
from credit_ray.state import Channels
from credit_ray.times import Times


@dataclass(frozen=True)
class Layer:
    """A source that is another one, but for what a subclass changes.

    Parameters
    ----------
    inner : Source
        What it reads from.
    """

    inner: Source

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def channels(self) -> Mapping[str, Channels]:
        return self.inner.channels

    @property
    def grid(self) -> LatLonGrid:
        return self.inner.grid

    @property
    def calendar(self) -> str | None:
        return self.inner.calendar

    @property
    def times(self) -> Times | None:
        return self.inner.times

    @property
    def time_chunk(self) -> int:
        return self.inner.time_chunk

    @property
    def stored(self) -> StoreSource | None:
        return self.inner.stored

    def covers(self, times: Times) -> NDArray[np.bool_]:
        return has_times(self.times, times)

    def read(self, variables: Sequence[str], times: Times) -> FieldsByVariable:
        return self.inner.read(variables, times)

    def identity(self) -> Mapping[str, Any]:
        return self.inner.identity()

    def fingerprint(self) -> str:
        return self.inner.fingerprint()

    def is_static(self, variable: str) -> bool:
        """Whether a variable has no time."""
        return variable in self.channels["static"].variables


def has_times(have: Times | None, wanted: Times) -> NDArray[np.bool_]:
    """Which of the wanted times are among those of a source; all, where it has no times of its own."""
    if have is None:
        return np.ones(np.shape(wanted), bool)
    if not len(have):
        return np.zeros(np.shape(wanted), bool)
    position = np.searchsorted(have, wanted).clip(max=len(have) - 1)
    return have[position] == wanted
