"""Arguments of the constraints, free of torch, so that a config can be checked without it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from credit_ray.grid.vertical import Integral


@dataclass(frozen=True, kw_only=True)
class VerticalArguments:
    """What the names of channels do not say of their vertical coordinate.

    Parameters
    ----------
    table : str, optional
        Name of a model whose hybrid coefficients are known: `era5_137`, `cam_32`.
    a_half, b_half : tuple of float
        Hybrid coefficients of all of the model's half levels, from the top down; a in Pa.
    a_full, b_full : tuple of float
        The same of its full levels, where the half levels are not known.
    edges : tuple of float
        Interfaces of all layers, where levels are layers: hPa, sigma, or metres.
    integral : {"layers", "trapezoid"}
        Of hybrid levels with known half levels: as means of layers, or as points.
    """

    table: str | None = None
    a_half: tuple[float, ...] = ()
    b_half: tuple[float, ...] = ()
    a_full: tuple[float, ...] = ()
    b_full: tuple[float, ...] = ()
    edges: tuple[float, ...] = ()
    integral: Integral = "layers"


@dataclass(frozen=True, kw_only=True)
class BoundaryFluxes:
    """Variables that hold what passes a boundary, by the direction in which they are positive.

    Parameters
    ----------
    down, up : tuple of str
        Positive downward, positive upward. ECMWF's fluxes are all downward, evaporation included.
    """

    down: tuple[str, ...] = ()
    up: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How large a correction may be; its size is that of its budget (`norm`): relative, or a mean warming in K.

    Parameters
    ----------
    limit : float, optional
        Larger ones are cut to this size; what stays open is the budget's residual.
    warn_above, fail_above : float, optional
        Above it, a line in the log; a ConstraintError. Both outside training only.
    """

    limit: float | None = None
    warn_above: float | None = None
    fail_above: float | None = None

    def __post_init__(self) -> None:
        for name in ("limit", "warn_above", "fail_above"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} is {value:g}: a size is positive")


@dataclass(frozen=True, kw_only=True)
class RangeArguments:
    """What all ranges share.

    Parameters
    ----------
    variables : tuple of str
        Variables, all of their levels.
    straight_through : bool
        Whether gradients pass where a value was cut, as if it had not been: a network then learns from what it got wrong.
    """

    variables: tuple[str, ...]
    straight_through: bool = False

    def __post_init__(self) -> None:
        if not self.variables:
            raise ValueError("variables is empty: name what has a range")


@dataclass(frozen=True, kw_only=True)
class PositiveArguments(RangeArguments):
    """Arguments of `positive`.

    Parameters
    ----------
    variables : tuple of str
        Variables that are never negative: moisture, tracers, precipitation.
    """

    def __post_init__(self) -> None:
        if not self.variables:
            raise ValueError("variables is empty: name what must not be negative")


@dataclass(frozen=True, kw_only=True)
class BoundsArguments(RangeArguments):
    """Arguments of `bounds`.

    Parameters
    ----------
    lower, upper : float, optional
        In the variables' own units; at least one of them.
    """

    lower: float | None = None
    upper: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.lower is None and self.upper is None:
            raise ValueError("give lower, upper or both")
        if self.lower is not None and self.upper is not None and self.lower >= self.upper:
            raise ValueError(f"lower ({self.lower:g}) is not below upper ({self.upper:g})")


@dataclass(frozen=True, kw_only=True)
class NonNegativePrecipitationArguments(RangeArguments):
    """Arguments of `non_negative_precipitation`.

    Parameters
    ----------
    variables : tuple of str
        Default: whatever of `tp` and `pr` the model predicts.
    """

    variables: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        pass  # empty means those that there are


@dataclass(frozen=True, kw_only=True)
class SeaIceRangeArguments(RangeArguments):
    """Arguments of `sea_ice_range`.

    Parameters
    ----------
    variables : tuple of str
        Sea-ice area fractions.
    thickness : tuple of str
        Variables that are not negative, and zero where there is no ice.
    """

    variables: tuple[str, ...] = ("siconc",)
    thickness: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ColumnArguments(Limits):
    """Where a column integral is taken.

    Parameters
    ----------
    surface_pressure : str
        Its variable; needed where layers depend on it.
    vertical : VerticalArguments
        What channel names do not say.
    """

    surface_pressure: str = "sp"
    vertical: VerticalArguments = field(default_factory=VerticalArguments)


