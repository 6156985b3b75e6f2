"""Stores that continue each other in time, read as one.

Members of a series often count time from their own first day, and pack their fields with their own scale; where they differ, values are
brought into one form here, and the attributes say which.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from glob import glob
from typing import Any

import numpy as np
from numpy.typing import NDArray

from credit_ray.data.access import Access
from credit_ray.data.arrays import ArrayInfo, Index, Store, by_slices
from credit_ray.data.transport import is_remote
from credit_ray.errors import DataError
from credit_ray.times import decode_times

_DIGITS = {"%Y": 4, "%y": 2, "%m": 2, "%d": 2, "%H": 2, "%M": 2, "%S": 2, "%j": 3}
_TOKEN = re.compile("|".join(_DIGITS))


def is_series(url: str) -> bool:
    """Whether a URL is a glob or a strftime template."""
    return any(c in url for c in "*?[") or bool(_TOKEN.search(url))


def members_of(url: str, access: Access) -> list[str]:
    """The URLs that a glob or a strftime template stands for, sorted by name.

    Raises
    ------
    DataError
        Where there are none, or they can't be listed.
    """
    pattern = _TOKEN.sub(lambda token: "[0-9]" * _DIGITS[token[0]], url)
    if not is_remote(url):
        found = sorted(glob(pattern, recursive=True))
    else:
        import fsspec

        try:
            system, path = fsspec.core.url_to_fs(pattern, **access.options)
            found = sorted(system.unstrip_protocol(each) for each in system.glob(path))
        except Exception as error:  # of any file system
            raise DataError(f"{url}: what it stands for can't be listed ({access.said(error)}).") from None
    if not found:
        raise DataError(f"No file matches {url}.")
    return found


class SeriesStore:
    """Several stores along the dimension that counts time.

    Parameters
    ----------
    url : str
        What they were found by.
    stores : sequence of Store
        In any order.
    """

    def __init__(self, url: str, stores: Sequence[Store]) -> None:
        self.url = url
        self.format = f"{stores[0].format}, {len(stores)} files"
        self.remote = any(store.remote for store in stores)
        self._stores, self._record = list(stores), _record_dimension(stores[0])
        self._in_order_of_time()
        self._ends = np.cumsum([store.arrays()[self._record].shape[0] for store in self._stores])
        self._decoded: set[str] = set()  # variables whose encoding differs among the members
        self._info = {name: self._array_info(name) for name in self._stores[0].arrays()}

    def _in_order_of_time(self) -> None:
        if not self._record:
            raise DataError(
                f"{self.url} matches {len(self._stores)} files, but {self._stores[0].url} has no time dimension along which they could continue."
            )
        first = []
        for store in self._stores:
            info = store.arrays().get(self._record)
            if info is None or info.dims != (self._record,) or not info.shape[0]:
                raise DataError(f"{store.url} has no times along '{self._record}', unlike {self._stores[0].url}.")
            first.append(_decode(store.read(self._record, (slice(0, 1),)), info.attributes)[0])
        self._stores = [self._stores[i] for i in np.argsort(first, kind="stable").tolist()]

    def _continues(self, name: str) -> bool:
        return self._stores[0].arrays()[name].dims[:1] == (self._record,)

    def _array_info(self, name: str) -> ArrayInfo:
        first, info = self._stores[0], self._stores[0].arrays()[name]
        if not self._continues(name):
            return info
        for store in self._stores[1:]:
            other = store.arrays().get(name)
            if other is None:
                raise DataError(f"{store.url} lacks the variable '{name}', which {first.url} has.")
            if other.dims != info.dims or other.shape[1:] != info.shape[1:]:
                raise DataError(f"{store.url} has '{name}' with shape {other.shape}; {first.url} has {info.shape}.")
            ours, theirs = info.attributes.get("units"), other.attributes.get("units")
            if " since " not in str(ours) and ours != theirs:
                raise DataError(f"{store.url} has '{name}' in '{theirs}'; {first.url} has it in '{ours}'.")
            if any(str(other.attributes.get(key)) != str(info.attributes.get(key)) for key in _ENCODING):
                self._decoded.add(name)
        attributes = dict(info.attributes)
        if name in self._decoded:
            units = str(attributes.get("units", ""))
            units = "seconds since 1970-01-01" if " since " in units else units
            attributes = {k: v for k, v in attributes.items() if k not in _ENCODING} | {"units": units}
        return replace(info, shape=(int(self._ends[-1]), *info.shape[1:]), attributes=attributes)

    def arrays(self) -> Mapping[str, ArrayInfo]:
        return self._info

    def read(self, name: str, index: Index) -> NDArray[Any]:
        if not self._continues(name):
            return self._stores[0].read(name, index)
        return by_slices(lambda slices: self._read(name, slices), index, self._info[name].chunks)

    def _read(self, name: str, slices: tuple[slice, ...]) -> NDArray[Any]:
        start, stop, _ = slices[0].indices(self._info[name].shape[0])
        parts: list[NDArray[Any]] = []
        for store, begin, end in zip(self._stores, [0, *self._ends.tolist()], self._ends.tolist(), strict=False):
            a, b = max(start, begin) - begin, min(stop, end) - begin
            if a < b or (start == stop and not parts):
                raw = store.read(name, (slice(a, max(a, b)), *slices[1:]))
                parts.append(_decode(raw, store.arrays()[name].attributes) if name in self._decoded else raw)
        return np.concatenate(parts)

    def filled_in(self, name: str, index: Index, values: NDArray[Any]) -> str | None:
        if not self._continues(name):
            return self._stores[0].filled_in(name, index, values)
        wanted = np.arange(self._info[name].shape[0])[index[0]]
        for store, begin, end in zip(self._stores, [0, *self._ends.tolist()], self._ends.tolist(), strict=False):
            here = (begin <= wanted) & (wanted < end)
            if here.any():
                part = (wanted[here] - begin, *index[1:])
                raw = store.read(name, part) if name in self._decoded else values[here]
                if chunk := store.filled_in(name, part, raw):
                    return f"{chunk} of {store.url}"
        return None

    def attributes(self) -> Mapping[str, Any]:
        return self._stores[0].attributes()

    def fingerprint(self) -> str:
        return hashlib.sha256(" ".join(store.fingerprint() for store in self._stores).encode()).hexdigest()


_ENCODING = ("units", "calendar", "scale_factor", "add_offset", "_FillValue", "missing_value")


def _record_dimension(store: Store) -> str:
    """The dimension along which stores continue each other: the one that counts time; empty where there is none."""
    arrays = store.arrays()
    for name, info in arrays.items():
        if info.dims == (name,) and " since " in str(info.attributes.get("units", "")):
            return name
    return ""


def _decode(values: NDArray[Any], attributes: Mapping[str, Any]) -> NDArray[Any]:
    """Packed values unpacked, missing ones NaN; times in seconds since 1970 in their own calendar."""
    units = str(attributes.get("units", ""))
    if " since " in units:
        return decode_times(values, units, str(attributes.get("calendar", "standard")))
    decoded = values.astype(np.float64)
    for key in ("_FillValue", "missing_value"):
        if key in attributes:
            decoded[values == attributes[key]] = np.nan
    return decoded * float(attributes.get("scale_factor", 1)) + float(attributes.get("add_offset", 0))
