"""One forecast beside what happened: three maps, so that scores have a face."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from credit_ray.state import Channel, Channels
from credit_ray.verification.forecasts import Forecasts
from credit_ray.verification.maps import common_limits, draw_field, finish_bar
from credit_ray.verification.plot import field_subtitle, field_title, land_of
from credit_ray.verification.scoring import Truth
from credit_ray.verification.styles import FONT, INK, MUTED, PAPER

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def case_figure(forecasts: Forecasts, truth: Truth, channel: Channel, init: int, lead: int) -> Figure:
    """Forecast, truth and error of one channel, from one initial time at one lead time."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    level = forecasts.find_channel(channel.variable, channel.level)[1]
    said = forecasts.read(channel.variable, init, lead, level)
    true = truth.fields(forecasts.valid_times[[init], [lead]], Channels([channel]))[0, 0]
    grid, land = forecasts.grid, land_of(forecasts)
    limits = common_limits([said, true], channel.variable)
    height = 3.5
    with rc_context(FONT):
        figure = Figure(figsize=(13.5, height), dpi=150, facecolor=PAPER)
        figure.text(0.008, 0.97, field_title(channel), size=12, weight="bold", color=INK, va="top")
        figure.text(0.008, 0.885, field_subtitle(forecasts, init, lead), size=9, color=MUTED, va="top")
        for k, (name, values) in enumerate((("Forecast", said), ("What happened", true), ("Error", said - true))):
            error = name == "Error"
            axes = figure.add_axes((0.003 + k * 0.334, 0.145, 0.326, 0.635))
            picture, style = draw_field(
                axes,
                np.asarray(values),
                grid,
                variable=channel.variable,
                land=land,
                limits=None if error else limits,
                error=error,
                pixels=900,
            )
            axes.set_title(name, size=10, color=INK, pad=4)
            bar = figure.colorbar(
                picture,
                cax=figure.add_axes((0.055 + k * 0.334, 0.125, 0.222, 0.026)),
                orientation="horizontal",
                extend="both",
            )
            finish_bar(bar, style.units or channel.units, ticks=6)
    return figure
