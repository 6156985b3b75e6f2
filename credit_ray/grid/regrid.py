"""From one latitude–longitude grid to another: bilinear, or conservative by exact overlaps; missing values weigh nothing.

Both are products of an interpolation along latitude and one along longitude, so that two small sparse matrices do what a matrix of all
pairs of points would, and the weights of any pair of grids are there in milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from credit_ray.errors import DataError
from credit_ray.grid.latlon import TOLERANCE_DEGREES, LatLonGrid

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Method: TypeAlias = Literal["bilinear", "conservative"]

LEAST_COVERAGE = 0.5
"""A point of the target has a value where at least this share of its weight falls on values that exist."""

_BLOCK_BYTES = 32_000_000


@dataclass(frozen=True)
class Regridding:
    """Weights between two grids.

    Parameters
    ----------
    source, target : LatLonGrid
        From, to.
    method : {"bilinear", "conservative"}
        `bilinear` suits smooth fields and finer targets, `conservative` amounts, fluxes and coarser targets: it keeps area integrals.

    Raises
    ------
    DataError
        Where the grids have no place in common.

    Notes
    -----
    Beyond the last row of a source that reaches the pole, bilinear values are those of that row. Places outside a regional source
    are missing.
    """

    source: LatLonGrid
    target: LatLonGrid
    method: Method
    rows: csr_array = field(init=False, repr=False)
    columns: csr_array = field(init=False, repr=False)

    def __post_init__(self) -> None:
        make = _overlaps if self.method == "conservative" else _neighbours
        rows, columns = make(self.source, self.target)
        if not rows.nnz or not columns.nnz:
            raise DataError(f"The {self.source.describe()} has no place in common with the {self.target.describe()}.")
        object.__setattr__(self, "rows", rows)
        object.__setattr__(self, "columns", columns)

    def __call__(self, fields: NDArray[np.floating]) -> NDArray[np.float32]:
        """Fields [..., *source.shape] on the target, [..., *target.shape], in float64 inside; NaN where too little is known."""
        flat = fields.reshape(-1, *self.source.shape)
        out = np.empty((len(flat), *self.target.shape), np.float32)
        together = max(_BLOCK_BYTES // (8 * flat[0].size), 1) if len(flat) else 1
        for a in range(0, len(flat), together):
            out[a : a + together] = self._block(flat[a : a + together].astype(np.float64))
        return out.reshape(*fields.shape[:-2], *self.target.shape)

    def _block(self, fields: NDArray[np.float64]) -> NDArray[np.float64]:
        present = np.isfinite(fields)
        if present.all():
            known, sums = self._coverage, self._sums(fields)
        else:
            known, sums = self._sums(present.astype(np.float64)), self._sums(np.where(present, fields, 0.0))
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(known >= LEAST_COVERAGE, sums / known, np.nan)

    @property
    def _coverage(self) -> NDArray[np.float64]:
        """How much of each target point's weight lies on the source: [*target.shape]."""
        return np.multiply.outer(self.rows.sum(1), self.columns.sum(1)).astype(np.float64)

    def _sums(self, fields: NDArray[np.float64]) -> NDArray[np.float64]:
        count, nlat, nlon = fields.shape
        along = (self.columns @ fields.reshape(count * nlat, nlon).T).T.reshape(count, nlat, -1)
        across = self.rows @ along.transpose(1, 0, 2).reshape(nlat, -1)
        return across.reshape(-1, count, along.shape[2]).transpose(1, 0, 2)


@lru_cache(maxsize=32)
def regridding(source: LatLonGrid, target: LatLonGrid, method: Method) -> Regridding:
    """The weights between two grids, made once in a process."""
    return Regridding(source, target, method)


def _overlaps(source: LatLonGrid, target: LatLonGrid) -> tuple[csr_array, csr_array]:
    """Share of each target cell's area that lies in each source cell: by sines of latitude, and by longitude."""
    (to_rows, to_columns), (of_rows, of_columns) = target.edges(), source.edges()
    rows = _shared(-to_rows, -of_rows)  # ascending
    turns = sum(
        (_shared(to_columns, of_columns + turn) for turn in (-720.0, -360.0, 0.0, 360.0, 720.0)),
        start=_shared(to_columns, of_columns + 1080.0),
    )
    return rows, turns


def _shared(to: NDArray[np.float64], of: NDArray[np.float64]) -> csr_array:
    """[target cells, source cells] of two ascending lists of edges: the share of each target cell."""
    from scipy.sparse import csr_array

    low, high = np.maximum(to[:-1, None], of[None, :-1]), np.minimum(to[1:, None], of[None, 1:])
    return csr_array(np.maximum(high - low, 0.0) / np.diff(to)[:, None])


def _neighbours(source: LatLonGrid, target: LatLonGrid) -> tuple[csr_array, csr_array]:
    """Weights of the two rows and of the two columns beside each target point."""
    # from north to south, so that both ascend; beyond the last row, towards a pole that the grid reaches, that row
    edges = -np.degrees(np.arcsin(source.edges()[0]))
    reach = (edges[0], edges[-1]) if source.reaches_poles else None
    rows = _linear(-source.latitude, -target.latitude, reach)
    longitude = source.longitude
    if source.periodic:
        wrapped = np.concatenate([longitude[-1:] - 360, longitude, longitude[:1] + 360])
        at = np.mod(target.longitude - wrapped[0], 360) + wrapped[0]
        columns = _linear(wrapped, at, None)
        return rows, columns[:, 1:-1] + _wrapped(columns)
    middle = (longitude[0] + longitude[-1]) / 2
    return rows, _linear(longitude, np.mod(target.longitude - middle + 180, 360) + middle - 180, None)


def _wrapped(columns: csr_array) -> csr_array:
    """Weights of the two columns that were repeated beyond the ends, where they belong."""
    from scipy.sparse import csr_array

    inner = np.zeros((columns.shape[0], columns.shape[1] - 2))
    inner[:, -1] = columns[:, [0]].toarray()[:, 0]
    inner[:, 0] += columns[:, [-1]].toarray()[:, 0]
    return csr_array(inner)


def _linear(axis: NDArray[np.floating], at: NDArray[np.floating], reach: tuple[float, float] | None) -> csr_array:
    """[at, axis] weights of linear interpolation on an ascending axis; none outside it, but for the constant as far as `reach`."""
    from scipy.sparse import csr_array

    low, high = reach or (axis[0], axis[-1])
    inside = (at >= low - TOLERANCE_DEGREES) & (at <= high + TOLERANCE_DEGREES)
    clipped = at.clip(axis[0], axis[-1])
    right = np.searchsorted(axis, clipped).clip(1, len(axis) - 1)
    share = (clipped - axis[right - 1]) / (axis[right] - axis[right - 1])
    weights = np.zeros((len(at), len(axis)))
    each = np.flatnonzero(inside)
    weights[each, right[each] - 1] = 1 - share[each]
    weights[each, right[each]] += share[each]
    return csr_array(weights)
