"""Scores of ensembles against their definitions."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from credit_ray.losses.arguments import CRPSArguments, EnergyScoreArguments
from credit_ray.losses.ensemble import CRPS, EnergyScore

GRID = (3, 4)
ALPHAS = (0.0, 0.95, 1.0)


def fields(members: int, batch: int = 2, channels: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(members)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, *GRID, dtype=torch.float64, generator=generator)

    return random(batch, members, channels), random(batch, channels), random(channels).abs()


def crps(alpha: float, weights: Tensor) -> CRPS:
    return CRPS(CRPSArguments(alpha=alpha), weights)


def energy(alpha: float, weights: Tensor, joint: bool = True) -> EnergyScore:
    return EnergyScore(EnergyScoreArguments(alpha=alpha, joint=joint), weights)


def by_pairs(prediction: Tensor, target: Tensor, alpha: float, distance: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Lang et al. (2024): 1/(2M(M−1)) Σ_j Σ_k≠j (d(x_j, y) + d(x_k, y) − (1 − ε) d(x_j, x_k)), with ε = (1 − α)/M."""
    members = prediction.shape[1]
    total = torch.zeros_like(distance(target, target))
    for j in range(members):
        for k in range(members):
            if j != k:
                one, other = prediction[:, j], prediction[:, k]
                epsilon = (1 - alpha) / members
                total += distance(one, target) + distance(other, target) - (1 - epsilon) * distance(one, other)
    return total / (2 * members * (members - 1))


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("members", [2, 3, 7, 16])
def test_the_sorted_crps_is_the_sum_over_pairs(members: int, alpha: float) -> None:
    prediction, target, weights = fields(members)
    wanted = by_pairs(prediction, target, alpha, lambda a, b: (a - b).abs())
    wanted = (wanted * weights).sum((1, 2, 3)) / weights.sum()
    torch.testing.assert_close(crps(alpha, weights)(prediction, target, 1), wanted)


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("members", [1, 2, 6])
def test_the_gradient_of_the_crps_is_its_derivative(members: int, alpha: float) -> None:
    prediction, target, weights = fields(members)
    loss = crps(alpha, weights)
    assert torch.autograd.gradcheck(
        lambda p, t: loss(p, t, 1), (prediction.requires_grad_(), target.requires_grad_()), atol=1e-7
    )


@pytest.mark.parametrize("joint", [True, False])
@pytest.mark.parametrize("alpha", ALPHAS)
def test_the_energy_score_is_the_sum_over_pairs_of_fields(alpha: float, joint: bool) -> None:
    prediction, target, weights = fields(5)
    share = weights.sum((1, 2)) / weights.sum()

    def whole(a: Tensor, b: Tensor) -> Tensor:
        return (((a - b) ** 2 * weights).sum((1, 2, 3)) / weights.sum()).sqrt()

    def each(a: Tensor, b: Tensor) -> Tensor:
        return (((a - b) ** 2 * weights).sum((2, 3)) / weights.sum((1, 2))).sqrt()

    by_channel = by_pairs(prediction, target, alpha, each)
    wanted = by_pairs(prediction, target, alpha, whole) if joint else (by_channel * share).sum(1)
    loss = energy(alpha, weights, joint)
    torch.testing.assert_close(loss(prediction, target, 1), wanted)
    torch.testing.assert_close(loss.per_channel(prediction, target, 1), by_channel)


def test_the_gradient_of_the_energy_score_is_its_derivative() -> None:
    prediction, target, weights = fields(4)
    loss = energy(0.95, weights)
    assert torch.autograd.gradcheck(lambda p: loss(p, target, 1), (prediction.requires_grad_(),), atol=1e-7)


@pytest.mark.parametrize("members", [2, 5])
def test_in_one_place_the_energy_score_is_the_crps(members: int) -> None:
    generator = torch.Generator().manual_seed(0)
    prediction = torch.randn(3, members, 1, 1, 1, dtype=torch.float64, generator=generator)
    target, weights = torch.zeros(3, 1, 1, 1, dtype=torch.float64), torch.ones(1, 1, 1, dtype=torch.float64)
    for alpha in ALPHAS:
        torch.testing.assert_close(
            energy(alpha, weights)(prediction, target, 1), crps(alpha, weights)(prediction, target, 1)
        )


