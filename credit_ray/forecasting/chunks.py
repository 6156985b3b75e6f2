"""How a forecast store is cut: chunks of a few megabytes, each with one writer."""

from __future__ import annotations

from typing import Any

import numpy as np

from credit_ray.forecasting.layout import ForecastLayout

CHUNK_BYTES = 2 << 20
"""A chunk holds as many lead times as fit (one at least), of one initial time and one variable."""


def default_leads_per_chunk(layout: ForecastLayout) -> int:
    """As many as make chunks of a good size, in blocks of equal length."""
    largest = max(len(variable.positions) for variable in layout.variables)
    leads = len(layout.leads)
    most = int(np.clip(CHUNK_BYTES // (4 * largest * int(np.prod(layout.grid.shape))), 1, leads))
    return -(-leads // -(-leads // most))


def chunks_and_shards(
    layout: ForecastLayout, levels: int | None, leads: int
) -> tuple[tuple[int, ...], tuple[int, ...] | None]:
    """Chunks, and the shards that hold them where one lead time of a variable is several chunks: fewer files, the same reads."""
    if levels is None:
        return (1, leads, *layout.grid.shape), None
    together = int(np.clip(CHUNK_BYTES // (4 * leads * int(np.prod(layout.grid.shape))), 1, levels))
    if together == levels:
        return (1, leads, levels, *layout.grid.shape), None
    shard_levels = -(-levels // together) * together
    return (1, leads, together, *layout.grid.shape), (1, leads, shard_levels, *layout.grid.shape)


def compressor() -> Any:
    """Of all fields."""
    from zarr.codecs import BloscCodec

    # float32 fields are mostly noise in their lower bits: zstd gains 5 % on lz4 and takes four times as long
    return BloscCodec(cname="lz4", clevel=5, shuffle="shuffle", typesize=4)
