"""What a stored number means: its unit, the direction that it counts as positive, and the time that it belongs to."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from credit_ray.config.data import SourceConfig
from credit_ray.data.arrays import ArrayInfo
from credit_ray.data.units import conversion, dimensionless
from credit_ray.errors import DataError
from credit_ray.times import Step
from credit_ray.variables import Kind, Variable, canonical_name, counted_positive, interval_in_name, lookup

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """From stored numbers to a variable.

    Parameters
    ----------
    variable, units : str
        Canonical.
    kind, stored : {"instantaneous", "accumulated", "mean"}
        What a value belongs to, inside credit_ray and in the store. They differ where a store holds a mean flux and the variable is its
        accumulation, or the other way round.
    scale, offset : float
        Make `units` of what is stored; where `stored` is not `kind`, `units` times or by second.
    interval : int, optional
        Seconds that a stored value covers, where config or name say it.
    """

    variable: str
    units: str
    kind: Kind
    stored: Kind
    scale: float
    offset: float
    interval: int | None


def meaning_of(asked: str, array: str, info: ArrayInfo, config: SourceConfig) -> Meaning:
    """What the numbers of `array` mean, as the variable that the config asks for.

    Raises
    ------
    DataError
        For units that are missing or measure something else, and for a flux of which nothing says the direction.
    """
    name, known = canonical_name(asked), lookup(asked)
    given = config.units.get(asked) or config.units.get(name) or str(info.attributes.get("units", ""))
    wanted = known.units if known else given
    what = f"{config.store}: '{array}'"
    if not given and not dimensionless(wanted):
        raise DataError(f"{what} has no units; expected {wanted}. Say 'units: {{{asked}: …}}' in the source.")
    kind = stored = kind_of(info, known.kind if known else "instantaneous")
    if known and known.kind != "instantaneous" and kind != "instantaneous":
        kind = known.kind
        stored, scale, offset = conversion_over_an_interval(given, known, what)
    else:
        scale, offset = conversion(given, wanted, what) if given else (1.0, 0.0)
    if known and known.positive:
        sign = _sign(asked, array, info, config, known)
        scale, offset = sign * scale, sign * offset
    interval = config.interval.get(asked) or config.interval.get(name)
    seconds = Step.parse(interval).seconds if interval else interval_in_name(array)
    return Meaning(variable=name, units=wanted, kind=kind, stored=stored, scale=scale, offset=offset, interval=seconds)


def conversion_over_an_interval(given: str, known: Variable, what: str) -> tuple[Kind, float, float]:
    """Units tell a mean from an accumulation, W m⁻² from J m⁻²: what is stored, and the scale and offset that make the variable's units of it.

    Raises
    ------
    DataError
        For units that measure neither.
    """
    try:
        return known.kind, *conversion(given, known.units, what)
    except DataError:
        other: Kind = "mean" if known.kind == "accumulated" else "accumulated"
        per = "s-1" if other == "mean" else "s"
        try:
            return other, *conversion(given, f"{known.units} {per}", what)
        except DataError:
            pass
        raise


def _sign(asked: str, array: str, info: ArrayInfo, config: SourceConfig, known: Variable) -> float:
    counted = config.positive.get(asked) or config.positive.get(known.name) or counted_positive(array, info.attributes)
    if not counted:
        raise DataError(
            f"{config.store}: '{array}' is to be the flux '{known.name}', and neither its name nor its attributes say which direction it counts "
            f"as positive. Say 'positive: {{{asked}: down}}', or up, in the source."
        )
    if counted != known.positive:
        log.info(
            "%s: '%s' is positive %s, '%s' positive %s: its sign is changed.",
            config.store,
            array,
            counted,
            known.name,
            known.positive,
        )
    return 1.0 if counted == known.positive else -1.0


def kind_of(info: ArrayInfo, default: Kind) -> Kind:
    """Whether values belong to times or to intervals: what `cell_methods` says of time, else the vocabulary."""
    methods = str(info.attributes.get("cell_methods", "")).lower()
    kinds: dict[str, Kind] = {"point": "instantaneous", "sum": "accumulated", "mean": "mean"}
    for method, kind in kinds.items():
        if f"time: {method}" in methods:
            return kind
    return default
