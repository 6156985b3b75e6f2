"""The pass over a period: a map over runs of times, in this process or by Ray tasks, whose results add up."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from credit_ray.cluster import own_error
from credit_ray.data.dataset import Dataset
from credit_ray.data.moments import Moments, Partial, content_hash
from credit_ray.data.quantiles import Sample
from credit_ray.data.runs import Segments, cut_runs
from credit_ray.data.transforms import Transform
from credit_ray.data.zarr_store import decode_with_one_thread
from credit_ray.state import Channels
from credit_ray.times import Times, month_of_year

T = TypeVar("T")
Run: TypeAlias = tuple[int, int, int]
Work: TypeAlias = Callable[[Dataset, Run], T]

_CACHE_BYTES = 2_000_000  # sums run over blocks of about this size: several passes over one in the cache cost little


def runs_of(segments: Segments, dataset: Dataset, slab_bytes: int) -> list[Run]:
    """(first, last + 1, last read + 1): each run owns its times and reads one more, for the last difference, inside its segment."""
    states = max(slab_bytes // dataset.state_bytes, 2)
    first, count = cut_runs(segments, 1, states - 1, dataset.time_chunk, 1)
    last = segments.stop[np.searchsorted(segments.stop, first, side="right")]
    return [(int(a), int(a + n), int(min(a + n + 1, z))) for a, n, z in zip(first, count, last, strict=True)]


def in_process(work: Work[T], dataset: Dataset, runs: Sequence[Run], readers: int | None) -> Iterator[T]:
    """What `work` makes of each run, one after the other."""
    return (work(dataset, run) for run in runs)


def by_ray(work: Work[T], dataset: Dataset, runs: Sequence[Run], readers: int | None) -> Iterator[T]:
    """The same by Ray tasks, at most so many at a time, in the order of the runs."""
    import ray

    task: Any = ray.remote(num_cpus=1, max_retries=3)(_task)
    shared = ray.put(dataset)
    at_once = readers or max(int(ray.available_resources().get("CPU", 1)), 1)
    waiting: deque[Any] = deque()
    for run in runs:
        waiting.append(task.remote(work, shared, run))
        if len(waiting) > at_once:
            yield _result(waiting.popleft())
    while waiting:
        yield _result(waiting.popleft())


def _task(work: Work[T], dataset: Dataset, run: Run) -> T:
    decode_with_one_thread()
    return work(dataset, run)


def _result(reference: Any) -> Any:
    """What a task returned, or the error of ours that it ended with."""
    import ray

    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise own_error(error) from error


@dataclass(frozen=True)
class Sampling:
    """Work: samples of some variables, by channel, for their quantiles."""

    variables: tuple[str, ...]

    def __call__(self, dataset: Dataset, run: Run) -> dict[str, Sample]:
        first, stop, _ = run
        channels = Channels(c for c in dataset.spec.windowed if c.variable in self.variables)
        times = dataset.times[first:stop]
        values = dataset.stack(dataset.columns(times, channels), channels)
        return {c.name: Sample.of(values[:, i], times) for i, c in enumerate(channels)}


@dataclass(frozen=True)
class Reduction:
    """Work: moments, climatology, mask and content, some channels transformed before their moments are taken."""

    transforms: Mapping[str, Transform]

    def __call__(self, dataset: Dataset, run: Run) -> Partial:
        return _partial(dataset, run, self.transforms)


def transformed(
    values: NDArray[np.float64], channels: Channels, transforms: Mapping[str, Transform]
) -> NDArray[np.float64]:
    """Fields [time, channel, *grid], transformed; the same array, where no channel is."""
    touched = [(i, transforms[name]) for i, name in enumerate(channels.names) if name in transforms]
    if touched:
        values = values.copy()
        for i, transform in touched:
            values[:, i] = transform.forward(values[:, i], np, np.array(transform.knots))
    return values


def _partial(dataset: Dataset, run: Run, transforms: Mapping[str, Transform]) -> Partial:
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
        scaled = transformed(values, spec.windowed, transforms)
        found = Moments.of(scaled[:count])
        state += found
        change += Moments.of(np.diff(scaled[:, :outputs], axis=0))
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
