"""Forcings and statics that need no file: sunlight, season, time of day, place.

Sunlight by the low-precision ephemeris of the Astronomical Almanac as ECMWF's models use it (Geleyn 1980; the series for the sun's
ecliptic longitude, the equation of time and the distance), in float64 throughout: days since 2000 in float32 would quantise the
hour angle to a third of a degree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from credit_ray.config.data import SourceConfig
from credit_ray.data.source import FieldsByVariable
from credit_ray.errors import DataError, did_you_mean
from credit_ray.grid.latlon import LatLonGrid
from credit_ray.state import ROLES, Channel, Channels
from credit_ray.times import STANDARD_CALENDARS, Step, Times, fraction_of_year

SOLAR_CONSTANT = 1361.0
"""Total solar irradiance at one astronomical unit, W m⁻² (Kopp and Lean 2011, rounded)."""

_J2000_SECONDS = 946_728_000  # 2000-01-01 12:00 UTC
_DAY = 86400

Field = NDArray[np.float64]


def solar_position(times: Times, calendar: str = "standard") -> tuple[Field, Field, Field]:
    """Sine of the declination, equation of time (s) and distance (AU) of the sun: three arrays like `times`."""
    standard = calendar in STANDARD_CALENDARS
    # in another calendar, the season of its own year
    years = (times - _J2000_SECONDS) / 86400 / 365.25 if standard else fraction_of_year(times, calendar)
    anomaly = 6.240041 + 6.283020 * years
    earth = 1.7535 + 6.283076 * years
    mean_longitude = 4.8951 + 6.283076 * years
    longitude = (
        4.8952
        + 6.283320 * years
        - 0.0075 * np.sin(earth)
        - 0.0326 * np.cos(earth)
        - 0.0003 * np.sin(2 * earth)
        + 0.0002 * np.cos(2 * earth)
    )
    sine_declination = np.sin(0.409093) * np.sin(longitude)
    twice = 2 * mean_longitude
    equation_of_time = (
        591.8 * np.sin(twice)
        - 459.4 * np.sin(anomaly)
        + 39.5 * np.sin(anomaly) * np.cos(twice)
        - 12.7 * np.sin(2 * twice)
        - 4.8 * np.sin(2 * anomaly)
    )
    distance = 1.0001 - 0.0163 * np.sin(earth) + 0.0037 * np.cos(earth)
    return sine_declination, equation_of_time, distance


def toa_solar_flux(times: Times, grid: LatLonGrid, calendar: str = "standard") -> Field:
    """Incident solar radiation at the top of the atmosphere at these times: [time, *grid], W m⁻²."""
    distance = solar_position(times, calendar)[2][:, None, None]
    return SOLAR_CONSTANT / distance**2 * cosine_of_zenith(times, grid, calendar)


def cosine_of_zenith(times: Times, grid: LatLonGrid, calendar: str = "standard") -> Field:
    """Cosine of the sun's angle from the zenith, 0 where it is below the horizon: [time, *grid]."""
    sine, equation, _ = (x[:, None, None] for x in solar_position(times, calendar))
    latitude, longitude = np.radians(grid.latitude)[:, None], np.radians(grid.longitude)[None, :]
    day = (np.asarray(times) % 86400)[:, None, None]
    hour_angle = 2 * np.pi * ((day + equation) / 86400 - 0.5) + longitude
    zenith = np.sin(latitude) * sine + np.cos(latitude) * np.sqrt(1 - sine**2) * np.cos(hour_angle)
    return np.maximum(zenith, 0.0)


def mean_solar_flux(times: Times, step: Step, grid: LatLonGrid, calendar: str = "standard") -> Field:
    """Its mean over the step that ends at each time, (t − Δt, t]; over the months that begin with it, where steps are months.

    [time, *grid], W m⁻². In closed form (after Berger 1978): with the sun's declination held over at most six hours, the flux is
    S/d² · max(a + b cos h, 0) of the hour angle h, a = sin φ sin δ and b = cos φ cos δ, whose integral is elementary.
    """
    times = np.asarray(times, np.int64)
    # A monthly mean is named by its month, so it is the sunlight of that month that goes with it.
    starts, ends = (step.add(times, -1, calendar), times) if step.fixed else (times, step.add(times, 1, calendar))
    means = np.empty((len(times), *grid.shape))
    for i, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
        means[i] = _mean_flux_between(start, end, grid, calendar)
    return means


_LONGEST_PIECE = 6 * 3600  # the declination moves by at most 0.1° in it


