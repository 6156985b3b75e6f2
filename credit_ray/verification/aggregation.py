"""Sums that add up: the same answer from one pass, or from any tree of tasks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Sums = NDArray[np.float64]


@dataclass(frozen=True)
class WeightedSum:
    """Σ weight · statistic and Σ weight, for each forecast, lead time and channel.

    A commutative monoid: `zero` is neutral, and adding in any order or grouping gives the same (to the last bit, where each forecast
    comes from one of the parts). Forecasts are kept apart, which costs next to nothing, so that a mean over any of them, or the
    spread between them, needs no second pass.

    Parameters
    ----------
    totals : mapping of str to array [init, lead, channel]
        Σ weight · statistic, by name of the statistic.
    weight : array [init, lead, channel]
        Σ weight; 0 where nothing was added.
    """

    totals: Mapping[str, Sums]
    weight: Sums

    @classmethod
    def zero(cls, names: Iterable[str], shape: tuple[int, int, int]) -> WeightedSum:
        """Of nothing: [init, lead, channel]."""
        return cls({name: np.zeros(shape) for name in names}, np.zeros(shape))

    def __add__(self, other: WeightedSum) -> WeightedSum:
        totals = {name: total + other.totals[name] for name, total in self.totals.items()}
        return WeightedSum(totals, self.weight + other.weight)

    def add_at(self, index: tuple[Any, ...], totals: Mapping[str, Sums], weight: Sums | float) -> None:
        """Add a part in place, at an index of [init, lead, channel]."""
        for name, total in totals.items():
            self.totals[name][index] += total
        self.weight[index] += weight

    def mean(self, name: str) -> Sums:
        """Weighted mean over all forecasts: [lead, channel]; NaN where there is none."""
        with np.errstate(invalid="ignore"):
            return self.totals[name].sum(0) / self.weight.sum(0)

    def count(self) -> NDArray[np.int64]:
        """Number of forecasts that the mean is over: [lead, channel]."""
        return np.count_nonzero(self.weight, axis=0)
