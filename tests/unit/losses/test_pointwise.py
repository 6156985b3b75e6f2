"""Pointwise losses against numpy, and what must not disturb them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from credit_ray.grid import LatLonGrid
from credit_ray.losses.arguments import HuberArguments, PointwiseArguments
from credit_ray.losses.loss import Loss
from credit_ray.losses.pointwise import Huber, LogCosh
from credit_ray.losses.weights import loss_weights
from credit_ray.registry import losses

GRID = (4, 6)
KINDS = {"mse": np.square, "mae": np.abs}


def loss(kind: str, weights: Tensor) -> Loss:
    built: Loss = losses.target(kind)(losses.arguments(kind)(), weights, LatLonGrid.gaussian(4, 6))
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


def test_huber_is_a_square_that_goes_on_as_a_line() -> None:
    weights = torch.ones(1, 1, 5, dtype=torch.float64)
    error = torch.tensor([-3.0, -0.5, 0.0, 1.0, 10.0], dtype=torch.float64).view(1, 1, 1, 1, 5)
    found = Huber(HuberArguments(delta=1.0), weights).difference(error, torch.zeros(1, 1, 1, 5))
    np.testing.assert_allclose(
        Huber(HuberArguments(delta=1.0), weights)(found, torch.zeros(1, 1, 1, 5), 1), np.mean([2.5, 0.125, 0, 0.5, 9.5])
    )
    with pytest.raises(ValueError, match="delta"):
        HuberArguments(delta=0)


def test_the_logarithm_of_cosh_neither_overflows_nor_loses_small_errors() -> None:
    for error in (1e-3, 0.7, 3.0, 500.0):
        prediction = torch.full((1, 1, 1, 1, 1), error, dtype=torch.float64, requires_grad=True)
        found = LogCosh(PointwiseArguments(), torch.ones(1, 1, 1, dtype=torch.float64))(
            prediction, torch.zeros(1, 1, 1, 1), 1
        )
        wanted = np.log(np.cosh(error)) if error < 100 else error - np.log(2)
        assert float(found.detach()) == pytest.approx(wanted, rel=1e-9)
        (slope,) = torch.autograd.grad(found.sum(), prediction)
        assert float(slope) == pytest.approx(np.tanh(error))
