"""Diagnostics of xarray data sets: variables by any name and in any convertible units, dimensions in any order; xarray out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from credit_ray.data.units import conversion
from credit_ray.errors import ConfigError, DataError
from credit_ray.grid.latlon import LatLonGrid
from credit_ray.grid.levels import pressure_levels, sigma_levels
from credit_ray.grid.vertical import VerticalCoordinate
from credit_ray.physics.constants import GRAVITY
from credit_ray.physics.diagnostics.atmosphere import Atmosphere
from credit_ray.physics.diagnostics.catalogue import DIAGNOSTICS, diagnostic
from credit_ray.physics.diagnostics.hydrostatic import LAPSE_RATE
from credit_ray.physics.diagnostics.interpolation import (
    geopotential_on_pressure_levels,
    temperature_on_pressure_levels,
    to_heights,
    to_pressure_levels,
)
from credit_ray.physics.diagnostics.wind import kinetic_energy_spectrum
from credit_ray.variables import canonical_name, find_in_store, lookup

if TYPE_CHECKING:
    import xarray

_SPELLINGS = {"latitude": ("latitude", "lat"), "longitude": ("longitude", "lon")}
_LEVEL_NAMES = ("level", "lev", "plev", "isobaricInhPa", "pressure_level", "hybrid", "model_level", "sigma")


def diagnose(
    dataset: xarray.Dataset, names: Iterable[str], *, vertical: VerticalCoordinate | None = None
) -> xarray.Dataset:
    """Diagnostics of a data set: forecasts, analyses, truth.

    Parameters
    ----------
    dataset : xarray.Dataset
        Variables (…, [level,] latitude, longitude) on a global grid, in any order, by any name that the vocabulary knows.
    names : iterable of str
        Of `catalogue.DIAGNOSTICS`: tv, theta, r, rho, ws, vo, d, z, msl, tcwv, viwve, viwvn, ivt.
    vertical : VerticalCoordinate, optional
        Of the levels, in their order (`credit_ray.grid.levels`). By default pressure or sigma levels, where the coordinate's units or
        standard name say so; hybrid levels need to be given with their coefficients.

    Returns
    -------
    xarray.Dataset
        One variable for each name, float32 or float64 as the inputs are, with CF attributes, on the input's coordinates.

    Raises
    ------
    DataError
        For a variable that is not there, or in other units.
    ConfigError
        For an unknown diagnostic, or levels that are not known.
    """
    import xarray

    reader = _Reader(dataset, vertical)
    found = {}
    for name in names:
        wanted = diagnostic(name)
        air = reader.atmosphere(wanted.needs)
        attributes = {"units": wanted.units, "long_name": wanted.long_name}
        if wanted.standard_name:
            attributes["standard_name"] = wanted.standard_name
        found[name] = reader.array(wanted.compute(air), wanted.where == "levels", attributes)
    return xarray.Dataset(found)


def on_pressure_levels(
    dataset: xarray.Dataset, levels_hpa: Sequence[float], *, vertical: VerticalCoordinate | None = None
) -> xarray.Dataset:
    """All variables on levels at given pressures; temperature and geopotential are continued below ground, the rest is constant there.

    Levels that follow the ground need its pressure; temperature and geopotential also its geopotential or orography. From pressure levels
    there is nothing to continue: what they have below ground is interpolated. Above the highest level: NaN.
    """
    reader = _Reader(dataset, vertical)
    targets = torch.tensor(levels_hpa, dtype=torch.float64) * 100

    def at(name: str, field: Tensor, air: Atmosphere) -> Tensor:
        if name == "t" and air.follows_ground:
            return temperature_on_pressure_levels(field, air.pressure, air["sp"], air.surface_geopotential, targets)
        if name == "z" and air.follows_ground:
            ground = air.surface_geopotential
            return geopotential_on_pressure_levels(field, air["t"], air.pressure, air["sp"], ground, targets)
        return to_pressure_levels(field, air.pressure, targets)

    needs: dict[str, tuple[str, ...]] = {}
    if reader.vertical is not None and reader.vertical.depends_on_pressure:
        needs = {"t": ("sp", "z_sfc"), "z": ("t", "sp", "z_sfc")}
    level = ("level", list(levels_hpa), {"standard_name": "air_pressure", "units": "hPa", "positive": "down"})
    return _on_levels(reader, level, lambda name: needs.get(name, ()), at)


def on_heights(
    dataset: xarray.Dataset,
    heights_m: Sequence[float],
    *,
    above: str = "ground",
    vertical: VerticalCoordinate | None = None,
) -> xarray.Dataset:
    """All variables on levels at given heights above the ground, or above the sea (`above="sea"`).

    Needs geopotential among the variables, or what it follows from (t, q, surface pressure and height). Below the lowest level
    temperature rises downwards at the standard lapse rate, the rest is constant; above the highest level: NaN.
    """
    if above not in ("ground", "sea"):
        raise ConfigError(f"above='{above}': heights are above 'ground' or 'sea'.")
    reader, targets = _Reader(dataset, vertical), torch.tensor(heights_m, dtype=torch.float64)
    needs = ("z", "z_sfc") if reader.has("z") else DIAGNOSTICS["z"].needs

    def at(name: str, field: Tensor, air: Atmosphere) -> Tensor:
        geopotential = air["z"] if "z" in air else DIAGNOSTICS["z"].compute(air)
        ground = air.surface_geopotential.unsqueeze(-3) if above == "ground" else 0.0
        return to_heights(field, (geopotential - ground) / GRAVITY, targets, lapse=LAPSE_RATE if name == "t" else 0.0)

    known = {"ground": "height", "sea": "altitude"}[above]
    return _on_levels(
        reader, (known, list(heights_m), {"standard_name": known, "units": "m", "positive": "up"}), lambda _: needs, at
    )


def spectrum(dataset: xarray.Dataset) -> xarray.DataArray:
    """Kinetic energy by total wavenumber: (component, …, [level,] wavenumber), m² s⁻²; components are rotational and divergent."""
    import xarray

    reader = _Reader(dataset, None)
    air = reader.atmosphere(("u", "v"))
    parts = kinetic_energy_spectrum(air["u"], air["v"], air.harmonics)
    dims = ("component", *reader.lead, *reader.level_dims, "wavenumber")
    coordinates = {"component": ["rotational", "divergent"], **reader.coordinates(dims)}
    attributes = {"units": "m2 s-2", "long_name": "kinetic energy by total wavenumber"}
    return xarray.DataArray(torch.stack(parts).numpy(), coordinates, dims, attrs=attributes, name="ke_spectrum")


def _on_levels(
    reader: _Reader,
    level: tuple[str, list[float], dict[str, str]],
    needs: Callable[[str], tuple[str, ...]],
    at: Callable[[str, Tensor, Atmosphere], Tensor],
) -> xarray.Dataset:
    import xarray

    name, values, attributes = level
    found = {}
    for array in reader.on_levels():
        variable = canonical_name(array)
        air = reader.atmosphere((variable, *needs(variable)))
        result = at(variable, air[variable], air).numpy()
        dims = (*reader.lead, name, "latitude", "longitude")
        kept = {
            "units": reader.units(array),
            **{k: v for k, v in reader.dataset[array].attrs.items() if k.endswith("_name")},
        }
        found[array] = (dims, result, kept)
    return xarray.Dataset(
        found, {**reader.coordinates((*reader.lead, "latitude", "longitude")), name: (name, values, attributes)}
    )


class _Reader:
    """A data set as atmospheres: north to south, levels from the top down, the vocabulary's names and units."""

    def __init__(self, dataset: xarray.Dataset, vertical: VerticalCoordinate | None) -> None:
        for name, spellings in _SPELLINGS.items():
            have = next((s for s in spellings if s in dataset.dims), None)
            if have is None:
                raise DataError(f"The data set has no dimension '{name}'; it has {', '.join(map(str, dataset.dims))}.")
            dataset = dataset if have == name else dataset.rename({have: name})
        dataset = dataset.sortby("latitude", ascending=False)
        level = next((d for d in _LEVEL_NAMES if d in dataset.dims), None)
        self.level_dims: tuple[str, ...] = (level,) if level else ()
        self.vertical = vertical or (_vertical_of(dataset[level]) if level else None)
        if level and self.vertical is not None:
            if len(self.vertical.levels) != dataset.sizes[level]:
                raise ConfigError(
                    f"The data set has {dataset.sizes[level]} levels, its vertical coordinate {len(self.vertical.levels)}: {self.vertical.describe()}."
                )
            self._order = self.vertical.from_top.tolist()
            dataset = dataset.isel({level: self._order})
        self.dataset = dataset
        self.grid = LatLonGrid(dataset["latitude"].values, dataset["longitude"].values)
        self._names = {str(n): str(v.attrs.get("standard_name", "")) for n, v in dataset.data_vars.items()}
        inner = {"latitude", "longitude", *self.level_dims}
        dims = (d for v in dataset.data_vars.values() if {"latitude", "longitude"} <= set(v.dims) for d in v.dims)
        self.lead = tuple(dict.fromkeys(str(d) for d in dims if d not in inner))

    def has(self, variable: str) -> bool:
        return any(canonical_name(name) == variable for name in self._names)

    def on_levels(self) -> list[str]:
        """Names of the arrays on levels."""
        if not self.level_dims:
            raise DataError(f"The data set has no dimension of levels: none of {', '.join(_LEVEL_NAMES)}.")
        return [name for name in self._names if self.level_dims[0] in self.dataset[name].dims]

    def atmosphere(self, needs: Iterable[str]) -> Atmosphere:
        fields: dict[str, Tensor] = {}
        for name in needs:
            if name == "z_sfc" and not self.has("z_sfc") and self.has("orography"):
                name = "orography"
            fields[name] = self._tensor(name)
        pressured = self.vertical is not None and self.vertical.units == "Pa"
        if pressured and "sp" not in fields and self.has("sp"):
            fields["sp"] = self._tensor("sp")
        return Atmosphere(fields, self.grid, self.vertical)

    def units(self, array: str) -> str:
        known = lookup(array)
        return known.units if known else str(self.dataset[array].attrs.get("units", ""))

    def array(self, values: Tensor, on_levels: bool, attributes: dict[str, str]) -> Any:
        import xarray

        level = self.level_dims if on_levels and values.ndim > 2 + len(self.lead) else ()
        dims = (*self.lead, *level, "latitude", "longitude")
        return xarray.DataArray(values.numpy(), self.coordinates(dims), dims, attrs=attributes)

    def coordinates(self, dims: Iterable[str]) -> dict[str, Any]:
        return {name: self.dataset[name] for name in dims if name in self.dataset.coords}

    def _tensor(self, variable: str) -> Tensor:
        """[*lead, [level,] lat, lon] in the vocabulary's units; what lacks a leading dimension is broadcast."""
        array = self.dataset[find_in_store(variable, self._names, {}, "The data set")]
        known = lookup(variable)
        units = str(array.attrs.get("units", known.units if known else ""))
        scale, offset = conversion(units, known.units if known else units, f"'{array.name}'")
        here = [d for d in (*self.lead, *self.level_dims, "latitude", "longitude") if d in array.dims]
        values = array.transpose(*here).values
        dtype = np.float64 if values.dtype == np.float64 else np.float32
        absent = [i for i, dim in enumerate(self.lead) if dim not in array.dims]
        values = np.expand_dims(values.astype(np.float64) * scale + offset, absent)
        return torch.from_numpy(values.astype(dtype))


def _vertical_of(level: xarray.DataArray) -> VerticalCoordinate | None:
    """What a level coordinate says of itself; None where it does not say enough."""
    units, standard = (str(level.attrs.get(key, "")) for key in ("units", "standard_name"))
    if units in ("hPa", "mb", "mbar", "millibar", "Pa") or standard == "air_pressure":
        return pressure_levels(np.asarray(level.values, np.float64) / (100 if units == "Pa" else 1))
    if standard == "atmosphere_sigma_coordinate":
        return sigma_levels(level.values)
    return None
