"""A URL → an open store, Zarr or NetCDF.

Nothing here knows what a variable means; `source` does. A store is opened in the process that reads it and is never pickled open:
file systems with event loops do not survive a fork or a pickle.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from credit_ray.data.arrays import Store
from credit_ray.data.netcdf_store import NetCDFStore
from credit_ray.data.zarr_store import ZarrStore
from credit_ray.errors import DataError, did_you_mean


def open_store(url: str, storage_options: Mapping[str, Any] | None = None) -> Store:
    """Open a Zarr store (v2 or v3, any fsspec URL), a NetCDF file, or a glob of NetCDF files.

    Raises
    ------
    DataError
        Where there is nothing, or nothing readable, at the URL; names what lies beside it.
    """
    options = dict(storage_options or {})
    if url.endswith((".nc", ".nc4", ".cdf", ".netcdf")) or any(c in url for c in "*?["):
        if "://" in url:
            raise DataError(
                f"{url}: NetCDF is read from local paths only. Copy the files here, or make a Zarr store of them."
            )
        if not any(c in url for c in "*?["):
            must_exist(url)
        return NetCDFStore(url)
    if "://" not in url:
        must_exist(url)
        if Path(url).is_file() and not url.endswith(".zip"):
            return NetCDFStore(url)
    return ZarrStore(url, options)


@lru_cache(maxsize=64)
def cached_store(url: str, options: str, opened: int) -> Store:
    """The same open store for all reads of a process, since opening costs more than reading a slab.

    `options` is JSON; `opened` tells one opening of a source from the next, between which the store may have been written to.
    """
    return open_store(url, json.loads(options))


def must_exist(path: str) -> None:
    if not Path(path).exists():
        parent = Path(path).parent
        beside = [entry.name for entry in parent.iterdir()] if parent.is_dir() else []
        hint = (
            did_you_mean(Path(path).name, beside)
            if beside
            else f" Nor is there a folder {parent}."
            if not parent.is_dir()
            else ""
        )
        raise DataError(f"There is no {path}.{hint}")
