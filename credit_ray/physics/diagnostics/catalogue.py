"""The diagnostics by name: what each needs, its CF name and units, and how it follows from an atmosphere."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from credit_ray.errors import ConfigError, did_you_mean
from credit_ray.physics.diagnostics import column, hydrostatic, moist_air, wind
from credit_ray.physics.diagnostics.atmosphere import Atmosphere

Where = Literal["levels", "surface"]


@dataclass(frozen=True)
class Diagnostic:
    """One quantity.

    Parameters
    ----------
    name : str
        Short name; the vocabulary's, where it has one.
    standard_name, long_name, units : str
        CF; no standard name where CF has none.
    where : {"levels", "surface"}
        On the levels, or one number per column.
    needs : tuple of str
        Fields, by canonical name; `z_sfc` may be given as `orography`.
    compute : callable
        Of an Atmosphere: [..., level, *grid] or [..., *grid].
    """

    name: str
    standard_name: str
    long_name: str
    units: str
    where: Where
    needs: tuple[str, ...]
    compute: Callable[[Atmosphere], Tensor]


def diagnose(atmosphere: Atmosphere, names: Iterable[str]) -> dict[str, Tensor]:
    """Diagnostics of an atmosphere, by name: the tensor form, for rollouts; differentiable.

    Returns
    -------
    dict of str to Tensor
        [..., level, *grid], levels from the top down, or [..., *grid].

    Raises
    ------
    ConfigError
        For an unknown name, or one that needs a field or coordinate that is not there.
    """
    return {name: diagnostic(name).compute(atmosphere) for name in names}


def diagnostic(name: str) -> Diagnostic:
    """The diagnostic of that name; ConfigError, with the nearest, for an unknown one."""
    if name not in DIAGNOSTICS:
        raise ConfigError(f"There is no diagnostic '{name}'.{did_you_mean(name, DIAGNOSTICS, show=20)}")
    return DIAGNOSTICS[name]


def _virtual_temperature(air: Atmosphere) -> Tensor:
    return moist_air.virtual_temperature(air["t"], air["q"])


def _geopotential(air: Atmosphere) -> Tensor:
    warm, ground = _virtual_temperature(air), air.surface_geopotential
    if air.whole_column:
        return hydrostatic.geopotential(warm, air.interfaces, ground)
    if not air.follows_ground:
        raise ConfigError(
            "Geopotential is integrated from the ground up, on sigma or model levels; pressure levels lie in the ground in places."
        )
    return hydrostatic.geopotential_from_levels(warm, air.pressure, air["sp"], ground)


def _sea_level_pressure(air: Atmosphere) -> Tensor:
    if not air.follows_ground:
        raise ConfigError(
            "Sea-level pressure needs the air just above the ground: temperature on sigma or model levels."
        )
    lowest, pressure = air["t"][..., -1, :, :], air.pressure[..., -1, :, :]
    return hydrostatic.mean_sea_level_pressure(lowest, pressure, air["sp"], air.surface_geopotential)


def _transport(direction: int) -> Callable[[Atmosphere], Tensor]:
    return lambda air: column.vapour_transport(air["u"], air["v"], air["q"], air.mass)[direction]


_TRANSPORT = "{}_atmosphere_water_transport_across_unit_distance"

DIAGNOSTICS: dict[str, Diagnostic] = {
    each.name: each
    for each in (
        Diagnostic(
            "tv", "virtual_temperature", "virtual temperature", "K", "levels", ("t", "q"), _virtual_temperature
        ),
        Diagnostic(
            "theta", "air_potential_temperature", "potential temperature", "K", "levels", ("t",),
            lambda air: moist_air.potential_temperature(air["t"], air.pressure),
        ),
        Diagnostic(
            "r", "relative_humidity", "relative humidity", "1", "levels", ("t", "q"),
            lambda air: moist_air.relative_humidity(air["t"], air["q"], air.pressure),
        ),
        Diagnostic(
            "rho", "air_density", "density of moist air", "kg m-3", "levels", ("t", "q"),
            lambda air: moist_air.air_density(air["t"], air["q"], air.pressure),
        ),
        Diagnostic(
            "ws", "wind_speed", "wind speed", "m s-1", "levels", ("u", "v"),
            lambda air: wind.wind_speed(air["u"], air["v"]),
        ),
        Diagnostic(
            "vo", "atmosphere_relative_vorticity", "relative vorticity", "s-1", "levels", ("u", "v"),
            lambda air: wind.vorticity(air["u"], air["v"], air.harmonics),
        ),
        Diagnostic(
            "d", "divergence_of_wind", "divergence", "s-1", "levels", ("u", "v"),
            lambda air: wind.divergence(air["u"], air["v"], air.harmonics),
        ),
        Diagnostic("z", "geopotential", "geopotential", "m2 s-2", "levels", ("t", "q", "sp", "z_sfc"), _geopotential),
        Diagnostic(
            "msl", "air_pressure_at_mean_sea_level", "mean sea-level pressure", "Pa", "surface", ("t", "sp", "z_sfc"),
            _sea_level_pressure,
        ),
        Diagnostic(
            "tcwv", "atmosphere_mass_content_of_water_vapor", "precipitable water", "kg m-2", "surface", ("q",),
            lambda air: column.precipitable_water(air["q"], air.mass),
        ),
        Diagnostic(
            "viwve", _TRANSPORT.format("eastward"), "eastward transport of water vapour", "kg m-1 s-1", "surface",
            ("u", "v", "q"), _transport(0),
        ),
        Diagnostic(
            "viwvn", _TRANSPORT.format("northward"), "northward transport of water vapour", "kg m-1 s-1", "surface",
            ("u", "v", "q"), _transport(1),
        ),
        Diagnostic(
            "ivt", "", "integrated vapour transport", "kg m-1 s-1", "surface", ("u", "v", "q"),
            lambda air: column.integrated_vapour_transport(air["u"], air["v"], air["q"], air.mass),
        ),
    )
}  # fmt: skip
"""All of them, by name."""
