"""One store through the vocabulary: canonical names, units and orientation, whatever the file's author liked.

Everything is resolved when a source is opened, on the driver; what travels to readers is small, and a read is an index, a transpose
and a scale. Fields come out as [time, (level,) latitude, longitude], north to south, longitude ascending.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from credit_ray.config.data import SourceConfig
from credit_ray.data.arrays import ArrayInfo, Store
from credit_ray.data.axes import Axes
from credit_ray.data.store import cached_store
from credit_ray.data.units import conversion, dimensionless
from credit_ray.errors import DataError
from credit_ray.grid.latlon import LatLonGrid
from credit_ray.state import ROLES, Channel, Channels
from credit_ray.times import Step, Times, format_time, format_times, month_start
from credit_ray.variables import Kind, canonical_name, find_in_store, lookup

FieldsByVariable = dict[str, NDArray[np.float32]]


class Source(Protocol):
    """The seam: something that has channels, by role, at times."""

    @property
    def name(self) -> str:
        """As in the config."""
        ...

    @property
    def channels(self) -> Mapping[str, Channels]:
        """By role."""
        ...

    @property
    def grid(self) -> LatLonGrid:
        """Of all its fields."""
        ...

    @property
    def calendar(self) -> str | None:
        """Of its times; None where it has none."""
        ...

    @property
    def times(self) -> Times | None:
        """Ascending; None where it has fields at any time, or only static ones."""
        ...

    @property
    def time_chunk(self) -> int:
        """Most times that are decoded together."""
        ...

    def read(self, variables: Sequence[str], times: Times) -> FieldsByVariable:
        """Fields [time, (level,) *grid] of canonical variables at `times`, which the source has; static ones without time."""
        ...

    def identity(self) -> Mapping[str, Any]:
        """What the data are, wherever they lie: names, units, coordinates, times."""
        ...

    def fingerprint(self) -> str:
        """Changes when the data are written to, as far as that shows without reading them."""
        ...


@dataclass(frozen=True)
class _Located:
    """Where a variable lies in its store, and what turns raw values into fields.

    `kinds` says what each dimension of the store's array is, in its own order; `missing` are the raw values that mean nothing.
    """

    array: str
    channels: Channels
    kinds: tuple[str, ...]
    levels: tuple[int, ...] | None
    scale: float
    offset: float
    missing: tuple[float, ...]
    static: bool
    chunks: tuple[int, ...]

    def index(self, positions: NDArray[np.intp] | None) -> tuple[Any, ...]:
        """What to read of the array, one entry for each of its dimensions."""
        whole = slice(None)
        by_kind = {"latitude": whole, "longitude": whole, "level": self.levels and _as_slice(np.array(self.levels))}
        by_kind["time"] = slice(0, 1) if self.static or positions is None else _as_slice(positions)
        return tuple(by_kind[kind] for kind in self.kinds)

    def fields(self, raw: NDArray[Any]) -> NDArray[np.float32]:
        """Raw values as [time, (level,) latitude, longitude] in the vocabulary's units; NaN where they are missing."""
        order = [self.kinds.index(kind) for kind in ("time", "level", "latitude", "longitude") if kind in self.kinds]
        raw = raw.transpose(order)
        if self.static and "time" in self.kinds:
            raw = raw[0]
        marks = [_as_dtype(mark, raw.dtype) for mark in self.missing]
        absent = [raw == mark for mark in marks if mark is not None]
        if (self.scale, self.offset) != (1.0, 0.0):
            raw = raw * np.float64(self.scale) + self.offset
        fields = np.ascontiguousarray(raw, np.float32)
        for where in absent:
            if where.any():
                fields = np.where(where, np.float32(np.nan), fields)
        return fields


