"""An xarray data set as fields by channel and valid time: what notebooks hold, read as stores are."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from credit_ray.data.units import conversion
from credit_ray.errors import DataError
from credit_ray.grid.latlon import LatLonGrid
from credit_ray.state import Channel, Channels
from credit_ray.times import Times, format_time, format_times
from credit_ray.variables import find_in_store
from credit_ray.verification.forecasts import calendar_of, to_times

if TYPE_CHECKING:
    import xarray

_DIMS = {
    "time": ("time", "valid_time"),
    "latitude": ("latitude", "lat"),
    "longitude": ("longitude", "lon"),
}


@dataclass(frozen=True)
class DatasetFields:
    """Fields of a data set with dimensions (time, [level,] latitude, longitude), in any order and with any of their usual names.

    Parameters
    ----------
    dataset : xarray.Dataset
        Variables by any name that the vocabulary knows, in any convertible units.
    where : str
        What it is, for messages.
    """

    dataset: xarray.Dataset
    where: str

    @cached_property
    def _ordered(self) -> xarray.Dataset:
        """With our names of dimensions, north to south, longitude from 0."""
        found = self.dataset
        for name, spellings in _DIMS.items():
            have = next((s for s in spellings if s in found.dims or s in found.coords), None)
            if have is None:
                raise DataError(f"{self.where} has no dimension '{name}'; it has {', '.join(map(str, found.dims))}.")
            found = found if have == name else found.rename({have: name})
        if "time" not in found.dims:
            found = found.expand_dims("time")
        found = found.assign_coords(longitude=found["longitude"] % 360)
        return found.sortby("longitude").sortby("latitude", ascending=False).sortby("time")

    @cached_property
    def times(self) -> Times:
        """[time], ascending."""
        return to_times(self._ordered["time"])

    @cached_property
    def calendar(self) -> str:
        """CF calendar of the times."""
        return calendar_of(self._ordered["time"])

    @cached_property
    def grid(self) -> LatLonGrid:
        """The horizontal grid."""
        return LatLonGrid(self._ordered["latitude"].values, self._ordered["longitude"].values)

    def holds(self, variable: str) -> bool:
        """Whether it has a variable, by any of its names."""
        try:
            self._name(variable)
        except DataError:
            return False
        return True

    def has(self, times: Times) -> NDArray[np.bool_]:
        """Which of these times it has."""
        return np.isin(times, self.times)

    def fields(self, times: Times, channels: Channels) -> NDArray[np.float32]:
        """[time, channel, *grid] float32, in the channels' units.

        Raises
        ------
        DataError
            For a variable, level, unit or time that it does not have.
        """
        times = np.asarray(times, np.int64)
        if not self.has(times).all():
            absent = times[~self.has(times)]
            reach = " … ".join(format_time(int(t), self.calendar) for t in self.times[[0, -1]])
            raise DataError(f"{self.where} has nothing at {format_times(absent, self.calendar)}; it has {reach}.")
        rows = np.searchsorted(self.times, times)
        out = np.empty((len(times), len(channels), *self.grid.shape), np.float32)
        for i, channel in enumerate(channels):
            out[:, i] = self._one(channel, rows)
        return out

    def _one(self, channel: Channel, rows: NDArray[np.intp]) -> NDArray[np.float64]:
        array = self._ordered[self._name(channel.variable)].isel(time=rows)
        others = [dim for dim in array.dims if dim not in ("time", "latitude", "longitude")]
        if others:
            array = array.isel({others[0]: self._level(array[others[0]], channel)})
        values = array.transpose("time", "latitude", "longitude").values.astype(np.float64)
        scale, offset = conversion(
            str(array.attrs.get("units") or channel.units), channel.units, f"{self.where}: '{channel.variable}'"
        )
        return values * scale + offset

    def _level(self, coordinate: Any, channel: Channel) -> int:
        values = np.asarray(coordinate.values, np.float64)
        if channel.level is None:
            raise DataError(f"{self.where}: '{channel.variable}' has levels; expected none.")
        wanted = channel.level * (100 if str(coordinate.attrs.get("units")) in ("Pa", "pascal") else 1)
        nearest = int(np.argmin(np.abs(values - wanted)))
        if not np.isclose(values[nearest], wanted, rtol=1e-4, atol=1e-6):
            raise DataError(
                f"{self.where}: '{channel.variable}' has no level {wanted:g}; it has {', '.join(f'{v:g}' for v in values)}."
            )
        return nearest

    def _name(self, variable: str) -> str:
        available = {str(n): str(v.attrs.get("standard_name", "")) for n, v in self._ordered.data_vars.items()}
        return find_in_store(variable, available, {}, self.where)
