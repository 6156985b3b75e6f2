"""Units: whether two spellings mean the same, and what turns one into the other."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from credit_ray.errors import DataError

_SPELLINGS = {
    **dict.fromkeys(
        ("", "1", "1.0", "-", "~", "(0 - 1)", "0-1", "fraction", "none", "unitless", "code table"), "dimensionless"
    ),
    **dict.fromkeys(
        ("C", "°C", "deg C", "deg_C", "degree_C", "degrees_C", "degree C", "degrees C", "Celsius", "celsius"), "degC"
    ),
    **dict.fromkeys(("degree_Celsius", "degrees_Celsius", "degree Celsius", "degrees Celsius"), "degC"),
    **dict.fromkeys(
        ("psu", "PSU", "practical_salinity_unit", "g/kg", "g kg-1", "g kg**-1", "1e-3", "0.001"), "permille"
    ),
    **dict.fromkeys(("mb", "mbar", "millibars"), "hPa"),  # "mb" would be a millibarn
    **dict.fromkeys(("m of water equivalent", "m of water", "gpm"), "m"),
    "%": "percent",
}


@cache
def conversion(given: str, wanted: str, what: str) -> tuple[float, float]:
    """Scale and offset with `wanted = given · scale + offset`.

    A depth of water is taken for its mass, at 1000 kg m⁻³: precipitation comes in metres as well as in kg m⁻².

    Raises
    ------
    DataError
        Where the units do not measure the same thing, or can't be read; `what` names the variable and its store.
    """
    if given == wanted or _canonical_text(given) == _canonical_text(wanted):
        return 1.0, 0.0
    units = _registry()
    try:
        zero, one = (
            units.Quantity(value, _canonical_text(given)).to(_canonical_text(wanted), "water").magnitude
            for value in (0.0, 1.0)
        )
    except Exception as error:  # pint raises several unrelated classes
        raise DataError(
            f"{what} is in '{given}', which is not '{wanted}': {error}. If its attributes are wrong, say 'units:' in the source."
        ) from None
    return float(one - zero), float(zero)


def dimensionless(units: str) -> bool:
    """Whether a number without units may stand for it."""
    return _canonical_text(units) == "dimensionless"


@cache
def _registry() -> Any:
    import pint

    registry: Any = pint.UnitRegistry(autoconvert_offset_to_baseunit=True)
    water = pint.Context("water")
    density = registry.Quantity(1000.0, "kg/m**3")
    for per in ("", " / [time]"):
        water.add_transformation(f"[length]{per}", f"[mass] / [length]**2{per}", _mass_of(density))
    registry.add_context(water)
    return registry


def _mass_of(density: Any) -> Any:
    return lambda _, depth: depth * density


def _canonical_text(text: str) -> str:
    """`m s-1`, `m s**-1`, `m.s^-1` and `m/s` in one spelling that pint reads."""
    text = _SPELLINGS.get(text.strip(), text.strip()).replace("^", "**")
    text = re.sub(r"(?<=[A-Za-z\d])[.·](?=[A-Za-z])", " ", text)
    text = re.sub(r"(?<![\w.])([A-Za-z_]+)([+-]?\d+)", r"\1**\2", text)
    return re.sub(r"(?<=[\w)])\s+(?=[A-Za-z(])", " * ", text)
