"""Arguments of the losses, free of torch, so that a config can be checked without it.

Single values are checked when they are given (`ValueError`, which the config's loader turns into a message with file and
line); what depends on the data, when the loss is built.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator

from credit_ray.config.section import validated_arguments
from credit_ray.registry import losses

Transform = Literal["harmonics", "zonal"]
"""What a field is taken apart into: spherical harmonics by their degree, or waves along a row by their number."""


@dataclass(frozen=True, kw_only=True)
class PointwiseArguments:
    """`mse`, `mae` and `log_cosh` have no arguments."""


@dataclass(frozen=True, kw_only=True)
class HuberArguments:
    """Arguments of `huber`.

    Parameters
    ----------
    delta : float
        Where the square ends and the straight line begins, in units of the output's σ.
    """

    delta: float = 1.0

    def __post_init__(self) -> None:
        if not self.delta > 0:
            raise ValueError(f"delta is {self.delta}: it must be more than 0")


@dataclass(frozen=True, kw_only=True)
class CRPSArguments:
    """Arguments of `crps`.

    Parameters
    ----------
    alpha : float
        1: fair, as for infinitely many members; 0: of the members as they are; between: almost fair (0.95 in AIFS-CRPS), which
        keeps a single member from drifting away unpunished.
    """

    alpha: float = 1.0

    def __post_init__(self) -> None:
        _share("alpha", self.alpha)


@dataclass(frozen=True, kw_only=True)
class EnergyScoreArguments:
    """Arguments of `energy_score`.

    Parameters
    ----------
    alpha : float
        1: fair; 0: of the members as they are; between: almost fair.
    joint : bool
        Whether all channels are one vector. Otherwise each channel has a score of its own, and their weighted mean is the loss.
    """

    alpha: float = 1.0
    joint: bool = True

    def __post_init__(self) -> None:
        _share("alpha", self.alpha)


@dataclass(frozen=True, kw_only=True)
class SpectralArguments:
    """Arguments of `spectral` and `power_spectrum`.

    Parameters
    ----------
    transform : str
        `harmonics`: spherical harmonics, by degree; `zonal`: Fourier waves along each row, by wavenumber.
    lowest : int
        Degree or wavenumber from which on scales count.
    """

    transform: Transform = "harmonics"
    lowest: int = 1

    def __post_init__(self) -> None:
        if self.lowest < 1:
            raise ValueError(f"lowest is {self.lowest}: the first wave has number 1")


@dataclass(frozen=True, kw_only=True)
class AdjustedMSEArguments:
    """Arguments of `adjusted_mse`.

    Parameters
    ----------
    transform : str
        `harmonics`: spherical harmonics, by degree; `zonal`: Fourier waves along each row, by wavenumber.
    """

    transform: Transform = "harmonics"


def _part(given: dict[str, Any]) -> dict[str, Any]:
    """Defaults included: two configs that mean the same are written, and hashed, the same."""
    kind, weight = given.get("kind"), given.get("weight", 1.0)
    if not isinstance(kind, str):
        raise ValueError(f"each part names its loss: kind is one of {', '.join(losses.names())}")
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not weight > 0:
        raise ValueError(f"weight is {weight!r}: it must be a number above 0")
    arguments = validated_arguments(losses, kind, {k: v for k, v in given.items() if k not in ("kind", "weight")})
    return {"kind": kind, "weight": float(weight), **asdict(arguments)}


@dataclass(frozen=True, kw_only=True)
class SumArguments:
    """Arguments of `sum`.

    Parameters
    ----------
    parts : tuple of mapping
        `{kind: …, weight: 1.0, …arguments of that loss…}` each.
    """

    parts: tuple[Annotated[dict[str, Any], AfterValidator(_part)], ...]

    def __post_init__(self) -> None:
        if not self.parts:
            raise ValueError("parts is empty: give at least one loss")

    def split(self) -> list[tuple[float, str, Mapping[str, Any]]]:
        """Weight, kind and arguments of each part."""
        return [
            (part["weight"], part["kind"], {k: v for k, v in part.items() if k not in ("kind", "weight")})
            for part in self.parts
        ]


def _share(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{name} is {value}: it must be between 0 and 1")