@dataclass(frozen=True)
class StoreSource:
    """A store of the config, opened and resolved.

    Parameters
    ----------
    name : str
        As in the config.
    config : SourceConfig
        What was asked for.
    opened : int
        When, in nanoseconds: reads in other processes open the store anew once for each opening.
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
    opened: int = 0

    @property
    def store(self) -> Store:
        """Open in this process."""
        return _open(self.config, self.opened)

    def read(self, variables: Sequence[str], times: Times) -> FieldsByVariable:
        return {variable: self._read_one(variable, times) for variable in variables}

    def _read_one(self, variable: str, times: Times) -> NDArray[np.float32]:
        where = self.located[variable]
        positions = None if where.static or self.times is None else np.searchsorted(self.times, times)
        fields = where.fields(self._raw(where, positions, times))
        if self.flip_latitude:
            fields = fields[..., ::-1, :]
        if self.roll_longitude:
            fields = np.roll(fields, -self.roll_longitude, -1)
        if not (np.isfinite(fields.min()) and np.isfinite(fields.max())):
            self._refuse_missing(fields, variable, times, where.static)
        return np.ascontiguousarray(fields)

    def _raw(self, where: _Located, positions: NDArray[np.intp] | None, times: Times) -> NDArray[Any]:
        index = where.index(positions)
        try:
            raw = self.store.read(where.array, index)
        except DataError:
            raise
        except Exception as error:  # codecs, file systems and libraries raise anything
            damaged = times if positions is None else times[self._damaged(where, positions)]
            raise DataError(
                f"{self.config.store}: '{where.array}'{self._at(damaged, where.static)} can't be read "
                f"({type(error).__name__}: {error}). The store is damaged or incomplete there."
            ) from error
        if self.config.absent_chunks == "error":
            chunk = self.store.filled_in(where.array, index, raw)
            if chunk:
                raise DataError(
                    f"{self.config.store}: the chunk {chunk} of '{where.array}'{self._at(times, where.static)} is absent. Copy the store "
                    f"again; if it was written without chunks of nothing but the fill value, say 'absent_chunks: fill' in data.sources.{self.name}."
                )
        return raw

    def _damaged(self, where: _Located, positions: NDArray[np.intp]) -> slice:
        """Which of the positions lie in the first chunk that can't be read."""
        chunk = positions // where.chunks[where.kinds.index("time")]
        starts = np.flatnonzero(np.diff(chunk, prepend=-1))
        for start, stop in zip(starts, [*starts[1:], len(positions)], strict=True):
            try:
                self.store.read(where.array, where.index(positions[start:stop]))
            except Exception:  # the one that we look for
                return slice(start, stop)
        return slice(0, len(positions))

    def _refuse_missing(self, fields: NDArray[np.float32], variable: str, times: Times, static: bool) -> None:
        """Refuse values that are not finite, unless the config says that NaN is a place where the variable does not exist."""
        missing, infinite = np.isnan(fields), np.isinf(fields)
        if self.config.missing == "mask" and not infinite.any():
            if static:
                return  # whoever asks for statics says what it takes
            nowhere = missing.reshape(len(fields), -1).all(1)
            if nowhere.any():
                raise DataError(
                    f"{self.config.store}: '{variable}' is missing everywhere{self._at(times[nowhere], static)}."
                )
            return
        bad = missing | infinite
        affected = slice(None) if static else bad.reshape(len(fields), -1).any(1)
        raise DataError(
            f"{self.config.store}: '{variable}' has {int(bad.sum())} {'missing' if missing.any() else 'infinite'} values"
            f"{self._at(times[affected], static)}. If they mean places that it does not have, say 'missing: mask' in data.sources.{self.name}."
        )

    def _at(self, times: Times, static: bool) -> str:
        """The times, for a message."""
        if static:
            return ""
        calendar = self.calendar or "standard"
        if len(times) <= 3:
            return f" at {format_times(times, calendar)}"
        return f" at {len(times)} times, {format_time(times[0], calendar)} … {format_time(times[-1], calendar)},"

    def identity(self) -> Mapping[str, Any]:
        return {
            "channels": sorted(
                f"{c.name} [{c.units}] {c.kind}" for channels in self.channels.values() for c in channels
            ),
            "grid": self.grid.to_json(),
            "calendar": self.calendar,
        }

    def fingerprint(self) -> str:
        return self.store.fingerprint()


def open_source(name: str, config: SourceConfig, step: Step | None = None) -> StoreSource:
    """Open a store and find in it what the config asks for.

    Parameters
    ----------
    step : Step, optional
        The model's. Where it counts months, times anywhere in a month (its 1st, its 15th, the 16th at noon) stand for that month, and
        become its first instant.

    Raises
    ------
    DataError
        For a variable, level, coordinate or unit that isn't there; lists the near matches.
    """
    opened = time.time_ns()
    axes = Axes(_open(config, opened))
    available = {n: str(a.attributes.get("standard_name", "")) for n, a in axes.arrays.items() if len(a.dims) >= 2}
    located: dict[str, _Located] = {}
    channels: dict[str, Channels] = {role: Channels() for role in ROLES}
    for role in ROLES:
        for asked in getattr(config, role):
            array = find_in_store(asked, available, dict(config.rename), config.store)
            where = _locate(asked, array, axes.arrays[array], role, config, axes)
            located[canonical_name(asked)] = where
            channels[role] += where.channels
    orientation = axes.grid(
        *(axes.dimension(kind, [w.array for w in located.values()]) for kind in ("latitude", "longitude"))
    )
    timed = [where for where in located.values() if not where.static]
    times, calendar = axes.times(axes.dimension("time", [w.array for w in timed])) if timed else (None, None)
    if times is not None and calendar is not None and step is not None and not step.fixed:
        times = _by_month(times, calendar, config.store, step)
    return StoreSource(
        name,
        config,
        orientation.grid,
        calendar,
        times,
        max((where.chunks[where.kinds.index("time")] for where in timed), default=1),
        channels,
        located,
        orientation.flip_latitude,
        orientation.roll_longitude,
        opened,
    )


