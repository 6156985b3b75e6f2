"""Rounding to float32 keeps sums, and what is exact."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from credit_ray.physics.rounding import stored


def at_step(values: torch.Tensor, dtype: torch.dtype, step: int = 0) -> torch.Tensor:
    return stored(values, dtype, torch.full((len(values),), step))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), scale=st.floats(1e-9, 1e9), change=st.floats(-2e-7, 2e-7))
def test_a_change_below_the_last_digit_is_kept_in_the_sum(seed: int, scale: float, change: float) -> None:
    random = torch.Generator().manual_seed(seed)
    exact = scale * (1 + 0.3 * torch.rand(3, 4, 40, 60, generator=random)).float().double()
    wanted = exact * (1 + change)
    rounded = at_step(wanted, torch.float32)
    assert rounded.dtype == torch.float32
    assert ((rounded.double() - wanted).abs() < 1.2e-7 * wanted.abs()).all()  # a neighbour, up or down
    error = (rounded.double() - wanted).sum() / wanted.sum()
    assert abs(error) < 4 * 1.2e-7 / wanted.numel() ** 0.5


@pytest.mark.parametrize("value", [1.0, 250.0, 101_325.0, -3.5])
def test_a_field_of_one_value_keeps_its_sum_too(value: float) -> None:
    wanted = torch.full((1, 64, 128), value * (1 + 1.3e-8), dtype=torch.float64)
    error = (at_step(wanted, torch.float32).double() - wanted).mean().abs() / abs(value)
    assert error < 4 * 1.2e-7 / wanted.numel() ** 0.5
    assert (wanted.float().double() - wanted).mean().abs() / abs(value) > 10 * error  # to nearest, all cells err alike


def test_what_float32_holds_stays_as_it_is() -> None:
    values = torch.randn(2, 20, 30, generator=torch.Generator().manual_seed(1))
    values[0, 0] = torch.tensor([0.0, torch.inf, -torch.inf] * 10)
    values[1, 1] = torch.nan
    assert torch.equal(at_step(values.double(), torch.float32).nan_to_num(7), values.nan_to_num(7))
    assert at_step(values.double(), torch.float64).dtype == torch.float64


def test_a_trajectory_is_rounded_the_same_whatever_shares_its_batch() -> None:
    values = torch.rand(3, 5, 8, 16, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    together = at_step(values, torch.float32)
    for each in range(3):
        assert torch.equal(at_step(values[each : each + 1], torch.float32)[0], together[each])


def test_gradients_pass() -> None:
    values = torch.rand(2, 8, 16, dtype=torch.float64, requires_grad=True)
    (at_step(values, torch.float32) * 3).sum().backward()
    assert values.grad is not None
    assert torch.equal(values.grad, torch.full_like(values, 3))


def test_each_step_rounds_in_its_own_way() -> None:
    values = torch.rand(1, 32, 64, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    up = torch.stack([at_step(values, torch.float32, step) > values for step in range(64)]).double().mean(0)
    assert ((up > 0) & (up < 1)).double().mean() > 0.9  # hardly a cell is always rounded the same way
