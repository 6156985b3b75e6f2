"""What each channel counts: by its variable, its level, and the variance that its errors are measured against. No torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from credit_ray.config.model import LossWeights
from credit_ray.errors import ConfigError, did_you_mean
from credit_ray.state import Channel, Channels

if TYPE_CHECKING:
    from credit_ray.data.statistics import Statistics

_SURFACE_HPA = 1013.25
_TROPOPAUSE_HPA = (200.0, 400.0)
"""Proportional to pressure above the first, constant below the second, and a straight line between."""


def channel_weights(
    weights: LossWeights, channels: Channels, output_std: Sequence[float], statistics: Statistics
) -> list[float]:
    """The weight of each output: its variable's, times its level's, times that of its variance.

    Parameters
    ----------
    weights : LossWeights
        The config's.
    channels : Channels
        Outputs.
    output_std : sequence of float
        σ of each output, in whose units losses compare.
    statistics : Statistics
        Of the training period.

    Raises
    ------
    ConfigError
        For a name, or a level, that no output has; for weights by pressure where levels have none; for an output without variance.
    """
    variable, level = _by_variable(weights.variables, channels), _by_level(weights.levels, channels)
    factors = zip(channels, output_std, variable, level, strict=True)
    return [v * k * _by_variance(weights.inverse_variance, c, std, statistics) for c, std, v, k in factors]


def _by_variable(given: Mapping[str, float], channels: Channels) -> list[float]:
    """By channel name, else by variable, else 1."""
    known = {*channels.names, *channels.variables}
    for name in given:
        if name not in known:
            raise ConfigError(f"loss.weights.variables: no output is called '{name}'.{did_you_mean(name, known)}")
    return [given.get(channel.name, given.get(channel.variable, 1.0)) for channel in channels]


def _by_level(given: Literal["pressure", "tropopause"] | dict[str, float] | None, channels: Channels) -> list[float]:
    """Relative to their mean over the variable's levels, where they follow from pressure; 1 at the surface."""
    if given is None:
        return [1.0] * len(channels)
    if isinstance(given, str):
        raw = [1.0 if c.level is None else _pressure_weight(_pressure(c, given), given) for c in channels]
        return list(_relative_to_mean(raw, channels))
    known = {f"{c.level:g}" for c in channels if c.level is not None}
    listed = {f"{float(level):g}": weight for level, weight in given.items()}
    for level in listed:
        if level not in known:
            raise ConfigError(f"loss.weights.levels: no output is at level {level}.{did_you_mean(level, known)}")
    return [1.0 if c.level is None else listed.get(f"{c.level:g}", 1.0) for c in channels]


def _pressure(channel: Channel, given: str) -> float:
    """In hPa."""
    assert channel.level is not None
    if channel.vertical not in ("pressure", "sigma"):
        raise ConfigError(
            f"loss.weights.levels: {given} needs levels of pressure or sigma, and '{channel.name}' is at a level of {channel.vertical}. "
            f"Give the weights themselves: levels: {{{channel.level:g}: 1.0, …}}."
        )
    return channel.level * (_SURFACE_HPA if channel.vertical == "sigma" else 1.0)


def _pressure_weight(pressure: float, given: str) -> float:
    """Relative weight of a level at `pressure`, hPa.

    `pressure`: proportional to it, which is to mass where levels are at equal steps (Lam et al. 2023, GraphCast). `tropopause`: the same
    above 200 hPa, but all of the troposphere below 400 hPa counts as its lowest level does, after the published recipe of CREDIT's models
    (Schreck et al. 2025).
    """
    upper, lower = _TROPOPAUSE_HPA
    if given == "pressure" or pressure <= upper:
        return pressure
    blend = min((pressure - upper) / (lower - upper), 1.0)
    return upper + blend * (_SURFACE_HPA - upper)


def _relative_to_mean(raw: Sequence[float], channels: Channels) -> Iterator[float]:
    for channel, weight in zip(channels, raw, strict=True):
        of_variable = [raw[i] for i in channels.of(channel.variable)]
        yield weight * len(of_variable) / sum(of_variable)


def _by_variance(
    given: Literal["output", "state", "change"], channel: Channel, output_std: float, statistics: Statistics
) -> float:
    """(σ_output/σ)²: with it, a square error in units of σ_output is one in units of σ."""
    if given == "output":
        return 1.0
    std = (statistics.std if given == "state" else statistics.change_std)[channel.name]
    if not std > 0:
        raise ConfigError(
            f"loss.weights.inverse_variance: {given} has no meaning for '{channel.name}', whose {given} does not vary in the training period."
        )
    return (output_std / std) ** 2
