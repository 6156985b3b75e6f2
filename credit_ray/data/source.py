"""One store through the vocabulary: canonical names, units and orientation, whatever the file's author liked.

Everything is resolved when a source is opened, on the driver; what travels to readers is small, and a read is an index, a transpose
and a scale. Fields come out as [time, (level,) latitude, longitude], north to south, longitude ascending.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from credit_ray.config.data import SourceConfig
from credit_ray.data.access import Access
from credit_ray.data.arrays import Store
from credit_ray.data.axes import Axes
from credit_ray.data.locate import Located, locate
from credit_ray.data.patience import StoreFailure
from credit_ray.data.store import cached_store
from credit_ray.data.time_axis import TimeAxis, time_axis
from credit_ray.errors import DataError
from credit_ray.grid.latlon import LatLonGrid
from credit_ray.state import ROLES, Channels
from credit_ray.times import Step, Times, format_time, format_times
from credit_ray.variables import canonical_name, find_in_store

FieldsByVariable = dict[str, NDArray[np.float32]]

_VARIABLES_AT_A_TIME = 4


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

    @property
    def stored(self) -> StoreSource | None:
        """The store that it reads; None where it computes its fields."""
        ...

    def covers(self, times: Times) -> NDArray[np.bool_]:
        """Which of these times it has fields at."""
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
    cell : tuple of int, optional
        What a value of an interval covers, and how long after its time that ends, in seconds, where the store's `bounds` say it.
    positions : array, optional
        Where `times` lie in the store, where only a part of its times is used.
    rows : (int, int), optional
        First and last + 1 of the grid's rows that are read; default: all.
    """

    name: str
    config: SourceConfig
    grid: LatLonGrid
    calendar: str | None
    times: Times | None
    time_chunk: int
    channels: Mapping[str, Channels]
    located: Mapping[str, Located] = field(repr=False)
    flip_latitude: bool = False
    roll_longitude: int = 0
    opened: int = 0
    cell: tuple[int, int] | None = None
    positions: NDArray[np.intp] | None = field(default=None, repr=False)
    rows: tuple[int, int] | None = None

    @property
    def stored(self) -> StoreSource:
        return self

    def band(self, start: int, stop: int) -> StoreSource:
        """The same, of which these rows of the grid are read, and no chunk that has none of them."""
        return replace(self, rows=(start, stop))

    def decodes(self, bounds: Sequence[int]) -> float:
        """How often a chunk is decoded where bands of latitude between these rows are read apart, the mean over its variables."""
        rows = len(self.grid.latitude)
        edges = np.asarray(bounds) if not self.flip_latitude else rows - np.asarray(bounds)[::-1]
        found = []
        for where in self.located.values():
            if not where.static:
                chunk = where.chunks[where.kinds.index("latitude")]
                touched = -(-edges[1:] // chunk) - edges[:-1] // chunk
                found.append(float(touched.sum()) / -(-rows // chunk))
        return float(np.mean(found)) if found else 1.0

    def covers(self, times: Times) -> NDArray[np.bool_]:
        return np.ones(len(times), bool) if self.times is None else np.isin(times, self.times)

    @property
    def store(self) -> Store:
        """Open in this process."""
        return _open(self.config, self.opened)

    def read(self, variables: Sequence[str], times: Times) -> FieldsByVariable:
        if not self.store.remote:
            return {variable: self._read_one(variable, times) for variable in variables}
        with ThreadPoolExecutor(_VARIABLES_AT_A_TIME) as threads:  # while one is decoded, others are on their way
            return dict(zip(variables, threads.map(lambda v: self._read_one(v, times), variables), strict=True))

    def _read_one(self, variable: str, times: Times) -> NDArray[np.float32]:
        where = self.located[variable]
        positions = None if where.static or self.times is None else np.searchsorted(self.times, times)
        if positions is not None and self.positions is not None:
            positions = self.positions[positions]
        fields = where.fields(self._raw(where, positions, times))
        if self.flip_latitude:
            fields = fields[..., ::-1, :]
        if self.roll_longitude:
            fields = np.roll(fields, -self.roll_longitude, -1)
        if not (np.isfinite(fields.min()) and np.isfinite(fields.max())):
            self._refuse_missing(fields, variable, times, where.static)
        return np.ascontiguousarray(fields)

    def _raw(self, where: Located, positions: NDArray[np.intp] | None, times: Times) -> NDArray[Any]:
        index = where.index(positions, self._stored_rows())
        where.refuse_changed(self.store.arrays().get(where.array), self.config.store)
        try:
            raw = self.store.read(where.array, index)
        except DataError:
            raise
        except StoreFailure as failure:
            affected = times if positions is None else times[where.within(positions, failure.region)]
            raise DataError(
                f"{self.config.store}: '{where.array}'{self._at(affected, where.static)} can't be read ({failure}). {failure.hint}"
            ) from failure
        except Exception as error:  # codecs, file systems and libraries raise anything
            damaged = times if positions is None else times[self._damaged(where, positions)]
            raise DataError(
                f"{self.config.store}: '{where.array}'{self._at(damaged, where.static)} can't be read "
                f"({_access(self.config).said(error)}). The store is damaged or incomplete there."
            ) from error
        if self.config.absent_chunks == "error":
            chunk = self.store.filled_in(where.array, index, raw)
            if chunk:
                raise DataError(
                    f"{self.config.store}: the chunk {chunk} of '{where.array}'{self._at(times, where.static)} is absent. Copy the store "
                    f"again; if it was written without chunks of nothing but the fill value, say 'absent_chunks: fill' in data.sources.{self.name}."
                )
        return raw

    def _stored_rows(self) -> slice:
        if self.rows is None:
            return slice(None)
        start, stop = self.rows
        count = len(self.grid.latitude)
        return slice(count - stop, count - start) if self.flip_latitude else slice(start, stop)

    def _damaged(self, where: Located, positions: NDArray[np.intp]) -> slice:
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
        policy = self.config.policy(variable)
        if policy != "error" and not infinite.any():
            if static or policy == "interpolate":
                return  # whoever asks for statics says what it takes; a layer above interpolates
            nowhere = missing.reshape(len(fields), -1).all(1)
            if nowhere.any() and self.rows is None:  # a band may well be nothing but land
                raise DataError(
                    f"{self.config.store}: '{variable}' is missing everywhere{self._at(times[nowhere], static)}."
                )
            return
        bad = missing | infinite
        affected = slice(None) if static else bad.reshape(len(fields), -1).any(1)
        raise DataError(
            f"{self.config.store}: '{variable}' has {int(bad.sum())} {'missing' if missing.any() else 'infinite'} values"
            f"{self._at(times[affected], static)}. If they mean places that it does not have, say 'missing: mask' in data.sources.{self.name}; "
            f"'interpolate' bridges gaps in time."
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
    located: dict[str, Located] = {}
    channels: dict[str, Channels] = {role: Channels() for role in ROLES}
    for role in ROLES:
        for asked in getattr(config, role):
            array = find_in_store(asked, available, dict(config.rename), config.store)
            where = locate(asked, array, axes.arrays[array], role, config, axes)
            located[canonical_name(asked)] = where
            channels[role] += where.channels
    orientation = axes.grid(
        *(axes.dimension(kind, [w.array for w in located.values()]) for kind in ("latitude", "longitude"))
    )
    timed = [where for where in located.values() if not where.static]
    axis = time_axis(axes, timed, config, step) if timed else TimeAxis()
    return StoreSource(
        name,
        config,
        orientation.grid,
        axis.calendar,
        axis.times,
        max((where.chunks[where.kinds.index("time")] for where in timed), default=1),
        channels,
        located,
        orientation.flip_latitude,
        orientation.roll_longitude,
        opened,
        axis.cell,
        axis.positions,
    )


def _open(config: SourceConfig, opened: int) -> Store:
    return cached_store(config.store, json.dumps(asdict(_access(config)), sort_keys=True), opened)


def _access(config: SourceConfig) -> Access:
    return Access(
        options=config.storage_options,
        engine=config.engine,
        retry_seconds=config.retry_seconds,
        request_seconds=config.request_seconds,
    )
