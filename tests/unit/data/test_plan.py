"""What a plan promises, whatever the data, the batch, the lanes, the workers and the memory."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from credit_ray.data.plan import Plan, Slab, total_steps
from credit_ray.data.runs import Segments, cut_runs
from credit_ray.errors import ConfigError, DataError

few = settings(max_examples=40, deadline=None)


@st.composite
def time_axes(draw: st.DrawFn) -> Segments:
    """Stretches without a gap, somewhere on a longer axis."""
    lengths = draw(st.lists(st.integers(1, 60), min_size=1, max_size=4))
    adjacent = np.ones(sum(lengths) - 1, bool)
    adjacent[np.cumsum(lengths)[:-1] - 1] = False
    return Segments.of(draw(st.integers(0, 50)), adjacent)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    lanes = draw(st.integers(1, 6))
    length = draw(st.integers(2, 6))
    longer = draw(st.sampled_from([(), ((2, length + 2),)]))
    segments = draw(time_axes())
    stages = ((0, length), *longer)
    assume(segments.windows(stages[-1][1]) > 0)
    return Plan(
        segments=segments,
        batch_size=lanes * draw(st.integers(1, 4)),
        lanes=lanes,
        stages=stages,
        slab_states=draw(st.integers(stages[-1][1], 80)),
        seed=draw(st.integers(0, 5)),
        chunk=draw(st.sampled_from([1, 2, 5, 20])),
        shuffle_slabs=draw(st.integers(1, 4)),
    )


def again(plan: Plan) -> Plan:
    """An equal plan of its own, as another process would build it."""
    fields = ("segments", "batch_size", "lanes", "stages", "slab_states", "seed", "chunk", "shuffle_slabs")
    return Plan(**{name: getattr(plan, name) for name in fields})


def steps_of(plan: Plan, epochs: int = 3) -> range:
    return range(plan.first_step(epochs))


@few
@given(plans())
def test_every_window_of_the_split_is_used_exactly_once_in_each_epoch(plan: Plan) -> None:
    for epoch in range(3):
        first, length = plan.first_step(epoch), plan.length(epoch)
        used = np.concatenate([plan.windows(first + step) for step in range(plan.steps(epoch))])
        whole = [
            start
            for a, b in zip(plan.segments.start.tolist(), plan.segments.stop.tolist(), strict=True)
            for start in range(a, b - length + 1)
        ]
        assert sorted(used.tolist()) == whole


@few
@given(plans())
def test_no_window_and_no_slab_reaches_across_a_gap_or_the_border_of_the_split(plan: Plan) -> None:
    inside = list(zip(plan.segments.start.tolist(), plan.segments.stop.tolist(), strict=True))
    for epoch in range(3):
        length = plan.length(epoch)
        slabs = [slab for lane in plan.order(epoch) for slab in lane.slabs]
        assert all(any(a <= slab.start and slab.start + slab.states <= b for a, b in inside) for slab in slabs)
        for lane in plan.order(epoch):
            for start, number in zip(lane.window.tolist(), lane.slab.tolist(), strict=True):
                slab = lane.slabs[number]
                assert slab.start <= start
                assert start + length <= slab.start + slab.states


@few
@given(plans())
def test_the_same_inputs_give_the_same_order(plan: Plan) -> None:
    other = again(plan)
    for step in steps_of(plan):
        np.testing.assert_array_equal(plan.windows(step), other.windows(step))
    assert plan.rows(2, 0, 3) == other.rows(2, 0, 3)


def test_another_seed_and_another_epoch_give_another_order() -> None:
    plan = Plan(
        segments=Segments.of(0, np.ones(299, bool)), batch_size=8, lanes=4, stages=((0, 2),), slab_states=40, seed=0
    )
    other = Plan(segments=plan.segments, batch_size=8, lanes=4, stages=((0, 2),), slab_states=40, seed=1)
    first = [plan.windows(step).tolist() for step in range(plan.steps(0))]
    assert first != [other.windows(step).tolist() for step in range(plan.steps(0))]
    assert first != [plan.windows(plan.first_step(1) + step).tolist() for step in range(plan.steps(1))]


@few
@given(plans(), st.integers(1, 8))
def test_the_ranks_shares_are_the_steps_windows(plan: Plan, ranks: int) -> None:
    for step in steps_of(plan):
        dealt = [pick.start for rank in range(ranks) for pick in plan.share(step, rank, ranks)]
        assert sorted(dealt) == sorted(plan.windows(step).tolist())


@few
@given(plans(), st.integers(1, 6), st.integers(1, 6), st.data())
def test_after_a_stop_the_global_steps_windows_are_the_same_on_any_number_of_ranks(
    plan: Plan, before: int, after: int, data: st.DataObject
) -> None:
    epochs = 3
    stop = data.draw(st.integers(0, plan.first_step(epochs) - 1))
    undisturbed = [sorted(plan.windows(step).tolist()) for step in steps_of(plan, epochs)]
    went = [delivered(plan, before, 0, epochs)[step] for step in range(stop)]
    goes_on = delivered(again(plan), after, stop, epochs)
    assert went + [goes_on[step] for step in range(stop, len(undisturbed))] == undisturbed


def delivered(plan: Plan, ranks: int, from_step: int, epochs: int) -> dict[int, list[int]]:
    """The windows of each step, cut by every rank from the slabs that have reached it: each takes the next when it needs one."""
    rows = plan.rows(ranks, from_step, epochs)
    streams = [iter([slab for slab in rows[rank::ranks] if slab is not None]) for rank in range(ranks)]
    held: list[dict[tuple[int, int, int], Slab]] = [{} for _ in range(ranks)]
    steps: dict[int, list[int]] = {}
    for step in range(from_step, plan.first_step(epochs)):
        steps[step] = []
        for rank in range(ranks):
            for pick in plan.share(step, rank, ranks):
                while pick.slab not in held[rank]:
                    slab = next(streams[rank])  # StopIteration would mean that a slab came too late, or to another rank
                    assert slab.first_step <= step, "read before its time"
                    held[rank][slab.key] = slab
                slab = held[rank][pick.slab]
                assert slab.start <= pick.start < slab.start + slab.states
                assert slab.first_step <= step <= slab.last_step
                steps[step].append(pick.start)
            held[rank] = {key: slab for key, slab in held[rank].items() if slab.last_step > step}
        steps[step].sort()
    assert not any(held)
    assert all(next(stream, None) is None for stream in streams)
    return steps


@few
@given(plans(), st.integers(1, 6), st.data())
def test_rows_deal_evenly_and_each_slab_reaches_one_rank_once(plan: Plan, ranks: int, data: st.DataObject) -> None:
    from_step = data.draw(st.integers(0, plan.first_step(2)))
    rows = plan.rows(ranks, from_step, 3)
    assert len(rows) % ranks == 0
    keys = [slab.key for slab in rows if slab is not None]
    assert len(keys) == len(set(keys))
    assert all(slab is None or slab.lane % ranks == i % ranks for i, slab in enumerate(rows))
    needed = {
        slab.key
        for epoch in range(3)
        for lane in plan.order(epoch)
        for slab in lane.slabs
        if slab.last_step >= from_step
    }
    assert set(keys) == needed


@few
@given(plans(), st.integers(1, 6))
def test_only_the_last_step_of_an_epoch_is_short_and_shares_add_up_to_one(plan: Plan, ranks: int) -> None:
    for epoch in range(3):
        steps = [plan.first_step(epoch) + step for step in range(plan.steps(epoch))]
        sizes = [len(plan.windows(step)) for step in steps]
        total = plan.segments.windows(plan.length(epoch))
        assert sum(sizes) == total
        if total >= plan.batch_size:
            # lanes differ by one window at most, so that a lane may end one step before the others
            assert all(size == plan.batch_size for size in sizes[:-2])
            assert all(size > plan.batch_size - plan.lanes for size in sizes[-2:-1])
        for step, size in zip(steps, sizes, strict=True):
            assert 0 < size <= plan.batch_size
            assert sum(len(plan.share(step, rank, ranks)) for rank in range(ranks)) == size


@few
@given(plans())
def test_every_lane_has_its_part_of_the_work(plan: Plan) -> None:
    for epoch in range(3):
        windows = [len(lane.window) for lane in plan.order(epoch)]
        assert max(windows) - min(windows) <= 1
        for number, lane in enumerate(plan.order(epoch)):
            assert [slab.number for slab in lane.slabs] == list(range(len(lane.slabs)))
            assert all(slab.lane == number for slab in lane.slabs)
            assert set(lane.slab.tolist()) == set(range(len(lane.slabs)))  # no slab is read for nothing


@few
@given(plans())
def test_a_slab_says_when_it_is_needed(plan: Plan) -> None:
    for epoch in range(2):
        for lane in plan.order(epoch):
            step = plan.first_step(epoch) + np.arange(len(lane.window)) // plan.windows_per_lane
            for slab in lane.slabs:
                used = step[lane.slab == slab.number]
                assert (slab.first_step, slab.last_step) == (used.min(), used.max())


@few
@given(plans())
def test_no_slab_is_larger_than_memory_allows(plan: Plan) -> None:
    assert all(
        slab.states <= plan.slab_states for epoch in range(3) for lane in plan.order(epoch) for slab in lane.slabs
    )


@few
@given(plans())
def test_few_slabs_of_a_lane_are_open_at_a_time(plan: Plan) -> None:
    for lane in plan.order(0):
        windows = np.bincount(lane.slab, minlength=len(lane.slabs))
        for step in range(plan.first_step(0), plan.first_step(1)):
            there = [slab.number for slab in lane.slabs if slab.first_step <= step <= slab.last_step]
            # those that windows are drawn from at one moment, and those that a step of many windows passes through
            passed = int((np.cumsum(np.sort(windows)) <= plan.windows_per_lane).sum())
            assert len(there) <= plan.shuffle_slabs + 1 + passed


@few
@given(plans())
def test_a_chunk_is_decoded_about_once_an_epoch_where_memory_allows(plan: Plan) -> None:
    overlap = plan.length(0) - 1
    in_chunks = -(-overlap // plan.chunk) * plan.chunk
    assume(plan.slab_states - overlap >= 4 * in_chunks + plan.chunk)
    times = int((plan.segments.stop - plan.segments.start).sum())
    # each lane's border and each end of a stretch may cut a run, which costs its overlap and two chunks in part
    borders = (plan.lanes + len(plan.segments.start)) * (in_chunks + 2 * plan.chunk)
    used = sum(
        b - a for a, b in zip(plan.segments.start.tolist(), plan.segments.stop.tolist(), strict=True) if b - a > overlap
    )
    assert times >= used
    assert plan.read_amplification() <= 1.25 + borders / used


def test_long_data_are_read_little_more_than_once() -> None:
    plan = Plan(
        segments=Segments.of(7, np.ones(99_999, bool)),
        batch_size=16,
        lanes=4,
        stages=((0, 3),),
        slab_states=200,
        seed=0,
        chunk=10,
        shuffle_slabs=4,
    )
    assert 1.0 <= plan.read_amplification() < 1.1


def test_the_curriculum_changes_the_length_between_epochs_never_within_one() -> None:
    segments = Segments.of(0, np.ones(40, bool))
    plan = Plan(segments=segments, batch_size=4, lanes=2, stages=((0, 2), (3, 4), (4, 9)), slab_states=20, seed=0)
    assert [plan.length(epoch) for epoch in range(6)] == [2, 2, 2, 4, 9, 9]
    assert [plan.steps(epoch) for epoch in range(6)] == [10, 10, 10, 10, 9, 9]
    for epoch in range(6):
        for step in range(plan.steps(epoch)):
            assert plan.locate(plan.first_step(epoch) + step) == (epoch, step)
    assert total_steps(plan, 5, None) == 49
    assert total_steps(plan, None, 17) == 17


def test_a_window_longer_than_every_stretch_is_an_error_that_says_how_long_they_are() -> None:
    plan = Plan(
        segments=Segments.of(0, np.array([True, False, True, True])),
        batch_size=2,
        lanes=1,
        stages=((0, 4),),
        slab_states=9,
        seed=0,
    )
    with pytest.raises(DataError, match=r"no window of 4 consecutive times.*longest stretch without a gap has 3"):
        plan.steps(0)


def test_a_window_that_does_not_fit_into_a_slab_is_an_error_that_says_what_to_raise() -> None:
    with pytest.raises(
        ConfigError, match=r"One window of 6 times does not fit into a slab of 5: raise data\.ingest\.slab_bytes"
    ):
        cut_runs(Segments.of(0, np.ones(20, bool)), 6, 5, 1, 1)


def test_lanes_that_do_not_divide_the_batch_are_refused() -> None:
    with pytest.raises(ConfigError, match="3 lanes do not divide a batch of 8"):
        Plan(segments=Segments.of(0, np.ones(9, bool)), batch_size=8, lanes=3, stages=((0, 2),), slab_states=9, seed=0)


def test_forty_years_of_hours_are_planned_for_twenty_epochs_in_bounded_memory() -> None:
    tracemalloc.start()
    plan = Plan(
        segments=Segments.of(0, np.ones(350_000, bool)),
        batch_size=32,
        lanes=4,
        stages=((0, 2),),
        slab_states=30,
        seed=0,
        shuffle_slabs=4,
    )
    after_one = 0
    for epoch in range(20):
        slabs = list(plan.slabs(0, 2, plan.first_step(epoch), epoch + 1))
        assert len(plan.share(plan.first_step(epoch) + 1000, 1, 2)) == 16
        assert len(slabs[0]) > 5000
        if epoch == 4:  # the newest four epochs are kept
            after_one = tracemalloc.get_traced_memory()[0]
    now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert now < 1.2 * after_one
    assert peak < 150e6


@few
@given(plans(), st.integers(0, 2))
def test_a_detour_changes_the_order_from_its_epoch_on_and_loses_no_window(plan: Plan, epoch: int) -> None:
    detour = replace(plan, detours=(epoch,))
    for e in range(3):
        before, after = (
            np.concatenate([p.windows(s) for s in range(p.first_step(e), p.first_step(e + 1))]) for p in (plan, detour)
        )
        assert np.array_equal(np.sort(before), np.sort(after))
        if e < epoch:
            assert np.array_equal(before, after)
        elif len(before) > 20:
            assert not np.array_equal(before, after)
