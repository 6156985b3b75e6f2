"""What holds for every registered loss."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from credit_ray.grid import LatLonGrid
from credit_ray.losses.learnable import LearnableWeights
from credit_ray.losses.loss import Loss
from credit_ray.registry import losses

GRID = LatLonGrid.gaussian(6)
ARGUMENTS: dict[str, list[dict[str, Any]]] = {
    "energy_score": [{}, {"joint": False}],
    "crps": [{}, {"alpha": 0.95}],
    "sum": [{"parts": ({"kind": "mse", "weight": 2.0}, {"kind": "spectral", "weight": 0.1, "transform": "zonal"})}],
    **{kind: [{}, {"transform": "zonal"}] for kind in ("spectral", "power_spectrum", "adjusted_mse")},
}
CASES = [(kind, arguments) for kind in losses.names() for arguments in ARGUMENTS.get(kind, [{}])]
EVERY = pytest.mark.parametrize(("kind", "arguments"), CASES)
JOINT = {"energy_score"}
"""One number for all channels, which is not made of those of each."""


def build(kind: str, arguments: dict[str, Any], weights: Tensor) -> Loss:
    loss: Loss = losses.target(kind)(losses.arguments(kind)(**arguments), weights, GRID)
    return loss


def fields(members: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    prediction = torch.randn(2, members, 4, *GRID.shape, dtype=torch.float64, generator=generator)
    target = torch.randn(2, 4, *GRID.shape, dtype=torch.float64, generator=generator)
    return prediction, target, torch.from_numpy(GRID.area_weights()) * torch.tensor([1.0, 3, 0.5, 2])[:, None, None]


@EVERY
@pytest.mark.parametrize("members", [1, 3])
def test_each_forecast_of_a_batch_has_a_number_of_its_own(kind: str, arguments: dict[str, Any], members: int) -> None:
    prediction, target, weights = fields(members)
    loss = build(kind, arguments, weights)
    both = loss(prediction, target, 1)
    assert both.shape == (2,)
    assert loss.per_channel(prediction, target, 1).shape == (2, 4)
    torch.testing.assert_close(loss(prediction[1:], target[1:], 1), both[1:])


@EVERY
def test_gradients_reach_every_member_and_channel(kind: str, arguments: dict[str, Any]) -> None:
    prediction, target, weights = fields()
    (gradient,) = torch.autograd.grad(
        build(kind, arguments, weights)(prediction.requires_grad_(), target, 1).sum(), prediction
    )
    assert torch.isfinite(gradient).all()
    assert gradient.abs().flatten(3).amax(-1).gt(0).all()


@EVERY
def test_the_loss_is_the_mean_over_channels_by_their_weight(kind: str, arguments: dict[str, Any]) -> None:
    prediction, target, weights = fields()
    loss = build(kind, arguments, weights)
    share = weights.sum((1, 2)) / weights.sum()
    whole = (loss.per_channel(prediction, target, 1) * share).sum(1)
    if kind in JOINT and arguments.get("joint", True):
        assert (loss(prediction, target, 1) != whole).all()
    else:
        torch.testing.assert_close(loss(prediction, target, 1), whole)


@EVERY
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e6])
def test_what_is_masked_disturbs_neither_the_loss_nor_its_gradient(
    kind: str, arguments: dict[str, Any], bad: float
) -> None:
    prediction, target, weights = fields()
    weights[1, :2] = 0  # land
    weights[2] = 0  # a channel that does not count
    loss = build(kind, arguments, weights)
    expected, by_channel = loss(prediction, target, 1), loss.per_channel(prediction, target, 1)
    for field in (prediction, target):
        field[..., 1, :2, :] = bad
        field[..., 2, :, :] = bad
    found = loss(prediction.requires_grad_(), target, 1)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(loss.per_channel(prediction, target, 1), by_channel, equal_nan=True)
    assert by_channel[:, 2].isnan().all()
    assert by_channel[:, [0, 1, 3]].isfinite().all()
    (gradient,) = torch.autograd.grad(found.sum(), prediction)
    assert torch.isfinite(gradient).all()
    assert not gradient[:, :, 1, :2].any()
    assert not gradient[:, :, 2].any()


@EVERY
def test_twice_the_weights_are_the_same_weights(kind: str, arguments: dict[str, Any]) -> None:
    prediction, target, weights = fields()
    torch.testing.assert_close(
        build(kind, arguments, 2 * weights)(prediction, target, 1),
        build(kind, arguments, weights)(prediction, target, 1),
    )


@EVERY
def test_single_precision_is_near_double(kind: str, arguments: dict[str, Any]) -> None:
    prediction, target, weights = fields()
    found = build(kind, arguments, weights.float())(prediction.float(), target.float(), 1)
    torch.testing.assert_close(
        found.double(), build(kind, arguments, weights)(prediction, target, 1), rtol=1e-4, atol=0
    )


@EVERY
def test_learnt_weights_begin_as_the_loss_and_settle_at_the_error_of_each_channel(
    kind: str, arguments: dict[str, Any]
) -> None:
    prediction, target, weights = fields()
    weights[2] = 0
    inner = build(kind, arguments, weights)
    loss = LearnableWeights(inner, weights).double()
    by_channel = inner.per_channel(prediction, target, 1)
    share = weights.sum((1, 2)) / weights.sum()
    torch.testing.assert_close(loss(prediction, target, 1), (by_channel.nan_to_num() * share).sum(1))
    with torch.no_grad():
        loss.log_scale.copy_(by_channel.mean(0).nan_to_num(1.0).log())
    (slope,) = torch.autograd.grad(loss(prediction, target, 1).mean(), loss.log_scale)
    torch.testing.assert_close(slope, torch.zeros_like(slope), atol=1e-12, rtol=0)
    assert set(loss.state_dict()) == {"log_scale"}


def test_a_sum_is_the_sum_of_its_parts_and_learns_what_they_learn() -> None:
    prediction, target, weights = fields()
    given = ARGUMENTS["sum"][0]
    parts = [
        build(part["kind"], {k: v for k, v in part.items() if k not in ("kind", "weight")}, weights)
        for part in given["parts"]
    ]
    whole = build("sum", given, weights)
    for method in ("__call__", "per_channel"):
        wanted = 2 * getattr(parts[0], method)(prediction, target, 1) + 0.1 * getattr(parts[1], method)(
            prediction, target, 1
        )
        torch.testing.assert_close(getattr(whole, method)(prediction, target, 1), wanted)
    assert isinstance(whole, nn.Module)
    assert not list(whole.parameters())
