"""How a store is laid out for training: many times in one file, one time and one group of levels in what is decoded at once.

A plan reads runs of consecutive times; one file of several times makes a run a few large reads, and inner chunks of one time leave a short
window cheap. Pure arithmetic: nothing here reads.
"""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from credit_ray.data.arrays import ArrayInfo
from credit_ray.data.axes import Axes

INNER_BYTES = 4_000_000
"""Of an inner chunk, about: decoded by one thread in a few milliseconds."""

SHARD_BYTES = 128_000_000
"""Of a shard before compression, at most: held in memory while it is written."""

_ORDER = ("time", "level", "latitude", "longitude")


@dataclass(frozen=True)
class ArrayLayout:
    """One array as it is to lie in the new store.

    Parameters
    ----------
    name, dims, shape, dtype, attributes
        Of the array, its dimensions in the new order.
    order : tuple of int
        Which of the old dimensions becomes each new one.
    chunks : tuple of int
        What is decoded at once.
    shards : tuple of int, optional
        What is one file; None for an array without time.
    first : int
        The first time that is taken from the old store.
    """

    name: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str
    attributes: dict[str, Any]
    order: tuple[int, ...]
    chunks: tuple[int, ...]
    shards: tuple[int, ...] | None
    first: int = 0

    @property
    def parts(self) -> list[tuple[int, int]]:
        """(start, stop) along the first dimension of what is written at once: whole files."""
        step = self.shards[0] if self.shards else max(self.shape[0] if self.shape else 1, 1)
        end = self.shape[0] if self.shape else 1
        return [(start, min(start + step, end)) for start in range(0, end, step)]

    def index(self, start: int, stop: int) -> tuple[slice, ...]:
        """Where a part lies in the old store, dimensions in its order."""
        new = [slice(self.first + start, self.first + stop), *(slice(None) for _ in self.shape[1:])]
        old = [slice(None)] * len(new)
        for to, come_from in enumerate(self.order):
            old[come_from] = new[to]
        return tuple(old) if self.shape else ()


def layout_of(name: str, info: ArrayInfo, axes: Axes, dtype: np.dtype[Any], span: tuple[int, int]) -> ArrayLayout:
    """The layout of one array.

    Parameters
    ----------
    span : (int, int)
        First time and the one after the last, in the old store.
    """
    kinds = [axes.kind(dim) for dim in info.dims]
    order = tuple(sorted(range(len(kinds)), key=lambda i: (_ORDER.index(kinds[i]), i)))
    shape = [info.shape[i] for i in order]
    timed = bool(kinds) and kinds[order[0]] == "time"
    if timed:
        shape[0] = span[1] - span[0]
    chunks, shards = list(shape), None
    if timed and len(shape) > 1:
        chunks, shards = _sharded([kinds[i] for i in order], shape, dtype.itemsize)
    return ArrayLayout(
        name=name,
        dims=tuple(info.dims[i] for i in order),
        shape=tuple(shape),
        dtype=dtype.newbyteorder("=").str,
        attributes=_json(info.attributes, dtype),
        order=order,
        chunks=tuple(max(n, 1) for n in chunks),
        shards=tuple(shards) if shards else None,
        first=span[0] if timed else 0,
    )


def _sharded(kinds: list[str], shape: list[int], itemsize: int) -> tuple[list[int], list[int]]:
    """Chunks of one time and some levels, shards of several times and all levels, in bytes about as the constants say."""
    chunks = [1, *shape[1:]]
    if "level" in kinds:
        at = kinds.index("level")
        level_bytes = math.prod(shape[1:]) // shape[at] * itemsize
        groups = max(round(math.prod(shape[1:]) * itemsize / max(INNER_BYTES, level_bytes)), 1)
        chunks[at] = math.ceil(shape[at] / groups)
    whole = [math.ceil(n / c) * c for n, c in zip(shape, chunks, strict=True)]
    times = min(max(SHARD_BYTES // max(math.prod(whole[1:]) * itemsize, 1), 1), max(shape[0], 1))
    return chunks, [int(times), *whole[1:]]


def _json(attributes: Mapping[str, Any], dtype: np.dtype[Any]) -> dict[str, Any]:
    """Attributes as JSON has them; `_FillValue` as xarray spells it in Zarr v3, and none where it is NaN, which needs no mark."""
    found: dict[str, Any] = {}
    for key, value in attributes.items():
        plain = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
        plain = plain.decode() if isinstance(plain, bytes) else plain
        if key in ("_FillValue", "missing_value") and isinstance(plain, int | float):
            if math.isnan(plain):
                continue
            if key == "_FillValue":
                number = float(plain)
                plain = (
                    base64.standard_b64encode(struct.pack("<d", number)).decode() if dtype.kind == "f" else int(number)
                )
        found[key] = plain
    return found
