"""Noise depends on key, step and purpose, and on nothing else."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from credit_ray.noise import normal, seed_of


@given(keys=st.lists(st.integers(-(2**62), 2**62), min_size=1, max_size=5), step=st.integers(0, 10**6))
def test_a_trajectory_has_the_same_noise_in_any_batch(keys: list[int], step: int) -> None:
    together = normal(keys, [step] * len(keys), "stir", (3, 2))
    for key, mine in zip(keys, together, strict=True):
        assert torch.equal(normal([key], [step], "stir", (3, 2))[0], mine)


@given(key=st.integers(0, 1000), step=st.integers(0, 1000))
def test_another_key_step_or_purpose_gives_other_noise(key: int, step: int) -> None:
    seeds = {seed_of(key, step, "a"), seed_of(key + 1, step, "a"), seed_of(key, step + 1, "a"), seed_of(key, step, "b")}
    assert len(seeds) == 4


def test_drawing_leaves_the_shared_generator_alone() -> None:
    before = torch.get_rng_state()
    normal([1], [2], "stir", (4,))
    assert torch.equal(torch.get_rng_state(), before)


def test_numbers_are_normal() -> None:
    drawn = normal(range(200), [7] * 200, "stir", (500,))
    assert drawn.mean().item() == pytest.approx(0, abs=0.02)
    assert drawn.var().item() == pytest.approx(1, abs=0.02)
    assert (drawn[:, :-1] * drawn[:, 1:]).mean().item() == pytest.approx(0, abs=0.02)
    assert (drawn[:-1] * drawn[1:]).mean().item() == pytest.approx(0, abs=0.02)
