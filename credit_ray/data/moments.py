"""Counts, means and variances that add up: a commutative monoid, so that any tree of readers gives the same answer.

All sums are float64; two partials merge by the update of Chan, Golub and LeVeque (1983), which loses nothing where a field's mean is
large beside its deviation (surface pressure, geopotential).
"""

from __future__ import annotations

import hashlib
import math
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
    def of(cls, values: NDArray[np.floating]) -> Moments:
        """Of fields [time, channel, *grid], in double precision; quick where they fit into the processor's cache."""
        times, channels = values.shape[:2]
        exact = values.reshape(times, channels, math.prod(values.shape[2:])).astype(np.float64)
        total = exact.sum(-1)
        present = None if np.isfinite(total).all() else np.isfinite(exact)
        if present is None:
            count = np.full((times, channels), exact.shape[-1], np.float64)
            low, high = exact.min((0, 2), initial=np.inf), exact.max((0, 2), initial=-np.inf)
        else:
            count = present.sum(-1, dtype=np.float64)
            low = exact.min((0, 2), initial=np.inf, where=present)
            high = exact.max((0, 2), initial=-np.inf, where=present)
            exact[~present] = 0.0
            total = exact.sum(-1)
        means = np.divide(total, count, out=np.zeros_like(total), where=count > 0)  # [time, channel]
        exact -= means[..., None]
        if present is not None:
            exact[~present] = 0.0
        within = np.einsum("tcn,tcn->tc", exact, exact)
        counted = count.sum(0)
        mean = np.divide((count * means).sum(0), counted, out=np.zeros(channels), where=counted > 0)
        return cls(counted, mean, within.sum(0) + (count * (means - mean) ** 2).sum(0), low, high)

    @classmethod
    def none(cls, channels: int) -> Moments:
        """Of nothing: the zero of the sum."""
        zero = np.zeros(channels)
        return cls(zero, zero, zero, np.full(channels, np.inf), np.full(channels, -np.inf))

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
            absent = np.isnan(values)
            same = np.where(absent, np.float32(np.nan), values) if absent.any() else values
            digest.update(np.ascontiguousarray(same, "<f4").data)
            total += int.from_bytes(digest.digest(), "little")
    return total % 2**128
