"""The coordinates of a store, found by name and CF attributes: time, latitude, longitude, levels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from credit_ray.data.arrays import ArrayInfo, Store
from credit_ray.data.units import conversion
from credit_ray.errors import DataError
from credit_ray.grid.latlon import TOLERANCE_DEGREES, LatLonGrid
from credit_ray.state import Vertical
from credit_ray.times import STANDARD_CALENDARS, Times, decode_times, format_time

_NAMES = {
    "time": {"time", "valid_time", "date", "Time"},
    "latitude": {"latitude", "lat", "nlat"},
    "longitude": {"longitude", "lon", "nlon"},
}
_UNITS = {
    **dict.fromkeys(("degrees_north", "degree_north", "degrees_N", "degree_N", "degreesN"), "latitude"),
    **dict.fromkeys(("degrees_east", "degree_east", "degrees_E", "degree_E", "degreesE"), "longitude"),
}


@dataclass(frozen=True)
class Orientation:
    """A grid as the package has it, and what brings a store's fields onto it.

    Parameters
    ----------
    grid : LatLonGrid
        North to south, longitude ascending.
    flip_latitude : bool
        Whether the store's rows go from south to north.
    roll_longitude : int
        Which of its columns comes first.
    """

    grid: LatLonGrid
    flip_latitude: bool
    roll_longitude: int


class Axes:
    """What the dimensions of a store mean."""

    def __init__(self, store: Store) -> None:
        self.store, self.arrays = store, store.arrays()

    def kind(self, dim: str) -> str:
        """`time`, `latitude`, `longitude` or `level`."""
        attributes = self._attributes(dim)
        standard, units = str(attributes.get("standard_name", "")), str(attributes.get("units", ""))
        for kind, names in _NAMES.items():
            if dim in names or standard == kind:
                return kind
        return "time" if " since " in units else _UNITS.get(units, "level")

    def dimension(self, kind: str, arrays: Sequence[str]) -> str:
        """The one dimension of a kind that these arrays have.

        Raises
        ------
        DataError
            Where there is none, where they do not share it, or where it has no coordinate.
        """
        users: dict[str, str] = {}
        for name in arrays:
            for dim in self.arrays[name].dims:
                if self.kind(dim) == kind:
                    users.setdefault(dim, name)
        if not users:
            dims = dict.fromkeys(dim for name in arrays for dim in self.arrays[name].dims)
            raise DataError(
                f"{self.store.url} has no {kind} among the dimensions {', '.join(dims)} of what is asked for."
            )
        if len(users) > 1:
            differ = " and ".join(f"'{array}' has '{dim}'" for dim, array in users.items())
            raise DataError(
                f"{self.store.url}: {differ}: variables of one source share their {kind}. Make two sources."
            )
        dim = next(iter(users))
        if dim not in self.arrays:
            raise DataError(f"{self.store.url} has no coordinate for its dimension '{dim}' ({kind}).")
        for name in arrays:
            self._refuse_other_length(dim, name)
        return dim

    def _refuse_other_length(self, dim: str, name: str) -> None:
        """Refuse an array that is longer or shorter along a dimension than the dimension's coordinate."""
        array, coordinate = self.arrays[name], self.arrays[dim]
        if dim in array.dims and coordinate.shape != (array.shape[array.dims.index(dim)],):
            raise DataError(
                f"{self.store.url}: '{name}' has shape {array.shape}, but its coordinate '{dim}' has {coordinate.shape}: the store is "
                f"damaged, or half written."
            )

    def values(self, name: str) -> NDArray[Any]:
        """All values of a coordinate.

        Raises
        ------
        DataError
            Where it can't be read.
        """
        try:
            return self.store.read(name, (slice(None),))
        except DataError:
            raise
        except Exception as error:  # codecs, file systems and libraries raise anything
            raise DataError(
                f"{self.store.url}: the coordinate '{name}' can't be read ({type(error).__name__}: {error})."
            ) from error

    def raw_times(self, dim: str) -> tuple[Times, str]:
        """The times as they are, in whatever order, and their calendar (every standard one is `standard`)."""
        attributes = self._attributes(dim)
        calendar = str(attributes.get("calendar", "standard")).lower()
        try:
            times = decode_times(self.values(dim), str(attributes.get("units", "")), calendar)
        except DataError as error:
            raise DataError(f"{self.store.url}, coordinate '{dim}': {error}") from None
        return times, "standard" if calendar in STANDARD_CALENDARS else calendar

    def times(self, dim: str) -> tuple[Times, str]:
        """Ascending times and their calendar.

        Raises
        ------
        DataError
            Naming the first time that repeats or goes back.
        """
        times, calendar = self.raw_times(dim)
        if not len(times):
            raise DataError(f"{self.store.url} has no times: its '{dim}' is empty.")
        backwards = np.flatnonzero(np.diff(times) <= 0)
        if len(backwards):
            i = int(backwards[0])
            what = (
                "repeats" if times[i] == times[i + 1] else f"goes back to {format_time(times[i + 1], calendar)} after"
            )
            raise DataError(
                f"{self.store.url}: time {what} {format_time(times[i], calendar)} (position {i + 1} of {len(times)}); it must ascend."
            )
        return times, calendar

    def time_bounds(self, dim: str) -> Times | None:
        """Start and end of the interval of each time, [time, 2], where the coordinate has `bounds`."""
        attributes = self._attributes(dim)
        name = str(attributes.get("bounds", ""))
        if name not in self.arrays or len(self.arrays[name].dims) != 2:
            return None
        values = self.store.read(name, (slice(None), slice(None)))
        calendar = str(attributes.get("calendar", "standard")).lower()
        units = str(self.arrays[name].attributes.get("units") or attributes.get("units", ""))
        return decode_times(values.reshape(-1), units, calendar).reshape(values.shape)

    def grid(self, latitude_dim: str, longitude_dim: str) -> Orientation:
        """The horizontal grid, and how the store's fields lie on it."""
        latitude = self.values(latitude_dim).astype(np.float64)
        longitude = self.values(longitude_dim).astype(np.float64)
        flip = bool(latitude[0] < latitude[-1])
        longitude, roll = _normal_longitude(longitude)
        try:
            return Orientation(LatLonGrid(latitude[::-1] if flip else latitude, longitude), flip, roll)
        except DataError as error:
            raise DataError(f"{self.store.url}: {error}") from None

    def levels(self, dim: str, vertical: Vertical | None = None) -> tuple[Vertical, NDArray[np.float64]]:
        """What the levels of a dimension are, and their values in hPa, model level numbers, sigma, or metres.

        Parameters
        ----------
        vertical : str, optional
            The config's own answer.

        Raises
        ------
        DataError
            Where neither the attributes nor the config say what they are.
        """
        info, attributes = self.arrays.get(dim), self._attributes(dim)
        if info is None:
            size = next(a.shape[a.dims.index(dim)] for a in self.arrays.values() if dim in a.dims)
            values = np.arange(1.0, size + 1)
        else:
            for name in self.arrays:
                self._refuse_other_length(dim, name)
            values = self.values(dim).astype(np.float64)
        units = str(attributes.get("units", ""))
        found = vertical or _vertical_of(dim, attributes, has_values=info is not None)
        if found is None:
            raise DataError(
                f"{self.store.url}: the attributes of '{dim}' do not say what its levels ({values[0]:g} … {values[-1]:g}) are; "
                f"give 'vertical: pressure', 'model', 'sigma' or 'depth' in the source."
            )
        wanted = {"pressure": "hPa", "depth": "m"}.get(found)
        if wanted and units:
            scale, _ = conversion(units, wanted, f"{self.store.url}: '{dim}'")
            values = np.round(values * scale, 9)
        return found, values

    def _attributes(self, dim: str) -> Mapping[str, Any]:
        info: ArrayInfo | None = self.arrays.get(dim)
        return info.attributes if info else {}


