"""SFNO's filter, against spherical harmonics written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import sph_harm_y
from torch import Tensor

from credit_ray.errors import ConfigError
from credit_ray.grid.gaussian import gauss_legendre
from credit_ray.grid.harmonics import SphericalHarmonics
from credit_ray.grid.latlon import LatLonGrid
from credit_ray.models.arguments import SFNOArguments
from credit_ray.models.conformance import Subject, fields, global_shape, regional_shape
from credit_ray.models.sfno import SpectralFilter

ROWS, COLUMNS, WIDTH = 6, 12, 3
LMAX = 4


def filter_on_a_gaussian_grid() -> SpectralFilter:
    torch.manual_seed(0)
    harmonics = SphericalHarmonics(LatLonGrid.gaussian(ROWS, COLUMNS), LMAX, torch.float64, vector=False)
    return SpectralFilter(WIDTH, harmonics).double()


def by_harmonics(weight: Tensor, x: np.ndarray) -> np.ndarray:
    """[channel, lat, lon] → the same: project on each Yₗᵐ by quadrature, multiply by the degree's matrix, add up."""
    nodes, quadrature = gauss_legendre(ROWS)
    colatitude, longitude = np.meshgrid(np.arccos(nodes), 2 * np.pi * np.arange(COLUMNS) / COLUMNS, indexing="ij")
    area = quadrature[:, None] * 2 * np.pi / COLUMNS
    matrices = torch.view_as_complex(weight).detach().numpy()
    out = np.zeros_like(x)
    for degree in range(LMAX + 1):
        for order in range(degree + 1):
            harmonic = sph_harm_y(degree, order, colatitude, longitude)
            coefficients = np.array([(field * harmonic.conj() * area).sum() for field in x])
            mixed = matrices[degree].T @ coefficients
            out += (1 if order == 0 else 2) * (mixed[:, None, None] * harmonic).real
    return out


def test_each_degree_is_mixed_by_its_own_matrix() -> None:
    layer = filter_on_a_gaussian_grid()
    x = torch.randn(2, WIDTH, ROWS, COLUMNS, dtype=torch.float64)
    found = layer(x).detach().numpy()
    for sample, wanted in zip(found, x.numpy(), strict=True):
        # A zonal mean has no phase: of a complex matrix only its real part acts on it, in both.
        np.testing.assert_allclose(sample, by_harmonics(layer.weight, wanted), rtol=1e-10, atol=1e-10)


def test_matrices_of_one_leave_what_is_resolved() -> None:
    layer = filter_on_a_gaussian_grid()
    with torch.no_grad():
        layer.weight.copy_(torch.view_as_real(torch.eye(WIDTH, dtype=torch.complex128).expand(LMAX + 1, -1, -1)))
    smooth = layer(torch.randn(1, WIDTH, ROWS, COLUMNS, dtype=torch.float64))
    torch.testing.assert_close(layer(smooth), smooth)


def test_a_coarser_inner_grid_still_passes_the_finest_scales() -> None:
    shape = global_shape(16, 32, kind="gaussian")
    network = Subject(network="sfno", arguments={"width": 6, "coarsening": 4}).build(shape)
    x = fields(shape)
    ripple = x + 0.1 * torch.cos(torch.pi * torch.arange(32)) * torch.cos(torch.pi * torch.arange(16))[:, None]
    assert not torch.allclose(network(ripple), network(x), atol=1e-3)


def test_a_grid_without_harmonics_and_a_degree_beyond_the_grid_are_refused() -> None:
    with pytest.raises(ConfigError, match="'sfno' takes global grids"):
        SFNOArguments().check(regional_shape(20, 36, periodic=True))
    shape = global_shape(16, 32, kind="gaussian")
    with pytest.raises(ConfigError, match=r"model\.degree: 16 is not resolved .* at most 15"):
        SFNOArguments(degree=16).check(shape)
    SFNOArguments(degree=15).check(shape)
    with pytest.raises(ConfigError, match=r"model\.coarsening: 3 does not divide the 32 columns: 2 or 4 would do"):
        SFNOArguments(coarsening=3).check(shape)
    with pytest.raises(ConfigError, match="spherical harmonics need"):
        SFNOArguments().check(global_shape(16, 32, latitude=tuple(np.linspace(80, -89, 16).tolist())))
