"""Pointwise losses against numpy, and what must not disturb them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from credit_ray.losses.pointwise import Loss
from credit_ray.losses.weights import loss_weights
from credit_ray.registry import losses

GRID = (4, 6)
KINDS = {"mse": np.square, "mae": np.abs}


def loss(kind: str, weights: Tensor) -> Loss:
    built: Loss = losses.target(kind)(losses.arguments(kind)(), weights)
    return built


def fields() -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    prediction = torch.randn(3, 2, 5, *GRID, dtype=torch.float64)  # [batch, member, channel, *grid]
    return prediction, torch.randn(3, 5, *GRID, dtype=torch.float64), torch.rand(5, *GRID, dtype=torch.float64)


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_is_the_weighted_mean_over_channels_places_and_members(kind: str) -> None:
    prediction, target, weights = fields()
    error = KINDS[kind](prediction.numpy() - target.numpy()[:, None])
    wanted = np.stack([np.average(e.mean(0), weights=weights.numpy()) for e in error])
    np.testing.assert_allclose(loss(kind, weights)(prediction, target, 1).numpy(), wanted)


@pytest.mark.parametrize("kind", KINDS)
def test_channels_by_themselves_make_up_the_whole(kind: str) -> None:
    prediction, target, weights = fields()
    judge = loss(kind, weights)
    share = weights.sum((1, 2)) / weights.sum()
    torch.testing.assert_close((judge.per_channel(prediction, target, 1) * share).sum(1), judge(prediction, target, 1))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_has_no_weight_disturbs_neither_the_loss_nor_its_gradient(kind: str, bad: float) -> None:
    prediction, target, weights = fields()
    weights[1, 2] = 0.0
    expected = loss(kind, weights)(prediction, target, 1)
    target[:, 1, 2] = bad
    prediction[:, 0, 1, 2] = bad
    prediction.requires_grad_()
    found = loss(kind, weights)(prediction, target, 1)
    torch.testing.assert_close(found, expected)
    (gradient,) = torch.autograd.grad(found.sum(), prediction)
    assert torch.isfinite(gradient).all()
    assert not gradient[:, :, 1, 2].any()
    assert gradient[:, :, 0].all()


def test_a_target_that_is_missing_where_it_counts_is_not_passed_over() -> None:
    prediction, target, weights = fields()
    target[0, 0, 0, 0] = float("nan")
    found = loss("mse", weights)(prediction, target, 1)
    assert torch.isfinite(found).tolist() == [False, True, True]


def test_an_error_of_one_sigma_everywhere_costs_one() -> None:
    weights = loss_weights(area=torch.rand(GRID) + 0.1, channels=[1.0, 3.0], mask=None, grid=GRID)
    for kind in KINDS:
        torch.testing.assert_close(
            loss(kind, weights)(torch.ones(2, 1, 2, *GRID), torch.zeros(2, 2, *GRID), 1), torch.ones(2)
        )