def _vertical_of(dim: str, attributes: Mapping[str, Any], has_values: bool) -> Vertical | None:
    units = str(attributes.get("units", ""))
    text = " ".join(str(attributes.get(key, "")) for key in ("standard_name", "long_name")).lower() + f" {dim.lower()}"
    if "sigma" in text and "hybrid" not in text:
        return "sigma"
    if "hybrid" in text or "model" in text or not has_values:
        return "model"
    if "depth" in text:
        return "depth"
    if (
        units in ("Pa", "hPa", "pascal", "millibar", "millibars", "mbar", "mb")
        or "pressure" in text
        or "isobaric" in text
    ):
        return "pressure"
    return None


def _normal_longitude(longitude: NDArray[np.float64]) -> tuple[NDArray[np.float64], int]:
    """Ascending longitudes, and the column of the store that comes first among them.

    Round the whole circle they begin at the first meridian from 0° eastward; a region keeps its columns' order, in one piece even
    where it crosses 0° or 180°, and begins between 180° W and 180° E.
    """
    steps = np.mod(np.diff(longitude), 360)
    span, step = float(steps.sum()), float(np.median(steps)) if len(steps) else 0.0
    if span > 360 - TOLERANCE_DEGREES:
        return longitude, 0  # descending, repeated or scrambled: the grid says so
    if span + step > 360 - step / 2:
        eastward = np.mod(longitude + TOLERANCE_DEGREES, 360) - TOLERANCE_DEGREES
        first = int(np.argmin(eastward))
        return np.roll(eastward, -first), first
    start = np.mod(longitude[0] + 180, 360) - 180
    return start + np.concatenate([[0.0], np.cumsum(steps)]), 0
