"""Parts of a forecast, read from its store: one field, as numbers or as a picture; all channels at a place."""

from __future__ import annotations

import json
import struct
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from credit_ray.errors import ConfigError, did_you_mean
from credit_ray.grid.latlon import LatLonGrid
from credit_ray.serving.jobs import Accepted, Progress
from credit_ray.serving.problems import RETRY_SECONDS, Problem, field_problem
from credit_ray.state import Channel
from credit_ray.times import Step

if TYPE_CHECKING:
    from pathlib import Path

FIELD_MEDIA_TYPE = "application/octet-stream"

_drawing = threading.Lock()  # matplotlib's settings are global: one picture at a time


@dataclass(frozen=True, kw_only=True)
class ForecastField:
    """One channel at one lead time.

    Parameters
    ----------
    values : array [lat, lon]
        float32, north to south.
    latitude, longitude : array
        Degrees.
    channel : Channel
        What it is.
    lead, init_time, valid_time : str
        When it is.
    made_by : str
        Model and version.
    land : array [lat, lon], optional
        Land fraction, to find one's way on a map.
    """

    values: NDArray[np.float32]
    latitude: NDArray[np.float64]
    longitude: NDArray[np.float64]
    channel: Channel
    lead: str
    init_time: str
    valid_time: str
    made_by: str
    land: NDArray[np.float32] | None = None

    def to_bytes(self) -> bytes:
        """uint32 length of the header, the header in JSON padded to four bytes, then the values; all little-endian."""
        header = {
            "variable": self.channel.variable,
            "level": self.channel.level,
            "units": self.channel.units,
            "lead": self.lead,
            "init_time": self.init_time,
            "valid_time": self.valid_time,
            "dtype": "float32",
            "shape": list(self.values.shape),
            "latitude": self.latitude.tolist(),
            "longitude": self.longitude.tolist(),
        }
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 4)
        return struct.pack("<I", len(text)) + text + np.ascontiguousarray(self.values, "<f4").tobytes()

    def to_png(self) -> bytes:
        """A map."""
        from credit_ray.verification.maps import render_field
        from credit_ray.verification.plot import field_title

        with _drawing:
            return render_field(
                self.values,
                LatLonGrid(self.latitude, self.longitude),
                title=field_title(self.channel),
                subtitle=f"{self.made_by}  ·  from {self.init_time}  ·  lead {self.lead}  ·  valid {self.valid_time}",
                units=self.channel.units,
                variable=self.channel.variable,
                land=self.land,
            )


def read_field(
    store: Path, job: Accepted, progress: Progress, variable: str, lead: str, level: float | None
) -> ForecastField:
    """One field of a forecast that may still grow.

    Raises
    ------
    Problem
        422 for what it does not hold, 409 for what it does not hold yet.
    """
    channel, position = _channel(job, variable, level)
    step = _kept_step(job, lead)
    if step > progress.steps_done:
        _refuse_unwritten(job, progress, step)
    group = _Store(store)
    return ForecastField(
        values=group.read(channel, position, job.kept.index(step)),
        latitude=group.axis("latitude"),
        longitude=group.axis("longitude"),
        channel=channel,
        lead=job.lead(step),
        init_time=job.time(0),
        valid_time=job.time(step),
        made_by=f"{job.model} v{progress.lineage.get('model_version')}",
        land=group.land(),
    )


def read_point(store: Path, job: Accepted, progress: Progress, latitude: float, longitude: float) -> dict[str, Any]:
    """All kept channels, at all lead times that are written, in the cell nearest to a place.

    Raises
    ------
    Problem
        422 outside the grid.
    """
    steps = [step for step in job.kept if step <= progress.steps_done]
    if not steps:
        _refuse_unwritten(job, progress, job.kept[0])
    group = _Store(store)
    row = _nearest("latitude", group.axis("latitude"), latitude, None)
    column = _nearest("longitude", group.axis("longitude"), longitude, 360.0)
    series = {}
    for channel, position in _kept(job):
        values = group.read(channel, position, slice(0, len(steps)), row, column)
        series[channel.name] = {
            "variable": channel.variable,
            "level": channel.level,
            "units": channel.units,
            "values": [float(v) if np.isfinite(v) else None for v in values],
        }
    return {
        "latitude": float(group.axis("latitude")[row]),
        "longitude": float(group.axis("longitude")[column]),
        "init_time": job.time(0),
        "leads": [job.lead(step) for step in steps],
        "valid_times": [job.time(step) for step in steps],
        "channels": series,
    }


