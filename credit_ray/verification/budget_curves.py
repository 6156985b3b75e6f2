"""Budgets by lead time as a picture and a table."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from credit_ray.verification.budgets import DATA, UNITS, BudgetCurves
from credit_ray.verification.curves import LINES
from credit_ray.verification.scores import MODEL
from credit_ray.verification.styles import FONT, INK, MUTED, PAPER

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_TITLES = {
    "dry_air_mass": "Dry air", "water": "Water in the air", "energy": "Energy", "ocean_heat": "Heat of the ocean", "salt": "Salt of the ocean",
}  # fmt: skip
_COLUMNS = (
    "model", "quantity", "units", "lead_hours", "lead_months", "forecasts", "content", "drift_per_m2", "largest_drift_per_m2", "flux", "residual",
)  # fmt: skip


def budgets_csv(curves: BudgetCurves, model: str) -> str:
    """All numbers, one row for each forecaster, quantity and lead time."""
    text = io.StringIO()
    table = csv.DictWriter(text, _COLUMNS)
    table.writeheader()
    table.writerows(curves.rows(model))
    return text.getvalue()


def budgets_figure(curves: BudgetCurves, *, model: str) -> Figure:
    """Change of each content since the first lead, per m², with the range over the forecasts; beneath, what the fluxes leave unexplained.

    Parameters
    ----------
    model : str
        What the model is called in the legend.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    quantities = curves.quantities
    rows = 2 if curves.residual else 1
    with rc_context(FONT):
        figure = Figure(
            figsize=(max(3.9 * len(quantities), 5.6), 2.75 * rows + 0.7),
            dpi=150,
            facecolor=PAPER,
            layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.08, hspace=0.06),
        )
        grid = figure.subplots(rows, len(quantities), squeeze=False)
        for column, quantity in enumerate(quantities):
            _drift_panel(grid[0, column], curves, quantity)
            if rows == 2:
                _residual_panel(grid[1, column], curves, quantity)
        found = {str(line.get_label()): line for axes in grid.flat for line in axes.get_lines()}
        named = [name for name in (MODEL, DATA) if name in found]
        figure.legend(
            [found[name] for name in named],
            [model if name == MODEL else "the data" for name in named],
            loc="outside upper left",
            ncols=2,
            frameon=False,
            fontsize=9.5,
            labelcolor=INK,
        )
    return figure


def _drift_panel(axes: Axes, curves: BudgetCurves, quantity: str) -> None:
    factor, units = (1e-3, "kJ m⁻²") if _is_heat(quantity) else (1.0, "kg m⁻²")
    for forecaster, style in ((MODEL, LINES[MODEL]), (DATA, LINES["persistence"])):
        if (forecaster, quantity) not in curves.content:
            continue
        drift = factor * curves.drift(forecaster, quantity)
        there = np.isfinite(drift).any(0)
        x = _x(curves)[there]
        axes.plot(x, np.nanmean(drift[:, there], 0), label=forecaster, **style)
        if forecaster == MODEL and len(drift) > 1:
            low, high = np.nanmin(drift[:, there], 0), np.nanmax(drift[:, there], 0)
            axes.fill_between(x, low, high, color=style["color"], alpha=0.15, linewidth=0)
    _dress(axes, curves, _title(quantity), f"change, {units}")


def _residual_panel(axes: Axes, curves: BudgetCurves, quantity: str) -> None:
    """Per second, where steps have a length; else per step."""
    if quantity not in curves.residual:
        axes.set_visible(False)
        return
    heat, seconds = _is_heat(quantity), curves.step.seconds
    factor, units = (1.0, f"{'J' if heat else 'kg'} m⁻² a step")
    if seconds:
        factor, units = (1 / seconds, "W m⁻²") if heat else (86400 / seconds, "mm d⁻¹")
    residual = factor * curves.residual[quantity] / curves.area
    there = np.isfinite(residual).any(0)
    axes.plot(_x(curves)[there], np.nanmean(residual[:, there], 0), **LINES[MODEL])
    _dress(axes, curves, f"{_title(quantity)}: unexplained", units)


def _title(quantity: str) -> str:
    return _TITLES.get(quantity, quantity.removeprefix("tracer_"))


def _is_heat(quantity: str) -> bool:
    return UNITS.get(quantity) == "J"


def _x(curves: BudgetCurves) -> NDArray[np.floating]:
    if not curves.step.fixed:
        return curves.leads * float(curves.step.months)
    return curves.leads * curves.step.seconds / (86400.0 if _in_days(curves) else 3600.0)


def _in_days(curves: BudgetCurves) -> bool:
    return bool(curves.leads[-1] * curves.step.seconds > 48 * 3600)


def _dress(axes: Axes, curves: BudgetCurves, title: str, units: str) -> None:
    axes.axhline(0, color=MUTED, linewidth=0.7, zorder=1)
    axes.set_title(title, loc="left", size=10.5, weight="bold", color=INK)
    axes.set_title(units, loc="right", size=9, color=MUTED)
    lead = ("days" if _in_days(curves) else "hours") if curves.step.fixed else "months"
    axes.set_xlabel(f"lead time, {lead}", size=9, color=MUTED)
    axes.grid(color="#e3e8ee", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8.5, color="#c3ccd6", labelcolor=MUTED)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color("#c3ccd6")
