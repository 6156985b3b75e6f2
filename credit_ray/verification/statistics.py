"""What is summed over the sphere: errors, anomalies, and products of two of them.

Every statistic here is the area mean of a product a·b. Errors and anomalies are held times √weight, so that Σ w·a·b is one inner
product of two arrays, without a third one in memory. Differences are taken in float32, the precision of the data, before anything is
scaled; sums along a part of the sphere (some circles of latitude) in float32 too, and from there on in float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Reference:
    """What forecasts are compared with; 0 where a channel does not exist.

    Parameters
    ----------
    truth : array [row, channel, part, point]
        A row is one valid time.
    climatology : array [row or 1, channel, part, point], optional
        What anomalies are taken from.
    one : array [(row, channel,) part, point]
        √weight; 0 where a channel does not exist.
    """

    truth: Array
    climatology: Array | None
    one: Array

    @cached_property
    def truth_anomaly(self) -> Array:
        """(Truth − climatology) √weight."""
        assert self.climatology is not None
        return _scaled(self.truth - self.climatology, self.one)


@dataclass(frozen=True)
class Pair:
    """Forecasts and the truth at the same times.

    Parameters
    ----------
    forecast : array [row or 1, channel, part, point]
        As the reference's fields.
    reference : Reference
        Shared by all that are compared with it.
    """

    forecast: Array
    reference: Reference

    @cached_property
    def error(self) -> Array:
        """(Forecast − truth) √weight."""
        return _scaled(self.forecast - self.reference.truth, self.one)

    @cached_property
    def forecast_anomaly(self) -> Array:
        """(Forecast − climatology) √weight."""
        assert self.reference.climatology is not None
        return _scaled(self.forecast - self.reference.climatology, self.one)

    @property
    def truth_anomaly(self) -> Array:
        """(Truth − climatology) √weight."""
        return self.reference.truth_anomaly

    @property
    def one(self) -> Array:
        """√weight: of the field that is 1 everywhere."""
        return self.reference.one


class Statistic(Protocol):
    """The seam: something whose weighted mean over places and forecasts means something."""

    @property
    def name(self) -> str:
        """Unique."""
        ...

    def sums(self, pair: Pair) -> NDArray[np.float64]:
        """Σ weight · statistic over the grid: [row, channel]."""
        ...


Factor = Literal["error", "forecast_anomaly", "truth_anomaly", "one"]


@dataclass(frozen=True)
class Product:
    """The product of two fields of a pair."""

    name: str
    left: Factor
    right: Factor

    def sums(self, pair: Pair) -> NDArray[np.float64]:
        return inner(getattr(pair, self.left), getattr(pair, self.right))


def _scaled(difference: Array, one: Array) -> Array:
    """In place: the difference is new, and nobody else's."""
    if difference.shape == np.broadcast_shapes(difference.shape, one.shape):
        difference *= one
        return difference
    return difference * one


def inner(left: Array, right: Array) -> NDArray[np.float64]:
    """Σ left·right over the sphere: [..., part, point] → [...]."""
    return np.vecdot(left, right).sum(-1, dtype=np.float64)


ERROR = Product("error", "error", "one")
"""Forecast − truth."""

SQUARED_ERROR = Product("squared_error", "error", "error")
"""(forecast − truth)². Kept apart from its root, so that RMSE and skill scores share one pass over the data."""

ANOMALY_PRODUCT = Product("anomaly_product", "forecast_anomaly", "truth_anomaly")
"""(forecast − climatology)(truth − climatology)."""

SQUARED_FORECAST_ANOMALY = Product("squared_forecast_anomaly", "forecast_anomaly", "forecast_anomaly")
"""(forecast − climatology)²."""

SQUARED_TRUTH_ANOMALY = Product("squared_truth_anomaly", "truth_anomaly", "truth_anomaly")
"""(truth − climatology)²."""
