"""One field as a picture: the globe in the Equal Earth projection, or a region on a plain one.

No map library and no file of coastlines is needed: the field is interpolated to the picture's pixels through the inverse projection,
and where the data know land from sea, its outline is drawn from them.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from credit_ray.grid.latlon import LatLonGrid
from credit_ray.verification.projection import HEIGHT, WIDTH, Field, Frame, equal_earth
from credit_ray.verification.styles import FONT, INK, MUTED, PAPER, Style, style_of, units_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw_field(
    axes: Axes,
    values: Field,
    grid: LatLonGrid,
    *,
    variable: str,
    land: Field | None = None,
    limits: tuple[float, float] | None = None,
    error: bool = False,
    pixels: int = 1400,
) -> tuple[Any, Style]:
    """Draw one field into axes.

    Parameters
    ----------
    values : array [*grid]
        NaN where there is nothing.
    variable : str
        Chooses the colours.
    land : array [*grid], optional
        Land fraction, whose outline is drawn at one half.
    limits : tuple, optional
        Lowest and highest colour, in shown units; by default the field's own.
    error : bool
        Whether the field is a difference, to be coloured about zero.
    pixels : int
        Width of the picture that the field is interpolated to.

    Returns
    -------
    tuple
        What a colour bar needs, and the style.
    """
    from matplotlib import colormaps
    from matplotlib.colors import BoundaryNorm

    style = style_of(variable, values, error=error)
    frame = Frame.of(grid, pixels)
    shown = frame.sample(np.asarray(values, np.float64) * style.factor)
    levels = _levels(shown, style, limits)
    colours = colormaps[style.colours].with_extremes(bad="#d9dde2")
    norm = BoundaryNorm(levels, colours.N, extend="both")
    picture = axes.imshow(
        np.ma.masked_invalid(shown),
        extent=frame.extent,
        origin="upper",
        cmap=colours,
        norm=norm,
        interpolation="antialiased",
        zorder=1,
    )
    if style.lines and not error:
        # every other level: the colours already show all of them
        lines = axes.contour(
            frame.x,
            frame.y,
            shown,
            levels=levels[::2],
            colors=INK,
            linewidths=0.45,
            linestyles="solid",
            alpha=0.55,
            zorder=2,
        )
        if pixels >= 1000:  # smaller maps have no room for numbers
            axes.clabel(lines, fontsize=6, fmt=_plain, inline_spacing=2)
    if land is not None:
        axes.contour(
            frame.x,
            frame.y,
            frame.sample(np.asarray(land, np.float64)),
            levels=[0.5],
            colors=INK,
            linewidths=0.8,
            zorder=3,
        )
    _finish(axes, frame, picture)
    return picture, style


def field_figure(
    values: Field,
    grid: LatLonGrid,
    *,
    title: str,
    subtitle: str = "",
    units: str,
    variable: str,
    land: Field | None = None,
    limits: tuple[float, float] | None = None,
    error: bool = False,
    width_px: int = 1400,
) -> Figure:
    """A figure of one field: map, colour bar, title. The caller saves it, or logs it."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(FONT):
        width = 10.0
        globe = grid.periodic and grid.reaches_poles
        height = width * (0.60 if globe else min(0.95, 0.16 + 0.9 * Frame.of(grid, 64).aspect))
        figure = Figure(figsize=(width, height), dpi=width_px / width, facecolor=PAPER)
        axes = figure.add_axes((0.02, 0.95 / height, 0.96, 1 - 1.75 / height))
        picture, style = draw_field(
            axes,
            values,
            grid,
            variable=variable,
            land=land,
            limits=limits,
            error=error,
            pixels=min(max(width_px, 400), 2400),
        )
        figure.text(0.035, 1 - 0.22 / height, title, size=15, weight="bold", color=INK, va="top")
        figure.text(0.035, 1 - 0.52 / height, subtitle, size=10, color=MUTED, va="top")
        bar = figure.colorbar(
            picture,
            cax=figure.add_axes((0.25, 0.56 / height, 0.5, 0.13 / height)),
            orientation="horizontal",
            extend="both",
        )
        finish_bar(bar, style.units or units)
    return figure


