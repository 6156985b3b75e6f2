"""The vocabulary: what a variable is called, measured in, and how it behaves, whoever wrote the file.

Data sets disagree on names (`t`, `T`, `temperature`, `air_temperature`); inside credit_ray there is one. A name that is not listed is
allowed, and then means itself with the units of its store: the vocabulary spares work, it forbids nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Literal

from credit_ray.errors import DataError, did_you_mean

Kind = Literal["instantaneous", "accumulated", "mean"]


@dataclass(frozen=True)
class Variable:
    """One entry of the vocabulary.

    Parameters
    ----------
    name : str
        Canonical short name (ECMWF's where there is one).
    standard_name, units : str
        CF; units are those that fields have inside credit_ray.
    kind : {"instantaneous", "accumulated", "mean"}
        Whether a value belongs to its time, or to the interval that ends at it.
    vector : bool
        A horizontal vector component: changes sign across a pole.
    aliases : tuple of str
        Other names under which stores hold it.
    """

    name: str
    standard_name: str
    units: str
    kind: Kind = "instantaneous"
    vector: bool = False
    aliases: tuple[str, ...] = ()


def _variable(
    name: str, standard_name: str, units: str, *aliases: str, kind: Kind = "instantaneous", vector: bool = False
) -> Variable:
    return Variable(name, standard_name, units, kind, vector, aliases)


VOCABULARY: tuple[Variable, ...] = (
    # on levels
    _variable("u", "eastward_wind", "m s-1", "U", "ua", "u_component_of_wind", vector=True),
    _variable("v", "northward_wind", "m s-1", "V", "va", "v_component_of_wind", vector=True),
    _variable("t", "air_temperature", "K", "T", "ta", "temperature"),
    _variable("q", "specific_humidity", "kg kg-1", "Q", "hus", "shum"),
    _variable("z", "geopotential", "m2 s-2", "Z", "phi"),
    _variable("gh", "geopotential_height", "m", "zg", "Z3", "hgt"),
    _variable("w", "lagrangian_tendency_of_air_pressure", "Pa s-1", "omega", "wap", "OMEGA", "vertical_velocity"),
    _variable("vo", "atmosphere_relative_vorticity", "s-1", "vorticity", "relative_vorticity"),
    _variable("d", "divergence_of_wind", "s-1", "divergence"),
    _variable(
        "clwc", "mass_fraction_of_cloud_liquid_water_in_air", "kg kg-1", "specific_cloud_liquid_water_content", "CLDLIQ"
    ),
    _variable("ciwc", "mass_fraction_of_cloud_ice_in_air", "kg kg-1", "specific_cloud_ice_water_content", "CLDICE"),
    # at the surface
    _variable("msl", "air_pressure_at_mean_sea_level", "Pa", "mean_sea_level_pressure", "MSL", "psl", "PSL", "prmsl"),
    _variable("sp", "surface_air_pressure", "Pa", "surface_pressure", "SP", "ps", "PS"),
    _variable("t2m", "air_temperature_at_2_m", "K", "2m_temperature", "VAR_2T", "tas", "TREFHT", "2t"),
    _variable("d2m", "dew_point_temperature_at_2_m", "K", "2m_dewpoint_temperature", "2d"),
    _variable("u10", "eastward_wind_at_10_m", "m s-1", "10m_u_component_of_wind", "VAR_10U", "10u", "uas", vector=True),
    _variable(
        "v10", "northward_wind_at_10_m", "m s-1", "10m_v_component_of_wind", "VAR_10V", "10v", "vas", vector=True
    ),
    _variable("skt", "surface_temperature", "K", "skin_temperature", "SKT", "ts", "TS"),
    _variable("tcwv", "atmosphere_mass_content_of_water_vapor", "kg m-2", "total_column_water_vapour", "TMQ"),
    # the ocean
    _variable("sst", "sea_surface_temperature", "K", "SST", "tos"),
    _variable("siconc", "sea_ice_area_fraction", "1", "sea_ice_cover", "ICEFRAC", "ci"),
    _variable("so", "sea_water_salinity", "1e-3", "salinity", "SALT"),
    _variable("thetao", "sea_water_potential_temperature", "degC", "TEMP"),
    _variable("zos", "sea_surface_height_above_geoid", "m", "SSH"),
    # over an interval
    _variable("tp", "precipitation_amount", "kg m-2", "total_precipitation", kind="accumulated"),
    _variable(
        "pr",
        "precipitation_flux",
        "kg m-2 s-1",
        "precipitation_rate",
        "mean_total_precipitation_rate",
        "PRECT",
        kind="mean",
    ),
    _variable("e", "water_evaporation_amount", "kg m-2", "evaporation", kind="accumulated"),
    _variable(
        "rsdt", "toa_incoming_shortwave_flux", "W m-2", "toa_incident_solar_radiation_flux", "SOLIN", kind="mean"
    ),
    _variable(
        "tisr",
        "integral_wrt_time_of_toa_incoming_shortwave_flux",
        "J m-2",
        "toa_incident_solar_radiation",
        kind="accumulated",
    ),
    # static
    _variable("orography", "surface_altitude", "m", "orog", "topography", "TOPO"),
    _variable("z_sfc", "surface_geopotential", "m2 s-2", "geopotential_at_surface", "Z_GDS4_SFC", "PHIS", "zs"),
    _variable(
        "lsm", "land_binary_mask", "1", "land_sea_mask", "LSM", "land_mask", "sftlf", "land_fraction", "LANDM_COSLAT"
    ),
)


@cache
def _by_any_name() -> dict[str, Variable]:
    table: dict[str, Variable] = {}
    for variable in VOCABULARY:
        for name in (variable.name, variable.standard_name, *variable.aliases):
            if table.setdefault(name, variable) is not variable:
                raise AssertionError(f"the vocabulary has '{name}' twice: {variable.name} and {table[name].name}")
    return table


def lookup(name: str) -> Variable | None:
    """The entry known by that canonical, CF, long or short name, or None."""
    return _by_any_name().get(name)


def canonical_name(name: str) -> str:
    """The name used inside; a name that the vocabulary does not have is its own."""
    variable = lookup(name)
    return variable.name if variable else name


def find_in_store(name: str, available: dict[str, str], rename: dict[str, str], where: str) -> str:
    """Which array of a store holds the variable `name`.

    Parameters
    ----------
    name : str
        As the config has it: canonical, or any alias.
    available : dict of str to str
        Names of the store's arrays, with their `standard_name` attribute ("" where there is none).
    rename : dict of str to str
        The config's own answer, by canonical or configured name.
    where : str
        The store, for the message.

    Raises
    ------
    DataError
        If no array fits, or several do; lists the near matches.
    """
    asked = rename.get(name) or rename.get(canonical_name(name))
    if asked:
        if asked in available:
            return asked
        raise DataError(
            f"{where} has no array '{asked}', which 'rename' gives for '{name}'.{did_you_mean(asked, available)}"
        )
    if name in available:
        return name
    variable = lookup(name)
    if variable:
        by_name = [n for n in (variable.name, *variable.aliases, variable.standard_name) if n in available]
        by_attribute = [n for n, standard in available.items() if standard == variable.standard_name]
        found = by_name or by_attribute
        if len(found) > 1:
            raise DataError(f"In {where} '{name}' may be {' or '.join(found)}: say which with 'rename: {{{name}: …}}'.")
        if found:
            return found[0]
    raise DataError(f"{where} has no variable '{name}'.{did_you_mean(name, {*available, *_shown(available)})}")


def _shown(available: Iterable[str]) -> set[str]:
    """Canonical names of what a store has: a user may have meant one of them."""
    return {canonical_name(name) for name in available if lookup(name)}
