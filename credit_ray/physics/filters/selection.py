"""Which channels a filter is of: scalars by name, winds as pairs, one pair for each level."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from credit_ray.errors import ConfigError, SpecMismatchError
from credit_ray.state import Channels, Fields, StateSpec
from credit_ray.variables import VOCABULARY, canonical_name, lookup

Pair = tuple[str, str]


@dataclass(frozen=True)
class Selection:
    """Channel names.

    Parameters
    ----------
    scalars : tuple of str
        Channels that are numbers at a place.
    winds : tuple of pairs of str
        Channels that are the eastward and northward components of one vector.
    """

    scalars: tuple[str, ...]
    winds: tuple[Pair, ...]

    @property
    def channels(self) -> frozenset[str]:
        """All of them."""
        return frozenset({*self.scalars, *(name for pair in self.winds for name in pair)})

    @classmethod
    def of(cls, variables: Sequence[str], spec: StateSpec, kind: str) -> Selection:
        """All levels of these variables.

        Raises
        ------
        ConfigError
            For a variable that the model does not predict, or a component without the other.
        """
        names = [canonical_name(variable) for variable in variables]
        scalars: list[str] = []
        winds: list[Pair] = []
        for name in names:
            partner = _partner(name)
            if partner is None:
                scalars += _channels(name, spec, kind)
            elif partner not in names:
                raise ConfigError(f"constraints: '{kind}' of '{name}' needs '{partner}' too: they are one wind.")
            elif _is_eastward(name):
                winds += wind_pairs(name, partner, spec, kind)
        return cls(tuple(scalars), tuple(winds))


def wind_pairs(u: str, v: str, spec: StateSpec, kind: str, levels: Sequence[float] = ()) -> list[Pair]:
    """The channels of a wind, level by level.

    Parameters
    ----------
    levels : sequence of float
        Of which; default: all.

    Raises
    ------
    ConfigError
        Where the model does not predict both components on the same levels, or lacks one of `levels`.
    """
    eastward, northward = (_by_level(canonical_name(name), spec.outputs, kind) for name in (u, v))
    if eastward.keys() != northward.keys():
        raise ConfigError(f"constraints: '{kind}' needs '{u}' and '{v}' on the same levels.")
    absent = [level for level in levels if level not in eastward]
    if absent:
        have = ", ".join(f"{level:g}" for level in eastward if level is not None)
        raise ConfigError(f"constraints: '{kind}': '{u}' is not on level {absent[0]:g}; it is on {have or 'none'}.")
    wanted: list[float | None] = [*levels] or [*eastward]
    return [(eastward[level], northward[level]) for level in wanted]


def stack(fields: Fields, names: Sequence[str]) -> Tensor:
    """Channels by name: [trajectory, name, *grid]."""
    return fields.data[:, [fields.channels.index(name) for name in names]]


def wind(fields: Fields, pairs: Sequence[Pair]) -> tuple[Tensor, Tensor]:
    """Both components: [trajectory, pair, *grid] each."""
    return stack(fields, [u for u, _ in pairs]), stack(fields, [v for _, v in pairs])


def named(pairs: Sequence[Pair], u: Tensor, v: Tensor) -> dict[str, Tensor]:
    """The inverse of `wind`: channel name → [trajectory, *grid]."""
    both = {east: u[:, i] for i, (east, _) in enumerate(pairs)}
    return both | {north: v[:, i] for i, (_, north) in enumerate(pairs)}


def _by_level(variable: str, channels: Channels, kind: str) -> dict[float | None, str]:
    try:
        return {channels[i].level: channels[i].name for i in channels.of(variable)}
    except SpecMismatchError as error:
        raise ConfigError(f"constraints: '{kind}' is of what the model predicts. {error}") from None


def _channels(variable: str, spec: StateSpec, kind: str) -> list[str]:
    return list(_by_level(variable, spec.outputs, kind).values())


def _is_eastward(variable: str) -> bool:
    known = lookup(variable)
    return known is not None and known.standard_name.startswith("eastward")


def _partner(variable: str) -> str | None:
    """The other component of a vector, or None for a scalar."""
    known = lookup(variable)
    if known is None or not known.vector:
        return None
    here, there = ("eastward", "northward") if _is_eastward(variable) else ("northward", "eastward")
    wanted = known.standard_name.replace(here, there, 1)
    return next(other.name for other in VOCABULARY if other.standard_name == wanted)
