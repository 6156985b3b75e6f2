"""The vocabulary: what a variable is called, measured in, and how it behaves, whoever wrote the file.

Data sets disagree on names (`t`, `T`, `temperature`, `air_temperature`); inside credit_ray there is one. A name that is not listed is
allowed, and then means itself with the units of its store: the vocabulary spares work, it forbids nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from credit_ray.errors import DataError, did_you_mean
from credit_ray.vocabulary import VOCABULARY, Direction, Kind, Variable

__all__ = [
    "VOCABULARY",
    "Direction",
    "Kind",
    "Variable",
    "canonical_name",
    "counted_positive",
    "find_in_store",
    "interval_in_name",
    "lookup",
]

_INTERVAL_SUFFIX = re.compile(r"_(\d+)hr?$")  # total_precipitation_6hr, as in the archives of WeatherBench 2


@cache
def _by_any_name() -> dict[str, Variable]:
    table: dict[str, Variable] = {}
    for variable in VOCABULARY:
        for name in variable.names:
            if table.setdefault(name, variable) is not variable:
                raise AssertionError(f"the vocabulary has '{name}' twice: {variable.name} and {table[name].name}")
    return table


def lookup(name: str) -> Variable | None:
    """The entry known by that canonical, CF, long or short name, with or without its interval (`…_6hr`), or None."""
    table = _by_any_name()
    found = table.get(name)
    if found is None and _INTERVAL_SUFFIX.search(name):
        found = table.get(_INTERVAL_SUFFIX.sub("", name))
        return found if found and found.kind != "instantaneous" else None
    return found


def canonical_name(name: str) -> str:
    """The name used inside; a name that the vocabulary does not have is its own."""
    variable = lookup(name)
    return variable.name if variable else name


def interval_in_name(name: str) -> int | None:
    """Seconds of the interval that an array's name says its values belong to (`total_precipitation_6hr`); None where it says none."""
    match = _INTERVAL_SUFFIX.search(name)
    return int(match[1]) * 3600 if match and lookup(name) else None


def counted_positive(array: str, attributes: Mapping[str, Any]) -> Direction:
    """Which direction a store's array of a flux counts as positive, as its `positive` attribute, its name or its standard name tell.

    The name goes before the standard name, since files of ECMWF's fluxes often carry the upward flux's standard name although they
    are positive downward.
    """
    attribute = str(attributes.get("positive", "")).lower()
    if attribute in ("down", "up"):
        return "down" if attribute == "down" else "up"
    for name in (array, str(attributes.get("standard_name", ""))):
        known = lookup(name)
        if known and known.positive:
            turned = {name, _INTERVAL_SUFFIX.sub("", name)} & set(known.opposite)
            return known.positive if not turned else "up" if known.positive == "down" else "down"
    return ""


def find_in_store(name: str, available: dict[str, str], rename: dict[str, str], where: str) -> str:
    """Which array of a store holds the variable `name`, or its counterpart: the mean of an accumulation, or the other way round.

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
    for known in (variable, lookup(variable.counterpart) if variable else None):
        found = _arrays_of(known, available) if known else []
        if len(found) > 1:
            raise DataError(f"In {where} '{name}' may be {' or '.join(found)}: say which with 'rename: {{{name}: …}}'.")
        if found:
            return found[0]
    raise DataError(f"{where} has no variable '{name}'.{did_you_mean(name, {*available, *_shown(available)})}")


def _arrays_of(variable: Variable, available: Mapping[str, str]) -> list[str]:
    """Arrays that hold a variable: by name, by name and interval, else by attribute."""
    return (
        [name for name in variable.names if name in available]
        or [name for name in available if lookup(name) is variable]
        or [name for name, standard in available.items() if standard and lookup(standard) is variable]
    )


def _shown(available: Iterable[str]) -> set[str]:
    """Canonical names of what a store has: a user may have meant one of them."""
    return {canonical_name(name) for name in available if lookup(name)}
