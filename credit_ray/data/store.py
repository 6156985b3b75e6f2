"""A URL → an open store: Zarr or NetCDF, one or a series that continues in time.

Nothing here knows what a variable means; `source` does. A store is opened in the process that reads it and is never pickled open:
file systems with event loops do not survive a fork or a pickle.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

from credit_ray.data.access import Access
from credit_ray.data.arrays import Store
from credit_ray.data.netcdf_store import NetCDFStore
from credit_ray.data.series_store import SeriesStore, is_series, members_of
from credit_ray.data.transport import is_remote
from credit_ray.data.zarr_store import ZarrStore
from credit_ray.errors import DataError, did_you_mean

_NETCDF = (".nc", ".nc4", ".cdf", ".netcdf")


def open_store(url: str, access: Access | None = None) -> Store:
    """Open a Zarr store (v2 or v3) or a NetCDF file behind any URL, or a series of either that continues in time.

    Parameters
    ----------
    url : str
        A path or URL; a glob (`era5_*.nc`) or a strftime template (`era5_%Y.zarr`) names a series.
    access : Access, optional
        Options, engine and patience.

    Raises
    ------
    DataError
        Where there is nothing, or nothing readable, at the URL; names what lies beside it.
    """
    access = access or Access()
    if is_series(url):
        found = members_of(url, access)
        stores = [_open_one(member, access) for member in found]
        return stores[0] if len(stores) == 1 else SeriesStore(url, stores)
    return _open_one(url, access)


def _open_one(url: str, access: Access) -> Store:
    if not is_remote(url):
        must_exist(url)
        if Path(url).is_file() and not url.endswith(".zip"):
            return NetCDFStore(url, access)
    return NetCDFStore(url, access) if url.endswith(_NETCDF) else ZarrStore(url, access)


@lru_cache(maxsize=64)
def cached_store(url: str, access: str, opened: int) -> Store:
    """The same open store for all reads of a process, since opening costs more than reading a slab.

    `access` is JSON; `opened` tells one opening of a source from the next, between which the store may have been written to.
    """
    return open_store(url, Access(**json.loads(access)))


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
