"""Sums that add up in any order."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from credit_ray.verification.aggregation import WeightedSum

SHAPE = (6, 3, 2)
NAMES = ("error", "squared_error")


def parts_of(seed: int, owners: list[int]) -> list[WeightedSum]:
    """One part for each owner, who has the forecasts that are his."""
    draw = np.random.default_rng(seed)
    whole = {name: draw.standard_normal(SHAPE) for name in NAMES}
    weight = draw.random(SHAPE)
    parts = []
    for owner in sorted(set(owners)):
        part = WeightedSum.zero(NAMES, SHAPE)
        for init in (i for i, o in enumerate(owners) if o == owner):
            part.add_at((init,), {name: values[init] for name, values in whole.items()}, weight[init])
        parts.append(part)
    return parts


def merged(parts: list[WeightedSum], draw: st.DataObject) -> WeightedSum:
    """By a tree that the test draws."""
    parts = list(parts)
    while len(parts) > 1:
        left = parts.pop(draw.draw(st.integers(0, len(parts) - 1)))
        right = parts.pop(draw.draw(st.integers(0, len(parts) - 1)))
        parts.append(left + right)
    return parts[0]


def same(a: WeightedSum, b: WeightedSum) -> bool:
    return all(np.array_equal(a.totals[name], b.totals[name]) for name in NAMES) and np.array_equal(a.weight, b.weight)


@given(st.integers(0, 99), st.lists(st.integers(0, 4), min_size=6, max_size=6), st.data())
def test_merging_parts_in_any_order_and_tree_gives_the_same_to_the_last_bit(
    seed: int, owners: list[int], data: st.DataObject
) -> None:
    at_once = parts_of(seed, [0] * 6)[0]
    assert same(merged(parts_of(seed, owners), data), at_once)


def test_zero_is_neutral() -> None:
    part = parts_of(1, [0] * 6)[0]
    assert same(part + WeightedSum.zero(NAMES, SHAPE), part)
    assert same(WeightedSum.zero(NAMES, SHAPE) + part, part)


def test_a_mean_weighs_and_counts_only_what_was_added() -> None:
    total = WeightedSum.zero(("x",), (3, 1, 1))
    total.add_at((0, 0, 0), {"x": np.array(1.0 * 5)}, 1.0)
    total.add_at((2, 0, 0), {"x": np.array(3.0 * 8)}, 3.0)
    assert total.mean("x")[0, 0] == (5 + 24) / 4
    assert total.count()[0, 0] == 2


def test_a_mean_of_nothing_is_not_a_number() -> None:
    assert np.isnan(WeightedSum.zero(("x",), (2, 1, 1)).mean("x")).all()