def _mean_flux_between(start: int, end: int, grid: LatLonGrid, calendar: str) -> Field:
    """[*grid], the mean flux between two times; many days by their daily means, which do not depend on longitude."""
    days = (end - start) // _DAY if end - start > 2 * _DAY else 0
    total = np.zeros(grid.shape)
    if days:
        middles = start + _DAY * np.arange(days) + _DAY // 2
        total += _DAY * _daily_mean_flux(middles, grid, calendar).sum(0)[:, None]
    start += days * _DAY
    pieces = -(-(end - start) // _LONGEST_PIECE)
    edges = np.linspace(start, end, pieces + 1)
    for a, b in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        sine, equation, distance = solar_position(np.array([(a + b) / 2]), calendar)
        above, across, half_day = _daily_arc(sine, grid)
        angles = [2 * np.pi * ((time % _DAY + equation) / _DAY - 0.5) + np.radians(grid.longitude) for time in (a, b)]
        angles[1] += 2 * np.pi * (angles[1] < angles[0])  # the piece crosses midnight
        lit = _lit_integral(angles[1], above, across, half_day) - _lit_integral(angles[0], above, across, half_day)
        total += (b - a) * SOLAR_CONSTANT / distance**2 * lit / (angles[1] - angles[0])
    return np.maximum(total, 0.0) / (end - start + days * _DAY)  # the night to the last bit


def _daily_mean_flux(times: Times, grid: LatLonGrid, calendar: str) -> Field:
    """[time, latitude], the mean over a day with the sun where it stands at these times."""
    sine, _, distance = solar_position(times, calendar)
    above, across, half_day = _daily_arc(sine[:, None], grid, axis=0)
    return SOLAR_CONSTANT / np.pi / distance[:, None] ** 2 * (above * half_day + across * np.sin(half_day))


def _daily_arc(sine: Field, grid: LatLonGrid, axis: int = 1) -> tuple[Field, Field, Field]:
    """a = sin φ sin δ, b = cos φ cos δ, and the hour angle of sunset: 0 in the polar night, π where the sun does not set."""
    latitude = np.expand_dims(np.radians(grid.latitude), axis)
    above, across = np.sin(latitude) * sine, np.cos(latitude) * np.sqrt(1 - sine**2)
    return above, across, np.arccos(np.clip(-above / np.maximum(across, 1e-12), -1, 1))


def _lit_integral(angle: Field, above: Field, across: Field, half_day: Field) -> Field:
    """Integral of max(a + b cos h, 0) from −π to these hour angles."""
    turns = np.floor((angle + np.pi) / (2 * np.pi))
    lit = np.clip(angle - 2 * np.pi * turns, -half_day, half_day)
    return (2 * turns + 1) * (above * half_day + across * np.sin(half_day)) + above * lit + across * np.sin(lit)


@dataclass(frozen=True)
class _Derived:
    units: str
    compute: Callable[[Times, Step, LatLonGrid, str], Field]
    kind: Any = "instantaneous"
    static: bool = False


def _seconds_in(times: Times, step: Step, calendar: str) -> Field:
    return (times - step.add(times, -1, calendar)).astype(np.float64)[:, None, None]


def _year_angle(times: Times, calendar: str) -> Field:
    return 2 * np.pi * fraction_of_year(times, calendar)[:, None, None]


def _local_angle(times: Times, grid: LatLonGrid) -> Field:
    return 2 * np.pi * (np.asarray(times) % 86400 / 86400)[:, None, None] + np.radians(grid.longitude)[None, None, :]


_VARIABLES: dict[str, _Derived] = {
    "rsdt": _Derived("W m-2", mean_solar_flux, kind="mean"),
    "tisr": _Derived(
        "J m-2", lambda t, s, g, c: mean_solar_flux(t, s, g, c) * _seconds_in(t, s, c), kind="accumulated"
    ),
    "rsdt_now": _Derived("W m-2", lambda t, s, g, c: toa_solar_flux(t, g, c)),
    "cos_zenith": _Derived("1", lambda t, s, g, c: cosine_of_zenith(t, g, c)),
    "cos_day_of_year": _Derived("1", lambda t, s, g, c: np.cos(_year_angle(t, c))),
    "sin_day_of_year": _Derived("1", lambda t, s, g, c: np.sin(_year_angle(t, c))),
    "cos_local_time": _Derived("1", lambda t, s, g, c: np.cos(_local_angle(t, g))),
    "sin_local_time": _Derived("1", lambda t, s, g, c: np.sin(_local_angle(t, g))),
    "sin_latitude": _Derived("1", lambda t, s, g, c: np.sin(np.radians(g.latitude))[None, :, None], static=True),
    "cos_latitude": _Derived("1", lambda t, s, g, c: np.cos(np.radians(g.latitude))[None, :, None], static=True),
    "sin_longitude": _Derived("1", lambda t, s, g, c: np.sin(np.radians(g.longitude))[None, None, :], static=True),
    "cos_longitude": _Derived("1", lambda t, s, g, c: np.cos(np.radians(g.longitude))[None, None, :], static=True),
}


@dataclass(frozen=True)
class DerivedSource:
    """Computes what it is asked for, at any time, on the grid of the sources beside it."""

    name: str
    channels: Mapping[str, Channels]
    grid: LatLonGrid
    step: Step
    calendar: str
    times: None = None
    time_chunk: int = 1
    stored: None = None

    def covers(self, times: Times) -> NDArray[np.bool_]:
        return np.ones(len(times), bool)

    def read(self, variables: Sequence[str], times: Times) -> FieldsByVariable:
        fields = {}
        for variable in variables:
            derived = _VARIABLES[variable]
            values = derived.compute(times, self.step, self.grid, self.calendar)
            shape = self.grid.shape if derived.static else (len(times), *self.grid.shape)
            fields[variable] = np.ascontiguousarray(
                np.broadcast_to(values[0] if derived.static else values, shape), np.float32
            )
        return fields

    def identity(self) -> Mapping[str, Any]:
        return {"derived": sorted(c.name for channels in self.channels.values() for c in channels)}

    def fingerprint(self) -> str:
        return "computed"


def open_derived(name: str, config: SourceConfig, *, grid: LatLonGrid, step: Step, calendar: str) -> DerivedSource:
    """Check that what is asked for can be computed.

    Raises
    ------
    DataError
        For a name that can't, or one in the wrong role; lists those that can.
    """
    channels: dict[str, Channels] = {role: Channels() for role in ROLES}
    for role in ("forcing", "static"):
        possible = {n for n, d in _VARIABLES.items() if d.static == (role == "static")}
        for variable in getattr(config, role):
            if variable not in possible:
                raise DataError(
                    f"data.sources.{name}: no {role} '{variable}' can be derived.{did_you_mean(variable, possible)}"
                )
            known = _VARIABLES[variable]
            at = config.at if role == "forcing" else "target"
            channels[role] += [Channel(variable=variable, units=known.units, kind=known.kind, at=at)]
    return DerivedSource(name, channels, grid, step, calendar)
