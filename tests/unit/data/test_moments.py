"""Partial sums: any tree of them is numpy on everything; the identity of data does not depend on how they lie."""

from __future__ import annotations

from functools import reduce
from operator import add

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from credit_ray.data.moments import Moments, Partial, content_hash


def fields(seed: int, times: int, channels: int = 3, missing: float = 0.0) -> NDArray[np.float32]:
    """[time, channel, 4, 5] with means far from zero, as pressure and geopotential have them."""
    random = np.random.default_rng(seed)
    values = 1e5 + 10.0 * np.arange(channels)[:, None, None] + random.standard_normal((times, channels, 4, 5))
    values[random.random(values.shape) < missing] = np.nan
    return values.astype(np.float32)


def assert_same(one: Moments, other: Moments) -> None:
    np.testing.assert_array_equal(one.count, other.count)
    np.testing.assert_array_equal([one.low, one.high], [other.low, other.high])
    np.testing.assert_allclose(one.mean, other.mean, rtol=1e-13)
    np.testing.assert_allclose(one.squares, other.squares, rtol=1e-9)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    lengths=st.lists(st.integers(0, 6), min_size=1, max_size=6),
    missing=st.sampled_from([0.0, 0.3, 1.0]),
    data=st.data(),
)
def test_moments_merged_in_any_order_and_tree_are_those_of_everything(
    seed: int, lengths: list[int], missing: float, data: st.DataObject
) -> None:
    values = fields(seed, sum(lengths), missing=missing)
    parts = [Moments.of(part) for part in np.split(values, np.cumsum(lengths)[:-1])]
    parts = list(data.draw(st.permutations(parts)))
    while len(parts) > 1:  # a random tree
        at = data.draw(st.integers(0, len(parts) - 2))
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    assert_same(parts[0], Moments.of(values))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), missing=st.sampled_from([0.0, 0.3]))
def test_moments_are_numpys(seed: int, missing: float) -> None:
    values = fields(seed, 7, missing=missing)
    found, exact = Moments.of(values), values.astype(np.float64)
    np.testing.assert_array_equal(found.count, np.isfinite(exact).sum((0, 2, 3)))
    np.testing.assert_allclose(found.mean, np.nanmean(exact, (0, 2, 3)), rtol=1e-14)
    np.testing.assert_allclose(found.std, np.nanstd(exact, (0, 2, 3)), rtol=1e-11)
    np.testing.assert_array_equal(found.low, np.nanmin(exact, (0, 2, 3)))
    np.testing.assert_array_equal(found.high, np.nanmax(exact, (0, 2, 3)))


def test_the_deviation_survives_a_mean_that_is_a_million_times_larger() -> None:
    exact = 1e6 + np.random.default_rng(0).standard_normal((400, 1, 4, 5))
    assert abs(reduce(add, map(Moments.of, np.split(exact, 40))).std[0] / exact.std() - 1) < 1e-10


def test_nothing_counted_has_no_deviation() -> None:
    assert np.isnan(Moments.none(2).std).all()
    assert_same(Moments.none(3) + Moments.of(fields(1, 2)), Moments.of(fields(1, 2)))


def partial(seed: int) -> Partial:
    values = fields(seed, 3, missing=0.1)
    return Partial(
        state=Moments.of(values),
        change=Moments.of(np.diff(values[:, :2].astype(np.float64), axis=0)),
        climatology_sum=values[:, :2].astype(np.float64).sum(0)[None],
        climatology_count=np.array([3.0]),
        missing=np.asarray(np.isnan(values).any(0)),
        content=content_hash({"t": values[:, 0]}, np.arange(3) + 10 * seed),
    )


@settings(max_examples=10, deadline=None)
@given(order=st.permutations(range(5)))
def test_partials_merge_in_any_order(order: list[int]) -> None:
    one, other = reduce(add, map(partial, range(5))), reduce(add, map(partial, order))
    assert_same(one.state, other.state)
    assert_same(one.change, other.change)
    np.testing.assert_allclose(one.climatology_sum, other.climatology_sum, rtol=1e-13)
    np.testing.assert_array_equal(one.missing, other.missing)
    assert one.climatology_count[0] == other.climatology_count[0] == 15
    assert one.content == other.content


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), data=st.data())
def test_the_content_is_the_same_in_any_pieces_and_order_but_not_with_one_changed_value(
    seed: int, data: st.DataObject
) -> None:
    columns = {"u": fields(seed, 6, missing=0.05), "sp": fields(seed + 1, 6, channels=1)[:, 0]}
    times = np.arange(6) * 21600
    whole = content_hash(columns, times)
    pieces = data.draw(st.permutations([slice(0, 1), slice(1, 4), slice(4, 6)]))
    assert (
        whole
        == sum(content_hash({n: c[piece] for n, c in reversed(columns.items())}, times[piece]) for piece in pieces)
        % 2**128
    )
    at = data.draw(st.integers(0, columns["sp"].size - 1))
    altered = {**columns, "sp": columns["sp"].copy()}
    altered["sp"].flat[at] = np.nextafter(altered["sp"].flat[at], np.float32(np.inf))
    assert content_hash(altered, times) != whole
    assert content_hash(columns, times + 1) != whole
    assert content_hash({"v": columns["u"], "sp": columns["sp"]}, times) != whole


def test_all_spellings_of_missing_have_the_same_content() -> None:
    quiet = np.array([[1.0, np.nan]], np.float32)
    other = quiet.copy()
    other.view(np.uint32)[0, 1] |= 5  # a NaN with a payload
    assert other.tobytes() != quiet.tobytes()
    assert content_hash({"t": quiet}, np.zeros(1, np.int64)) == content_hash({"t": other}, np.zeros(1, np.int64))
