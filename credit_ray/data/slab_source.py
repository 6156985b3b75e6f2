"""Slabs as a source of Ray Data: one reading task, one row and one block each."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from credit_ray.data.dataset import Dataset
from credit_ray.data.plan import Slab
from credit_ray.data.source import FieldsByVariable
from credit_ray.data.zarr_store import decode_with_one_thread

if TYPE_CHECKING:
    import ray

SlabKey = tuple[int, int, int]

NO_SLAB: SlabKey = (-1, -1, -1)


def read_slab(dataset: Dataset, slab: Slab) -> FieldsByVariable:
    """All channels with time of a slab, by variable: [time, (level,) *grid]."""
    return dataset.columns(dataset.times[slab.start : slab.start + slab.states], dataset.spec.windowed)


def slab_datasource(dataset: Dataset, rows: Sequence[Slab | None], bounds: Sequence[int] = ()) -> Any:
    """A Ray Data source of these rows, in their order, each band of latitude between `bounds` by itself; None is a row without a slab."""
    import ray
    from ray.data import Datasource, ReadTask
    from ray.data.block import BlockMetadata

    reference = ray.put(dataset)  # once, not in every task's closure
    bands: list[tuple[int, int] | None] = list(pairwise(bounds)) or [None]
    size = dataset.state_bytes // len(bands)

    class SlabDatasource(Datasource):
        """One read task a row."""

        def get_name(self) -> str:
            return "Slabs"

        def estimate_inmemory_data_size(self) -> int:
            return sum(slab.states * size * len(bands) for slab in rows if slab)

        def get_read_tasks(
            self, parallelism: int, per_task_row_limit: int | None = None, data_context: Any = None
        ) -> list[Any]:
            return [
                ReadTask(
                    _Read(reference, slab, band),
                    BlockMetadata(
                        num_rows=1, size_bytes=slab.states * size if slab else 0, exec_stats=None, input_files=None
                    ),
                )
                for slab in rows
                for band in bands
            ]

    return SlabDatasource()


@dataclass(frozen=True)
class _Read:
    """Reads one slab in a Ray task."""

    dataset: ray.ObjectRef
    slab: Slab | None
    band: tuple[int, int] | None

    def __call__(self) -> Iterator[Any]:
        from ray.data.block import BlockAccessor

        if self.slab is None:
            yield BlockAccessor.batch_to_arrow_block({"slab": np.array([NO_SLAB])})
            return
        decode_with_one_thread()
        dataset = _fetched(self.dataset)
        columns = read_slab(dataset if self.band is None else dataset.band(*self.band), self.slab)
        yield BlockAccessor.batch_to_arrow_block(
            {"slab": np.array([self.slab.key])} | {name: column[None] for name, column in columns.items()}
        )


@lru_cache(maxsize=4)
def _fetched(reference: ray.ObjectRef) -> Dataset:
    import ray

    return ray.get(reference)


class PacedScheduling:
    """Lets Ray Data's scheduling loop rest between two looks.

    Readers that are ahead of the training, as they should be, leave the loop with nothing to wait for, and it would take a core to ask
    again and again whether that has changed (Ray 2.60).
    """

    REST_SECONDS = 0.02

    def before_execution_starts(self, executor: Any) -> None:
        """Nothing to prepare."""

    def on_execution_step(self, executor: Any) -> None:
        """After each look."""
        time.sleep(self.REST_SECONDS)

    def after_execution_succeeds(self, executor: Any) -> None:
        """Nothing to tidy up."""

    def after_execution_fails(self, executor: Any, error: Exception) -> None:
        """Nothing to tidy up."""
