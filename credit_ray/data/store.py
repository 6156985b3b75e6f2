"""Arrays as a store has them: names, dimensions, attributes, raw values. Zarr and NetCDF behind one small interface.

Nothing here knows what a variable means; `source` does. A store is opened in the process that reads it and is never pickled open:
file systems with event loops do not survive a fork or a pickle.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from glob import glob
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from credit_ray.errors import DataError, did_you_mean

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
    """

    dims: tuple[str, ...]
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    attributes: Mapping[str, Any]


class Store(Protocol):
    """The seam: a set of named arrays."""

    url: str

    def arrays(self) -> Mapping[str, ArrayInfo]:
        """All arrays, coordinates included."""
        ...

    def read(self, name: str, index: Index) -> NDArray[Any]:
        """Raw values at `index`, one integer, slice or integer array per dimension."""
        ...

    def attributes(self) -> Mapping[str, Any]:
        """Of the whole store."""
        ...

    def fingerprint(self) -> str:
        """Changes when the store is written to, as far as that shows without reading it: sizes and times of local files."""
        ...


def open_store(url: str, storage_options: Mapping[str, Any] | None = None) -> Store:
    """Open a Zarr store (v2 or v3, any fsspec URL), a NetCDF file, or a glob of NetCDF files.

    Raises
    ------
    DataError
        Where there is nothing, or nothing readable, at the URL; names what lies beside it.
    """
    options = dict(storage_options or {})
    if url.endswith((".nc", ".nc4", ".cdf", ".netcdf")) or any(c in url for c in "*?["):
        return NetCDFStore(url)
    return ZarrStore(url, options)


class ZarrStore:
    """A Zarr group."""

    def __init__(self, url: str, storage_options: Mapping[str, Any]) -> None:
        import zarr

        self.url = url
        if "://" not in url:
            _must_exist(url)
        try:
            self._group = zarr.open_group(url, mode="r", storage_options=dict(storage_options) or None)
        except (FileNotFoundError, KeyError, ValueError, OSError, TypeError) as error:
            raise DataError(f"{url} can't be opened as a Zarr store: {_first_line(error)}") from error
        try:
            self._arrays: dict[str, Any] = dict(self._group.arrays())
        except Exception as error:  # broken metadata raise anything
            raise DataError(f"{url} has metadata that can't be read: {_first_line(error)}") from error
        if not self._arrays:
            groups = ", ".join(sorted(self._group.group_keys())[:8])
            raise DataError(f"{url} is a Zarr group without arrays." + (f" It has groups: {groups}." if groups else ""))

    def arrays(self) -> Mapping[str, ArrayInfo]:
        return {name: _zarr_info(self.url, name, array) for name, array in self._arrays.items()}

    def read(self, name: str, index: Index) -> NDArray[Any]:
        array = self._arrays[name]
        if all(isinstance(i, (slice, int)) for i in index):
            return np.asarray(array[index])
        return np.asarray(array.oindex[index])

    def attributes(self) -> Mapping[str, Any]:
        return dict(self._group.attrs)

    def fingerprint(self) -> str:
        if "://" not in self.url:
            return _files_fingerprint(sorted(path for path in Path(self.url).rglob("*") if path.is_file()))
        described = {name: array.metadata.to_dict() for name, array in self._arrays.items()}
        return hashlib.sha256(json.dumps(described, sort_keys=True, default=str).encode()).hexdigest()


def _zarr_info(url: str, name: str, array: Any) -> ArrayInfo:
    attributes = dict(array.attrs)
    v3 = array.metadata.zarr_format == 3
    dims = array.metadata.dimension_names if v3 else attributes.pop("_ARRAY_DIMENSIONS", None)
    if dims is None or len(dims) != array.ndim:
        dims = tuple(f"{name}_dim{i}" for i in range(array.ndim))
    # In Zarr v2 the array's fill value is what CF calls _FillValue; in v3 the attribute says it. Zero is Zarr's default, not a mark.
    fill = attributes.get("_FillValue", None if v3 else array.fill_value or None)
    if isinstance(fill, str) and np.issubdtype(array.dtype, np.floating):
        fill = struct.unpack("<d", base64.b64decode(fill))[0]  # xarray's spelling in JSON
    if fill is not None and not isinstance(fill, str):
        attributes["_FillValue"] = float(fill)
    else:
        attributes.pop("_FillValue", None)
    return ArrayInfo(tuple(map(str, dims)), tuple(array.shape), tuple(array.chunks), attributes)