def _open(config: SourceConfig, opened: int) -> Store:
    return cached_store(config.store, json.dumps(config.storage_options, sort_keys=True), opened)


def _by_month(times: Times, calendar: str, store: str, step: Step) -> Times:
    """The first instant of each time's month."""
    months = month_start(times, calendar)
    again = np.flatnonzero(np.diff(months) == 0)
    if len(again):
        raise DataError(
            f"{store} has several times in one month ({format_times(times[again[0] : again[0] + 2], calendar)}), but data.timestep is {step}: "
            f"give monthly data, or another time step."
        )
    return months


def _locate(asked: str, array: str, info: ArrayInfo, role: str, config: SourceConfig, axes: Axes) -> _Located:
    """Resolve one variable: its channels, the order of its dimensions, its levels and its units."""
    name, known = canonical_name(asked), lookup(asked)
    kinds = [axes.kind(dim) for dim in info.dims]
    expected = ["latitude", "longitude"] if role == "static" else ["time", "latitude", "longitude"]
    changes = role == "static" and "time" in kinds and info.shape[kinds.index("time")] != 1
    if len(set(kinds)) < len(kinds) or not set(expected) <= set(kinds) or changes:
        raise DataError(
            f"{config.store}: '{array}' has dimensions ({', '.join(info.dims)}); as {role} it should have {', '.join(expected)}"
            f"{', and no time' if changes else ''}."
        )
    given = config.units.get(asked) or config.units.get(name) or str(info.attributes.get("units", ""))
    wanted = known.units if known else given
    if not given and not dimensionless(wanted):
        raise DataError(
            f"{config.store}: '{array}' has no units; expected {wanted}. Say 'units: {{{asked}: …}}' in the source."
        )
    scale, offset = conversion(given, wanted, f"{config.store}: '{array}'") if given else (1.0, 0.0)
    packed_scale, packed_offset = (
        float(info.attributes.get(k, d)) for k, d in (("scale_factor", 1.0), ("add_offset", 0.0))
    )
    kind, at = kind_of(info, known.kind if known else "instantaneous"), config.at if role == "forcing" else "target"
    levels: tuple[int, ...] | None = None
    made = [Channel(variable=name, units=wanted, kind=kind, at=at)]
    if "level" in kinds:
        vertical, values = axes.levels(info.dims[kinds.index("level")], config.vertical)
        asked_levels = (
            config.levels.get(asked, config.levels.get(name)) if isinstance(config.levels, dict) else config.levels
        )
        chosen = values.tolist() if asked_levels is None else asked_levels
        levels = tuple(_level(level, values, array, config.store) for level in chosen)
        made = [
            Channel(variable=name, units=wanted, level=float(level), vertical=vertical, kind=kind, at=at)
            for level in chosen
        ]
    return _Located(
        array=array,
        channels=Channels(made),
        kinds=tuple(kinds),
        levels=levels,
        scale=packed_scale * scale,
        offset=packed_offset * scale + offset,
        missing=_missing_marks(info.attributes),
        static=role == "static",
        chunks=info.chunks,
    )


def _level(level: float, values: NDArray[np.float64], array: str, store: str) -> int:
    """Position of a level."""
    nearest = int(np.argmin(np.abs(values - level)))
    if not np.isclose(values[nearest], level, rtol=1e-4, atol=1e-6):
        raise DataError(f"{store}: '{array}' has no level {level:g}; it has {', '.join(f'{v:g}' for v in values)}.")
    return nearest


def _missing_marks(attributes: Mapping[str, Any]) -> tuple[float, ...]:
    """Raw values that mean that there is none; NaN needs no mark."""
    marks = [attributes.get(key) for key in ("_FillValue", "missing_value")]
    numbers = [float(np.asarray(mark).ravel()[0]) for mark in marks if mark is not None and not isinstance(mark, str)]
    return tuple(dict.fromkeys(number for number in numbers if not np.isnan(number)))


def _as_dtype(mark: float, dtype: np.dtype[Any]) -> Any:
    """A mark as raw values have it; None where they can't have it."""
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return dtype.type(mark) if limits.min <= mark <= limits.max and mark.is_integer() else None
    with np.errstate(over="ignore"):
        return dtype.type(mark)


def kind_of(info: ArrayInfo, default: Kind) -> Kind:
    """Whether values belong to times or to intervals: what `cell_methods` says of time, else the vocabulary."""
    methods = str(info.attributes.get("cell_methods", "")).lower()
    kinds: dict[str, Kind] = {"point": "instantaneous", "sum": "accumulated", "mean": "mean"}
    for method, kind in kinds.items():
        if f"time: {method}" in methods:
            return kind
    return default


def _as_slice(positions: NDArray[Any]) -> Any:
    """A slice, where positions follow each other: cheaper to read than a list."""
    if len(positions) and (np.diff(positions) == 1).all():
        return slice(int(positions[0]), int(positions[-1]) + 1)
    return positions
