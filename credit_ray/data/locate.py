"""Where a variable of the config lies in its store, and what turns what is stored there into fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from credit_ray.config.data import SourceConfig
from credit_ray.data.arrays import ArrayInfo
from credit_ray.data.axes import Axes
from credit_ray.data.meaning import Meaning, meaning_of
from credit_ray.errors import DataError
from credit_ray.state import Channel, Channels


@dataclass(frozen=True)
class Located:
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
    shape: tuple[int, ...]
    meaning: Meaning

    def refuse_changed(self, info: ArrayInfo | None, store: str) -> None:
        """Refuse an array that is not the one which was resolved; it may have more times than then.

        Raises
        ------
        DataError
            Naming the store and both shapes.
        """
        if info is not None and len(info.shape) == len(self.shape) and info.chunks == self.chunks:
            sizes = zip(self.kinds, info.shape, self.shape, strict=True)
            if all(now >= then if kind == "time" else now == then for kind, now, then in sizes):
                return
        found = "is gone" if info is None else f"now has shape {info.shape} in chunks of {info.chunks}"
        raise DataError(
            f"{store}: '{self.array}' had shape {self.shape} in chunks of {self.chunks}, and {found}: the store was written to while it "
            f"was being read. Start again once it is complete."
        )

    def within(self, positions: NDArray[np.intp], region: tuple[slice, ...] | None) -> NDArray[np.bool_]:
        """Which of the positions in time lie in a region of the array; all where it is not known."""
        if region is None:
            return np.ones(len(positions), bool)
        times = region[self.kinds.index("time")]
        return (times.start <= positions) & (positions < times.stop)

    def index(self, positions: NDArray[np.intp] | None, latitude: slice = slice(None)) -> tuple[Any, ...]:
        """What to read of the array, one entry for each of its dimensions."""
        whole = slice(None)
        by_kind = {"latitude": latitude, "longitude": whole, "level": self.levels and _as_slice(np.array(self.levels))}
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


def locate(asked: str, array: str, info: ArrayInfo, role: str, config: SourceConfig, axes: Axes) -> Located:
    """Resolve one variable: its channels, the order of its dimensions, its levels and its units."""
    kinds = [axes.kind(dim) for dim in info.dims]
    expected = ["latitude", "longitude"] if role == "static" else ["time", "latitude", "longitude"]
    changes = role == "static" and "time" in kinds and info.shape[kinds.index("time")] != 1
    if len(set(kinds)) < len(kinds) or not set(expected) <= set(kinds) or changes:
        raise DataError(
            f"{config.store}: '{array}' has dimensions ({', '.join(info.dims)}); as {role} it should have {', '.join(expected)}"
            f"{', and no time' if changes else ''}."
        )
    meaning = meaning_of(asked, array, info, config)
    name, wanted, kind = meaning.variable, meaning.units, meaning.kind
    packed_scale, packed_offset = (
        float(info.attributes.get(k, d)) for k, d in (("scale_factor", 1.0), ("add_offset", 0.0))
    )
    at = config.at if role == "forcing" else "target"
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
    return Located(
        array=array,
        channels=Channels(made),
        kinds=tuple(kinds),
        levels=levels,
        scale=packed_scale * meaning.scale,
        offset=packed_offset * meaning.scale + meaning.offset,
        missing=_missing_marks(info.attributes),
        static=role == "static",
        chunks=info.chunks,
        shape=info.shape,
        meaning=meaning,
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


def _as_slice(positions: NDArray[Any]) -> Any:
    """A slice, where positions follow each other: cheaper to read than a list."""
    if len(positions) and (np.diff(positions) == 1).all():
        return slice(int(positions[0]), int(positions[-1]) + 1)
    return positions
