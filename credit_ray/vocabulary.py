"""The entries of the vocabulary: a table, and the class of its rows. `variables` looks things up in it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

Kind = Literal["instantaneous", "accumulated", "mean"]
Direction = Literal["down", "up", ""]


@dataclass(frozen=True, kw_only=True)
class Variable:
    """One entry of the vocabulary.

    Parameters
    ----------
    name : str
        Canonical short name (ECMWF's where there is one; CMIP's for mean fluxes).
    standard_name, units : str
        CF; units are those that fields have inside credit_ray.
    kind : {"instantaneous", "accumulated", "mean"}
        Whether a value belongs to its time, or to the interval that ends at it.
    vector : bool
        A horizontal vector component: changes sign across a pole.
    positive : {"down", "up", ""}
        For a flux through a horizontal surface, the direction that counts as positive inside credit_ray.
    counterpart : str
        The same flux as the other of mean and accumulation, which a store may hold instead.
    aliases : tuple of str
        Other names under which stores hold it.
    opposite : tuple of str
        Names under which stores hold it with the other sign.
    """

    name: str
    standard_name: str
    units: str
    kind: Kind = "instantaneous"
    vector: bool = False
    positive: Direction = ""
    counterpart: str = ""
    aliases: tuple[str, ...] = ()
    opposite: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """All names under which stores may hold it, whatever the sign."""
        return (self.name, *self.aliases, *self.opposite, self.standard_name)


def _variable(name: str, standard_name: str, units: str, *aliases: str, vector: bool = False) -> Variable:
    """Of an instant, or of no time."""
    return Variable(name=name, standard_name=standard_name, units=units, vector=vector, aliases=aliases)


def _flow(
    kind: Kind,
    name: str,
    standard_name: str,
    units: str,
    *aliases: str,
    positive: Direction = "",
    counterpart: str = "",
    opposite: tuple[str, ...] = (),
    vector: bool = False,
) -> Variable:
    """Accumulated, or averaged, over an interval."""
    return Variable(
        name=name,
        standard_name=standard_name,
        units=units,
        kind=kind,
        vector=vector,
        positive=positive,
        counterpart=counterpart,
        aliases=aliases,
        opposite=opposite,
    )


_sum = partial(_flow, "accumulated")
_mean = partial(_flow, "mean")


_ON_LEVELS = (
    _variable("u", "eastward_wind", "m s-1", "U", "ua", "u_component_of_wind", vector=True),
    _variable("v", "northward_wind", "m s-1", "V", "va", "v_component_of_wind", vector=True),
    _variable("t", "air_temperature", "K", "T", "ta", "temperature"),
    _variable("q", "specific_humidity", "kg kg-1", "Q", "hus", "shum"),
    _variable("z", "geopotential", "m2 s-2", "Z", "phi"),
    _variable("gh", "geopotential_height", "m", "zg", "Z3", "hgt"),
    _variable("w", "lagrangian_tendency_of_air_pressure", "Pa s-1", "omega", "wap", "OMEGA", "vertical_velocity"),
    _variable("vo", "atmosphere_relative_vorticity", "s-1", "vorticity", "relative_vorticity"),
    _variable("d", "divergence_of_wind", "s-1", "divergence"),
    _variable("r", "relative_humidity", "1", "relative_humidity_on_levels", "hur", "RELHUM"),
    _variable("o3", "mass_fraction_of_ozone_in_air", "kg kg-1", "ozone_mass_mixing_ratio"),
    _variable(
        "clwc", "mass_fraction_of_cloud_liquid_water_in_air", "kg kg-1", "specific_cloud_liquid_water_content", "CLDLIQ"
    ),
    _variable("ciwc", "mass_fraction_of_cloud_ice_in_air", "kg kg-1", "specific_cloud_ice_water_content", "CLDICE"),
    _variable("crwc", "mass_fraction_of_rain_in_air", "kg kg-1", "specific_rain_water_content"),
    _variable("cswc", "mass_fraction_of_snow_in_air", "kg kg-1", "specific_snow_water_content"),
    _variable("cc", "cloud_area_fraction_in_atmosphere_layer", "1", "fraction_of_cloud_cover", "CLOUD"),
    _variable("qtot", "mass_fraction_of_water_in_air", "kg kg-1", "specific_total_water", "Qtot"),
)

_AT_THE_SURFACE = (
    _variable("msl", "air_pressure_at_mean_sea_level", "Pa", "mean_sea_level_pressure", "MSL", "psl", "PSL", "prmsl"),
    _variable("sp", "surface_air_pressure", "Pa", "surface_pressure", "SP", "ps", "PS"),
    _variable("t2m", "air_temperature_at_2_m", "K", "2m_temperature", "VAR_2T", "tas", "TREFHT", "2t"),
    _variable("d2m", "dew_point_temperature_at_2_m", "K", "2m_dewpoint_temperature", "VAR_2D", "2d"),
    _variable("u10", "eastward_wind_at_10_m", "m s-1", "10m_u_component_of_wind", "VAR_10U", "10u", "uas", vector=True),
    _variable(
        "v10", "northward_wind_at_10_m", "m s-1", "10m_v_component_of_wind", "VAR_10V", "10v", "vas", vector=True
    ),
    # CESM's U10 is this, and not the eastward component
    _variable("si10", "wind_speed_at_10_m", "m s-1", "10m_wind_speed", "ws10", "sfcWind"),
    _variable("u100", "eastward_wind_at_100_m", "m s-1", "100m_u_component_of_wind", "100u", vector=True),
    _variable("v100", "northward_wind_at_100_m", "m s-1", "100m_v_component_of_wind", "100v", vector=True),
    _variable("skt", "surface_temperature", "K", "skin_temperature", "SKT", "ts", "TS"),
    _variable(
        "tcwv",
        "atmosphere_mass_content_of_water_vapor",
        "kg m-2",
        "total_column_water_vapour",
        "total_column_water_vapor",
        "TMQ",
        "prw",
    ),
    _variable("tcw", "atmosphere_mass_content_of_water", "kg m-2", "total_column_water"),
    _variable("tcc", "cloud_area_fraction", "1", "total_cloud_cover", "CLDTOT", "clt"),
    _variable("sd", "lwe_thickness_of_surface_snow_amount", "m", "snow_depth"),
    _variable("swvl1", "volume_fraction_of_water_in_soil_layer_1", "1", "volumetric_soil_water_layer_1"),
    _variable("stl1", "soil_temperature_layer_1", "K", "soil_temperature_level_1"),
)

_OCEAN = (
    _variable("sst", "sea_surface_temperature", "K", "SST", "tos"),
    _variable("siconc", "sea_ice_area_fraction", "1", "sea_ice_cover", "ICEFRAC", "ci"),
    _variable("so", "sea_water_salinity", "1e-3", "SALT"),
    _variable("thetao", "sea_water_potential_temperature", "degC", "TEMP"),
    # an ocean store's "vo" must be named by 'rename': to the atmosphere that is vorticity
    _variable("ocu", "eastward_sea_water_velocity", "m s-1", "uo", "UVEL", vector=True),
    _variable("ocv", "northward_sea_water_velocity", "m s-1", "VVEL", vector=True),
    _variable("zos", "sea_surface_height_above_geoid", "m", "SSH"),
    _mean("tauuo", "downward_x_stress_at_sea_water_surface", "N m-2", positive="down", vector=True),
    _mean("tauvo", "downward_y_stress_at_sea_water_surface", "N m-2", positive="down", vector=True),
    _mean("hfds", "surface_downward_heat_flux_in_sea_water", "W m-2", "SHF", positive="down"),
)

# ECMWF counts every flux through a surface as positive downward, evaporation too; CMIP's names say their direction.
_WATER = (
    _sum("tp", "precipitation_amount", "kg m-2", "total_precipitation", counterpart="pr"),
    _sum("cp", "convective_precipitation_amount", "kg m-2", "convective_precipitation"),
    _sum("lsp", "stratiform_precipitation_amount", "kg m-2", "large_scale_precipitation"),
    _sum("sf", "snowfall_amount", "kg m-2", "snowfall", counterpart="prsn"),
    _sum(
        "e",
        "integral_wrt_time_of_surface_downward_water_vapor_flux",
        "kg m-2",
        "evaporation",
        positive="down",
        counterpart="evspsbl",
        opposite=("water_evaporation_amount",),
    ),
    _mean(
        "pr",
        "precipitation_flux",
        "kg m-2 s-1",
        "precipitation_rate",
        "mean_total_precipitation_rate",
        "mtpr",
        "PRECT",
        counterpart="tp",
    ),
    _mean("prsn", "snowfall_flux", "kg m-2 s-1", "mean_snowfall_rate", "msr", "PRECS", counterpart="sf"),
    _mean(
        "evspsbl",
        "water_evapotranspiration_flux",
        "kg m-2 s-1",
        "water_evaporation_flux",
        "surface_upward_water_flux",
        "QFLX",
        positive="up",
        counterpart="e",
        opposite=("mean_evaporation_rate", "mer"),
    ),
)

_ENERGY = (
    _sum(
        "tisr",
        "integral_wrt_time_of_toa_incoming_shortwave_flux",
        "J m-2",
        "toa_incident_solar_radiation",
        positive="down",
        counterpart="rsdt",
    ),
    _sum(
        "tsr",
        "integral_wrt_time_of_toa_net_downward_shortwave_flux",
        "J m-2",
        "top_net_solar_radiation",
        positive="down",
        counterpart="rst",
    ),
    _sum(
        "ttr",
        "integral_wrt_time_of_toa_net_downward_longwave_flux",
        "J m-2",
        "top_net_thermal_radiation",
        positive="down",
        counterpart="rlut",
        opposite=("integral_wrt_time_of_toa_outgoing_longwave_flux",),
    ),
    _sum(
        "ssr",
        "integral_wrt_time_of_surface_net_downward_shortwave_flux",
        "J m-2",
        "surface_net_solar_radiation",
        positive="down",
        counterpart="rss",
    ),
    _sum(
        "str",
        "integral_wrt_time_of_surface_net_downward_longwave_flux",
        "J m-2",
        "surface_net_thermal_radiation",
        positive="down",
        counterpart="rls",
        opposite=("integral_wrt_time_of_surface_net_upward_longwave_flux",),
    ),
    _sum(
        "ssrd",
        "integral_wrt_time_of_surface_downwelling_shortwave_flux_in_air",
        "J m-2",
        "surface_solar_radiation_downwards",
        "FSDS_J",
        positive="down",
        counterpart="rsds",
    ),
    _sum(
        "strd",
        "integral_wrt_time_of_surface_downwelling_longwave_flux_in_air",
        "J m-2",
        "surface_thermal_radiation_downwards",
        "FLDS_J",
        positive="down",
        counterpart="rlds",
    ),
    _sum(
        "sshf",
        "integral_wrt_time_of_surface_downward_sensible_heat_flux",
        "J m-2",
        "surface_sensible_heat_flux",
        positive="down",
        counterpart="hfss",
        opposite=("integral_wrt_time_of_surface_upward_sensible_heat_flux",),
    ),
    _sum(
        "slhf",
        "integral_wrt_time_of_surface_downward_latent_heat_flux",
        "J m-2",
        "surface_latent_heat_flux",
        positive="down",
        counterpart="hfls",
        opposite=("integral_wrt_time_of_surface_upward_latent_heat_flux",),
    ),
    _mean(
        "rsdt",
        "toa_incoming_shortwave_flux",
        "W m-2",
        "toa_incident_solar_radiation_flux",
        "SOLIN",
        positive="down",
        counterpart="tisr",
    ),
    _mean("rsut", "toa_outgoing_shortwave_flux", "W m-2", "FSUTOA", positive="up"),
    _mean(
        "rst",
        "toa_net_downward_shortwave_flux",
        "W m-2",
        "mean_top_net_short_wave_radiation_flux",
        "FSNTOA",
        "FSNT",
        positive="down",
        counterpart="tsr",
    ),
    _mean(
        "rlut",
        "toa_outgoing_longwave_flux",
        "W m-2",
        "FLUT",
        positive="up",
        counterpart="ttr",
        opposite=("mean_top_net_long_wave_radiation_flux", "toa_net_downward_longwave_flux"),
    ),
    _mean(
        "rss",
        "surface_net_downward_shortwave_flux",
        "W m-2",
        "mean_surface_net_short_wave_radiation_flux",
        "FSNS",
        positive="down",
        counterpart="ssr",
    ),
    _mean(
        "rls",
        "surface_net_downward_longwave_flux",
        "W m-2",
        "mean_surface_net_long_wave_radiation_flux",
        positive="down",
        counterpart="str",
        opposite=("FLNS", "surface_net_upward_longwave_flux"),
    ),
    _mean(
        "rsds",
        "surface_downwelling_shortwave_flux_in_air",
        "W m-2",
        "mean_surface_downward_short_wave_radiation_flux",
        "FSDS",
        positive="down",
        counterpart="ssrd",
    ),
    _mean("rsus", "surface_upwelling_shortwave_flux_in_air", "W m-2", "FSUS", positive="up"),
    _mean(
        "rlds",
        "surface_downwelling_longwave_flux_in_air",
        "W m-2",
        "mean_surface_downward_long_wave_radiation_flux",
        "FLDS",
        positive="down",
        counterpart="strd",
    ),
    _mean("rlus", "surface_upwelling_longwave_flux_in_air", "W m-2", "FLUS", positive="up"),
    _mean(
        "hfss",
        "surface_upward_sensible_heat_flux",
        "W m-2",
        "SHFLX",
        positive="up",
        counterpart="sshf",
        opposite=("mean_surface_sensible_heat_flux", "surface_downward_sensible_heat_flux"),
    ),
    _mean(
        "hfls",
        "surface_upward_latent_heat_flux",
        "W m-2",
        "LHFLX",
        positive="up",
        counterpart="slhf",
        opposite=("mean_surface_latent_heat_flux", "surface_downward_latent_heat_flux"),
    ),
)

_STATIC = (
    _variable("orography", "surface_altitude", "m", "orog", "topography", "TOPO"),
    _variable("z_sfc", "surface_geopotential", "m2 s-2", "geopotential_at_surface", "Z_GDS4_SFC", "PHIS", "zs"),
    _variable(
        "lsm", "land_binary_mask", "1", "land_sea_mask", "LSM", "land_mask", "sftlf", "land_fraction", "LANDM_COSLAT"
    ),
)

VOCABULARY: tuple[Variable, ...] = (*_ON_LEVELS, *_AT_THE_SURFACE, *_OCEAN, *_WATER, *_ENERGY, *_STATIC)
