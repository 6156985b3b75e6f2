"""Units: whether two spellings mean the same, and what turns one into the other."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from credit_ray.errors import DataError


@cache
def conversion(given: str, wanted: str, what: str) -> tuple[float, float]:
    """Scale and offset with `wanted = given · scale + offset`.

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
            units.Quantity(value, _canonical_text(given)).to(_canonical_text(wanted)).magnitude for value in (0.0, 1.0)
        )
    except Exception as error:  # pint raises several unrelated classes
        raise DataError(
            f"{what} is in '{given}', which is not '{wanted}': {error}. If its attributes are wrong, say 'units:' in the source."
        ) from None
    return float(one - zero), float(zero)


@cache
def _registry() -> Any:
    import pint

    registry: Any = pint.UnitRegistry(autoconvert_offset_to_baseunit=True)
    registry.define("practical_salinity_unit = 1e-3 = psu")
    return registry


def _canonical_text(text: str) -> str:
    """`m s-1`, `m s**-1` and `m/s` in one spelling that pint reads."""
    text = text.strip().replace("degrees_C", "degC").replace("celsius", "degC").replace("Celsius", "degC")
    text = {"": "dimensionless", "1": "dimensionless", "(0 - 1)": "dimensionless", "~": "dimensionless"}.get(text, text)
    text = re.sub(r"(?<=[A-Za-z])\^?(-?\d+)", r"**\1", text)
    return re.sub(r"\s+(?=[A-Za-z(])", " * ", text)