class NetCDFStore:
    """One NetCDF file, or several that continue each other in time."""

    def __init__(self, url: str) -> None:
        self.url = url
        paths = sorted(glob(url, recursive=True)) if any(c in url for c in "*?[") else [url]
        if not paths:
            raise DataError(f"No file matches {url}.")
        self._files = [_open_netcdf(path) for path in paths]
        self._paths = paths
        first = self._files[0].variables
        self._info = {str(name): self._array_info(str(name), variable) for name, variable in first.items()}
        # where each file's part of the first dimension ends, for variables that continue
        self._ends = np.cumsum([f.sizes.get(self._record, 1) for f in self._files]) if len(paths) > 1 else None

    @property
    def _record(self) -> str:
        """The dimension along which files continue each other."""
        sizes = self._files[0].sizes
        return next((d for d in ("time", "valid_time", "date") if d in sizes), next(iter(sizes)))

    def _array_info(self, name: str, variable: Any) -> ArrayInfo:
        dims = tuple(map(str, variable.dims))
        shape = list(variable.shape)
        if dims and dims[0] == self._record and len(self._files) > 1:
            for path, file in zip(self._paths[1:], self._files[1:], strict=True):
                if name not in file.variables:
                    raise DataError(f"{path} lacks the variable '{name}', which {self._paths[0]} has.")
                if file.variables[name].shape[1:] != variable.shape[1:]:
                    raise DataError(
                        f"{path} has '{name}' with shape {file.variables[name].shape}; {self._paths[0]} has {variable.shape}."
                    )
                shape[0] += file.variables[name].shape[0]
        chunks = variable.encoding.get("chunksizes") or variable.shape
        return ArrayInfo(dims, tuple(shape), tuple(chunks), dict(variable.attrs))

    def arrays(self) -> Mapping[str, ArrayInfo]:
        return self._info

    def read(self, name: str, index: Index) -> NDArray[Any]:
        info = self._info[name]
        if self._ends is None or not info.dims or info.dims[0] != self._record:
            return _orthogonal(self._files[0].variables[name], index)
        wanted = np.atleast_1d(np.arange(info.shape[0])[index[0]])
        files = np.searchsorted(self._ends, wanted, side="right")
        starts = np.concatenate([[0], self._ends[:-1]])
        parts = [
            _orthogonal(self._files[f].variables[name], (wanted[files == f] - starts[f], *index[1:]))
            for f in dict.fromkeys(files.tolist())
        ]
        return np.concatenate(parts)

    def attributes(self) -> Mapping[str, Any]:
        return dict(self._files[0].attrs)

    def fingerprint(self) -> str:
        return _files_fingerprint([Path(path) for path in self._paths])


def _orthogonal(variable: Any, index: Index) -> NDArray[Any]:
    """Values of an xarray Variable, which indexes each dimension by itself."""
    return np.asarray(variable[index].values)


def _open_netcdf(path: str) -> Any:
    import xarray

    _must_exist(path)
    try:
        return xarray.open_dataset(path, decode_cf=False, cache=False)
    except Exception as error:  # the engines raise anything on a broken file
        raise DataError(f"{path} can't be read as NetCDF: {_first_line(error)}") from error


@lru_cache(maxsize=64)
def cached_store(url: str, options: str) -> Store:
    """The same open store for all reads of a process, since opening costs more than reading a slab; `options` as JSON."""
    return open_store(url, json.loads(options))


def _files_fingerprint(paths: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        status = path.stat()
        digest.update(f"{path.name} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _must_exist(path: str) -> None:
    if not Path(path).exists():
        parent = Path(path).parent
        beside = [entry.name for entry in parent.iterdir()] if parent.is_dir() else []
        hint = did_you_mean(Path(path).name, beside) if beside else f" Nor is there a folder {parent}."
        raise DataError(f"There is no {path}.{hint}")


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else 'no details'}"
