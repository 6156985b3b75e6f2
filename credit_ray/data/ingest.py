"""From a plan to batches: slabs come by Ray Data or by a thread of this process, windows are cut from them as views.

Both readers give byte-identical windows, since the plan decides everything. Slabs that came through Ray are read-only views of
the object store; the copy into a (pinned) batch is the only one that this process makes.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from credit_ray.cluster import own_error
from credit_ray.data.dataset import Dataset
from credit_ray.data.plan import Plan, Slab
from credit_ray.data.slab_source import NO_SLAB, PacedScheduling, SlabKey, read_slab, slab_datasource
from credit_ray.data.source import FieldsByVariable
from credit_ray.errors import DataError
from credit_ray.state import Window

if TYPE_CHECKING:
    import ray
    import ray.data

log = logging.getLogger(__name__)

SlabStream = Iterator[tuple[SlabKey, FieldsByVariable]]

_PATIENCE_SECONDS = 30.0  # to wait for a read that is under way


def local_slabs(dataset: Dataset, plan: Plan, *, rank: int, of: int, from_step: int, to_epoch: int) -> SlabStream:
    """Slabs of one rank, read in this process as they are asked for."""
    for slabs in plan.slabs(rank, of, from_step, to_epoch):
        for slab in slabs:
            yield slab.key, read_slab(dataset, slab)


def ray_slabs(
    dataset: Dataset, rows: Sequence[Slab | None], *, readers: int | None, bounds: Sequence[int] = ()
) -> ray.data.Dataset:
    """The rows of a plan as a Ray data set: one row a slab, one block a row, in the plan's order.

    Parameters
    ----------
    rows : sequence of Slab or None
        From `Plan.rows`; None becomes an empty row, so that rows deal out evenly.
    readers : int, optional
        Most reading tasks at a time; default: as many as there are free CPUs.
    bounds : sequence of int
        Of bands of latitude, of which each worker of a domain gets its own: one row for each of them, in order.
    """
    import ray
    import ray.data

    configure_ray_data()
    return ray.data.read_datasource(
        slab_datasource(dataset, rows, bounds),
        override_num_blocks=max(len(rows) * max(len(bounds) - 1, 1), 1),
        concurrency=readers,
        num_cpus=1,
    )


def configure_ray_data() -> None:
    """Make Ray Data keep rows apart and in order; to be called on the driver before a trainer is built.

    Ray merges small rows into blocks of 128 MiB unless told otherwise, and rows of one block would all go to the same rank. It also gives up
    when nothing moves for half an hour, which a long validation may well take.
    """
    from ray.data import DataContext

    context = DataContext.get_current()
    context.target_max_block_size = 1
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    context.execution_no_progress_timeout_s = -1  # read by 2.60, absent from its stubs
    if PacedScheduling not in context.custom_execution_callback_classes:
        context.custom_execution_callback_classes.append(PacedScheduling)  # type: ignore[arg-type]  # by its methods


def in_order() -> Any:
    """Ray Data's execution options under which row i reaches rank i mod world."""
    from ray.data import ExecutionOptions

    return ExecutionOptions(preserve_order=True)


def received_slabs(batches: Iterator[Mapping[str, Any]]) -> SlabStream:
    """Slabs of one rank from a Ray data iterator that yields one block a batch."""
    batches = iter(batches)
    while True:
        try:
            batch = next(batches, None)
        except Exception as error:
            raise own_error(error) from error
        if batch is None:
            return
        key = tuple(int(n) for n in np.asarray(batch["slab"]).reshape(-1))
        if len(key) != 3:
            raise DataError(
                f"Ray Data delivered {len(key) // 3} slabs in one block: blocks were merged, and their order is lost."
            )
        if key != NO_SLAB:
            yield key, {name: np.asarray(column)[0] for name, column in batch.items() if name != "slab"}


@dataclass
class IngestStatistics:
    """What the reading cost so far."""

    wait_seconds: float = 0.0
    bytes: int = 0
    windows: int = 0
    started: float = field(default_factory=time.perf_counter)

    def metrics(self) -> dict[str, float]:
        """Share of the time that the step waited for data, and MB/s and windows/s since the start."""
        elapsed = max(time.perf_counter() - self.started, 1e-9)
        return {
            "data/wait_fraction": self.wait_seconds / elapsed,
            "data/megabytes_per_second": self.bytes / elapsed / 1e6,
            "data/windows_per_second": self.windows / elapsed,
        }


