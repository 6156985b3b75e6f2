"""`plot_field`: one field of a forecast store as a picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from credit_ray.state import Channel
from credit_ray.times import format_time
from credit_ray.variables import lookup
from credit_ray.verification.forecasts import Forecasts, open_forecast
from credit_ray.verification.maps import render_field


@dataclass(frozen=True)
class PlotResult:
    """A picture that was written.

    Parameters
    ----------
    path : str
        The PNG.
    shows : str
        What is on it.
    """

    path: str
    shows: str

    def __str__(self) -> str:
        return f"{self.shows}\n  picture  {self.path}"


def plot_field(
    forecast_url: str,
    variable: str,
    lead: str,
    *,
    out: str | Path,
    init_time: str | None = None,
    level: float | None = None,
    width_px: int = 1400,
) -> PlotResult:
    """Draw one field of a forecast.

    Parameters
    ----------
    forecast_url : str
        The store.
    variable : str
        A variable, or a channel with its level: `z_500`.
    lead : str
        `24h`, `3d`, `2mo`, `4steps`.
    out : path
        The PNG to write.
    init_time : str, optional
        Default: the first.
    level : float, optional
        Needed where the variable has several.

    Raises
    ------
    DataError
        Where there is no such store.
    ConfigError
        For a variable, level, lead or initial time that it does not have; names those that it has.
    """
    forecasts = Forecasts(open_forecast(str(forecast_url)), str(forecast_url))
    channel, level_position = forecasts.find_channel(variable, level)
    lead_position, init = forecasts.find_lead(lead), forecasts.find_init(init_time)
    field = forecasts.read(channel.variable, init, lead_position, level_position)
    title, subtitle = field_title(channel), field_subtitle(forecasts, init, lead_position)
    path = Path(out)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = render_field(
        field,
        forecasts.grid,
        title=title,
        subtitle=subtitle,
        units=channel.units,
        variable=channel.variable,
        land=land_of(forecasts),
        width_px=width_px,
    )
    path.write_bytes(picture)
    return PlotResult(str(path), f"{title}: {subtitle}")


def field_title(channel: Channel) -> str:
    """`Geopotential at 500 hPa`."""
    known = lookup(channel.variable)
    name = (known.standard_name if known else channel.variable).replace("_", " ")
    where = ""
    if channel.level is not None:
        level = f"{channel.level:g}"
        places = {"pressure": f"{level} hPa", "sigma": f"σ {level}", "depth": f"{level} m depth"}
        where = f" at {places.get(channel.vertical or '', f'level {level}')}"
    return f"{name[0].upper()}{name[1:]}{where}"


def field_subtitle(forecasts: Forecasts, init: int, lead: int) -> str:
    """What made it, from when, how far, for when."""
    begin, valid = forecasts.init_times[init], forecasts.valid_times[init, lead]
    times = [format_time(int(time), forecasts.calendar).replace("T", " ") + " UTC" for time in (begin, valid)]
    return f"{forecasts.model}  ·  from {times[0]}  ·  lead {forecasts.lead_text(lead)}  ·  valid {times[1]}"


def land_of(forecasts: Forecasts) -> NDArray[np.float32] | None:
    """The land fraction, where the store has it."""
    if "lsm" not in forecasts.dataset:
        return None
    return np.asarray(forecasts.dataset["lsm"].values, np.float32)
