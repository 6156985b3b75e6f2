"""Merging and assigning in trees that know their origin."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credit_ray.config.located import Located, Origin, dotted, parse_dotted
from credit_ray.errors import ConfigError

KEYS = st.sampled_from("abc")
TREES = st.dictionaries(
    KEYS, st.recursive(st.integers(), lambda inner: st.dictionaries(KEYS, inner) | st.lists(inner, max_size=2))
)


def located(value: Any, where: str = "x.yaml") -> Located:
    origin = Origin(where)
    if isinstance(value, dict):
        return Located({key: located(child, where) for key, child in value.items()}, origin)
    if isinstance(value, list):
        return Located([located(child, where) for child in value], origin)
    return Located(value, origin)


def laid_over(base: Any, over: Any) -> Any:
    """What merging means, said another way."""
    if not (isinstance(base, dict) and isinstance(over, dict)):
        return over
    return {
        key: laid_over(base[key], over[key]) if key in base and key in over else (over if key in over else base)[key]
        for key in base.keys() | over.keys()
    }


@given(TREES, TREES, TREES)
def test_of_merged_trees_the_later_wins_key_by_key(a: Any, b: Any, c: Any) -> None:
    assert located(a).merged(located(b)).merged(located(c)).plain() == laid_over(laid_over(a, b), c)


@given(TREES, TREES)
def test_merging_changes_neither_tree(a: Any, b: Any) -> None:
    base, over = located(a), located(b)
    before = copy.deepcopy((base, over))
    base.merged(over)
    assert (base, over) == before


def test_each_value_keeps_the_origin_of_the_tree_that_it_came_from() -> None:
    merged = located({"a": {"b": 1, "c": 2}}, "base.yaml").merged(located({"a": {"c": 3}}, "mine.yaml"))
    assert merged.nearest(("a", "b")).origin.where == "base.yaml"
    assert merged.nearest(("a", "c")).origin.where == "mine.yaml"


@given(TREES, st.lists(KEYS, min_size=1, max_size=3), st.integers())
def test_an_assigned_value_is_found_where_it_was_put(tree: Any, path: list[str], value: int) -> None:
    try:
        after = located(tree).assigned(tuple(path), located(value, "--set"))
    except ConfigError:  # a name for an item of a list
        return
    assert after.nearest(tuple(path)) == located(value, "--set")


def test_an_item_of_a_list_is_assigned_by_its_position() -> None:
    tree = located({"stages": [{"steps": 1}, {"steps": 2}]})
    after = tree.assigned(("stages", 1, "steps"), located(4))
    assert after.plain() == {"stages": [{"steps": 1}, {"steps": 4}]}
    with pytest.raises(ConfigError, match="0 to 1"):
        tree.assigned(("stages", 2, "steps"), located(4))


def test_what_is_missing_on_the_way_is_made() -> None:
    assert located({"tuning": None}).assigned(("tuning", "trials"), located(3)).plain() == {"tuning": {"trials": 3}}


@given(st.lists(st.from_regex(r"[a-z][a-z._<>]*", fullmatch=True) | st.integers(0, 9), min_size=1))
def test_a_dotted_key_can_be_read_back(path: list[str | int]) -> None:
    assert parse_dotted(dotted(path)) == tuple(path)


@pytest.mark.parametrize("text", ["", ".", "a.", ".a", "a..b", 'a."b', "a b"])
def test_what_is_no_dotted_key_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="dotted key"):
        parse_dotted(text)
