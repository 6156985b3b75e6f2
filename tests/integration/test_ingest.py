"""Slabs through Ray Data, dealt to one, two and three ranks: byte for byte what this process reads, from the start and from the middle."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from credit_ray.config.experiment import Experiment
from credit_ray.data.dataset import Dataset, open_dataset
from credit_ray.data.ingest import WindowLoader, local_slabs, ray_slabs, received_slabs
from credit_ray.data.plan import Plan
from credit_ray.data.plan_report import training_plan
from credit_ray.data.statistics import Statistics, compute_statistics
from credit_ray.errors import DataError
from credit_ray.state import Window

pytestmark = pytest.mark.usefixtures("ray_cluster")

MakeExperiment = Callable[..., Experiment]
EPOCHS = 2


def opened(experiment: Experiment) -> tuple[Dataset, Plan]:
    dataset = open_dataset(experiment.data)
    return dataset, training_plan(experiment, dataset)


def windows(dataset: Dataset, plan: Plan, slabs: Any, rank: int, of: int, from_step: int) -> list[Window]:
    return list(
        WindowLoader(
            dataset, plan, slabs, rank=rank, of=of, from_step=from_step, to_step=plan.first_step(EPOCHS), prefetch=2
        )
    )


def by_ray(dataset: Dataset, plan: Plan, ranks: int, from_step: int) -> list[list[Window]]:
    """What each rank gets when all ask at the same time, as training workers do."""
    rows = plan.rows(ranks, from_step, EPOCHS)
    shards: list[Any] = ray_slabs(dataset, rows, readers=2).streaming_split(ranks, equal=True)
    results: list[list[Window]] = [[] for _ in range(ranks)]
    errors: list[BaseException] = []

    def work(rank: int) -> None:
        batches = shards[rank].iter_batches(batch_size=None, batch_format="numpy", prefetch_batches=1)
        try:
            results[rank] = windows(dataset, plan, received_slabs(iter(batches)), rank, ranks, from_step)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(ranks)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return results


def by_this_process(dataset: Dataset, plan: Plan, ranks: int, from_step: int) -> list[list[Window]]:
    return [
        windows(
            dataset,
            plan,
            local_slabs(dataset, plan, rank=rank, of=ranks, from_step=from_step, to_epoch=EPOCHS),
            rank,
            ranks,
            from_step,
        )
        for rank in range(ranks)
    ]


@pytest.mark.parametrize(("ranks", "lanes", "from_middle"), [(1, 4, False), (2, 4, True), (3, 4, False), (3, 3, True)])
def test_ray_and_this_process_read_the_same_bytes(
    make_experiment: MakeExperiment, ranks: int, lanes: int, from_middle: bool
) -> None:
    # slabs of three or four states, so that there are many; three ranks do not divide four lanes
    experiment = make_experiment(training={"batch_size": 12})
    state = open_dataset(experiment.data).state_bytes
    dataset, plan = opened(experiment)
    plan = Plan(
        segments=plan.segments,
        batch_size=12,
        lanes=lanes,
        stages=((0, 2), (1, 4)),
        slab_states=12,
        seed=5,
        chunk=10,
        shuffle_slabs=2,
    )
    from_step = plan.steps(0) // 2 if from_middle else 0
    ours, theirs = by_this_process(dataset, plan, ranks, from_step), by_ray(dataset, plan, ranks, from_step)
    assert 12 * state < 1_000_000  # rows that Ray Data would merge if it were left to itself
    for mine, other in zip(ours, theirs, strict=True):
        assert [w.global_step for w in other] == list(range(from_step, plan.first_step(EPOCHS)))
        for one, two in zip(mine, other, strict=True):
            assert torch.equal(one.fields, two.fields)
            np.testing.assert_array_equal(one.times, two.times)
            assert one.share == two.share
    for step in range(from_step, plan.first_step(EPOCHS)):
        together = [int(t) for rank in theirs for t in rank[step - from_step].times[:, 0]]
        assert sorted(together) == sorted(dataset.times[plan.windows(step)].tolist())


def test_statistics_by_ray_tasks_are_those_of_this_process_to_the_last_bit(make_experiment: MakeExperiment) -> None:
    dataset = open_dataset(make_experiment().data)
    slab_bytes = 13 * dataset.state_bytes
    ours: Statistics = compute_statistics(dataset, slab_bytes=slab_bytes, reader="local")
    theirs = compute_statistics(dataset, slab_bytes=slab_bytes, reader="ray", readers=2)
    for name in ("mean", "std", "low", "high", "change_std", "content", "key"):
        assert getattr(ours, name) == getattr(theirs, name)
    np.testing.assert_array_equal(ours.climatology, theirs.climatology)


@pytest.fixture
def damaged(make_experiment: MakeExperiment, waves: Path, tmp_path: Path) -> Experiment:
    """The same data with a truncated chunk of `u` at 2000-01-06T00 … 2000-01-08T06."""
    import shutil

    store = tmp_path / "damaged.zarr"
    shutil.copytree(waves, store)
    (chunk,) = (store / "u" / "c" / "2").rglob("0/0")
    chunk.write_bytes(chunk.read_bytes()[:40])
    experiment = make_experiment()
    sources = {name: source.model_dump() for name, source in experiment.data.sources.items()}
    sources["waves"]["store"] = str(store)
    return make_experiment(data={"timestep": "6h", "sources": sources, "splits": experiment.data.splits.model_dump()})


WORDS = r"damaged\.zarr: 'u' at .*2000-01-0[678]T\d\d:00,? can't be read .*The store is damaged or incomplete there\.$"


def test_an_error_in_a_reader_reaches_the_consumer_with_its_class_and_words(damaged: Experiment) -> None:
    dataset, plan = opened(damaged)
    with pytest.raises(DataError, match=WORDS) as caught:
        by_ray(dataset, plan, 1, 0)
    assert type(caught.value) is DataError


def test_an_error_in_a_statistics_task_reaches_the_consumer_with_its_class_and_words(damaged: Experiment) -> None:
    dataset = open_dataset(damaged.data)
    with pytest.raises(DataError, match=WORDS) as caught:
        compute_statistics(dataset, slab_bytes=10 * dataset.state_bytes, reader="ray", readers=1)
    assert type(caught.value) is DataError
