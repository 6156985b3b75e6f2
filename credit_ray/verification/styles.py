"""How variables are coloured, and their units set, on maps, curves and tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from credit_ray.verification.projection import Field

INK, MUTED, PAPER = "#1c2733", "#5d6b7a", "#ffffff"
FONT: Any = {"font.family": "DejaVu Sans"}  # comes with matplotlib: a picture is the same on every machine


@dataclass(frozen=True)
class Style:
    """How a variable is coloured.

    Parameters
    ----------
    colours : str
        Matplotlib's name of a colour map.
    centre : float, optional
        The value that has the middle colour of a diverging map.
    low : float, optional
        Where the colours begin, for what can't be less.
    lines : bool
        Whether contour lines help: pressure, heights.
    factor, units : float, str
        From the field's units to those that are shown.
    """

    colours: str = "viridis"
    centre: float | None = None
    low: float | None = None
    lines: bool = False
    factor: float = 1.0
    units: str | None = None


_ERROR = Style("RdBu_r", centre=0.0)
_STYLES: dict[str, Style] = {
    **dict.fromkeys(("t", "t2m", "d2m", "skt", "sst", "thetao"), Style("RdYlBu_r")),
    **dict.fromkeys(("u", "v", "u10", "v10", "w", "zos"), Style("PuOr_r", centre=0.0)),
    **dict.fromkeys(("vo", "d"), Style("RdBu_r", centre=0.0, factor=1e5, units="1e-5 s-1")),
    **dict.fromkeys(("msl", "sp"), Style("viridis", lines=True, factor=0.01, units="hPa")),
    **dict.fromkeys(("z", "gh", "h"), Style("viridis", lines=True)),
    **dict.fromkeys(("q", "clwc", "ciwc"), Style("YlGnBu", low=0.0, factor=1000.0, units="g kg-1")),
    **dict.fromkeys(("tcwv", "tp", "e"), Style("YlGnBu", low=0.0)),
    "pr": Style("YlGnBu", low=0.0, factor=86400.0, units="mm d-1"),
    "siconc": Style("Blues_r", low=0.0),
}


def style_of(variable: str, values: Field, *, error: bool = False) -> Style:
    """Colours for a variable; one that is not known gets a diverging map where its values have both signs."""
    if error:
        known = _STYLES.get(variable, Style())
        return Style(_ERROR.colours, centre=0.0, factor=known.factor, units=known.units)
    if variable in _STYLES:
        return _STYLES[variable]
    low, high = np.nanmin(values), np.nanmax(values)
    both = low < 0 < high and min(-low, high) > 0.2 * max(-low, high)
    return _ERROR if both else Style()


def units_text(units: str) -> str:
    """`m2 s-2` → `m² s⁻²`."""
    raised = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
    words = []
    for word in units.split() if units != "1" else ():
        letters = "10" if word.startswith("1e") else word.rstrip("-0123456789")
        words.append(letters + word.removeprefix("1e").removeprefix(letters).translate(raised))
    return {"degC": "°C"}.get(units, " ".join(words))
