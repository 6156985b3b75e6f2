"""CREDIT's files of means and standard deviations, of static fields, and of the grid."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from credit_ray.data.units import conversion
from credit_ray.errors import DataError, did_you_mean
from credit_ray.grid.latlon import LatLonGrid
from credit_ray.interchange.variables import Wire

if TYPE_CHECKING:
    import xarray

_ROWS, _COLUMNS = ("latitude", "lat", "nlat", "y"), ("longitude", "lon", "nlon", "x")
_UNITS = {  # of variables of its data whose files of means say none, where they are not those of our vocabulary
    "total_precipitation": "m",
    "evaporation": "m",
    "PRECT": "m s-1",
}
_WATER = {("m s-1", "kg m-2 s-1"): 1000.0}  # a depth of water in time for its mass


@contextmanager
def opened(path: Path) -> Iterator[xarray.Dataset]:
    """A NetCDF file or a Zarr store.

    Raises
    ------
    DataError
        Where there is none, or it can't be read.
    """
    import xarray

    if not path.exists():
        raise DataError(f"{path}: there is no such file or store.")
    try:
        dataset = (
            xarray.open_zarr(path)
            if path.is_dir()
            else xarray.open_dataset(path, engine="h5netcdf", decode_times=False)
        )
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path} is neither NetCDF-4 nor Zarr that can be read: {error}") from None
    with dataset:
        yield dataset


def has(dataset: xarray.Dataset, wire: Wire) -> bool:
    """Whether a file of means has a channel's variable."""
    return wire.name in dataset.variables


def number(dataset: xarray.Dataset, wire: Wire, levels: tuple[float, ...], path: Path) -> float:
    """The channel's mean or deviation, in CREDIT's units.

    A profile of as many values as the model has levels is taken in order; a longer one by the level's value, or else by its number,
    counted from one.
    """
    if wire.name not in dataset.variables:
        raise DataError(f"{path} has no '{wire.name}'.{did_you_mean(wire.name, [str(n) for n in dataset.variables])}")
    array = dataset[wire.name].squeeze()
    values = np.asarray(array.values, dtype=np.float64)
    if values.ndim == 0:
        return float(values)
    if values.ndim > 1 or wire.level is None:
        raise DataError(f"{path}: '{wire.name}' has the shape {list(values.shape)}; expected one value for each level.")
    if len(values) == len(levels):
        return float(values[wire.level])
    wanted = levels[wire.level]
    if array.dims[0] in array.coords:
        found = np.flatnonzero(np.isclose(array[array.dims[0]].values.astype(float), wanted))
        if len(found) == 1:
            return float(values[found[0]])
    elif wanted == int(wanted) and 1 <= wanted <= len(values):
        return float(values[int(wanted) - 1])
    raise DataError(f"{path}: '{wire.name}' has {len(values)} levels, and level {wanted:g} can't be told among them.")


def to_ours(dataset: xarray.Dataset, wire: Wire, path: Path) -> tuple[float, float]:
    """Scale and offset from the units of a file's variable to those of its channel."""
    if not wire.scaled:
        return 1.0, 0.0
    given = str(dataset[wire.name].attrs.get("units", "")) or _UNITS.get(wire.name, "")
    if not given:
        return 1.0, 0.0  # CREDIT's files seldom say: its variables of these names have our units
    if factor := _WATER.get((given, wire.channel.units)):
        return factor, 0.0
    return conversion(given, wire.channel.units, f"{path}: '{wire.name}'")


def field(dataset: xarray.Dataset, wire: Wire, grid: LatLonGrid, path: Path) -> NDArray[np.float32]:
    """A static field [lat, lon], rows from north to south."""
    if wire.name not in dataset.variables:
        raise DataError(
            f"{path} has no static field '{wire.name}'.{did_you_mean(wire.name, [str(n) for n in dataset.variables])}"
        )
    array = dataset[wire.name]
    array = array.isel(dict.fromkeys(array.dims[:-2], 0))
    values = np.asarray(array.values, dtype=np.float32)
    if values.shape != grid.shape:
        raise DataError(
            f"{path}: '{wire.name}' has the shape {list(values.shape)}, and the grid is {list(grid.shape)}."
        )
    return values[::-1] if _ascends(dataset) else values


def grid_of(dataset: xarray.Dataset, shape: tuple[int, int], path: Path) -> tuple[LatLonGrid, bool]:
    """The grid of a file, and whether its rows go from south to north."""
    axes = [_axis(dataset, names) for names in (_ROWS, _COLUMNS)]
    if any(axis is None for axis in axes) or tuple(len(axis) for axis in axes if axis is not None) != shape:
        sizes = "×".join("?" if axis is None else str(len(axis)) for axis in axes)
        raise DataError(
            f"{path} has no latitude and longitude of {shape[0]}×{shape[1]} cells (found {sizes}): name a file that has."
        )
    latitude, longitude = (np.asarray(axis, dtype=np.float64) for axis in axes)
    south_first = _ascends(dataset)
    return LatLonGrid(latitude[::-1] if south_first else latitude, longitude), south_first


def _ascends(dataset: xarray.Dataset) -> bool:
    axis = _axis(dataset, _ROWS)
    return axis is not None and len(axis) > 1 and bool(axis[0] < axis[-1])


def _axis(dataset: xarray.Dataset, names: tuple[str, ...]) -> NDArray[Any] | None:
    for name in names:
        if name in dataset.variables and dataset[name].ndim == 1:
            return np.asarray(dataset[name].values)
    return None
