"""A store written anew as training reads it best: in parallel, part by part, each part read back and compared.

What has been done is noted inside the new store, part by part, so that the same command goes on where it was stopped; the notes go when all
is there.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from credit_ray.cluster import own_error, ray_session
from credit_ray.config.preset import load_preset, preset_names
from credit_ray.config.training import Resources
from credit_ray.data.access import Access
from credit_ray.data.arrays import Store
from credit_ray.data.axes import Axes
from credit_ray.data.patience import StoreFailure
from credit_ray.data.rechunk_layout import ArrayLayout, layout_of
from credit_ray.data.rechunk_target import Target, complete, name_of, prepare
from credit_ray.data.store import cached_store, open_store
from credit_ray.data.zarr_store import decode_with_one_thread
from credit_ray.errors import ConfigError, DataError, did_you_mean
from credit_ray.times import format_times, parse_end, parse_time

log = logging.getLogger(__name__)

Progress = Callable[[int, int], None]

_SLAB_BYTES = 256_000_000  # of the reads that are timed: the default of data.ingest.slab_bytes
_TRIALS = 3


@dataclass(frozen=True)
class _Job:
    """What a task needs to know."""

    source: str
    access: Access
    opened: int
    target: Target
    fill: bool


@dataclass(frozen=True)
class RechunkResult:
    """What `credit-ray data rechunk` reports.

    Parameters
    ----------
    store : str
        The new one.
    parts, already : int
        Written and compared, and how many of them by earlier runs.
    megabytes : float
        Of all values, not compressed.
    times_as_fast : float, optional
        Reading a slab of the plan from the new store, compared with the old; None where nothing has a time.
    """

    store: str
    parts: int
    already: int
    megabytes: float
    times_as_fast: float | None

    def __str__(self) -> str:
        before = f", {self.already} of them earlier" if self.already else ""
        faster = (
            f"\nA slab of the plan is read {self.times_as_fast:.2g} times as fast as before."
            if self.times_as_fast
            else ""
        )
        return (
            f"{self.store}: {self.megabytes:.0f} MB in {self.parts} parts{before}, each read back and compared.{faster}"
        )


def rechunk(
    source: str,
    target: str,
    *,
    source_access: Access | None = None,
    target_access: Access | None = None,
    times: tuple[str, str] | None = None,
    variables: tuple[str, ...] = (),
    fill: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
) -> RechunkResult:
    """Write a store anew: Zarr v3, shards of several times, inner chunks of one time and one group of levels.

    Parameters
    ----------
    source, target : str
        URLs; the source is whatever `open_store` reads.
    source_access, target_access : Access, optional
        Options, engine and patience of either.
    times : (str, str), optional
        First and last time that are taken, both included. Default: all.
    variables : tuple of str, optional
        Names in the source, coordinates not counted. Default: all.
    fill : bool
        Whether chunks that the source lacks are its fill value, rather than an error.
    workers : int, optional
        Ray tasks at a time; 0: none, in this process. Default: as many as there are CPUs.
    progress : callable, optional
        Called with (parts done, parts in all).

    Raises
    ------
    DataError
        Where the source can't be read, the target holds something else, or what was written is not what was read.
    """
    source_access, target_access = source_access or Access(), target_access or Access()
    if source.rstrip("/") == target.rstrip("/"):
        raise ConfigError(f"{source} would be written over itself: give another target.")
    store = open_store(source, source_access)
    layouts = _layouts(source, source_access, Axes(store), times, variables)
    digest = _digest(store.fingerprint(), layouts, fill)
    job = _Job(source, source_access, time.time_ns(), Target(target, target_access, digest), fill)
    done = prepare(job.target, layouts, store.attributes())
    todo = [(layout, part) for layout in layouts for part in layout.parts if name_of(layout, part) not in done]
    total = sum(len(layout.parts) for layout in layouts)
    run = _in_process if workers == 0 or not todo else _by_ray
    for number, _ in enumerate(run(job, todo, workers), total - len(todo) + 1):
        if progress:
            progress(number, total)
    complete(job.target)
    size = sum(int(np.prod(layout.shape)) * np.dtype(layout.dtype).itemsize for layout in layouts)
    return RechunkResult(target, total, total - len(todo), size / 1e6, _times_as_fast(job, layouts))


def run_rechunk(source: str, target: str, **how: Any) -> RechunkResult:
    """The same for the command line, where a source may be a preset's name.

    Raises
    ------
    ConfigError
        For a preset that has no place of its own.
    """
    access = Access()
    if source in preset_names():
        given = load_preset(source).source
        if "store" not in given:
            raise ConfigError(f"The preset '{source}' is a layout without a place: give the store itself.")
        source, access = given["store"], Access(options=given.get("storage_options", {}))
    return rechunk(source, target, source_access=access, **how)


# ---- what is to be done ------------------------------------------------------------------------------------------------------------


def _layouts(
    source: str, access: Access, axes: Axes, times: tuple[str, str] | None, variables: tuple[str, ...]
) -> list[ArrayLayout]:
    coordinates = {name for name, info in axes.arrays.items() if len(info.dims) < 2}
    fields = [name for name in axes.arrays if name not in coordinates]
    for name in variables:
        if name not in fields:
            raise DataError(f"{source} has no variable '{name}'.{did_you_mean(name, fields)}")
    layouts, spans = [], {}
    for name in (*sorted(coordinates), *(variables or fields)):
        info = axes.arrays[name]
        first = _read(axes.store, name, tuple(slice(0, 1) for _ in info.shape), access)
        if first.dtype.kind not in "iufb":
            log.info("%s: '%s' holds no numbers (%s), and is left out.", source, name, first.dtype)
            continue
        dim = next((dim for dim in info.dims if axes.kind(dim) == "time"), "")
        if dim not in spans:
            spans[dim] = _span(source, axes, dim, times)
        layouts.append(layout_of(name, info, axes, first.dtype, spans[dim]))
    return layouts


def _span(source: str, axes: Axes, dim: str, times: tuple[str, str] | None) -> tuple[int, int]:
    """First position in time that is wanted and the one after the last."""
    size = next((a.shape[a.dims.index(dim)] for a in axes.arrays.values() if dim in a.dims), 0)
    if times is None or dim not in axes.arrays:
        return 0, size
    values, calendar = axes.raw_times(dim)
    first, last = parse_time(times[0], calendar), parse_end(times[1], calendar)
    wanted = np.flatnonzero((first <= values) & (values <= last))
    if not len(wanted) or (np.diff(wanted) != 1).any():
        raise DataError(
            f"{source} has no unbroken times in {times[0]} … {times[1]}; it has {format_times(values, calendar)}."
        )
    return int(wanted[0]), int(wanted[-1]) + 1


def _digest(fingerprint: str, layouts: list[ArrayLayout], fill: bool) -> str:
    said = [fingerprint, [asdict(layout) for layout in layouts], fill]
    return hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()


# ---- one part ----------------------------------------------------------------------------------------------------------------------


def _copy(job: _Job, layout: ArrayLayout, part: tuple[int, int]) -> None:
    """Read, write, read back, compare, note."""
    import zarr

    store = cached_store(job.source, json.dumps(asdict(job.access), sort_keys=True), job.opened)
    index = layout.index(*part)
    raw = _read(store, layout.name, index, job.access)
    if not job.fill and (chunk := store.filled_in(layout.name, index, raw)):
        raise DataError(
            f"{job.source}: the chunk {chunk} of '{layout.name}' is absent. Choose times that are there with --times, or say "
            f"--absent-chunks fill if the store leaves out chunks that hold nothing but its fill value."
        )
    values = np.ascontiguousarray(raw.transpose(layout.order), np.dtype(layout.dtype))
    with zarr.config.set({"array.write_empty_chunks": True}):
        array = zarr.open_array(job.target.store, path=layout.name, mode="r+")
        where = (slice(*part),) if layout.shape else ()
        _clear(array, part)
        array[where] = values
        again = np.ascontiguousarray(array[where])
    written, found = _checksum(values), _checksum(again)
    if written != found:
        raise DataError(
            f"{job.target.url}: '{layout.name}', {part[0]} … {part[1] - 1} along {layout.dims[0] if layout.dims else 'nothing'}, does not "
            f"read back as it was written. Check the disk, remove the store, and start again."
        )
    job.target.note(layout, part, found)


def _read(store: Store, name: str, index: tuple[slice, ...], access: Access) -> NDArray[Any]:
    """Raw values, or an error that says where there are none."""
    try:
        return store.read(name, index)
    except DataError:
        raise
    except StoreFailure as failure:
        raise DataError(f"{store.url}: '{name}' can't be read ({failure}). {failure.hint}") from failure
    except Exception as error:  # codecs, file systems and libraries raise anything
        where = ", ".join(
            f"{dim} {s.start or 0} … {s.stop or ''}" for dim, s in zip(store.arrays()[name].dims, index, strict=True)
        )
        raise DataError(
            f"{store.url}: '{name}', {where}, can't be read ({access.said(error)}). The store is damaged or incomplete there."
        ) from error


def _clear(array: Any, part: tuple[int, int]) -> None:
    """Remove what an earlier run left of a part's file: zarr would try to keep what is good in it."""
    from zarr.core.sync import sync

    step = (array.shards or array.chunks or (1,))[0]
    number = (part[0] // step, *[0] * (array.ndim - 1)) if array.ndim else ()
    sync((array.store_path / array.metadata.encode_chunk_key(number)).delete())


def _checksum(values: NDArray[Any]) -> str:
    return hashlib.sha256(values.reshape(-1).view(np.uint8).data).hexdigest()


def _in_process(job: _Job, todo: list[tuple[ArrayLayout, tuple[int, int]]], workers: int | None) -> Iterator[None]:
    for layout, part in todo:
        _copy(job, layout, part)
        yield


def _by_ray(job: _Job, todo: list[tuple[ArrayLayout, tuple[int, int]]], workers: int | None) -> Iterator[None]:
    """By Ray tasks, so many at a time; a task whose node dies is done again, the same part over what it left."""
    import ray

    with ray_session(Resources()):
        task = ray.remote(num_cpus=1, max_retries=3)(_copy_alone)
        shared = ray.put(job)
        at_once = workers or max(int(ray.cluster_resources().get("CPU", 1)), 1)
        waiting: deque[Any] = deque()
        for layout, part in todo:
            waiting.append(task.remote(shared, layout, part))
            if len(waiting) >= at_once:
                _wait_for_one(waiting)
                yield
        while waiting:
            _wait_for_one(waiting)
            yield


def _wait_for_one(waiting: deque[Any]) -> None:
    import ray

    ready, _ = ray.wait(list(waiting), num_returns=1)
    waiting.remove(ready[0])
    try:
        ray.get(ready[0])
    except ray.exceptions.RayTaskError as error:
        raise own_error(error) from error


def _copy_alone(job: _Job, layout: ArrayLayout, part: tuple[int, int]) -> None:
    decode_with_one_thread()
    _copy(job, layout, part)


# ---- how much faster ---------------------------------------------------------------------------------------------------------------


def _times_as_fast(job: _Job, layouts: list[ArrayLayout]) -> float | None:
    """Slabs of consecutive times, at the same places, from the old store and from the new; the best of a few each."""
    timed = [layout for layout in layouts if layout.shards]
    if not timed:
        return None
    state = sum(int(np.prod(layout.shape[1:])) * np.dtype(layout.dtype).itemsize for layout in timed)
    count = timed[0].shape[0]
    length = min(max(_SLAB_BYTES // state, 1), count)
    old, new = open_store(job.source, job.access), open_store(job.target.url, job.target.access)
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for start in np.random.default_rng(0).integers(0, count - length + 1, _TRIALS).tolist():
        for is_old, store in ((True, old), (False, new)):
            began = time.perf_counter()
            for layout in timed:
                index = layout.index(start, min(start + length, layout.shape[0]))
                where = index if is_old else (slice(start, start + length), *(slice(None) for _ in layout.shape[1:]))
                store.read(layout.name, where)
            seconds[is_old].append(time.perf_counter() - began)
    return min(seconds[True]) / min(seconds[False])