class _Store:
    """The forecast's arrays, one initial time, by channel."""

    def __init__(self, path: Path) -> None:
        import zarr

        self.group: Any = zarr.open_group(str(path), mode="r", zarr_format=3)

    def axis(self, name: str) -> NDArray[np.float64]:
        return np.asarray(self.group[name][:], np.float64)

    def land(self) -> NDArray[np.float32] | None:
        return np.asarray(self.group["lsm"][:], np.float32) if "lsm" in self.group else None

    def read(self, channel: Channel, level: int, lead: int | slice, *place: int) -> NDArray[np.float32]:
        """`level`: position among the variable's kept levels; `place`: row and column."""
        index = (0, lead, *place) if channel.level is None else (0, lead, level, *place)
        return np.asarray(self.group[channel.variable][index], np.float32)


def _kept(job: Accepted) -> Iterator[tuple[Channel, int]]:
    """The kept channels, and the position of each among its variable's levels."""
    seen: Counter[str] = Counter()
    for plain in job.channels:
        channel = Channel(**plain)
        yield channel, seen[channel.variable]
        seen[channel.variable] += 1


def _channel(job: Accepted, variable: str, level: float | None) -> tuple[Channel, int]:
    channels = list(_kept(job))
    variables = list(dict.fromkeys(c.variable for c, _ in channels))
    if variable not in variables:
        detail = f"The forecast holds no variable '{variable}'.{did_you_mean(variable, variables)}"
        raise field_problem("variable", detail, allowed=variables)
    found = [(c, position) for c, position in channels if c.variable == variable]
    levels = [c.level for c, _ in found if c.level is not None]
    for channel, position in found:
        if channel.level == level:
            return channel, position
    if level is None and len(found) == 1:
        return found[0]
    if not levels:
        raise field_problem("level", f"'{variable}' has no levels: leave 'level' out.", allowed=[])
    given = "no level is given" if level is None else f"there is no level {level:g}"
    raise field_problem(
        "level", f"For '{variable}' {given}; it has {', '.join(f'{x:g}' for x in levels)}.", allowed=levels
    )


def _kept_step(job: Accepted, lead: str) -> int:
    kept = job.kept
    allowed = {"first": job.lead(kept[0]), "last": job.lead(kept[-1]), "every": job.lead(job.every)}
    text = f"There is a field at each {allowed['every']} from {allowed['first']} to {allowed['last']}."
    try:
        step = Step.parse(job.step).count_in(lead)
    except (ConfigError, ValueError) as error:
        raise field_problem("lead", f"'lead': {error} {text}", allowed=allowed) from None
    if step not in kept:
        raise field_problem("lead", f"The forecast has no lead {lead}. {text}", allowed=allowed)
    return step


def _refuse_unwritten(job: Accepted, progress: Progress, step: int) -> None:
    detail = f"The forecast is {progress.state} and has {progress.steps_done} of {job.steps} steps: lead {job.lead(step)} is not there yet."
    raise Problem(
        409, "not-yet-written", detail, retry_after=RETRY_SECONDS, state=progress.state, steps_done=progress.steps_done
    )


def _nearest(name: str, axis: NDArray[np.float64], value: float, period: float | None) -> int:
    distance = np.abs(axis - value)
    if period:
        distance = np.minimum(distance % period, -distance % period)
    nearest = int(np.argmin(distance))
    if distance[nearest] > np.abs(np.diff(axis)).max():
        detail = f"The grid does not reach {name} {value:g}: it goes from {axis[0]:g} to {axis[-1]:g}."
        raise field_problem(name, detail, allowed=[float(axis[0]), float(axis[-1])])
    return nearest
