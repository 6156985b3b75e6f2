"""Backscatter puts in the energy that it says it does, without divergence, and reproducibly."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from credit_ray.errors import ConfigError
from credit_ray.grid.harmonics import SphericalHarmonics
from credit_ray.grid.latlon import LatLonGrid
from credit_ray.physics.filters.arguments import BackscatterArguments
from credit_ray.physics.filters.backscatter import Backscatter
from credit_ray.state import Fields, State, StateSpec

Make = Callable[..., Any]
GRID = LatLonGrid.gaussian(16)


def initial(spec: StateSpec, trajectories: int = 2, keys: Any = None) -> State:
    fields = torch.zeros(trajectories, 1, len(spec.prognostic), *spec.grid.shape)
    times = np.arange(trajectories) * 86400
    return State(fields=fields, forcing=torch.zeros(trajectories, 0, 0, *spec.grid.shape), valid_time=times, keys=keys)


def roll(stir: Backscatter, fields: Fields, carry: Any, steps: int) -> tuple[Fields, Any]:
    for _ in range(steps):
        change = stir(fields, fields, fields, carry)
        fields, carry = fields | change.fields, change.carry
    return fields, carry


@pytest.mark.parametrize("decorrelation", ["1h", "12h", "3D"])
def test_energy_grows_at_the_rate_that_is_scattered_back(make_spec: Make, decorrelation: str) -> None:
    spec = make_spec(GRID, "uv")
    arguments = BackscatterArguments(ratio=0.1, dissipation=2e-4, decorrelation=decorrelation, degrees=(2, 12))
    stir, trajectories, steps = Backscatter(arguments, spec), 24, 40
    still = Fields(torch.zeros(trajectories, 4, *GRID.shape), spec.outputs)
    after, _ = roll(stir, still, stir.start(initial(spec, trajectories)), steps)
    weights = torch.from_numpy(GRID.area_weights())
    energy = ((after["u_500"].square() + after["v_500"].square()) / 2 * weights).mean().item()
    # a pattern with memory ρ adds up to a little less at first: Σᵢⱼ ρ^|i−j| instead of n (1+ρ)/(1−ρ)
    rho = math.exp(-6 * 3600 / {"1h": 3600, "12h": 43200, "3D": 259200}[decorrelation])
    lags = np.abs(np.subtract.outer(np.arange(steps), np.arange(steps)))
    share = (rho**lags).sum() / (steps * (1 + rho) / (1 - rho))
    assert energy == pytest.approx(0.1 * 2e-4 * 6 * 3600 * steps * share, rel=0.12)


def test_the_pattern_is_stationary_from_its_first_step_on_and_forgets_at_its_rate(make_spec: Make) -> None:
    spec = make_spec(GRID, "uv")
    stir = Backscatter(BackscatterArguments(decorrelation="18h"), spec)
    carry = stir.start(initial(spec, 40))
    nothing = Fields(torch.zeros(40, 4, *GRID.shape), spec.outputs)
    first = carry["pattern"]
    _, later = roll(stir, nothing, carry, 3)
    resolved = torch.ones(16, 16).tril().bool()
    variances = [pattern.square().sum(-1).mean(0)[resolved].mean().item() for pattern in (first, later["pattern"])]
    assert variances == pytest.approx([1.0, 1.0], abs=0.05)
    assert (first * later["pattern"]).sum(-1).mean(0)[resolved].mean().item() == pytest.approx(math.exp(-1), abs=0.05)


@pytest.mark.parametrize("dissipation", [{}, {"dissipation": "biharmonic", "diffusivity": 1e15}])
def test_the_wind_that_it_makes_has_no_divergence_and_is_the_same_on_all_levels_or_follows_their_shear(
    make_spec: Make, make_fields: Make, dissipation: dict[str, Any]
) -> None:
    spec = make_spec(GRID, "uv")
    fields = make_fields(spec)
    stir = Backscatter(BackscatterArguments(**dissipation), spec)
    after, _ = roll(stir, fields, stir.start(initial(spec)), 1)
    added = after.data - fields.data
    harmonics = SphericalHarmonics(GRID, dtype=torch.float64)
    rotation, expansion = harmonics.vorticity_divergence(added[:, :2], added[:, 2:])
    assert expansion.abs().max() < 1e-10 * rotation.abs().max()
    assert torch.allclose(added[:, 0], added[:, 1]) == (not dissipation)


def test_where_the_wind_is_sheared_it_is_stirred_more(make_spec: Make) -> None:
    spec = make_spec(GRID, "uv")
    latitude = torch.tensor(GRID.latitude.copy()).deg2rad()[:, None].expand(GRID.shape)
    jet = 40 * torch.exp(-(((latitude - 0.8) / 0.25) ** 2))  # in the north only
    still = torch.zeros(GRID.shape).double()
    fields = Fields(torch.stack([jet, jet, still, still]).expand(8, 4, *GRID.shape), spec.outputs)
    stir = Backscatter(BackscatterArguments(dissipation="biharmonic", diffusivity=1e15, degrees=(4, 15)), spec)
    after, _ = roll(stir, fields, stir.start(initial(spec, 8)), 1)
    added = (after.data - fields.data).square().sum(1).mean((0, 2))
    assert added[:8].sum() > 5 * added[8:].sum()


def test_noise_belongs_to_a_trajectory_whatever_shares_its_batch(make_spec: Make, make_fields: Make) -> None:
    spec = make_spec(GRID, "uv")
    fields, keys = make_fields(spec, trajectories=3), np.array([11, 12, 13])
    stir = Backscatter(BackscatterArguments(), spec)
    together, _ = roll(stir, fields, stir.start(initial(spec, 3, keys)), 3)
    alone, _ = roll(stir, Fields(fields.data[1:2], spec.outputs), stir.start(initial(spec, 1, keys[1:2])), 3)
    torch.testing.assert_close(together.data[1:2], alone.data, rtol=0, atol=1e-12)
    again, _ = roll(stir, fields, stir.start(initial(spec, 3, keys)), 3)
    assert torch.equal(together.data, again.data)


def test_a_rollout_that_goes_on_from_its_carry_is_one_that_never_stopped(make_spec: Make, make_fields: Make) -> None:
    spec = make_spec(GRID, "uv")
    fields, stir = make_fields(spec), Backscatter(BackscatterArguments(), spec)
    whole, _ = roll(stir, fields, stir.start(initial(spec)), 5)
    half, carry = roll(stir, fields, stir.start(initial(spec)), 2)
    stored = {name: value.clone() for name, value in carry.items()}
    rest, _ = roll(Backscatter(BackscatterArguments(), spec), half, stored, 3)
    assert torch.equal(rest.data, whole.data)


def test_other_keys_other_times_and_other_seeds_are_stirred_otherwise(make_spec: Make) -> None:
    spec = make_spec(GRID, "uv")
    stir = Backscatter(BackscatterArguments(), spec)
    by_time = stir.start(initial(spec, 2))["pattern"]
    by_key = stir.start(replace(initial(spec, 2), keys=np.array([1, 2])))["pattern"]
    other = Backscatter(BackscatterArguments(seed=1), spec).start(initial(spec, 2))["pattern"]
    patterns = [*by_time, *by_key, *other]
    assert all(not torch.equal(a, b) for i, a in enumerate(patterns) for b in patterns[:i])


def test_gradients_of_the_step_pass_unchanged(make_spec: Make, make_fields: Make) -> None:
    spec = make_spec(GRID, "uv")
    stir = Backscatter(BackscatterArguments(dissipation="biharmonic", diffusivity=1e15), spec)
    fields = make_fields(spec)
    fields.data.requires_grad_()
    stir(fields, fields, fields, stir.start(initial(spec))).fields["u_500"].sum().backward()
    assert fields.data.grad is not None
    assert torch.equal(fields.data.grad[:, 0], torch.ones(2, *GRID.shape).double())


def test_what_it_cannot_do_is_refused(make_spec: Make) -> None:
    with pytest.raises(ConfigError, match="degrees from 20 on are not resolved"):
        Backscatter(BackscatterArguments(degrees=(20, 30)), make_spec(GRID, "uv"))
    with pytest.raises(ConfigError, match="There is no variable 'v'"):
        Backscatter(BackscatterArguments(), make_spec(GRID, "ut"))
    for wrong in ({"ratio": 2.0}, {"diffusivity": 1e15}, {"degrees": (0, 4)}, {"decorrelation": "1MS"}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            BackscatterArguments(**wrong)
