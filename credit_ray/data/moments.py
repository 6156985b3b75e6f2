"""Counts, means and variances that add up: a commutative monoid, so that any tree of readers gives the same answer.

All sums are float64; two partials merge by the update of Chan, Golub and LeVeque (1983), which loses nothing where a field's mean is
large beside its deviation (surface pressure, geopotential).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]


@dataclass(frozen=True)
class Moments:
    """Of some channels, over times and places; missing values do not count.

    Parameters
    ----------
    count, mean, squares : array [channel]
        `squares` is the sum of squared deviations from the mean.
    low, high : array [channel]
        Extremes.
    """

    count: Float
    mean: Float
    squares: Float
    low: Float
    high: Float

    @classmethod
    def of(cls, values: NDArray[np.float32]) -> Moments:
        """Of fields [time, channel, *grid]."""
        parts = [_one(values[:, channel].ravel()) for channel in range(values.shape[1])]
        return cls(*np.array(parts, np.float64).reshape(-1, 5).T)

    def __add__(self, other: Moments) -> Moments:
        count = self.count + other.count
        part = np.divide(other.count, count, out=np.zeros_like(count), where=count > 0)
        delta = other.mean - self.mean
        return Moments(
            count,
            self.mean + delta * part,
            self.squares + other.squares + delta**2 * self.count * part,
            np.minimum(self.low, other.low),
            np.maximum(self.high, other.high),
        )

    @property
    def std(self) -> Float:
        """Standard deviation [channel]; NaN where nothing was counted."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.sqrt(self.squares / self.count)


def _one(values: NDArray[np.float32]) -> tuple[float, float, float, float, float]:
    exact = values.astype(np.float64)
    if not np.isfinite(exact.sum()):
        exact = exact[np.isfinite(exact)]
    if not len(exact):
        return 0.0, 0.0, 0.0, np.inf, -np.inf
    mean = exact.mean()
    exact -= mean
    low, high = exact.min() + mean, exact.max() + mean
    np.square(exact, out=exact)
    return float(exact.size), float(mean), float(exact.sum()), float(low), float(high)


@dataclass(frozen=True)
class Partial:
    """What one run of times contributes to the statistics of a period.

    Parameters
    ----------
    state : Moments
        Of all channels with time.
    change : Moments
        Of the outputs' one-step differences.
    climatology_sum : array [group, outputs, *grid]
        Sum of the outputs by group of the climatology.
    climatology_count : array [group]
        Times in each group.
    missing : array [channel, *grid]
        Where a channel was missing at least once.
    content : int
        Sum of the hashes of all (variable, time, values) modulo 2¹²⁸: the same for the same data in any order or chunking.
    """

    state: Moments
    change: Moments
    climatology_sum: Float
    climatology_count: Float
    missing: NDArray[np.bool_]
    content: int

    def __add__(self, other: Partial) -> Partial:
        return Partial(
            self.state + other.state,
            self.change + other.change,
            self.climatology_sum + other.climatology_sum,
            self.climatology_count + other.climatology_count,
            self.missing | other.missing,
            (self.content + other.content) % 2**128,
        )


def content_hash(columns: Mapping[str, NDArray[np.float32]], times: NDArray[np.int64]) -> int:
    """Sum over (variable, time) of a 128-bit hash of name, time and decoded values; NaNs in one spelling."""
    total = 0
    for name, column in columns.items():
        for time, values in zip(times.tolist(), column, strict=True):
            digest = hashlib.blake2b(f"{name} {time}".encode(), digest_size=16)
            digest.update(np.where(np.isnan(values), np.float32(np.nan), values).astype("<f4").tobytes())
            total += int.from_bytes(digest.digest(), "little")
    return total % 2**128
