"""The latitude–longitude grid: coordinates, exact cell areas, and what lies at its edges.

Numpy only, so that readers and configs can know a grid without torch or xarray.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from credit_ray.errors import DataError
from credit_ray.grid.gaussian import gauss_legendre, gauss_legendre_latitudes

EARTH_RADIUS_M = 6_371_220.0

TOLERANCE_DEGREES = 1e-4  # coordinates are often stored in float32, which at 360° is good to 3e-5


@dataclass(frozen=True, eq=False)
class LatLonGrid:
    """Rows of equal latitude, columns of equal longitude.

    Parameters
    ----------
    latitude : array [nlat]
        Degrees, north to south.
    longitude : array [nlon]
        Degrees, ascending from its first value, whatever that is; less than once round the circle.

    Raises
    ------
    DataError
        Where coordinates are not one-dimensional, finite, strictly ordered and in range.

    Notes
    -----
    Grids are equal where coordinates agree to 1e-4 degree, so that float32 and float64 coordinates mean the same grid.
    """

    latitude: NDArray[np.floating]
    longitude: NDArray[np.floating]

    def __post_init__(self) -> None:
        latitude = _axis("latitude", self.latitude)
        longitude = _axis("longitude", self.longitude)
        if np.any(np.diff(latitude) >= 0) or np.abs(latitude).max() > 90 + TOLERANCE_DEGREES:
            raise DataError(
                f"latitude must descend within 90 to -90; it goes from {latitude[0]:g} to {latitude[-1]:g}."
            )
        if np.any(np.diff(longitude) <= 0):
            raise DataError(
                f"longitude must ascend; it goes from {longitude[0]:g} to {longitude[-1]:g}. Roll the columns."
            )
        if longitude[-1] - longitude[0] > 360 - TOLERANCE_DEGREES:
            raise DataError(
                f"longitude goes from {longitude[0]:g} to {longitude[-1]:g}: its last column repeats the first."
            )
        for name, values in (("latitude", np.clip(latitude, -90, 90)), ("longitude", longitude)):
            values.setflags(write=False)
            object.__setattr__(self, name, values)

    @classmethod
    def gaussian(cls, nlat: int, nlon: int | None = None) -> LatLonGrid:
        """The global Gaussian grid of `nlat` rows and `nlon` columns (twice as many by default), from 0° eastward."""
        nlon = nlon or 2 * nlat
        return cls(gauss_legendre_latitudes(nlat), np.arange(nlon) * (360.0 / nlon))

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.latitude), len(self.longitude)

    @property
    def dims(self) -> tuple[str, str]:
        return "latitude", "longitude"

    @property
    def kind(self) -> Literal["gaussian", "regular"]:
        """`gaussian` where the rows are nodes of a Gauss–Legendre quadrature, which gives the areas; else `regular`."""
        return "gaussian" if _close(self.latitude, gauss_legendre_latitudes(len(self.latitude))) else "regular"

    @property
    def periodic(self) -> bool:
        """Whether the columns go round the circle at equal steps."""
        nlon = len(self.longitude)
        return _close(self.longitude, self.longitude[0] + np.arange(nlon) * (360.0 / nlon))

    @property
    def pole_points(self) -> bool:
        """Whether the first and last row are the poles themselves."""
        return _close(self.latitude[[0, -1]], np.array([90.0, -90.0]))

    @property
    def reaches_poles(self) -> bool:
        """Whether no row is missing towards the poles: beyond the last row lies the other side of the pole."""
        if self.kind == "gaussian" or self.pole_points:
            return True
        return _close(_edges(self.latitude, clip=False)[[0, -1]], np.array([90.0, -90.0]))

    def cell_areas(self) -> NDArray[np.float64]:
        """Area of each cell in m²: [nlat, nlon], float64.

        By quadrature weights on a Gaussian grid; else exact areas on the sphere between the meridians and parallels
        halfway to the neighbours, R² Δλ (sin φ_north − sin φ_south), where the first and last cells end at the pole.
        On a global grid they sum to 4πR².
        """
        rows, columns = self.edges()
        heights = gauss_legendre(len(self.latitude))[1] if self.kind == "gaussian" else -np.diff(rows)
        widths = np.radians(np.diff(columns))
        if self.periodic:
            widths[:] = 2 * np.pi / len(widths)
        return EARTH_RADIUS_M**2 * heights[:, None] * widths[None, :]

    def edges(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Edges of the cells: sines of latitude from north to south [nlat + 1], longitudes in degrees [nlon + 1].

        Halfway between the centres and at the poles; on a Gaussian grid so that the cells have the areas of the quadrature.
        """
        if self.kind == "gaussian":
            heights = gauss_legendre(len(self.latitude))[1]
            sines = 1.0 - np.concatenate([[0.0], np.cumsum(heights)]) * (2.0 / heights.sum())
        else:
            edges = _edges(self.latitude, clip=True)
            if self.reaches_poles:
                edges[[0, -1]] = 90.0, -90.0
            sines = np.sin(np.radians(edges))
        return sines.clip(-1.0, 1.0), _edges(self.longitude, clip=False).astype(np.float64)

    def area_weights(self) -> NDArray[np.float64]:
        """Cell areas divided by their mean: [nlat, nlon], float64, mean one."""
        areas = self.cell_areas()
        return areas / areas.mean()

    def describe(self) -> str:
        """One line for a reader: `73×144 regular latitude–longitude grid, 2.5°`, `32×64 Gaussian grid (T21)`."""
        nlat, nlon = self.shape
        text = f"{nlat}×{nlon} "
        if self.kind == "gaussian":
            # the truncation at which products of two fields are free of aliasing, by which such grids are named
            text += "Gaussian grid" + (f" (T{(nlon - 1) // 3})" if nlon == 2 * nlat else "")
        else:
            steps = [_equal_step(self.latitude), _equal_step(self.longitude)]
            text += f"{'regular' if all(steps) else 'irregular'} latitude–longitude grid"
            if all(steps):
                text += ", " + "×".join(dict.fromkeys(f"{step:.4g}°" for step in steps))
        if not (self.periodic and self.reaches_poles):
            text += (
                f", {_north(self.latitude[-1])} to {_north(self.latitude[0])}"
                f", {_east(self.longitude[0])} to {_east(self.longitude[-1])}"
            )
        return text

    def to_json(self) -> dict[str, Any]:
        """A dict that JSON can hold, exact to the last bit."""
        return {"type": "latlon", "latitude": self.latitude.tolist(), "longitude": self.longitude.tolist()}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> LatLonGrid:
        """The grid that `to_json` wrote.

        Raises
        ------
        DataError
            For another type of grid.
        """
        if value.get("type") != "latlon":
            raise DataError(
                f"a grid of type {value.get('type')!r} is not known to this version of credit_ray; it reads 'latlon'."
            )
        return cls(value["latitude"], value["longitude"])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, LatLonGrid):
            return NotImplemented
        return _close(self.latitude, other.latitude) and _close(self.longitude, other.longitude)

    def __hash__(self) -> int:
        return hash(self.shape)


