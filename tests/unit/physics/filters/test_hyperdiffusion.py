"""Hyperdiffusion damps each harmonic by what the equation says, and keeps what it says it keeps."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from credit_ray.errors import ConfigError
from credit_ray.grid.harmonics import SphericalHarmonics
from credit_ray.grid.latlon import LatLonGrid
from credit_ray.physics.constants import DRY_AIR_HEAT_CAPACITY, WATER_VAPOUR_HEAT_CAPACITY
from credit_ray.physics.filters.arguments import HyperdiffusionArguments
from credit_ray.physics.filters.hyperdiffusion import Hyperdiffusion
from credit_ray.state import Fields, StateSpec

Make = Callable[..., Any]


def apply(spec: StateSpec, fields: Fields, **arguments: Any) -> Fields:
    change = Hyperdiffusion(HyperdiffusionArguments(**arguments), spec)(fields, fields, fields, {})
    return fields | change.fields


GAUSSIAN = LatLonGrid.gaussian(24)
POLES = LatLonGrid([90 - 5.0 * i for i in range(37)], [5.0 * i for i in range(72)])  # type: ignore[arg-type]


@pytest.mark.parametrize("degree", [1, 4, 11, 23])
@pytest.mark.parametrize("order", [2, 4, 8])
def test_a_single_harmonic_falls_exponentially(make_spec: Make, degree: int, order: int) -> None:
    spec = make_spec(GAUSSIAN, "t", step="3h")
    harmonics = SphericalHarmonics(GAUSSIAN, dtype=torch.float64)
    one = torch.zeros(24, 24, dtype=torch.complex128)
    one[degree, degree // 2] = 2.0
    field = harmonics.synthesis(one)
    fields = Fields(field.expand(1, 2, *field.shape), spec.outputs)
    after = apply(spec, fields, variables=("t",), order=order, timescale="6h")
    expected = math.exp(-0.5 * (degree * (degree + 1) / (23 * 24)) ** (order // 2))
    torch.testing.assert_close(after["t_500"][0], expected * field, rtol=0, atol=1e-11)


def test_two_short_steps_are_one_long_one(make_spec: Make, make_fields: Make) -> None:
    short, long = make_spec(POLES, step="3h"), make_spec(POLES, step="6h")
    fields = make_fields(short)
    twice = apply(short, apply(short, fields, variables=("u", "v", "t")), variables=("u", "v", "t"))
    torch.testing.assert_close(apply(long, fields, variables=("u", "v", "t")).data, twice.data, rtol=0, atol=1e-9)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000), where=st.sampled_from([GAUSSIAN, POLES]))
def test_the_mean_of_a_scalar_stays_and_its_variance_falls(
    make_spec: Make, make_fields: Make, seed: int, where: LatLonGrid
) -> None:
    spec = make_spec(where, "tq")
    fields = make_fields(spec, seed)
    after = apply(spec, fields, variables=("t", "q"), timescale="1h")
    weights = torch.from_numpy(where.area_weights())
    mean, expected = ((x.data * weights).mean((-2, -1)) for x in (after, fields))
    torch.testing.assert_close(mean, expected, rtol=1e-14, atol=0)
    assert (after["t_500"].var((-2, -1)) < 0.8 * fields["t_500"].var((-2, -1))).all()


def test_the_rotation_of_the_air_as_a_whole_is_not_damped(grid: LatLonGrid, make_spec: Make) -> None:
    spec = make_spec(grid, "uv")
    latitude = torch.tensor(grid.latitude.copy()).deg2rad()[:, None].expand(grid.shape)
    longitude = torch.tensor(grid.longitude.copy()).deg2rad()[None].expand(grid.shape)
    about_the_pole, nothing = 40 * latitude.cos(), torch.zeros(grid.shape).double()
    about_the_equator = (-20 * latitude.sin() * longitude.cos(), 20 * longitude.sin())
    data = torch.stack([about_the_pole, about_the_equator[0], nothing, about_the_equator[1]])[None]
    fields = Fields(data, spec.outputs)  # u_500, u_850, v_500, v_850
    after = apply(spec, fields, variables=("u", "v"), timescale="1h")
    torch.testing.assert_close(after.data, data, rtol=0, atol=1e-10)


def test_energy_that_the_wind_loses_is_heat_at_the_same_point(make_spec: Make, make_fields: Make) -> None:
    spec = make_spec(GAUSSIAN)
    fields = make_fields(spec)
    after = apply(spec, fields, variables=("u", "v"), heating=True)

    def energy(state: Fields, level: int) -> torch.Tensor:
        capacity = DRY_AIR_HEAT_CAPACITY + (WATER_VAPOUR_HEAT_CAPACITY - DRY_AIR_HEAT_CAPACITY) * state[f"q_{level}"]
        wind = (state[f"u_{level}"].square() + state[f"v_{level}"].square()) / 2
        return capacity * state[f"t_{level}"] + wind

    for level in (500, 850):
        torch.testing.assert_close(energy(after, level), energy(fields, level), rtol=1e-12, atol=0)
        assert (after[f"t_{level}"] - fields[f"t_{level}"]).mean() > 0


def test_the_budget_says_what_was_lost(make_spec: Make, make_fields: Make) -> None:
    spec = make_spec(GAUSSIAN, "uv")
    fields = make_fields(spec)
    budget = Hyperdiffusion(HyperdiffusionArguments(variables=("u", "v")), spec)(fields, fields, fields, {}).budget
    weights = torch.from_numpy(GAUSSIAN.area_weights())
    torch.testing.assert_close(budget.before, (fields.data.square() * weights).mean((-2, -1)).sum(1) / 4)
    assert (budget.after < budget.before).all()


def test_gradients_pass(make_spec: Make, make_fields: Make) -> None:
    grid = LatLonGrid.gaussian(4)
    spec = make_spec(grid)
    fields = make_fields(spec, trajectories=1)
    filter_ = Hyperdiffusion(HyperdiffusionArguments(variables=("u", "v", "t"), heating=True), spec)

    def heated(data: torch.Tensor) -> torch.Tensor:
        state = Fields(data, spec.outputs)
        return filter_(state, state, state, {}).fields["t_500"]

    assert torch.autograd.gradcheck(heated, fields.data.requires_grad_(), fast_mode=True)


def test_what_it_cannot_do_is_refused(make_spec: Make) -> None:
    spec = make_spec(GAUSSIAN, "uv")
    for arguments, message in (
        ({"variables": ("u",)}, "'hyperdiffusion' of 'u' needs 'v' too"),
        ({"variables": ("tt",)}, "There is no variable 'tt'"),
        ({"variables": ("u", "v"), "heating": True}, "warms 't' on the same levels"),
    ):
        with pytest.raises(ConfigError, match=message):
            Hyperdiffusion(HyperdiffusionArguments(**arguments), spec)
    with pytest.raises(ConfigError, match="no fixed length"):
        Hyperdiffusion(HyperdiffusionArguments(variables=("u", "v")), make_spec(GAUSSIAN, "uv", step="1MS"))
    region = LatLonGrid([50.0, 40.0, 30.0], [0.0, 10.0, 20.0])  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="'hyperdiffusion': spherical harmonics need a global"):
        Hyperdiffusion(HyperdiffusionArguments(variables=("u", "v")), make_spec(region, "uv"))
    refused: tuple[dict[str, Any], ...] = ({"order": 3}, {"timescale": "1MS"}, {"variables": ()})
    for wrong in refused:
        with pytest.raises(ValueError, match=next(iter(wrong))):
            HyperdiffusionArguments(**{"variables": ("t",), **wrong})