class WindowLoader:
    """Assembles one rank's windows of each global step, ahead of the step, in a thread of its own.

    Parameters
    ----------
    dataset, plan : Dataset, Plan
        What is read, and in which order.
    slabs : iterator
        Slabs of this rank in the plan's order, from `local_slabs` or `received_slabs`; consumed in the thread.
    rank, of : int
        Which part of each step.
    from_step, to_step : int
        Global steps [from_step, to_step).
    prefetch : int
        Batches assembled ahead.
    pin : bool
        Assemble in pinned memory, for copies beside the computation.

    Yields
    ------
    Window
        One per global step; without windows where this rank has none in it.
    """

    def __init__(
        self,
        dataset: Dataset,
        plan: Plan,
        slabs: SlabStream,
        *,
        rank: int,
        of: int,
        from_step: int,
        to_step: int,
        prefetch: int,
        pin: bool = False,
    ) -> None:
        self.dataset, self.plan, self.slabs = dataset, plan, slabs
        self.rank, self.of, self.pin = rank, of, pin
        self.steps = range(from_step, to_step)
        self.statistics = IngestStatistics()
        self._ready: queue.Queue[Window | BaseException | None] = queue.Queue(maxsize=prefetch)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._work, name="window-loader", daemon=True)

    def __iter__(self) -> Iterator[Window]:
        self._thread.start()
        try:
            while True:
                asked = time.perf_counter()
                item = self._ready.get()
                self.statistics.wait_seconds += time.perf_counter() - asked
                if item is None:
                    return
                if isinstance(item, BaseException):
                    raise item
                self.statistics.bytes += item.fields.numel() * 4
                self.statistics.windows += len(item)
                yield item
        finally:
            self.close()

    def close(self) -> None:
        """Stop reading ahead, and wait for what is being read."""
        self._closed.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(_PATIENCE_SECONDS)
            if self._thread.is_alive():
                log.warning("A slab was still being read %.0f s after its reader was closed.", _PATIENCE_SECONDS)

    def _work(self) -> None:
        try:
            open_slabs: dict[SlabKey, FieldsByVariable] = {}
            for step in self.steps:
                self._put(self._assemble(step, open_slabs))
                if self._closed.is_set():
                    return
            self._put(None)
        except BaseException as error:  # handed to the consumer, which raises it
            self._put(error)
        finally:
            if isinstance(self.slabs, Generator):
                self.slabs.close()

    def _put(self, item: Window | BaseException | None) -> None:
        while not self._closed.is_set():
            try:
                self._ready.put(item, timeout=0.2)
                return
            except queue.Full:
                continue

    def _assemble(self, step: int, open_slabs: dict[SlabKey, FieldsByVariable]) -> Window:
        import torch

        plan, dataset = self.plan, self.dataset
        epoch, _ = plan.locate(step)
        length, order = plan.length(epoch), plan.order(epoch)
        picks = plan.share(step, self.rank, self.of)
        for pick in picks:
            while pick.slab not in open_slabs:
                key, columns = next(self.slabs, (None, None))
                if key is None or columns is None:
                    raise DataError(
                        f"The readers ended before global step {step}: slab {pick.slab} never came. The plan and the stream disagree."
                    )
                open_slabs[key] = columns
        fields = torch.empty(
            (len(picks), length, len(dataset.spec.windowed), *dataset.places),
            dtype=torch.float32,
            pin_memory=self.pin,
        )
        starts = np.array([pick.start for pick in picks], np.int64)
        for row, pick in enumerate(picks):
            offset = pick.start - order[pick.slab[1]].slabs[pick.slab[2]].start
            window = {name: column[offset : offset + length] for name, column in open_slabs[pick.slab].items()}
            dataset.stack(window, dataset.spec.windowed, out=fields[row].numpy())
        for key in [
            k for k in open_slabs if k[0] < epoch or (k[0] == epoch and order[k[1]].slabs[k[2]].last_step <= step)
        ]:
            del open_slabs[key]
        times = dataset.times[starts[:, None] + np.arange(length)]
        return Window(
            fields=fields,
            times=times,
            spec=dataset.spec,
            global_step=step,
            share=len(picks) / max(len(plan.windows(step)), 1),
        )