def render_field(
    values: Field,
    grid: LatLonGrid,
    *,
    title: str,
    subtitle: str = "",
    units: str,
    variable: str,
    land: Field | None = None,
    limits: tuple[float, float] | None = None,
    error: bool = False,
    width_px: int = 1400,
) -> bytes:
    """The figure of one field as PNG.

    Parameters
    ----------
    values : array [*grid]
        NaN where there is nothing.
    title, subtitle : str
        Above the map.
    units : str
        Of the values; pressures in Pa are shown in hPa.
    variable : str
        Canonical name; chooses the colours.
    land, limits, error
        As for `draw_field`.
    width_px : int
        Of the picture.
    """
    figure = field_figure(
        values,
        grid,
        title=title,
        subtitle=subtitle,
        units=units,
        variable=variable,
        land=land,
        limits=limits,
        error=error,
        width_px=width_px,
    )
    return to_png(figure)


def to_png(figure: Figure) -> bytes:
    """A figure as PNG."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": "credit_ray"})
    return stream.getvalue()


def finish_bar(bar: Any, units: str, ticks: int = 9) -> None:
    """Make a colour bar quiet, with at most so many ticks."""
    between = bar.norm.boundaries
    every = -(-len(between) // ticks)
    middle = int(np.argmin(np.abs(between))) % every  # zero has a tick, where it is among them
    bar.set_ticks(between[middle::every])
    bar.minorticks_off()
    bar.outline.set_linewidth(0.4)
    bar.outline.set_edgecolor(MUTED)
    bar.ax.tick_params(labelsize=8.5, color=MUTED, labelcolor=INK, width=0.5, length=3)
    bar.set_label(units_text(units), size=9, color=MUTED)


def _finish(axes: Axes, frame: Frame, picture: Any) -> None:
    """Graticule, outline, no ticks."""
    axes.set_axis_off()
    axes.set_aspect("equal" if frame.kind == "globe" else 1 / np.cos(np.radians(float(frame.grid.latitude.mean()))))
    if frame.kind == "region":
        axes.set_axis_on()
        axes.tick_params(labelsize=8, color=MUTED, labelcolor=MUTED, width=0.5, length=3)
        for spine in axes.spines.values():
            spine.set_linewidth(0.5)
        return
    latitude, longitude = np.linspace(-90, 90, 181), np.linspace(-180, 180, 361)
    for meridian in range(-120, 180, 60):
        axes.plot(*equal_earth(latitude, np.full(181, meridian)), color="white", linewidth=0.5, alpha=0.45, zorder=2.5)
    for parallel in range(-60, 90, 30):
        axes.plot(*equal_earth(np.full(361, parallel), longitude), color="white", linewidth=0.5, alpha=0.45, zorder=2.5)
    edge = np.concatenate([latitude, latitude[::-1]]), np.concatenate([np.full(181, 180.0), np.full(181, -180.0)])
    outline = axes.fill(*equal_earth(*edge), facecolor="none", edgecolor=INK, linewidth=0.9, zorder=4)[0]
    picture.set_clip_path(outline)
    margin = 0.012 * WIDTH
    axes.set_xlim(-WIDTH - margin, WIDTH + margin)
    axes.set_ylim(-HEIGHT - margin, HEIGHT + margin)


def _levels(shown: Field, style: Style, limits: tuple[float, float] | None) -> NDArray[np.float64]:
    """Some twenty round levels between the extremes, but for the outermost half per cent."""
    from matplotlib.ticker import MaxNLocator

    low, high = limits or tuple(np.nanpercentile(shown, [0.5, 99.5]))
    if style.centre is not None:
        reach = max(abs(low - style.centre), abs(high - style.centre))
        low, high = style.centre - reach, style.centre + reach
    if style.low is not None:
        low = style.low
    if not high > low:
        low, high = low - 0.5, high + 0.5
    return np.asarray(MaxNLocator(22, steps=[1, 2, 2.5, 4, 5, 10]).tick_values(low, high))


def _plain(value: float) -> str:
    return f"{value:g}"


def common_limits(fields: Sequence[Field], variable: str) -> tuple[float, float]:
    """Colour limits that fit several fields, in shown units."""
    together = np.concatenate([np.ravel(f) for f in fields]).astype(np.float64) * style_of(variable, fields[0]).factor
    low, high = np.nanpercentile(together, [0.5, 99.5])
    return float(low), float(high)
