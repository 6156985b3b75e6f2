"""What is read, in which order, and which windows a step takes. Pure: no I/O, no Ray, numpy only.

A *window* is `length` consecutive times; it is named by the position of its first time on the data's time axis. A *run* is a stretch
of consecutive windows that are read together, as one *slab* of states: neighbours overlap, so reading a run costs little more than
reading its times once.

Each epoch shuffles the runs and deals their windows to a fixed number of *lanes*, equally. Within a lane a window's place is its slab's
number plus a random part of `shuffle_slabs`: at any moment about that many slabs are open, and windows come from all of them. Global step s
takes the same number of windows from each lane; rank r of w serves lanes r, r + w, … Hence the windows of a step are a function of
(plan, s) alone, whatever the number of workers, and a cursor is one integer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import ceil

import numpy as np

from credit_ray.data.runs import Ints, Segments, cut_runs
from credit_ray.errors import ConfigError, DataError


@dataclass(frozen=True, slots=True)
class Slab:
    """One run of consecutive times, to be read once and used for some steps.

    Parameters
    ----------
    epoch, lane, number : int
        Which it is.
    start, states : int
        The times it reads: positions [start, start + states) on the time axis.
    first_step, last_step : int
        First and last global step that takes a window from it.
    """

    epoch: int
    lane: int
    number: int
    start: int
    states: int
    first_step: int
    last_step: int

    @property
    def key(self) -> tuple[int, int, int]:
        return self.epoch, self.lane, self.number


@dataclass(frozen=True)
class Pick:
    """One window of a step: where it starts, and the slab that holds it."""

    start: int
    slab: tuple[int, int, int]


@dataclass(frozen=True)
class Stage:
    """Epochs whose windows have the same number of times.

    Parameters
    ----------
    epoch, first_step : int
        With which it begins.
    length : int
        Times of a window.
    steps : int
        Global steps of each epoch.
    """

    epoch: int
    length: int
    first_step: int
    steps: int


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The order of a whole training.

    Parameters
    ----------
    segments : Segments
        Of the training period.
    batch_size : int
        Windows of a global step.
    lanes : int
        Divides `batch_size`.
    stages : tuple of (int, int)
        First epoch, and from then on the times of a window (history plus rollout steps); ascending, the first from epoch 0.
    slab_states : int
        Most times of one slab.
    seed : int
        Of the order.
    chunk : int
        Times that the store decodes together; runs begin at multiples of it where slabs are long enough.
    shuffle_slabs : int
        Slabs per lane that windows are drawn from at a time.
    detours : tuple of int
        Epochs from which on the order is another one: training went back to a checkpoint there.
    """

    segments: Segments
    batch_size: int
    lanes: int
    stages: tuple[tuple[int, int], ...]
    slab_states: int
    seed: int
    chunk: int = 1
    shuffle_slabs: int = 1
    detours: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.batch_size % self.lanes:
            raise ConfigError(f"{self.lanes} lanes do not divide a batch of {self.batch_size}.")

    @cached_property
    def _stages(self) -> tuple[Stage, ...]:
        """The stages with the global steps at which they begin; all epochs of a stage have the same number of steps."""
        found: list[Stage] = []
        for epoch, times in self.stages:
            before = found[-1].first_step + (epoch - found[-1].epoch) * found[-1].steps if found else 0
            found.append(Stage(epoch, times, before, self._steps_of(times)))
        return tuple(found)

    def _steps_of(self, length: int) -> int:
        windows = self.segments.windows(length)
        if not windows:
            longest = int((self.segments.stop - self.segments.start).max())
            raise DataError(
                f"There is no window of {length} consecutive times in the training period: its longest stretch without a gap "
                f"has {longest}. Is data.timestep the step of the data? Is the period too short?"
            )
        return ceil(ceil(windows / self.lanes) / self.windows_per_lane)

    def _stage(self, epoch: int) -> Stage:
        return [stage for stage in self._stages if stage.epoch <= epoch][-1]

    @property
    def windows_per_lane(self) -> int:
        """Windows that a step takes from each lane."""
        return self.batch_size // self.lanes

    def length(self, epoch: int) -> int:
        """Times of a window in that epoch."""
        return self._stage(epoch).length

    def steps(self, epoch: int) -> int:
        """Global steps of an epoch; the last may be short.

        Raises
        ------
        DataError
            Where the training period has no window as long as a stage of the plan asks for.
        """
        return self._stage(epoch).steps

    def first_step(self, epoch: int) -> int:
        """Global step at which an epoch begins."""
        stage = self._stage(epoch)
        return stage.first_step + (epoch - stage.epoch) * stage.steps

    def locate(self, global_step: int) -> tuple[int, int]:
        """Epoch and step within it."""
        stage = [stage for stage in self._stages if stage.first_step <= global_step][-1]
        epochs, step = divmod(global_step - stage.first_step, stage.steps)
        return stage.epoch + epochs, step

    def windows(self, global_step: int) -> Ints:
        """Starts of all windows of a step, lane by lane."""
        return np.array([pick.start for lane in range(self.lanes) for pick in self._picks(global_step, lane)], np.int64)

    def share(self, global_step: int, rank: int, of: int) -> list[Pick]:
        """The windows of a step that rank `rank` of `of` serves; may be empty."""
        return [pick for lane in range(rank, self.lanes, of) for pick in self._picks(global_step, lane)]

    def _picks(self, global_step: int, lane: int) -> list[Pick]:
        epoch, step = self.locate(global_step)
        order = self.order(epoch)[lane]
        taken = slice(step * self.windows_per_lane, (step + 1) * self.windows_per_lane)
        return [
            Pick(int(start), (epoch, lane, int(number)))
            for start, number in zip(order.window[taken], order.slab[taken], strict=True)
        ]

    def slabs(self, rank: int, of: int, from_step: int = 0, to_epoch: int = 1) -> Iterator[list[Slab]]:
        """For each epoch, the slabs that a rank needs from a step on, in the order in which it first needs them."""
        start_epoch, _ = self.locate(from_step)
        for epoch in range(start_epoch, to_epoch):
            lanes = self.order(epoch)[rank::of]
            needed = [slab for lane in lanes for slab in lane.slabs if slab.last_step >= from_step]
            yield sorted(needed, key=lambda slab: (slab.first_step, slab.lane, slab.number))

    def rows(self, ranks: int, from_step: int = 0, to_epoch: int = 1) -> list[Slab | None]:
        """The order in which slabs are read for all ranks: row i is for rank i mod `ranks`; None where a rank has no more in an epoch."""
        rows: list[Slab | None] = []
        for by_rank in zip(*(self.slabs(rank, ranks, from_step, to_epoch) for rank in range(ranks)), strict=True):
            longest = max(map(len, by_rank))
            padded = [[*slabs, *[None] * (longest - len(slabs))] for slabs in by_rank]
            rows += [slab for together in zip(*padded, strict=True) for slab in together]
        return rows

    def read_amplification(self, epoch: int = 0) -> float:
        """Times read in an epoch, counted by whole chunks, relative to the times that its windows hold."""
        slabs = [slab for lane in self.order(epoch) for slab in lane.slabs]
        decoded = sum((-(-(s.start + s.states) // self.chunk) - s.start // self.chunk) * self.chunk for s in slabs)
        length = self.length(epoch)
        long_enough = self.segments.stop - self.segments.start >= length
        return decoded / int((self.segments.stop - self.segments.start)[long_enough].sum())

    def order(self, epoch: int) -> tuple[Lane, ...]:
        """Each lane's windows in the order of their use, and its slabs."""
        return _order(self, epoch)

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other


@dataclass(frozen=True)
class Lane:
    """One lane in one epoch.

    Parameters
    ----------
    window : array [windows]
        Starts, in the order of their use.
    slab : array [windows]
        Number of the slab that each lies in.
    slabs : tuple of Slab
        By number.
    """

    window: Ints
    slab: Ints
    slabs: tuple[Slab, ...]


@lru_cache(maxsize=4)
def _order(plan: Plan, epoch: int) -> tuple[Lane, ...]:
    length = plan.length(epoch)
    start, count = cut_runs(plan.segments, length, plan.slab_states, plan.chunk, plan.lanes * plan.shuffle_slabs)
    taken = sum(detour <= epoch for detour in plan.detours)
    random = np.random.Generator(np.random.Philox(key=[plan.seed, epoch], counter=taken << 64))
    shuffled = random.permutation(len(start))
    start, count = start[shuffled], count[shuffled]

    # Deal equally: lane l takes windows [quota[l], quota[l + 1]) of the shuffled runs laid end to end; a run at the border is cut in two.
    total = int(count.sum())
    quota = np.concatenate([[0], np.cumsum(total // plan.lanes + (np.arange(plan.lanes) < total % plan.lanes))])
    ends = np.cumsum(count)
    edges = np.unique(np.concatenate([[0], ends, quota]))
    piece_first, piece_count = edges[:-1], np.diff(edges)
    run = np.searchsorted(ends, piece_first, side="right")
    piece_start = start[run] + piece_first - (ends[run] - count[run])
    piece_lane = np.searchsorted(quota, piece_first, side="right") - 1

    each, base = plan.windows_per_lane, plan.first_step(epoch)
    lanes = []
    for lane in range(plan.lanes):
        mine = piece_lane == lane
        lanes.append(
            _lane(piece_start[mine], piece_count[mine], epoch, lane, length, each, base, plan.shuffle_slabs, random)
        )
    return tuple(lanes)


def _lane(
    start: Ints,
    count: Ints,
    epoch: int,
    lane: int,
    length: int,
    each: int,
    base: int,
    shuffle_slabs: int,
    random: np.random.Generator,
) -> Lane:
    slab = np.repeat(np.arange(len(start)), count)
    offset = np.arange(len(slab)) - np.repeat(np.cumsum(count) - count, count)
    place = np.argsort(slab + shuffle_slabs * random.random(len(slab)), kind="stable")
    window, slab = (start[slab] + offset)[place], slab[place]
    step = base + np.arange(len(slab)) // each
    first, last = np.full(len(start), np.iinfo(np.int64).max), np.full(len(start), -1)
    np.minimum.at(first, slab, step)
    np.maximum.at(last, slab, step)
    slabs = tuple(
        Slab(epoch, lane, number, int(a), int(n) + length - 1, int(f), int(z))
        for number, (a, n, f, z) in enumerate(zip(start, count, first, last, strict=True))
    )
    return Lane(window, slab, slabs)


def total_steps(plan: Plan, max_epochs: int | None, max_steps: int | None) -> int:
    """Global steps of a training that ends after so many epochs, or steps."""
    if max_steps is not None:
        return max_steps
    return plan.first_step(max_epochs if max_epochs is not None else 10)
