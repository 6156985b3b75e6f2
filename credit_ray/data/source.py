"""One store through the vocabulary: canonical names, units and orientation, whatever the file's author liked.

Everything is resolved when a source is opened, on the driver; what travels to readers is small, and a read is an index, a transpose
and a scale. Fields come out as [time, (level,) latitude, longitude], north to south, longitude ascending.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from credit_ray.config.data import SourceConfig
from credit_ray.data.store import ArrayInfo, Store, cached_store
from credit_ray.data.units import conversion
from credit_ray.errors import DataError
from credit_ray.grid.latlon import LatLonGrid
from credit_ray.state import ROLES, Channel, Channels, Vertical
from credit_ray.times import STANDARD_CALENDARS, Times, decode_times, format_time
from credit_ray.variables import canonical_name, find_in_store, lookup

FieldsByVariable = dict[str, NDArray[np.float32]]


class Source(Protocol):
    """The seam: something that has channels, by role, at times."""

    name: str
    channels: Mapping[str, Channels]
    grid: LatLonGrid | None
    calendar: str | None
    times: Times | None
    time_chunk: int

    def read(self, variables: Sequence[str], times: Times) -> FieldsByVariable:
        """Fields [time, (level,) *grid] of canonical variables at `times`, which the source has."""
        ...

    def identity(self) -> Mapping[str, Any]:
        """What the data are, wherever they lie: names, units, coordinates, times."""
        ...

    def fingerprint(self) -> str:
        """Changes when the data are written to, as far as that shows without reading them."""
        ...


@dataclass(frozen=True)
class _Located:
    """Where a variable lies in its store, and what turns raw values into fields."""

    array: str
    channels: Channels
    order: tuple[
        int, ...
    ]  # axes of the store's array in the order time, level, latitude, longitude, as far as it has them
    levels: tuple[int, ...] | None
    scale: float
    offset: float
    missing_value: float | None
    static: bool


@dataclass(frozen=True)
class StoreSource:
    """A store of the config, opened and resolved.

    Parameters
    ----------
    name : str
        As in the config.
    config : SourceConfig
        What was asked for.
    """

    name: str
    config: SourceConfig
    grid: LatLonGrid
    calendar: str | None
    times: Times | None
    time_chunk: int
    channels: Mapping[str, Channels]
    located: Mapping[str, _Located] = field(repr=False)
    flip_latitude: bool = False
    roll_longitude: int = 0

    @property
    def store(self) -> Store:
        """Open in this process."""
        return cached_store(self.config.store, json.dumps(self.config.storage_options, sort_keys=True))

    def read(self, variables: Sequence[str], times: Times) -> FieldsByVariable:
        positions = None if self.times is None else np.searchsorted(self.times, times)
        return {variable: self._read_one(self.located[variable], variable, positions, times) for variable in variables}

    def _read_one(
        self, where: _Located, variable: str, positions: NDArray[np.intp] | None, times: Times
    ) -> NDArray[np.float32]:
        static = where.static
        by_axis: list[Any] = [] if static else [_as_slice(positions)]
        by_axis += [] if where.levels is None else [_as_slice(np.array(where.levels))]
        by_axis += [slice(None), slice(None)]
        index = [by_axis[where.order.index(axis)] for axis in range(len(by_axis))]
        try:
            raw = self.store.read(where.array, tuple(index))
        except DataError:
            raise
        except Exception as error:  # codecs, file systems and libraries raise anything
            at = (
                ""
                if static
                else f" at {format_time(times[0], self.calendar or 'standard')} … {format_time(times[-1], self.calendar or 'standard')}"
            )
            raise DataError(
                f"{self.config.store}: '{where.array}'{at} can't be read ({type(error).__name__}: {error}). The store is damaged or incomplete there."
            ) from error
        values = raw.transpose(where.order)
        if self.flip_latitude:
            values = values[..., ::-1, :]
        if self.roll_longitude:
            values = np.roll(values, -self.roll_longitude, -1)
        fields = np.ascontiguousarray(values, np.float32)
        if where.missing_value is not None and not np.isnan(where.missing_value):
            fields = np.where(fields == np.float32(where.missing_value), np.float32(np.nan), fields)
        if (where.scale, where.offset) != (1.0, 0.0):
            fields = (fields.astype(np.float64) * where.scale + where.offset).astype(np.float32)
        if self.config.missing == "error" and not np.isfinite(fields.sum(dtype=np.float64)):
            self._refuse_missing(fields, variable, times, static)
        return fields

    def _refuse_missing(self, fields: NDArray[np.float32], variable: str, times: Times, static: bool) -> None:
        bad = ~np.isfinite(fields)
        when = (
            ""
            if static
            else f" at {format_time(times[int(np.argmax(bad.reshape(len(fields), -1).any(1)))], self.calendar or 'standard')}"
        )
        raise DataError(
            f"{self.config.store}: '{variable}' has {int(bad.sum())} missing or infinite values{when}. "
            f"If they mean places that it does not have, say 'missing: mask' in data.sources.{self.name}."
        )

    def identity(self) -> Mapping[str, Any]:
        return {
            "channels": {role: [c.to_json() for c in channels] for role, channels in self.channels.items()},
            "grid": self.grid.to_json(),
            "calendar": self.calendar,
            "times": None if self.times is None else [int(self.times[0]), int(self.times[-1]), len(self.times)],
        }

    def fingerprint(self) -> str:
        return self.store.fingerprint()


def open_source(name: str, config: SourceConfig) -> StoreSource:
    """Open a store and find in it what the config asks for.

    Raises
    ------
    DataError
        For a variable, level, coordinate or unit that isn't there; lists the near matches.
    """
    store = cached_store(config.store, json.dumps(config.storage_options, sort_keys=True))
    arrays = store.arrays()
    axes = _Axes(store, arrays)
    available = {n: str(a.attributes.get("standard_name", "")) for n, a in arrays.items() if len(a.dims) >= 2}
    located: dict[str, _Located] = {}
    channels: dict[str, Channels] = {role: Channels() for role in ROLES}
    time_chunk = 1
    for role in ROLES:
        for asked in getattr(config, role):
            array = find_in_store(asked, available, dict(config.rename), config.store)
            where = _locate(asked, array, arrays[array], role, config, axes)
            located[canonical_name(asked)] = where
            channels[role] += where.channels
            if role != "static":
                time_chunk = max(time_chunk, arrays[array].chunks[where.order[0]])
    with_time = any(channels[role] for role in ROLES if role != "static")
    times, calendar = axes.times() if with_time else (None, None)
    grid, flip, roll = axes.grid()
    return StoreSource(name, config, grid, calendar, times, time_chunk, channels, located, flip, roll)


class _Axes:
    """The coordinates of a store, found by name and CF attributes."""

    _NAMES = (
        ("time", {"time", "valid_time", "date", "Time"}),
        ("latitude", {"latitude", "lat", "nlat", "y_lat"}),
        ("longitude", {"longitude", "lon", "nlon", "x_lon"}),
    )

    def __init__(self, store: Store, arrays: Mapping[str, ArrayInfo]) -> None:
        self.store, self.arrays = store, arrays

    def kind(self, dim: str) -> str:
        """`time`, `latitude`, `longitude` or `level`."""
        info = self.arrays.get(dim)
        attributes = info.attributes if info else {}
        standard, units = str(attributes.get("standard_name", "")), str(attributes.get("units", ""))
        for kind, names in self._NAMES:
            if dim in names or standard == kind:
                return kind
        if " since " in units:
            return "time"
        return {"degrees_north": "latitude", "degrees_east": "longitude"}.get(units, "level")

    def _find(self, kind: str) -> str:
        dims = dict.fromkeys(dim for info in self.arrays.values() for dim in info.dims)
        found = [dim for dim in dims if dim in self.arrays and self.kind(dim) == kind]
        if not found:
            raise DataError(f"{self.store.url} has no {kind} coordinate; its dimensions are {', '.join(dims)}.")
        return found[0]

    def values(self, name: str) -> NDArray[Any]:
        """All values of a coordinate."""
        return self.store.read(name, (slice(None),))

    def times(self) -> tuple[Times, str]:
        name = self._find("time")
        attributes = self.arrays[name].attributes
        calendar = str(attributes.get("calendar", "standard"))
        try:
            times = decode_times(self.values(name), str(attributes.get("units", "")), calendar)
        except DataError as error:
            raise DataError(f"{self.store.url}, coordinate '{name}': {error}") from None
        backwards = np.flatnonzero(np.diff(times) <= 0)
        if len(backwards):
            i = int(backwards[0])
            what = "repeats" if times[i] == times[i + 1] else "goes back after"
            raise DataError(
                f"{self.store.url}: time {what} {format_time(times[i], calendar)} (position {i + 1} of {len(times)}); it must ascend."
            )
        return times, "standard" if calendar in STANDARD_CALENDARS else calendar

    def grid(self) -> tuple[LatLonGrid, bool, int]:
        """The grid, whether latitudes must be flipped, and by how many columns longitudes must be rolled."""
        latitude = self.values(self._find("latitude")).astype(np.float64)
        longitude = self.values(self._find("longitude")).astype(np.float64)
        flip = bool(latitude[0] < latitude[-1])
        if longitude.max() - longitude.min() > 350:
            longitude = np.where(longitude < 0, longitude + 360, longitude)
        roll = int(np.argmin(longitude))
        try:
            return LatLonGrid(latitude[::-1] if flip else latitude, np.roll(longitude, -roll)), flip, roll
        except DataError as error:
            raise DataError(f"{self.store.url}: {error}") from None

    def vertical(self, dim: str, config: SourceConfig) -> tuple[Vertical, NDArray[np.float64]]:
        """What the levels of a dimension are, and their values in hPa, model level numbers, sigma, or metres."""
        info = self.arrays.get(dim)
        attributes = info.attributes if info else {}
        if info is None:
            size = next(a.shape[a.dims.index(dim)] for a in self.arrays.values() if dim in a.dims)
            values = np.arange(1.0, size + 1)
        else:
            values = self.values(dim).astype(np.float64)
        units = str(attributes.get("units", ""))
        text = (
            " ".join(str(attributes.get(key, "")) for key in ("standard_name", "long_name")).lower() + f" {dim.lower()}"
        )
        if units in ("Pa", "pascal"):
            values, units = values / 100, "hPa"
        kinds: list[tuple[Vertical, bool]] = [
            ("sigma", "sigma" in text and "hybrid" not in text),
            ("model", "hybrid" in text or "model" in text or info is None),
            ("pressure", units in ("hPa", "millibars", "mbar", "mb") or "pressure" in text or "isobaric" in text),
            ("depth", "depth" in text),
        ]
        found = config.vertical or next((kind for kind, fits in kinds if fits), None)
        if found is None:
            raise DataError(
                f"{self.store.url}: the attributes of '{dim}' do not say what its levels ({values[0]:g} … {values[-1]:g}) are; "
                f"give 'vertical: pressure', 'model', 'sigma' or 'depth' in the source."
            )
        return found, values


def _locate(asked: str, array: str, info: ArrayInfo, role: str, config: SourceConfig, axes: _Axes) -> _Located:
    """Resolve one variable: its channels, the order of its dimensions, its levels and its units."""
    name, known = canonical_name(asked), lookup(asked)
    kinds = [axes.kind(dim) for dim in info.dims]
    wanted_order = [kind for kind in ("time", "level", "latitude", "longitude") if kind in kinds]
    expected = {"latitude", "longitude"} | (set() if role == "static" else {"time"})
    if len(set(kinds)) < len(kinds) or not expected <= set(kinds) or (role == "static" and "time" in kinds):
        raise DataError(
            f"{config.store}: '{array}' has dimensions ({', '.join(info.dims)}); as {role} it should have {', '.join(sorted(expected))}."
        )
    given = config.units.get(asked) or config.units.get(name) or str(info.attributes.get("units", ""))
    wanted = known.units if known else given
    if not given and known:
        raise DataError(
            f"{config.store}: '{array}' has no units; expected {wanted}. Say 'units: {{{asked}: …}}' in the source."
        )
    scale, offset = conversion(given, wanted, f"{config.store}: '{array}'")
    packed_scale, packed_offset = (
        float(info.attributes.get(key, d)) for key, d in (("scale_factor", 1.0), ("add_offset", 0.0))
    )
    kind = _kind(info, known.kind if known else "instantaneous")
    levels: tuple[int, ...] | None = None
    made: list[Channel] = []
    if "level" in kinds:
        vertical, values = axes.vertical(info.dims[kinds.index("level")], config)
        asked_levels = (
            config.levels.get(asked, config.levels.get(name)) if isinstance(config.levels, dict) else config.levels
        )
        chosen = values.tolist() if asked_levels is None else asked_levels
        positions = []
        for level in chosen:
            nearest = int(np.argmin(np.abs(values - level)))
            if not np.isclose(values[nearest], level, rtol=1e-4, atol=1e-6):
                raise DataError(
                    f"{config.store}: '{array}' has no level {level:g}; it has {', '.join(f'{v:g}' for v in values)}."
                )
            positions.append(nearest)
            made.append(
                Channel(variable=name, units=wanted, level=float(level), vertical=vertical, kind=kind, at=config.at)
            )
        levels = tuple(positions)
    else:
        made.append(Channel(variable=name, units=wanted, kind=kind, at=config.at))
    missing = info.attributes.get("_FillValue", info.attributes.get("missing_value"))
    return _Located(
        array=array,
        channels=Channels(made),
        order=tuple(kinds.index(kind) for kind in wanted_order),
        levels=levels,
        scale=packed_scale * scale,
        offset=packed_offset * scale + offset,
        missing_value=None if missing is None or isinstance(missing, str) else float(np.asarray(missing).ravel()[0]),
        static=role == "static",
    )


def _kind(info: ArrayInfo, default: Any) -> Any:
    """Whether values belong to times or to intervals: what `cell_methods` says of time, else the vocabulary."""
    methods = str(info.attributes.get("cell_methods", "")).lower()
    for method, kind in (("point", "instantaneous"), ("sum", "accumulated"), ("mean", "mean")):
        if f"time: {method}" in methods:
            return kind
    return default


def _as_slice(positions: Any) -> Any:
    """A slice, where positions go up by equal steps: cheaper to read than a list."""
    if isinstance(positions, slice) or len(positions) == 0:
        return positions
    steps = np.diff(positions)
    if len(positions) == 1:
        return slice(int(positions[0]), int(positions[0]) + 1)
    if (steps == steps[0]).all() and steps[0] > 0:
        return slice(int(positions[0]), int(positions[-1]) + 1, int(steps[0]))
    return np.asarray(positions)
