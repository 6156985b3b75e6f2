"""Scores by lead time, as pictures: one panel for each of some channels, the model among the baselines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from credit_ray.verification.metrics import METRICS
from credit_ray.verification.scores import MODEL, Scores, channel_title
from credit_ray.verification.styles import FONT, INK, MUTED, PAPER, style_of, units_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LINES: dict[str, dict[str, Any]] = {
    MODEL: {"color": "#0f6fb3", "linewidth": 2.2, "zorder": 4},
    "persistence": {"color": "#7b8794", "linewidth": 1.5, "linestyle": (0, (4, 2)), "zorder": 3},
    "climatology": {"color": "#b7791f", "linewidth": 1.5, "linestyle": (0, (1, 1.6)), "zorder": 2},
}
"""How each forecaster is drawn, here and in the page's legend."""


def curves_figure(scores: Scores, metrics: Sequence[str], channels: Sequence[int], *, model: str) -> Figure:
    """Metrics by lead time.

    Parameters
    ----------
    metrics : sequence of str
        That were scored. Of one, panels are channels; of several, rows are channels and columns are metrics.
    channels : sequence of int
        Positions of the channels.
    model : str
        What the model is called in the legend.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    panels = [(metric, channel) for channel in channels for metric in metrics]
    columns = len(metrics) if len(metrics) > 1 else min(len(channels), 3)
    rows = -(-len(panels) // columns)
    with rc_context(FONT):
        figure = Figure(
            figsize=(max(3.9 * columns, 5.6), 2.75 * rows + 0.7),
            dpi=150,
            facecolor=PAPER,
            layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.08, hspace=0.06),
        )
        grid = figure.subplots(rows, columns, squeeze=False)
        for axes, (metric, channel) in zip(grid.flat, panels, strict=False):
            _panel(axes, scores, metric, channel)
        for axes in grid.flat[len(panels) :]:
            axes.set_visible(False)
        found = {str(line.get_label()): line for axes in grid.flat for line in axes.get_lines()}
        named = [name for name in LINES if name in found]
        figure.legend(
            [found[name] for name in named],
            [model if name == MODEL else name for name in named],
            loc="outside upper left",
            ncols=3,
            frameon=False,
            fontsize=9.5,
            labelcolor=INK,
        )
    return figure


def _panel(axes: Axes, scores: Scores, metric: str, channel: int) -> None:
    kind, leads = METRICS[metric], scores.scored
    numbers = np.array([scores.lead_number(lead) for lead in leads])
    days = scores.step.fixed and numbers[-1] > 48
    x = numbers / 24 if days else numbers
    style = style_of(scores.channels[channel].variable, np.zeros(1))
    factor = style.factor if kind.units else 1.0
    for name in scores.forecasters:
        values = scores.values.get((name, metric))
        if values is None or not np.isfinite(values[leads, channel]).any():
            continue
        marker = "o" if len(leads) <= 16 and name == MODEL else ""
        axes.plot(x, values[leads, channel] * factor, label=name, marker=marker, markersize=3.5, **LINES[name])
    units = units_text(style.units or scores.channels[channel].units) if kind.units else ""
    axes.set_title(channel_title(scores.channels[channel]), loc="left", size=10.5, weight="bold", color=INK)
    axes.set_title(kind.title + (f", {units}" if units else ""), loc="right", size=9, color=MUTED)
    axes.set_xlabel(f"lead time, {'days' if days else 'hours' if scores.step.fixed else 'months'}", size=9, color=MUTED)
    axes.set_xlim(0, x[-1] * 1.02)
    if metric == "rmse":
        axes.set_ylim(bottom=0)
    elif metric == "bias":
        axes.axhline(0, color=MUTED, linewidth=0.7, zorder=1)
    else:
        axes.set_ylim(min(0.0, axes.get_ylim()[0]), 1.02)
    axes.grid(color="#e3e8ee", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8.5, color="#c3ccd6", labelcolor=MUTED)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color("#c3ccd6")