@dataclass(frozen=True, kw_only=True)
class AtmosphereArguments(ColumnArguments):
    """What budgets of the moist atmosphere share.

    Parameters
    ----------
    humidity : str
        Specific humidity, or specific total water.
    condensate : tuple of str
        Further water in the air: cloud liquid, ice, rain, snow.
    """

    humidity: str = "q"
    condensate: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class DryAirMassArguments(AtmosphereArguments):
    """Arguments of `dry_air_mass`.

    Parameters
    ----------
    adjust : {"auto", "surface_pressure", "humidity", "none"}
        What is scaled; `auto`: surface pressure, where the model predicts it. `none` only measures.
    layers : tuple of float
        Levels whose humidity is scaled; default: all.
    """

    adjust: Literal["auto", "surface_pressure", "humidity", "none"] = "auto"
    layers: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TracerMassArguments(ColumnArguments):
    """Arguments of `tracer_mass`.

    Parameters
    ----------
    variables : tuple of str
        Mass fractions on levels, each with a total of its own that stays as it was in the initial state.
    """

    variables: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class WaterArguments(AtmosphereArguments):
    """Arguments of `water`.

    Parameters
    ----------
    surface : BoundaryFluxes
        Precipitation and evaporation; default: those of the vocabulary that the model has.
    adjust : str
        The flux that is corrected: its variable, `precipitation` (the one of them that there is), or `none`, which only measures.
    ratio : float
        By how much it may be scaled up; beyond, and where its sign would turn, the same amount is added everywhere instead.
    """

    surface: BoundaryFluxes = field(default_factory=BoundaryFluxes)
    adjust: str = "precipitation"
    ratio: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.ratio >= 1:
            raise ValueError(f"ratio is {self.ratio}: it must be at least 1")


@dataclass(frozen=True, kw_only=True)
class EnergyArguments(AtmosphereArguments):
    """Arguments of `energy`.

    Parameters
    ----------
    temperature, u, v : str
        Their variables, on the levels of humidity.
    surface_geopotential : str, optional
        Static; default: `z_sfc`, or `orography` times gravity.
    top, surface : BoundaryFluxes
        Radiation at the top; radiation and heat at the surface. Default: those of the vocabulary that the model has.
    adjust : {"uniform", "heat_capacity", "weights", "proportional", "none"}
        Where temperature is corrected: by as many K everywhere, by as much energy per kg everywhere, by level as `weights` says, in
        proportion to the energy that is there (as CREDIT does), or not at all.
    weights : dict of float to float
        Level → relative correction; 0 for levels that are not named.
    """

    temperature: str = "t"
    u: str = "u"
    v: str = "v"
    surface_geopotential: str | None = None
    top: BoundaryFluxes = field(default_factory=BoundaryFluxes)
    surface: BoundaryFluxes = field(default_factory=BoundaryFluxes)
    adjust: Literal["uniform", "heat_capacity", "weights", "proportional", "none"] = "uniform"
    weights: dict[float, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.adjust == "weights") != bool(self.weights):
            raise ValueError("weights goes with 'adjust: weights', and the other way round")
        if any(not weight >= 0 for weight in self.weights.values()) or (
            self.weights and not any(self.weights.values())
        ):
            raise ValueError("weights are not negative, and not all zero")


@dataclass(frozen=True, kw_only=True)
class OceanHeatArguments(Limits):
    """Arguments of `ocean_heat`.

    Parameters
    ----------
    temperature : str
        Potential temperature on depths.
    vertical : VerticalArguments
        `edges` of the layers, where they are not those of which the depths are the middles.
    surface : BoundaryFluxes
        Heat through the surface of the sea; default: those of the vocabulary that the model has.
    adjust : {"uniform", "none"}
        Temperature by as many K everywhere, or not at all.
    """

    temperature: str = "thetao"
    vertical: VerticalArguments = field(default_factory=VerticalArguments)
    surface: BoundaryFluxes = field(default_factory=BoundaryFluxes)
    adjust: Literal["uniform", "none"] = "uniform"
