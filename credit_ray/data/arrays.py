"""Arrays as a store has them: names, dimensions, attributes, raw values; what all kinds of store share."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Index = tuple[Any, ...]


@dataclass(frozen=True)
class ArrayInfo:
    """What is known of an array without reading it.

    Parameters
    ----------
    dims, shape, chunks : tuple
        By dimension; `chunks` is the smallest part that can be read alone.
    attributes : mapping
        As stored, with `_FillValue` as a number where there is one.
    bytes_per_value : int
        In memory, as stored.
    """

    dims: tuple[str, ...]
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    attributes: Mapping[str, Any]
    bytes_per_value: int = 4


class Store(Protocol):
    """The seam: a set of named arrays."""

    url: str
    format: str
    remote: bool
    """Whether a read waits for a network rather than for a disk."""

    def arrays(self) -> Mapping[str, ArrayInfo]:
        """All arrays, coordinates included."""
        ...

    def read(self, name: str, index: Index) -> NDArray[Any]:
        """Raw values at `index`: a slice or an array of positions for each dimension."""
        ...

    def filled_in(self, name: str, index: Index, values: NDArray[Any]) -> str | None:
        """Name of a chunk that the store lacks and that `values`, read at `index`, has as the fill value; None where there is none."""
        ...

    def attributes(self) -> Mapping[str, Any]:
        """Of the whole store."""
        ...

    def fingerprint(self) -> str:
        """Changes when the store is written to, as far as that shows without reading it: sizes and times of local files."""
        ...


def by_slices(read: Callable[[tuple[slice, ...]], NDArray[Any]], index: Index, chunks: Sequence[int]) -> NDArray[Any]:
    """Read positions by slices of neighbours, which are what codecs are quick at; no chunk is decoded twice."""
    for axis, (wanted, chunk) in enumerate(zip(index, chunks, strict=True)):
        if not isinstance(wanted, slice):
            positions, back = np.unique(np.asarray(wanted, np.int64), return_inverse=True)
            apart = (np.diff(positions) > 1) & (np.diff(positions // max(chunk, 1)) > 0)
            parts = []
            for group in np.split(positions, np.flatnonzero(apart) + 1):
                near = slice(int(group[0]), int(group[-1]) + 1)
                part = by_slices(read, (*index[:axis], near, *index[axis + 1 :]), chunks)
                parts.append(part if len(group) == part.shape[axis] else part.take(group - group[0], axis))
            together = parts[0] if len(parts) == 1 else np.concatenate(parts, axis)
            return together if len(back) == len(positions) and (np.diff(back) > 0).all() else together.take(back, axis)
    return read(index)


def files_fingerprint(*paths: str) -> str:
    """Digest of names, sizes and times of change: of files, and of folders with all that is in them."""
    digest = hashlib.sha256()
    for root in paths:
        for folder, folders, files in (
            os.walk(root) if os.path.isdir(root) else [(os.path.dirname(root), [], [os.path.basename(root)])]
        ):
            folders.sort()
            for name in sorted(files):
                path = os.path.join(folder, name)
                status = os.stat(path)
                digest.update(f"{os.path.relpath(path, root)} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()
