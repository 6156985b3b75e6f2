"""Winds whose vorticity, divergence and spectrum are known: solid-body rotation, and single harmonics."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from credit_ray.grid import EARTH_RADIUS_M, LatLonGrid
from credit_ray.grid.harmonics import SphericalHarmonics
from credit_ray.physics.diagnostics.wind import divergence, kinetic_energy_spectrum, vorticity, wind_speed

GRIDS = {
    "gaussian": LatLonGrid.gaussian(24),
    "poles": LatLonGrid(np.linspace(90, -90, 37), np.arange(72) * 5.0),
    "cells": LatLonGrid(np.linspace(87.5, -87.5, 36), np.arange(72) * 5.0),
}


@pytest.fixture(params=GRIDS)
def grid(request: pytest.FixtureRequest) -> LatLonGrid:
    return GRIDS[request.param]


@pytest.fixture
def harmonics(grid: LatLonGrid) -> SphericalHarmonics:
    return SphericalHarmonics(grid, dtype=torch.float64)


def latitude(grid: LatLonGrid) -> torch.Tensor:
    return torch.tensor(np.radians(grid.latitude)).double()[:, None].expand(grid.shape)


def test_a_solid_body_has_twice_its_rate_of_rotation_and_no_divergence(
    grid: LatLonGrid, harmonics: SphericalHarmonics
) -> None:
    rate = 30 / EARTH_RADIUS_M
    phi = latitude(grid)
    u, v = rate * EARTH_RADIUS_M * phi.cos(), torch.zeros(grid.shape).double()
    torch.testing.assert_close(vorticity(u, v, harmonics), 2 * rate * phi.sin(), rtol=0, atol=1e-12 * rate)
    assert divergence(u, v, harmonics).abs().max() < 1e-12 * rate
    rotational, divergent = kinetic_energy_spectrum(u, v, harmonics)
    assert rotational[1].item() == pytest.approx(30**2 / 3)  # ½ ⟨u²⟩ = ½ 30² ⟨cos² φ⟩
    assert rotational.sum().item() == pytest.approx(30**2 / 3)
    assert divergent.sum() < 1e-20


@pytest.mark.parametrize(("degree", "order"), [(1, 0), (3, 2), (9, 9), (11, 4)])
def test_a_single_harmonic_of_vorticity_has_all_its_energy_at_its_degree(
    grid: LatLonGrid, harmonics: SphericalHarmonics, degree: int, order: int
) -> None:
    one = torch.zeros(harmonics.lmax + 1, harmonics.lmax + 1, dtype=torch.complex128)
    one[degree, order] = 1e-5
    nothing = torch.zeros_like(one)
    for rotation, expansion in ((one, nothing), (nothing, one)):
        u, v = harmonics.wind(rotation, expansion)
        spectra = kinetic_energy_spectrum(u, v, harmonics)
        mine, other = spectra if rotation is one else spectra[::-1]
        power = (1e-5) ** 2 * (1 if order == 0 else 2) / (4 * np.pi)
        assert mine[degree].item() == pytest.approx(EARTH_RADIUS_M**2 * power / (2 * degree * (degree + 1)))
        assert mine.sum().item() == pytest.approx(mine[degree].item())
        assert other.sum().item() == pytest.approx(0, abs=1e-9 * mine[degree].item())


def test_the_spectrum_adds_up_to_the_mean_kinetic_energy() -> None:
    grid = GRIDS["gaussian"]
    harmonics = SphericalHarmonics(grid, dtype=torch.float64)
    draw = torch.Generator().manual_seed(3)
    # half the degrees, so that the quadrature of their squares is exact
    coefficients = torch.randn(2, 5, 24, 24, dtype=torch.complex128, generator=draw).tril() * 1e-5
    coefficients[..., 0].imag.zero_()
    coefficients[..., 12:, :] = 0
    u, v = harmonics.wind(*coefficients)
    mean = (0.5 * (u.square() + v.square()) * torch.from_numpy(grid.area_weights())).mean((-2, -1))
    rotational, divergent = kinetic_energy_spectrum(u, v, harmonics)
    torch.testing.assert_close((rotational + divergent).sum(-1), mean, rtol=1e-9, atol=0)


def test_speed_is_the_length_of_the_wind() -> None:
    torch.testing.assert_close(
        wind_speed(torch.tensor([3.0, 0.0]), torch.tensor([-4.0, 0.0])), torch.tensor([5.0, 0.0])
    )
