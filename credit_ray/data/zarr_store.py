"""Zarr stores, v2 and v3, through any file system that fsspec knows."""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import math
import re
import struct
import time
import warnings
from collections.abc import Mapping
from functools import cache
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from credit_ray.data.access import Access
from credit_ray.data.arrays import ArrayInfo, Index, by_slices, files_fingerprint
from credit_ray.data.patience import StoreFailure, Traffic
from credit_ray.data.transport import is_remote, open_transport
from credit_ray.errors import DataError

log = logging.getLogger(__name__)

_TRUST_SECONDS = 30.0  # between two looks at a remote array's metadata
_REQUESTS_AT_A_TIME = 64  # hides the latency of an object store behind the decoding of what has come


class ZarrStore:
    """A Zarr group.

    Local stores are decoded by zarrs: faster, and it looks at the length of each chunk. Where it can't (foreign byte orders, unusual codecs)
    or would have to make requests that nobody counts or repeats (remote stores), by zarr-python, whose Blosc would read a truncated chunk
    past its end: hence `_whole_chunks`.
    """

    def __init__(self, url: str, access: Access | None = None) -> None:
        self.url, self.access = url, access or Access()
        try:
            self._arrays = self._open()
            self._info = {name: _zarr_info(name, array) for name, array in self._arrays.items()}
            self._checked: dict[str, float] = {}
            self.format = f"Zarr v{self._group.metadata.zarr_format}"
        except DataError:
            raise
        except StoreFailure as failure:
            raise DataError(f"{url} can't be opened as a Zarr store ({failure}). {failure.hint}") from failure
        except (FileNotFoundError, KeyError, ValueError, OSError, TypeError) as error:
            raise DataError(f"{url} can't be opened as a Zarr store: {self.access.said(error)}") from error
        except Exception as error:  # broken metadata raise anything
            raise DataError(f"{url} has metadata that can't be read: {self.access.said(error)}") from error

    def _open(self) -> dict[str, Any]:
        import zarr

        self._transport = transport = open_transport(self.url, self.access)
        self.remote = transport.engine != "files"
        why = "it makes its own requests, neither counted nor repeated" if self.remote else "it reads no archives"
        if not self.remote and not self.url.endswith(".zip"):
            with (
                zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"}),
                warnings.catch_warnings(record=True) as caught,
            ):
                warnings.simplefilter("always")
                self._group = zarr.open_group(self.url, mode="r")
                arrays = self._members()
            unsupported = [str(w.message) for w in caught if "ZarrsCodecPipeline" in str(w.message)]
            foreign = [array.path for array in arrays.values() if not array.dtype.isnative]
            if not unsupported and not foreign:
                _say_once(f"{self.url}: files, decoded by zarrs.")
                return arrays
            why = unsupported[0] if unsupported else f"it reads no foreign byte order ({foreign[0]})"
        if self.remote:
            zarr.config.set({"async.concurrency": _REQUESTS_AT_A_TIME})
        instead = f", not obstore: {transport.why}" if transport.why else ""
        _say_once(f"{self.url}: read by {transport.engine}{instead}; decoded by zarr-python, not zarrs: {why}.")
        blosc: set[str] = set()
        self._group = zarr.open_group(_whole_chunks(transport.store, blosc), mode="r")
        arrays = self._members()
        blosc |= {
            array.path for array in arrays.values() if array.shards is None and "Blosc" in str(array.compressors[-1:])
        }
        return arrays

    @property
    def traffic(self) -> Traffic:
        """Requests of this process to the store; files that zarrs reads are not counted."""
        return self._transport.patience.traffic

    def _members(self) -> dict[str, Any]:
        try:
            arrays: dict[str, Any] = dict(self._group.arrays())
        except StoreFailure as failure:
            if self.url.startswith("http"):
                raise DataError(
                    f"{self.url} has no consolidated metadata, and folders can't be listed by HTTP ({failure.why}). "
                    f"Consolidate its metadata (zarr.consolidate_metadata), or read it by s3:// or gs://."
                ) from failure
            raise
        if not arrays:
            groups = ", ".join(sorted(self._group.group_keys())[:8])
            raise DataError(
                f"{self.url} is a Zarr group without arrays."
                + (f" It has the groups {groups}: add the one that you mean to the URL." if groups else "")
            )
        return arrays

    def arrays(self) -> Mapping[str, ArrayInfo]:
        return self._info

    def read(self, name: str, index: Index) -> NDArray[Any]:
        array = self._arrays[name]
        try:
            self._refuse_changed(name)
            return by_slices(lambda slices: np.asarray(array[slices]), index, array.chunks)
        except StoreFailure as failure:
            failure.region = _region_of(array, failure.key)
            raise

    def _refuse_changed(self, name: str) -> None:
        """Refuse an array that was written anew since it was opened; one that has grown still holds what it held."""
        now = time.monotonic()
        if now - self._checked.get(name, -math.inf) < (_TRUST_SECONDS if self.remote else 0):
            return
        self._checked[name] = now
        array, document = self._arrays[name], _document(self._arrays[name])
        if document is None or not _same_but_longer(array.metadata.to_dict(), document):
            found = "is gone" if document is None else f"has shape {tuple(document.get('shape', ()))}"
            raise DataError(
                f"{self.url}: '{name}' {found}, or another encoding, since it was opened with shape {array.shape}: the store was written to "
                f"while it was being read. Start again once it is complete."
            )

    def filled_in(self, name: str, index: Index, values: NDArray[Any]) -> str | None:
        array = self._arrays[name]
        fill = array.fill_value
        if fill is None or array.dtype.kind not in "iuf":
            return None
        # A chunk that was never written is all fill value: only where a chunk's first value is that is there anything to look up.
        chunks = array.shards or array.chunks
        numbers = [np.arange(n)[i] // size for n, i, size in zip(array.shape, index, chunks, strict=True)]
        for chunk in product(*map(np.unique, numbers)):
            inside = [np.flatnonzero(number == c) for number, c in zip(numbers, chunk, strict=True)]
            if _is(values[tuple(i[0] for i in inside)], fill) and _is(values[np.ix_(*inside)], fill).all():
                key = array.metadata.encode_chunk_key(tuple(map(int, chunk)))
                if not _exists(array, key):
                    return f"{array.path}/{key}"
        return None

    def attributes(self) -> Mapping[str, Any]:
        return dict(self._group.attrs)

    def fingerprint(self) -> str:
        if not is_remote(self.url):
            return files_fingerprint(self.url)
        described = {name: array.metadata.to_dict() for name, array in self._arrays.items()}
        return hashlib.sha256(json.dumps(described, sort_keys=True, default=str).encode()).hexdigest()


@cache
def _say_once(text: str) -> None:
    """In each process: a store is opened again and again."""
    log.info("%s", text)


def _whole_chunks(store: Any, blosc: set[str]) -> Any:
    """The Zarr store, refusing empty chunks, and chunks of the arrays `blosc` that are shorter than their own header says."""
    from zarr.storage import WrapperStore

    class WholeChunks(WrapperStore[Any]):
        async def get(self, key: str, prototype: Any, byte_range: Any = None) -> Any:
            value = await super().get(key, prototype, byte_range)
            if value is None or byte_range is not None or key.rpartition("/")[2] in _ZARR_METADATA:
                return value
            header = value[:16].to_bytes()
            has, should_have = len(value), 1
            if any(key.startswith(f"{path}/") for path in blosc):
                should_have = struct.unpack("<I", header[12:])[0] if len(header) == 16 else 16
            if has < should_have:
                raise OSError(f"the chunk {key} is truncated: it has {has} bytes of {should_have}")
            return value

    return WholeChunks(store)


def _region_of(array: Any, key: str) -> tuple[slice, ...] | None:
    """The part of an array that lies in the chunk `key`; None where that is something else."""
    name = key.removeprefix(f"{array.path}/")
    numbers = [int(n) for n in re.findall(r"\d+", name)]
    if len(numbers) != array.ndim or array.metadata.encode_chunk_key(tuple(numbers)) != name:
        return None
    sizes = array.shards or array.chunks
    return tuple(slice(n * size, (n + 1) * size) for n, size in zip(numbers, sizes, strict=True))


def decode_with_one_thread() -> None:
    """In this process, for stores that it opens from now on: a reading task has one CPU, and its neighbours have theirs."""
    import zarr

    zarr.config.set({"threading.max_workers": 1})


_ZARR_METADATA = frozenset({"zarr.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata"})


def _zarr_info(name: str, array: Any) -> ArrayInfo:
    attributes = dict(array.attrs)
    v3 = array.metadata.zarr_format == 3
    dims = array.metadata.dimension_names if v3 else attributes.pop("_ARRAY_DIMENSIONS", None)
    if dims is None or len(dims) != array.ndim:
        dims = tuple(f"{name}_dim{i}" for i in range(array.ndim))
    numeric = array.dtype.kind in "iuf"
    # In Zarr v2 the array's fill value is what CF calls _FillValue; in v3 the attribute says it. Zero is Zarr's default, not a mark.
    fill = attributes.pop("_FillValue", None if v3 else (array.fill_value or None)) if numeric else None
    if isinstance(fill, str) and array.dtype.kind == "f":
        fill = struct.unpack("<d", base64.b64decode(fill))[0]  # xarray's spelling in JSON
    if fill is not None and not isinstance(fill, str):
        attributes["_FillValue"] = float(fill)
    return ArrayInfo(tuple(map(str, dims)), tuple(array.shape), tuple(array.chunks), attributes, array.dtype.itemsize)


def _document(array: Any) -> dict[str, Any] | None:
    """An array's metadata as they are now."""
    from zarr.core.buffer import default_buffer_prototype
    from zarr.core.sync import sync

    name = "zarr.json" if array.metadata.zarr_format == 3 else ".zarray"
    content = sync((array.store_path / name).get(prototype=default_buffer_prototype()))
    if content is None:
        return None
    try:
        found = json.loads(content.to_bytes())
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _same_but_longer(then: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether chunks that were written by the one are read right by the other."""
    before, shape = then["shape"], now.get("shape")
    if (
        not isinstance(shape, list)
        or len(shape) != len(before)
        or any(a > b for a, b in zip(before, shape, strict=True))
    ):
        return False
    if then["zarr_format"] == 2:
        return tuple(now.get("chunks", ())) == tuple(then["chunks"]) and now.get("order") == then["order"]
    grid = now.get("chunk_grid")
    chunks = grid.get("configuration", {}).get("chunk_shape") if isinstance(grid, dict) else None
    return chunks is not None and tuple(chunks) == tuple(then["chunk_grid"]["configuration"]["chunk_shape"])


def _exists(array: Any, key: str) -> bool:
    from zarr.core.sync import sync

    return bool(sync((array.store_path / key).exists()))


def _is(values: NDArray[Any], fill: Any) -> Any:
    """Where values are the fill value, which may be NaN."""
    return np.isnan(values) if fill != fill else values == fill
