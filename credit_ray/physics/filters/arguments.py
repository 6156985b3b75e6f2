"""Arguments of the filters, free of torch, so that a config can be checked without it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from credit_ray.times import Step


@dataclass(frozen=True, kw_only=True)
class HyperdiffusionArguments:
    """Arguments of `hyperdiffusion`.

    Parameters
    ----------
    variables : tuple of str
        Variables to damp, on all their levels; a component of the wind needs the other one beside it.
    order : int
        Of the derivative: 2 is diffusion, 4 is ∇⁴. Even.
    timescale : str
        In which the smallest resolved waves fall to 1/e: `6h`, `1D`.
    heating : bool
        Give the kinetic energy that is lost back as heat, at each point.
    temperature : str
        What is heated.
    humidity : str
        Makes the air's heat capacity, where the model predicts it on the same levels.
    """

    variables: tuple[str, ...]
    order: int = 4
    timescale: str = "6h"
    heating: bool = False
    temperature: str = "t"
    humidity: str = "q"

    def __post_init__(self) -> None:
        if not self.variables:
            raise ValueError("variables is empty: name what is to be damped")
        if self.order < 2 or self.order % 2:
            raise ValueError(f"order is {self.order}: an even number from 2 on")
        _seconds("timescale", self.timescale)

    @property
    def timescale_seconds(self) -> int:
        return _seconds("timescale", self.timescale)


@dataclass(frozen=True, kw_only=True)
class PolarFilterArguments:
    """Arguments of `polar_filter`.

    Parameters
    ----------
    variables : tuple of str
        Variables to filter, on all their levels; a component of the wind needs the other one beside it.
    latitude : float
        Poleward of it, degrees.
    power : int
        1, or 2 for the stronger filter of Takacs and Balgovind.
    """

    variables: tuple[str, ...]
    latitude: float = 60.0
    power: Literal[1, 2] = 1

    def __post_init__(self) -> None:
        if not self.variables:
            raise ValueError("variables is empty: name what is to be filtered")
        if not 0 <= self.latitude < 90:
            raise ValueError(f"latitude is {self.latitude:g}: from 0 to less than 90 degrees")


@dataclass(frozen=True, kw_only=True)
class WindArtefactFilterArguments:
    """Arguments of `wind_artefact_filter`.

    Parameters
    ----------
    threshold : float
        A wind speed, m s⁻¹, beyond which a place counts as spoilt.
    u, v : str
        Components of the wind.
    detect : tuple of float
        Levels on which to look; default: all. A place that is spoilt on one of them is smoothed on all of `levels`.
    levels : tuple of float
        Levels that are smoothed; default: all.
    reach_km : float
        How far around a spoilt place the wind is replaced as a whole.
    falloff_km : float
        Standard deviation of the Gaussian by which the replacement fades beyond that.
    smoothing_km : float
        Standard deviation of the Gaussian that smooths.
    keep_energy : bool
        Scale the smoothed wind so that it has the local mean kinetic energy, by four at most.
    """

    threshold: float
    u: str = "u"
    v: str = "v"
    detect: tuple[float, ...] = ()
    levels: tuple[float, ...] = ()
    reach_km: float = 500.0
    falloff_km: float = 300.0
    smoothing_km: float = 300.0
    keep_energy: bool = False

    def __post_init__(self) -> None:
        for name in ("threshold", "falloff_km", "smoothing_km"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name):g}: it must be positive")
        if not self.reach_km >= 0:
            raise ValueError(f"reach_km is {self.reach_km:g}: it can't be negative")


@dataclass(frozen=True, kw_only=True)
class BackscatterArguments:
    """Arguments of `skebs`.

    Parameters
    ----------
    u, v : str
        Components of the wind.
    levels : tuple of float
        Levels that are stirred, all by the same pattern; default: all.
    ratio : float
        Part of the dissipated energy that is scattered back.
    dissipation : float or "biharmonic"
        Rate of dissipation, m² s⁻³, everywhere the same; or K |∇ζ|² of the wind itself, where it is sheared.
    diffusivity : float, optional
        K, m⁴ s⁻¹; goes with `biharmonic`.
    decorrelation : str
        In which the pattern falls to 1/e of its own: `12h`, `2D`.
    slope : float
        Exponent of degree in the amplitude of the pattern's coefficients.
    degrees : tuple of int
        First and last degree of the pattern, as far as the grid resolves them.
    seed : int
        Two instances in one model need two.
    """

    u: str = "u"
    v: str = "v"
    levels: tuple[float, ...] = ()
    ratio: float = 0.02
    dissipation: float | Literal["biharmonic"] = 2e-4
    diffusivity: float | None = None
    decorrelation: str = "2D"
    slope: float = -1.27
    degrees: tuple[int, int] = (2, 40)
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.ratio <= 1:
            raise ValueError(f"ratio is {self.ratio:g}: from 0 to 1")
        diagnosed = self.dissipation == "biharmonic"
        if diagnosed != (self.diffusivity is not None):
            raise ValueError("diffusivity goes with 'dissipation: biharmonic', and the other way round")
        if not diagnosed and not float(self.dissipation) >= 0:
            raise ValueError(f"dissipation is {self.dissipation}: it can't be negative")
        if self.diffusivity is not None and not self.diffusivity > 0:
            raise ValueError(f"diffusivity is {self.diffusivity:g}: it must be positive")
        if not 1 <= self.degrees[0] <= self.degrees[1]:
            raise ValueError(f"degrees is {list(self.degrees)}: first and last, from 1 on")
        _seconds("decorrelation", self.decorrelation)

    @property
    def decorrelation_seconds(self) -> int:
        return _seconds("decorrelation", self.decorrelation)


def _seconds(name: str, text: str) -> int:
    step = Step.parse(text)
    if not step.fixed:
        raise ValueError(f"{name} is {text}: a duration, such as 6h or 2D")
    return step.seconds
