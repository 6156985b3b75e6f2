"""The forecast store: Zarr v3, CF, created whole and then filled, by batch forecasts and by the service alike.

`create_store` lays out every array, writes all coordinates and consolidates the metadata, so that `xarray.open_zarr` reads the store
from the first moment on; a field that is not written yet is NaN. `ForecastStore.writer` fills some of its initial times, lead by
lead, in a thread beside the computation. `steps_written` says how many lead times of each initial time are there, and `complete`
that nothing is missing.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from credit_ray.errors import DataError
from credit_ray.forecasting.chunks import chunks_and_shards, compressor, default_leads_per_chunk
from credit_ray.forecasting.layout import ForecastLayout

log = logging.getLogger(__name__)

_OURS = "credit_ray_store"
"""Attribute with what only the writer needs to know: JSON text, since NetCDF can hold no more."""

_LINEAGE_IDENTITY = {"model_digest": "model", "data_digest": "data"}


@dataclass(frozen=True)
class ForecastStore:
    """A store that is being filled. Small and picklable: handles open where they are used.

    Parameters
    ----------
    url : str
        Any fsspec URL or path.
    layout : ForecastLayout
        What it holds.
    leads_per_chunk : int
        Lead times that are written at once.
    """

    url: str
    layout: ForecastLayout
    leads_per_chunk: int

    def group(self) -> Any:
        """The Zarr group, to write to."""
        import zarr

        return zarr.open_group(self.url, mode="r+", zarr_format=3)

    def steps_written(self) -> NDArray[np.int32]:
        """[init]: how many lead times of each are there."""
        return np.asarray(self.group()["steps_written"][:])

    def unfinished(self) -> list[int]:
        """Positions of the initial times that are not whole."""
        return np.flatnonzero(self.steps_written() < len(self.layout.leads)).tolist()

    def writer(self, inits: Sequence[int], on_written: Callable[[int], None] | None = None) -> ForecastWriter:
        """Fills these initial times, from their first lead time on.

        `on_written` is told, in the writer's thread, how many lead times can be read now.
        """
        return ForecastWriter(self, inits, on_written=on_written)

    def finish(self) -> None:
        """Mark the store as complete.

        Raises
        ------
        DataError
            Where something is missing.
        """
        if missing := self.unfinished():
            raise DataError(
                f"{self.url} lacks {len(missing)} of its {len(self.layout.init_times)} forecasts: it is not complete."
            )
        self.group().update_attributes({"complete": 1})


class ForecastWriter:
    """Writes the forecasts of some initial times beside the computation; use it in a `with` block.

    Whatever fails in its thread is raised by the next `write`, or on leaving the block. Left by an exception, it keeps the lead
    times that are whole.
    """

    def __init__(
        self,
        store: ForecastStore,
        inits: Sequence[int],
        ahead: int = 2,
        on_written: Callable[[int], None] | None = None,
    ) -> None:
        self._layout = store.layout
        self._block = store.leads_per_chunk
        self._inits = list(inits)
        self._ahead = ahead
        self._on_written = on_written
        self._group = store.group()
        self._arrays = {variable.name: self._group[variable.name] for variable in store.layout.variables}
        self._budgets = [self._group[name] for name in store.layout.budget_variables]
        self._count = self._group["steps_written"]
        self._set_count(0)
        self._gathered: list[tuple[NDArray[np.float32], NDArray[np.float64] | None]] = []
        self._written = 0
        self._pending: deque[Future[None]] = deque()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="forecast-writer")

    def write(self, fields: NDArray[np.float32], budgets: NDArray[np.float64] | None = None) -> None:
        """Take the next lead time; the arrays must not be changed afterwards.

        Parameters
        ----------
        fields : array
            [init, channel, *grid].
        budgets : array, optional
            [init, number], in the order of the layout's `budget_variables`; without it they stay unknown.
        """
        expected = (len(self._inits), len(self._layout.channels), *self._layout.grid.shape)
        if fields.shape != expected:
            raise ValueError(f"the fields of a lead time have shape {fields.shape}; the store takes {expected}")
        if self._written + len(self._gathered) >= len(self._layout.leads):
            raise ValueError(f"the store has {len(self._layout.leads)} lead times; this is one more")
        if budgets is not None and budgets.shape != (len(self._inits), len(self._budgets)):
            raise ValueError(
                f"the budgets of a lead time have shape {budgets.shape}; the store takes {(len(self._inits), len(self._budgets))}"
            )
        self._gathered.append((fields, budgets))
        if len(self._gathered) == self._block or self._written + len(self._gathered) == len(self._layout.leads):
            self._submit()

    def close(self) -> None:
        """Wait until all is written; raises what went wrong."""
        try:
            if self._gathered:
                self._submit()
            while self._pending:
                self._pending.popleft().result()
        finally:
            self._thread.shutdown(wait=True, cancel_futures=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self._thread.shutdown(wait=True, cancel_futures=True)

    def _submit(self) -> None:
        while len(self._pending) >= self._ahead:
            self._pending.popleft().result()
        first, block = self._written, self._gathered
        self._written, self._gathered = first + len(block), []
        self._pending.append(self._thread.submit(self._write_block, first, block))

    def _write_block(self, first: int, block: Sequence[tuple[NDArray[np.float32], NDArray[np.float64] | None]]) -> None:
        fields = np.stack([fields for fields, _ in block], 1)  # [init, lead, channel, *grid]
        if self._layout.mask is not None:
            fields = np.where(self._layout.mask, fields, np.float32(np.nan))
        leads = slice(first, first + len(block))
        for variable in self._layout.variables:
            picked = fields[:, :, _as_slice(variable.positions)]
            values = picked if variable.level_dim else picked[:, :, 0]
            for here, rows in _runs(self._inits):
                self._arrays[variable.name][here, leads] = values[rows]
        self._write_budgets(first, [budgets for _, budgets in block])
        self._set_count(leads.stop)  # only now: what it counts can be read
        if self._on_written:
            self._on_written(leads.stop)

    def _write_budgets(self, first: int, block: Sequence[NDArray[np.float64] | None]) -> None:
        if not self._budgets or block[0] is None:
            return
        numbers = np.stack([budgets for budgets in block if budgets is not None], 1)  # [init, lead, number]
        for array, values in zip(self._budgets, np.moveaxis(numbers, -1, 0), strict=True):
            for here, rows in _runs(self._inits):
                array[here, first : first + len(block)] = values[rows]

    def _set_count(self, count: int) -> None:
        for here, _ in _runs(self._inits):
            self._count[here] = count


def create_store(
    url: str, layout: ForecastLayout, lineage: Mapping[str, Any], *, leads_per_chunk: int | None = None
) -> ForecastStore:
    """Lay out a store, or go on with one that was interrupted.

    Parameters
    ----------
    url : str
        Any fsspec URL or path.
    lineage : mapping
        Attributes that say where the forecasts come from: `model_digest` and `data_digest` decide, together with the layout, whether
        a store that is there already is the same.
    leads_per_chunk : int, optional
        1, where each lead time shall be readable as soon as it is computed; default: as many as make chunks of a good size.

    Raises
    ------
    DataError
        Where something else is at the URL: it is never overwritten.
    """
    block = leads_per_chunk or default_leads_per_chunk(layout)
    store = ForecastStore(url, layout, block)
    identity = {**layout.identity(), **{what: str(lineage.get(key)) for key, what in _LINEAGE_IDENTITY.items()}}
    existing = _existing(url)
    if existing is not None:
        ours = _refuse_other(url, existing, identity)
        if ours["whole"]:
            log.info("%s is there already: going on with it", url)
            written_by = existing.get("code_revision")
            if written_by != lineage.get("code_revision"):
                log.warning(
                    "%s was begun by code revision %s; it goes on with %s",
                    url,
                    written_by,
                    lineage.get("code_revision"),
                )
            return ForecastStore(url, layout, ours["leads_per_chunk"])
    described = {key: value for key, value in lineage.items() if value is not None}
    _lay_out(store, {**described, "timestep": str(layout.step)}, {"leads_per_chunk": block, "identity": identity})
    return store


def _existing(url: str) -> dict[str, Any] | None:
    """The attributes of the store that is there."""
    import zarr

    try:
        return dict(zarr.open_group(url, mode="r", zarr_format=3).attrs)
    except FileNotFoundError:
        path = Path(url.removeprefix("file://"))
        if "://" not in url and path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise DataError(
                f"{url} is there already, and is no forecast store. Give another place, or remove it."
            ) from None
        return None


def _refuse_other(url: str, existing: Mapping[str, Any], identity: Mapping[str, str]) -> dict[str, Any]:
    """How the store was laid out, if it is the same."""
    if _OURS not in existing:
        raise DataError(f"{url} is there already, and is no forecast store of ours. Give another place, or remove it.")
    ours: dict[str, Any] = json.loads(existing[_OURS])
    theirs = ours["identity"]
    differing = [what for what in identity if identity[what] != theirs.get(what)]
    if differing:
        raise DataError(
            f"{url} holds other forecasts already: they differ in {', '.join(differing)}. Give another place, or remove them."
        )
    return ours


def _lay_out(store: ForecastStore, attributes: Mapping[str, Any], ours: Mapping[str, Any]) -> None:
    import zarr

    layout = store.layout
    # until it says that it is whole, whoever finds the store lays it out again
    begun = {"Conventions": "CF-1.11", **attributes, "complete": 0, _OURS: json.dumps({"whole": False, **ours})}
    group = zarr.open_group(store.url, mode="a", zarr_format=3, attributes=begun)
    for name, coordinate in layout.coordinates.items():
        group.create_array(
            name,
            data=coordinate.values,
            chunks=coordinate.values.shape,
            dimension_names=coordinate.dims,
            attributes=dict(coordinate.attributes),
            overwrite=True,
        )
    group.create_array(
        "steps_written",
        shape=layout.init_times.shape,
        chunks=(1,),  # each has one writer
        dtype="int32",
        fill_value=0,
        dimension_names=("init_time",),
        attributes={"long_name": "number of lead times that are written", "units": "1"},
        overwrite=True,
    )
    for variable in layout.variables:
        shape = (
            layout.valid_times.shape + ((len(variable.positions),) if variable.level_dim else ()) + layout.grid.shape
        )
        chunks, shards = chunks_and_shards(
            layout, len(variable.positions) if variable.level_dim else None, store.leads_per_chunk
        )
        group.create_array(
            variable.name,
            shape=shape,
            chunks=chunks,
            shards=shards,
            dtype="float32",
            fill_value=float("nan"),
            compressors=compressor(),
            dimension_names=(
                "init_time",
                "lead_time",
                *((variable.level_dim,) if variable.level_dim else ()),
                *layout.grid.dims,
            ),
            attributes=dict(variable.attributes),
            config={"write_empty_chunks": True},  # else each chunk is compared with the fill value first
            overwrite=True,
        )
    for name, described in layout.budget_variables.items():
        group.create_array(
            name,
            shape=layout.valid_times.shape,
            chunks=(1, store.leads_per_chunk),  # each initial time has one writer
            dtype="float64",
            fill_value=float("nan"),
            dimension_names=("init_time", "lead_time"),
            attributes=described,
            overwrite=True,
        )
    for name, field in layout.maps.items():
        group.create_array(
            name,
            data=np.asarray(field, np.float32),
            dimension_names=layout.grid.dims,
            attributes=layout.map_attributes(name),
            overwrite=True,
        )
    group.update_attributes({_OURS: json.dumps({"whole": True, **ours})})
    with warnings.catch_warnings():
        # zarr-python warns that Zarr v3 does not specify consolidated metadata yet; every reader of it ignores or uses them
        warnings.simplefilter("ignore", zarr.errors.ZarrUserWarning)
        zarr.consolidate_metadata(group.store_path.store, path=group.path)


def _runs(positions: Sequence[int]) -> Iterator[tuple[slice, slice]]:
    """Consecutive positions, as (slice of the store, slice of the batch)."""
    start = 0
    for i in range(1, len(positions) + 1):
        if i == len(positions) or positions[i] != positions[i - 1] + 1:
            yield slice(positions[start], positions[i - 1] + 1), slice(start, i)
            start = i


def _as_slice(positions: tuple[int, ...]) -> slice | list[int]:
    if positions == tuple(range(positions[0], positions[0] + len(positions))):
        return slice(positions[0], positions[0] + len(positions))
    return list(positions)