@given(members=st.integers(2, 8), seed=st.integers(0, 99))
def test_the_fair_score_does_not_depend_on_the_number_of_members_on_average(members: int, seed: int) -> None:
    """The mean over all ways to leave one member out is the score of all: what a U-statistic is."""
    generator = torch.Generator().manual_seed(seed)
    prediction = torch.randn(1, members + 1, 1, *GRID, dtype=torch.float64, generator=generator)
    target, weights = torch.zeros(1, 1, *GRID, dtype=torch.float64), torch.ones(1, *GRID, dtype=torch.float64)
    loss = crps(1.0, weights)
    without = [loss(torch.cat([prediction[:, :k], prediction[:, k + 1 :]], 1), target, 1) for k in range(members + 1)]
    torch.testing.assert_close(torch.stack(without).mean(0), loss(prediction, target, 1))


def test_the_order_of_members_makes_no_difference() -> None:
    prediction, target, weights = fields(6)
    shuffled = prediction[:, torch.randperm(6, generator=torch.Generator().manual_seed(1))]
    for loss in (crps(0.95, weights), energy(0.95, weights)):
        torch.testing.assert_close(loss(shuffled, target, 1), loss(prediction, target, 1))


def test_members_from_the_truths_own_distribution_score_best() -> None:
    generator = torch.Generator().manual_seed(2)
    truth, members = (torch.randn(400, n, 1, *GRID, generator=generator) for n in (1, 8))
    weights = torch.ones(1, *GRID)
    for loss in (crps(1.0, weights), energy(1.0, weights)):
        best = loss(members, truth[:, 0], 1).mean()
        for spread, shift in ((0.6, 0.0), (1.5, 0.0), (1.0, 0.4)):
            assert loss(members * spread + shift, truth[:, 0], 1).mean() > best


def test_an_almost_fair_score_brings_back_a_member_that_the_fair_one_does_not_see() -> None:
    members = torch.zeros(1, 4, 1, *GRID, dtype=torch.float64)
    members[:, 0] = 3.0
    target, weights = torch.zeros(1, 1, *GRID, dtype=torch.float64), torch.ones(1, *GRID, dtype=torch.float64)
    assert float(crps(1.0, weights)(members, target, 1)) == pytest.approx(0, abs=1e-12)
    assert float(crps(0.95, weights)(members, target, 1)) == pytest.approx(0.05 / 4 * 3.0 / 4)


@pytest.mark.parametrize("make", [crps, energy])
def test_a_single_member_is_judged_by_its_distance_to_the_truth(make: Callable[[float, Tensor], CRPS]) -> None:
    prediction, target, weights = fields(1)
    error = prediction[:, 0] - target
    power = 1 if make is crps else 2
    wanted = ((error.abs() ** power * weights).sum((1, 2, 3)) / weights.sum()) ** (1 / power)
    for alpha in ALPHAS:
        torch.testing.assert_close(make(alpha, weights)(prediction, target, 1), wanted)


def test_what_the_crps_keeps_for_its_gradient_grows_with_members_not_with_pairs() -> None:
    def kept(members: int) -> int:
        prediction, target, weights = fields(members)
        loss, sizes = crps(1.0, weights), []

        def keep(tensor: Tensor) -> Tensor:
            sizes.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss(prediction.requires_grad_(), target, 1)
        return sum(sizes)

    assert kept(64) <= 2 * kept(32)
    assert kept(64) <= 1.2 * fields(64)[0].numel()


@pytest.mark.parametrize("alpha", [-0.1, 1.1])
def test_an_alpha_that_is_no_share_is_refused(alpha: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        CRPSArguments(alpha=alpha)
    with pytest.raises(ValueError, match="between 0 and 1"):
        EnergyScoreArguments(alpha=alpha)
