"""Windows cut from slabs, in this process: they are the data, at the plan's places, and errors reach who asked."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from credit_ray.cluster import own_error
from credit_ray.data import store
from credit_ray.data.dataset import Dataset
from credit_ray.data.ingest import WindowLoader, local_slabs, received_slabs
from credit_ray.data.plan import Plan, Slab
from credit_ray.data.runs import Segments
from credit_ray.data.slab_source import read_slab
from credit_ray.data.source import FieldsByVariable
from credit_ray.errors import DataError, NotFiniteError
from credit_ray.state import Window
from tests.unit.data.conftest import Make, Open


def plan_of(dataset: Dataset, *, steps: int = 1, batch_size: int = 4, lanes: int = 2, **how: Any) -> Plan:
    adjacent = dataset.spec.step.between(dataset.times[:-1], dataset.times[1:], dataset.spec.calendar) == 1
    given: dict[str, Any] = {
        "slab_states": 12,
        "seed": 3,
        "chunk": 4,
        "shuffle_slabs": 2,
        "stages": ((0, dataset.spec.history + steps),),
    }
    return Plan(segments=Segments.of(0, adjacent), batch_size=batch_size, lanes=lanes, **(given | how))


def loader(
    dataset: Dataset, plan: Plan, *, rank: int = 0, of: int = 1, from_step: int = 0, epochs: int = 1, **how: Any
) -> WindowLoader:
    slabs = local_slabs(dataset, plan, rank=rank, of=of, from_step=from_step, to_epoch=epochs)
    given: dict[str, Any] = {"prefetch": 2, "to_step": plan.first_step(epochs)}
    return WindowLoader(dataset, plan, slabs, rank=rank, of=of, from_step=from_step, **(given | how))


def loader_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "window-loader"]


@pytest.mark.parametrize("ranks", [1, 2, 3])
@pytest.mark.parametrize("history", [1, 2])
def test_windows_hold_the_data_of_their_times(make: Make, open_weather: Open, ranks: int, history: int) -> None:
    dataset = open_weather(make([*range(0, 180, 6), *range(240, 360, 6)]), forcing=["tp"], history=history)
    plan = plan_of(dataset, steps=2)
    seen = []
    for rank in range(ranks):
        for step, window in enumerate(loader(dataset, plan, rank=rank, of=ranks, epochs=2)):
            assert window.global_step == step
            assert window.fields.dtype == torch.float32
            assert window.times.shape == (len(window), history + 2)
            assert window.steps == 2
            assert (np.diff(window.times, axis=1) == 21600).all()
            for times, fields in zip(window.times, window.fields, strict=True):
                np.testing.assert_array_equal(fields, dataset.fields(times, dataset.spec.windowed))
            seen += [(step, int(t)) for t in window.times[:, 0]]
    wanted = [(step, int(dataset.times[start])) for step in range(plan.first_step(2)) for start in plan.windows(step)]
    assert sorted(seen) == sorted(wanted)


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_shares_of_a_step_add_up_to_one(make: Make, open_weather: Open, ranks: int) -> None:
    dataset = open_weather(make(23))
    plan = plan_of(dataset)
    windows = [list(loader(dataset, plan, rank=rank, of=ranks)) for rank in range(ranks)]
    for together in zip(*windows, strict=True):
        assert sum(window.share for window in together) == pytest.approx(1.0)
        whole = sum(len(window) for window in together)
        assert all(window.share == pytest.approx(len(window) / whole) for window in together)
    assert sum(len(window) for window in windows[-1]) > 0 or ranks == 3  # a rank without a lane has empty windows


def test_training_goes_on_from_the_middle_with_the_same_windows(make: Make, open_weather: Open) -> None:
    dataset = open_weather(make(60))
    plan = plan_of(dataset)
    whole = list(loader(dataset, plan, epochs=3))
    for start in (1, plan.first_step(1), plan.first_step(1) + 5, plan.first_step(3) - 1):
        rest = list(loader(dataset, plan, from_step=start, epochs=3))
        assert [window.global_step for window in rest] == list(range(start, plan.first_step(3)))
        for one, other in zip(whole[start:], rest, strict=True):
            assert torch.equal(one.fields, other.fields)


def test_windows_grow_with_the_curriculum(make: Make, open_weather: Open) -> None:
    dataset = open_weather(make(40))
    plan = plan_of(dataset, stages=((0, 2), (1, 4)))
    steps = [window.steps for window in loader(dataset, plan, epochs=2)]
    assert steps == [1] * plan.steps(0) + [3] * plan.steps(1)


@pytest.mark.parametrize("at", ["input", "target"])
@pytest.mark.parametrize("history", [1, 3])
def test_a_window_and_the_data_set_drive_the_same_rollout(
    make: Make, open_weather: Open, at: str, history: int
) -> None:
    sun = {
        "sun": {"store": "derived", "forcing": ["rsdt", "cos_local_time"], "at": "target" if at == "input" else "input"}
    }
    dataset = open_weather(make(40), forcing=["tp"], at=at, history=history, sources=sun)
    plan = plan_of(dataset, steps=3)
    for window in list(loader(dataset, plan))[:4]:
        init_times = window.times[:, history - 1]
        from_window, from_data = window.initial(), dataset.initial_state(init_times)
        assert torch.equal(from_window.fields, from_data.fields)
        assert torch.equal(from_window.forcing, from_data.forcing)
        assert from_window.forcing.shape[1:3] == (history - 1, 3)
        np.testing.assert_array_equal(from_window.valid_time, from_data.valid_time)
        for step, forcing in enumerate(dataset.forcings(init_times, 3)):
            assert torch.equal(window.forcing(step), forcing)
            valid = dataset.spec.step.add(init_times, step + 1, "standard")
            assert torch.equal(window.target(step), torch.from_numpy(dataset.fields(valid, dataset.spec.outputs)))


def test_missing_places_stay_missing(make: Make, open_weather: Open) -> None:
    stored = make(30)
    stored["sp"].values[:, 2:4, 1:3] = np.nan
    dataset = open_weather(stored, missing="mask")
    for window in loader(dataset, plan_of(dataset)):
        absent = torch.isnan(window.fields)
        assert absent[:, :, 3, 2:4, 1:3].all()
        assert absent.sum() == absent[:, :, 3, 2:4, 1:3].numel()


# What goes wrong


def test_an_error_of_the_reader_reaches_the_consumer_as_it_is(make: Make, open_weather: Open) -> None:
    stored = make(40)
    stored["sp"].values[25, 3, 3] = np.nan
    dataset = open_weather(stored)
    windows = iter(loader(dataset, plan_of(dataset)))
    with pytest.raises(DataError, match=r"'sp' has 1 missing values at 2000-01-07T06:00"):
        list(windows)
    assert not loader_threads()


def test_slabs_that_end_too_early_are_an_error(make: Make, open_weather: Open) -> None:
    dataset = open_weather(make(40))
    plan = plan_of(dataset)
    first = iter(list(local_slabs(dataset, plan, rank=0, of=1, from_step=0, to_epoch=1))[:2])
    windows = WindowLoader(dataset, plan, first, rank=0, of=1, from_step=0, to_step=plan.steps(0), prefetch=1)
    with pytest.raises(DataError, match="The readers ended before global step"):
        list(windows)


def test_the_readers_thread_ends_when_its_consumer_leaves(make: Make, open_weather: Open) -> None:
    dataset = open_weather(make(60))
    closed: list[bool] = []

    def slabs() -> Iterator[Any]:
        try:
            yield from local_slabs(dataset, plan, rank=0, of=1, from_step=0, to_epoch=3)
        finally:
            closed.append(True)

    plan = plan_of(dataset)
    windows = WindowLoader(dataset, plan, slabs(), rank=0, of=1, from_step=0, to_step=plan.first_step(3), prefetch=1)
    running: Iterator[Window] = iter(windows)
    next(running)
    assert loader_threads()
    windows.close()
    assert not loader_threads()
    assert closed == [True]
    windows.close()  # again, for nothing


def test_the_loader_says_how_long_the_step_waited(make: Make, open_weather: Open) -> None:
    dataset = open_weather(make(40))
    windows = loader(dataset, plan_of(dataset))
    total = sum(window.fields.numel() * 4 for window in windows)
    assert windows.statistics.bytes == total > 0
    assert windows.statistics.windows == 39
    metrics = windows.statistics.metrics()
    assert 0 <= metrics["data/wait_fraction"] <= 1
    assert metrics["data/windows_per_second"] > 0


def test_merged_blocks_are_detected() -> None:
    two = {"slab": np.array([[0, 0, 0], [0, 1, 0]]), "t": np.zeros((2, 3, 4, 5), np.float32)}
    with pytest.raises(DataError, match="Ray Data delivered 2 slabs in one block: blocks were merged"):
        list(received_slabs(iter([two])))


def test_rows_that_only_fill_up_are_passed_over() -> None:
    empty = {"slab": np.array([[-1, -1, -1]])}
    one = {"slab": np.array([[0, 1, 2]]), "t": np.ones((1, 3, 4, 5), np.float32)}
    received = list(received_slabs(iter([empty, one, empty])))
    assert [key for key, _ in received] == [(0, 1, 2)]
    assert received[0][1]["t"].shape == (3, 4, 5)
    assert np.shares_memory(received[0][1]["t"], one["t"])  # no copy


def test_an_error_that_ray_has_wrapped_is_told_in_its_own_words() -> None:
    from ray.exceptions import RayTaskError

    ours = NotFiniteError(
        "it blew up\nFailed to apply UDF transform after 1/1 attempts (total backoff 0.0s).\nTo change …"
    )
    wrapped = RayTaskError("read", "a traceback", ours)
    outer = RuntimeError("worker failed")
    outer.__cause__ = wrapped
    for error in (wrapped.as_instanceof_cause(), outer):
        assert type(own_error(error)) is NotFiniteError
        assert str(own_error(error)) == "it blew up"
    foreign = ValueError("not ours")
    assert own_error(foreign) is foreign


def test_a_slab_is_read_once_an_epoch_however_many_windows_it_gives(
    make: Make, open_weather: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = open_weather(make(60))
    plan = plan_of(dataset)
    numbers: list[tuple[int, int, int]] = []

    def counted(dataset: Dataset, slab: Slab) -> FieldsByVariable:
        numbers.append(slab.key)
        return read_slab(dataset, slab)

    monkeypatch.setattr("credit_ray.data.ingest.read_slab", counted)
    assert sum(len(window) for window in loader(dataset, plan)) == 59
    assert sorted(numbers) == sorted(slab.key for lane in plan.order(0) for slab in lane.slabs)


def test_a_slab_is_the_same_through_a_data_set_that_has_travelled(make: Make, open_weather: Open) -> None:
    dataset = open_weather(make(20))
    travelled = pickle.loads(pickle.dumps(dataset))
    store.cached_store.cache_clear()
    slab = plan_of(dataset).order(0)[0].slabs[0]
    ours, theirs = read_slab(dataset, slab), read_slab(travelled, slab)
    assert set(ours) == set(theirs) == {"t", "sp"}
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)
