"""The pass over a period: a map over runs of times, in this process or by Ray tasks, whose results add up."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from credit_ray.cluster import own_error
from credit_ray.data.dataset import Dataset
from credit_ray.data.moments import Moments, Partial, content_hash
from credit_ray.data.runs import Segments, cut_runs
from credit_ray.data.zarr_store import decode_with_one_thread
from credit_ray.times import Times, month_of_year

Run = tuple[int, int, int]

_CACHE_BYTES = 2_000_000  # sums run over blocks of about this size: several passes over one in the cache cost little


def runs_of(segments: Segments, dataset: Dataset, slab_bytes: int) -> list[Run]:
    """(first, last + 1, last read + 1): each run owns its times and reads one more, for the last difference, inside its segment."""
    states = max(slab_bytes // dataset.state_bytes, 2)
    first, count = cut_runs(segments, 1, states - 1, dataset.time_chunk, 1)
    last = segments.stop[np.searchsorted(segments.stop, first, side="right")]
    return [(int(a), int(a + n), int(min(a + n + 1, z))) for a, n, z in zip(first, count, last, strict=True)]


def partials_in_process(dataset: Dataset, runs: Sequence[Run], readers: int | None) -> Iterator[Partial]:
    return (_partial(dataset, run) for run in runs)


def partials_by_ray(dataset: Dataset, runs: Sequence[Run], readers: int | None) -> Iterator[Partial]:
    """Partials by Ray tasks, at most so many at a time, in the order of the runs."""
    import ray

    task = ray.remote(num_cpus=1, max_retries=3)(_partial_task)
    shared = ray.put(dataset)
    at_once = readers or max(int(ray.available_resources().get("CPU", 1)), 1)
    waiting: deque[Any] = deque()
    for run in runs:
        waiting.append(task.remote(shared, run))
        if len(waiting) > at_once:
            yield _result(waiting.popleft())
    while waiting:
        yield _result(waiting.popleft())


def _partial_task(dataset: Dataset, run: Run) -> Partial:
    decode_with_one_thread()
    return _partial(dataset, run)


def _result(reference: Any) -> Partial:
    """What a task returned, or the error of ours that it ended with."""
    import ray

    try:
        found: Partial = ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise own_error(error) from error
    return found


def _partial(dataset: Dataset, run: Run) -> Partial:
    first, stop, read = run
    spec, outputs, grouping = dataset.spec, len(dataset.spec.outputs), dataset.config.climatology
    own, times = stop - first, dataset.times[first:read]
    columns = dataset.columns(times, spec.windowed)
    groups = climatology_group(grouping, times, spec.calendar)
    state, change = Moments.none(len(spec.windowed)), Moments.none(outputs)
    total = np.zeros((climatology_groups(grouping), outputs, *spec.grid.shape))
    missing = np.zeros((len(spec.windowed), *spec.grid.shape), bool)
    together = max(_CACHE_BYTES // (2 * dataset.state_bytes), 1)
    for a in range(0, own, together):
        count = min(together, own - a)
        block = {name: column[a : a + count + 1] for name, column in columns.items()}
        values = dataset.stack(block, spec.windowed).astype(
            np.float64
        )  # [time, channel, *grid], with the time that follows
        found = Moments.of(values[:count])
        state += found
        change += Moments.of(np.diff(values[:, :outputs], axis=0))
        for group in np.unique(groups[a : a + count]):
            total[group] += values[:count, :outputs][groups[a : a + count] == group].sum(0)
        if (found.count < count * missing[0].size).any():
            missing |= np.isnan(values[:count]).any(0)
    stored = set(dataset.stored_variables)
    return Partial(
        state=state,
        change=change,
        climatology_sum=total,
        climatology_count=np.bincount(groups[:own], minlength=len(total)).astype(np.float64),
        missing=missing,
        content=content_hash({n: column[:own] for n, column in columns.items() if n in stored}, times[:own]),
    )


def climatology_groups(grouping: str) -> int:
    """How many means a climatology has."""
    return 12 if grouping == "monthly" else 1


def climatology_group(grouping: str, times: Times, calendar: str) -> NDArray[np.int64]:
    """Which of a climatology's means belongs to each time."""
    return month_of_year(times, calendar) if grouping == "monthly" else np.zeros(len(times), np.int64)
