"""Reading ahead changes when things are made, never what comes out."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from credit_ray.data.ahead import ahead
from credit_ray.errors import DataError


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("read-ahead")]


@settings(max_examples=20, deadline=None)
@given(items=st.lists(st.integers() | st.none(), max_size=8), depth=st.integers(1, 4))
def test_the_items_are_the_same_in_the_same_order(items: list[int | None], depth: int) -> None:
    assert list(ahead(iter(items), depth)) == items
    assert not threads()


def test_an_error_comes_at_its_own_item() -> None:
    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise DataError("the third is damaged")

    read = ahead(items(), 3)
    assert [next(read), next(read)] == [1, 2]
    with pytest.raises(DataError, match="the third is damaged"):
        next(read)
    assert not threads()


def test_no_more_is_made_than_is_asked_for_and_some_ahead() -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for i in range(100):
            made.append(i)
            yield i

    read = ahead(items(), 2)
    assert next(read) == 0
    read.close()  # type: ignore[attr-defined]  # a generator
    assert not threads()
    assert len(made) <= 3
