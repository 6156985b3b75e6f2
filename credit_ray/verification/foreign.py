"""Forecasts of other systems under our names: those of WeatherBench 2, of ECMWF as cfgrib reads it, and what has CF's standard names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from credit_ray.variables import canonical_name

if TYPE_CHECKING:
    import xarray

_NAMES = {
    "lead_time": ("forecast_period", ("prediction_timedelta", "step", "lead", "forecast_period")),
    "init_time": ("forecast_reference_time", ("forecast_reference_time", "initial_time", "time")),
    "latitude": ("latitude", ("lat",)),
    "longitude": ("longitude", ("lon",)),
}
"""Our coordinate → its standard name, and what else it is called."""

_PRESSURES = {"pressure_level": 1.0, "isobaricInhPa": 1.0, "level": 1.0, "plev": 0.01, "isobaricInPa": 0.01}
"""Name of a pressure level → factor to hPa, where its units do not say."""

_TO_HECTOPASCAL = {"hPa": 1.0, "millibar": 1.0, "millibars": 1.0, "mbar": 1.0, "Pa": 0.01}
_SECONDS = {"seconds": 1, "s": 1, "minutes": 60, "hours": 3600, "hour": 3600, "h": 3600, "days": 86400, "d": 86400}


def under_our_names(dataset: xarray.Dataset) -> xarray.Dataset:
    """Forecasts of another system as one of ours; one of ours, and what is not understood, as it is.

    Coordinates are found by their CF standard name or by the names that are usual; a forecast from one time gets a dimension for it, leads
    in hours become durations, pressures hPa, and variables get their canonical names.
    """
    if "timestep" in dataset.attrs or {"init_time", "lead_time"} <= set(dataset.dims):
        return dataset
    renamed = {found: name for name in _NAMES if (found := _found(dataset, name))}
    if "lead_time" not in renamed.values() and "lead_time" not in dataset.coords:
        return dataset  # a `time` without leads is the time of data, not of forecasts
    dataset = dataset.rename({found: name for found, name in renamed.items() if found != name})
    for name in ("init_time", "lead_time"):
        if name in dataset.coords and name not in dataset.dims:
            dataset = dataset.expand_dims(name)
    dataset = _with_durations(_with_pressures(dataset))
    names = {str(name): canonical_name(str(name)) for name in dataset.data_vars}
    taken = [*names.values(), *map(str, dataset.coords)]
    return dataset.rename({old: new for old, new in names.items() if old != new and taken.count(new) == 1})


def _found(dataset: xarray.Dataset, name: str) -> str | None:
    standard, usual = _NAMES[name]
    for coordinate, array in dataset.coords.items():
        if array.attrs.get("standard_name") == standard and array.ndim < 2:
            return str(coordinate)
    return next((other for other in (name, *usual) if other in dataset.coords), None)


def _with_durations(dataset: xarray.Dataset) -> xarray.Dataset:
    lead = dataset["lead_time"]
    seconds = _SECONDS.get(str(lead.attrs.get("units", "")))
    if np.issubdtype(lead.dtype, np.timedelta64) or seconds is None:
        return dataset
    durations = np.rint(lead.values.astype(np.float64) * seconds * 1e9).astype("timedelta64[ns]")
    return dataset.assign_coords(lead_time=("lead_time", durations))


def _with_pressures(dataset: xarray.Dataset) -> xarray.Dataset:
    for name, usual in _PRESSURES.items():
        if name not in dataset.dims or name not in dataset.coords:
            continue
        array = dataset[name]
        if array.attrs.get("standard_name", "air_pressure") != "air_pressure":
            continue
        factor = _TO_HECTOPASCAL.get(str(array.attrs.get("units", "")), usual)
        described = {"standard_name": "air_pressure", "units": "hPa", "positive": "down"}
        dataset = dataset.assign_coords({name: (name, array.values.astype(np.float64) * factor, described)})
    return dataset
