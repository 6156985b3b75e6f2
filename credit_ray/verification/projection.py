"""From a field on a grid to the pixels of a map: the globe in the Equal Earth projection, a region on a plain one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from credit_ray.grid.latlon import LatLonGrid

Field = NDArray[np.floating]

WIDTH = 2.7066299836  # of half the map, in units of the sphere's radius: x at the equator and 180°
HEIGHT = 1.3173627592  # y at the pole

_PAD = 4  # what a cubic spline needs beyond an edge, for the edge not to show
_A1, _A2, _A3, _A4 = 1.340264, -0.081106, 0.000893, 0.003796  # Šavrič, Patterson and Jenny 2018, Equal Earth


@dataclass(frozen=True)
class Frame:
    """The pixels of a map, and where on the sphere they are.

    Parameters
    ----------
    row, column : array [y, x]
        Fractional indices into a field whose rows go on beyond the poles and whose columns go round.
    outside : array [y, x]
        Pixels beyond the edge of the world.
    """

    kind: Literal["globe", "region"]
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    row: NDArray[np.float64]
    column: NDArray[np.float64]
    outside: NDArray[np.bool_]
    grid: LatLonGrid
    centre: float

    @classmethod
    def of(cls, grid: LatLonGrid, pixels: int) -> Frame:
        if grid.periodic and grid.reaches_poles:
            x = np.linspace(-WIDTH, WIDTH, pixels)
            y = np.linspace(HEIGHT, -HEIGHT, round(pixels * HEIGHT / WIDTH))
            latitude, longitude, outside = inverse_equal_earth(x, y)
            return cls("globe", x, y, *_indices(grid, latitude, longitude), outside, grid, 0.0)
        lat0, lat1, lon0, lon1 = grid.latitude[-1], grid.latitude[0], grid.longitude[0], grid.longitude[-1]
        stretch = np.cos(np.radians((lat0 + lat1) / 2))  # true shapes at the middle latitude
        x = np.linspace(lon0, lon1, pixels)
        y = np.linspace(lat1, lat0, max(round(pixels * (lat1 - lat0) / ((lon1 - lon0) * stretch)), 2))
        latitude, longitude = np.meshgrid(y, x, indexing="ij")
        return cls(
            "region",
            x,
            y,
            *_indices(grid, latitude, longitude),
            np.zeros(latitude.shape, bool),
            grid,
            float((lon0 + lon1) / 2),
        )

    @property
    def extent(self) -> tuple[float, float, float, float]:
        return self.x[0], self.x[-1], self.y[-1], self.y[0]

    @property
    def aspect(self) -> float:
        return self.outside.shape[0] / self.outside.shape[1]

    def sample(self, values: Field) -> Field:
        """The field at every pixel: cubic, linear beside gaps; NaN in gaps and beyond the edge of the world."""
        from scipy.ndimage import map_coordinates

        row, column = self.row, self.column
        if self.kind == "globe":
            values, row, column = _beyond(values, self.grid.pole_points), row + _PAD, column + _PAD
        exists = np.isfinite(values)
        if exists.all():
            shown = map_coordinates(values, [row, column], order=3, mode="nearest")
        else:
            share = map_coordinates(exists.astype(np.float64), [row, column], order=1, mode="nearest")
            shown = map_coordinates(np.where(exists, values, 0.0), [row, column], order=1, mode="nearest") / np.maximum(
                share, 1e-9
            )
            shown[share < 0.5] = np.nan
        shown = np.clip(shown, np.nanmin(values), np.nanmax(values))  # a cubic may overshoot: no humidity below zero
        shown[self.outside] = np.nan
        return shown


def _beyond(values: Field, pole_points: bool) -> Field:
    """A global field with some rows from beyond each pole, where the other side of it lies, and some columns from around the world."""
    across = np.roll(values, values.shape[1] // 2, 1)
    skip, rows = int(pole_points), len(values)
    north, south = across[skip : skip + _PAD][::-1], across[rows - skip - _PAD : rows - skip][::-1]
    return np.pad(np.concatenate([north, values, south]), [(0, 0), (_PAD, _PAD)], mode="wrap")


def equal_earth(latitude: Field, longitude: Field) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """x, y in units of the sphere's radius, of degrees."""
    theta = np.arcsin(np.sqrt(3) / 2 * np.sin(np.radians(latitude)))
    square = theta**2
    slope = _A1 + 3 * _A2 * square + square**3 * (7 * _A3 + 9 * _A4 * square)
    x = 2 * np.sqrt(3) / 3 * np.radians(longitude) * np.cos(theta) / slope
    return x, theta * (_A1 + _A2 * square + square**3 * (_A3 + _A4 * square))


def inverse_equal_earth(
    x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Latitude, longitude in degrees [y, x], and which pixels are beyond the edge of the world; y alone gives latitude, by Newton's method."""
    theta = y / _A1
    for _ in range(12):
        square = theta**2
        error = theta * (_A1 + _A2 * square + square**3 * (_A3 + _A4 * square)) - y
        theta = theta - error / (_A1 + 3 * _A2 * square + square**3 * (7 * _A3 + 9 * _A4 * square))
    square = theta**2
    slope = _A1 + 3 * _A2 * square + square**3 * (7 * _A3 + 9 * _A4 * square)
    latitude = np.degrees(np.arcsin(np.clip(2 / np.sqrt(3) * np.sin(theta), -1, 1)))
    longitude = np.degrees(np.sqrt(3) / 2 * x[None, :] * (slope / np.cos(theta))[:, None])
    outside = np.abs(longitude) > 180.6  # a pixel's width over the edge, which the clipping path takes off smoothly
    return np.broadcast_to(latitude[:, None], longitude.shape), longitude, outside


def _indices(grid: LatLonGrid, latitude: Field, longitude: Field) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Fractional row and column of places."""
    latitudes, rows = grid.latitude, np.arange(len(grid.latitude), dtype=np.float64)
    if grid.reaches_poles and not grid.pole_points:  # the row beyond the first lies as far behind the pole
        latitudes = np.concatenate([[180 - latitudes[0]], latitudes, [-180 - latitudes[-1]]])
        rows = np.concatenate([[-1.0], rows, [len(rows)]])
    row = np.interp(-latitude, -latitudes, rows)
    if grid.periodic:
        return row, (longitude - grid.longitude[0]) % 360 / 360 * len(grid.longitude)
    return row, np.interp(longitude, grid.longitude, np.arange(len(grid.longitude), dtype=np.float64))
