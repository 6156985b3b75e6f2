"""Quantiles of fields too large to sort: a sample that is the same whoever reads what, and that adds up.

Each (time, place) has a random priority that depends on nothing else; the sample of some data are the values with the smallest
priorities (a bottom-k sample, Cohen and Kaplan 2007). The smallest of two parts are the smallest of the whole, so samples merge like
sums, exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from credit_ray.data.transforms import Transform

SAMPLE_SIZE = 20_000
"""Values a channel; the rank of a quantile is good to about 0.4 %."""

_KNOTS = 101


@dataclass(frozen=True)
class Sample:
    """Values of one channel with the smallest priorities.

    Parameters
    ----------
    priority, value : array [at most SAMPLE_SIZE]
        In ascending order of priority.
    """

    priority: NDArray[np.float64]
    value: NDArray[np.float64]

    @classmethod
    def of(cls, values: NDArray[np.floating], times: NDArray[np.int64]) -> Sample:
        """Of fields [time, *grid]; missing values are not in it."""
        total = cls(np.empty(0), np.empty(0))
        for time, field in zip(times.tolist(), values, strict=True):
            priority = np.random.Generator(np.random.Philox(key=time % 2**64)).random(field.size)
            there = np.isfinite(field.ravel())
            total += cls(priority[there], field.ravel()[there].astype(np.float64))
        return total

    def __add__(self, other: Sample) -> Sample:
        priority = np.concatenate([self.priority, other.priority])
        value = np.concatenate([self.value, other.value])
        # the value decides between equal priorities, so that the order of summation does not
        order = np.lexsort((value, priority))[:SAMPLE_SIZE]
        return Sample(priority[order], value[order])

    def transform(self) -> Transform:
        """To a standard normal distribution, by quantiles; values that are often the same share the middle of their ranks."""
        from scipy.special import ndtri

        share = (np.arange(_KNOTS) + 0.5) / _KNOTS
        values, first = np.unique(np.quantile(self.value, share), return_inverse=True)
        middle = np.bincount(first, weights=share) / np.bincount(first)
        return Transform(kind="quantile", knots=(tuple(values.tolist()), tuple(ndtri(middle).tolist())))
