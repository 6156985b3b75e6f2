"""The new store of a rechunking, from its first document to its last: begun, noted part by part, whole.

Notes lie inside the store itself, so that another process, or another day, can go on.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from credit_ray.data.access import Access
from credit_ray.data.rechunk_layout import ArrayLayout
from credit_ray.data.transport import open_writable
from credit_ray.errors import DataError

_NOTES = ".rechunk"
_MARK = "rechunked_from"


@dataclass(frozen=True)
class Target:
    """Where a store is written, and what it is to be.

    Parameters
    ----------
    url, access
        Of the new store.
    digest : str
        Of the source and of the layout: what was begun from another is not gone on with.
    """

    url: str
    access: Access
    digest: str

    @property
    def store(self) -> Any:
        """Open for writing."""
        return open_writable(self.url, self.access)

    def read(self, key: str) -> str | None:
        """A small document; None where there is none."""
        from zarr.core.buffer import default_buffer_prototype
        from zarr.core.sync import sync

        found = sync(self.store.get(key, default_buffer_prototype()))
        return None if found is None else found.to_bytes().decode()

    def write(self, key: str, text: str) -> None:
        """Write a small document."""
        from zarr.core.buffer import default_buffer_prototype
        from zarr.core.sync import sync

        sync(self.store.set(key, default_buffer_prototype().buffer.from_bytes(text.encode())))

    def note(self, layout: ArrayLayout, part: tuple[int, int], checksum: str) -> None:
        """Note that a part is there."""
        self.write(f"{_NOTES}/{name_of(layout, part)}", checksum)


def name_of(layout: ArrayLayout, part: tuple[int, int]) -> str:
    """Of a part's note."""
    return f"{layout.name}-{part[0]}"


def prepare(target: Target, layouts: list[ArrayLayout], attributes: Mapping[str, Any]) -> set[str]:
    """Create the new store, or find it begun; the notes of the parts that are there already.

    Raises
    ------
    DataError
        Where something else lies there.
    """
    import zarr

    plan, root = target.read(f"{_NOTES}/plan"), target.read("zarr.json")
    if plan is not None:
        if plan != target.digest:
            raise DataError(
                f"{target.url} was begun from another source, or another choice of it. Remove it, or give another target."
            )
    elif root is not None:
        if json.loads(root).get("attributes", {}).get(_MARK) != target.digest:
            raise DataError(
                f"{target.url} exists already, and is not what would be written. Remove it, or give another target."
            )
        return {name_of(layout, part) for layout in layouts for part in layout.parts}
    else:
        target.write(f"{_NOTES}/plan", target.digest)
    group = zarr.open_group(target.store, mode="a", zarr_format=3, use_consolidated=False)
    group.attrs.update(_plain(attributes))
    for layout in layouts:
        if target.read(f"{layout.name}/zarr.json") is None:
            group.create_array(
                layout.name,
                shape=layout.shape,
                dtype=layout.dtype,
                chunks=layout.chunks,
                shards=layout.shards,
                compressors=_compressor(layout),
                attributes=layout.attributes,
                dimension_names=layout.dims,
                fill_value=np.nan if layout.dtype[1] == "f" else 0,
            )
    return _notes(target)


def complete(target: Target) -> None:
    """Mark the store as whole, and drop the notes."""
    import zarr
    from zarr.core.sync import sync

    if target.read(f"{_NOTES}/plan") is None:
        return
    group = zarr.open_group(target.store, mode="r+", use_consolidated=False)
    group.attrs[_MARK] = target.digest
    sync(target.store.delete_dir(_NOTES))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that consolidation is no part of Zarr v3 yet; whatever reads it knows
        zarr.consolidate_metadata(target.store)


def _notes(target: Target) -> set[str]:
    from zarr.core.sync import sync

    async def listed() -> set[str]:
        return {key async for key in target.store.list_dir(_NOTES)}

    return sync(listed()) - {"plan"}


def _compressor(layout: ArrayLayout) -> Any:
    from zarr.codecs import BloscCodec

    return BloscCodec(cname="zstd", clevel=3, shuffle="shuffle", typesize=np.dtype(layout.dtype).itemsize)


def _plain(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """As JSON has them; NetCDF's are numpy's."""
    return dict(
        json.loads(json.dumps(dict(attributes), default=lambda v: v.tolist() if hasattr(v, "tolist") else str(v)))
    )