def _axis(name: str, values: ArrayLike) -> NDArray[np.float64]:
    axis = np.array(values, dtype=np.float64)
    if axis.ndim != 1 or len(axis) < 2 or not np.isfinite(axis).all():
        raise DataError(
            f"{name} must be a one-dimensional axis of two or more finite values; its shape is {axis.shape}."
        )
    return axis


def _close(a: NDArray[np.floating], b: NDArray[np.floating]) -> bool:
    return a.shape == b.shape and bool(np.abs(a - b).max() <= TOLERANCE_DEGREES)


def _edges(centres: NDArray[np.floating], *, clip: bool) -> NDArray[np.floating]:
    """Edges halfway between centres, and half a step beyond the first and last: [n] → [n + 1]."""
    middle = (centres[1:] + centres[:-1]) / 2
    edges = np.concatenate([[2 * centres[0] - middle[0]], middle, [2 * centres[-1] - middle[-1]]])
    return np.clip(edges, -90, 90) if clip else edges


def _equal_step(centres: NDArray[np.floating]) -> float:
    """The step of an axis, in degrees, or 0 where its steps differ."""
    steps = np.abs(np.diff(centres))
    return float(steps.mean()) if np.ptp(steps) <= TOLERANCE_DEGREES else 0.0


def _north(degrees: float) -> str:
    return f"{abs(degrees):.4g}°{'N' if degrees >= 0 else 'S'}"


def _east(degrees: float) -> str:
    return f"{abs(degrees):.6g}°{'E' if degrees >= 0 else 'W'}"
