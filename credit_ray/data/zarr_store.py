"""Zarr stores, v2 and v3, through any file system that fsspec knows."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
import warnings
from collections.abc import Mapping
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from credit_ray.data.arrays import ArrayInfo, Index, by_slices, files_fingerprint, first_line
from credit_ray.errors import DataError


class ZarrStore:
    """A Zarr group.

    Local stores are decoded by zarrs: faster, and it looks at the length of each chunk. Where it can't (remote stores, foreign byte
    orders, unusual codecs), by zarr-python, whose Blosc would read a truncated chunk past its end: hence `_whole_chunks`.
    """

    def __init__(self, url: str, storage_options: Mapping[str, Any]) -> None:
        self.url = url
        self._options = dict(storage_options)
        try:
            self._arrays = self._open()
            self.format = f"Zarr v{self._group.metadata.zarr_format}"
        except DataError:
            raise
        except (FileNotFoundError, KeyError, ValueError, OSError, TypeError) as error:
            raise DataError(f"{url} can't be opened as a Zarr store: {first_line(error)}") from error
        except Exception as error:  # broken metadata raise anything
            raise DataError(f"{url} has metadata that can't be read: {first_line(error)}") from error

    def _open(self) -> dict[str, Any]:
        import zarr

        if "://" not in self.url and not self.url.endswith(".zip"):
            with (
                zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"}),
                warnings.catch_warnings(record=True) as unsupported,
            ):
                warnings.simplefilter("always")
                self._group = zarr.open_group(self.url, mode="r")
                arrays = self._members()
            unsupported = [w for w in unsupported if "ZarrsCodecPipeline" in str(w.message)]
            if not unsupported and all(array.dtype.isnative for array in arrays.values()):
                return arrays
        blosc: set[str] = set()
        self._group = zarr.open_group(_whole_chunks(self.url, self._options, blosc), mode="r")
        arrays = self._members()
        blosc |= {
            array.path for array in arrays.values() if array.shards is None and "Blosc" in str(array.compressors[-1:])
        }
        return arrays

    def _members(self) -> dict[str, Any]:
        arrays: dict[str, Any] = dict(self._group.arrays())
        if not arrays:
            groups = ", ".join(sorted(self._group.group_keys())[:8])
            raise DataError(
                f"{self.url} is a Zarr group without arrays."
                + (f" It has the groups {groups}: add the one that you mean to the URL." if groups else "")
            )
        return arrays

    def arrays(self) -> Mapping[str, ArrayInfo]:
        return {name: _zarr_info(name, array) for name, array in self._arrays.items()}

    def read(self, name: str, index: Index) -> NDArray[Any]:
        array = self._arrays[name]
        return by_slices(lambda slices: np.asarray(array[slices]), index, array.chunks)

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
        if "://" not in self.url:
            return files_fingerprint(self.url)
        described = {name: array.metadata.to_dict() for name, array in self._arrays.items()}
        return hashlib.sha256(json.dumps(described, sort_keys=True, default=str).encode()).hexdigest()


def _whole_chunks(url: str, options: Mapping[str, Any], blosc: set[str]) -> Any:
    """A Zarr store that refuses empty chunks, and chunks of the arrays `blosc` that are shorter than their own header says."""
    from zarr.storage import FsspecStore, LocalStore, WrapperStore, ZipStore

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

    if url.endswith(".zip"):
        return WholeChunks(ZipStore(url, mode="r", read_only=True))
    if "://" not in url:
        return WholeChunks(LocalStore(url, read_only=True))
    return WholeChunks(FsspecStore.from_url(url, storage_options=dict(options), read_only=True))


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


def _exists(array: Any, key: str) -> bool:
    from zarr.core.sync import sync

    return bool(sync((array.store_path / key).exists()))


def _is(values: NDArray[Any], fill: Any) -> Any:
    """Where values are the fill value, which may be NaN."""
    return np.isnan(values) if fill != fill else values == fill
