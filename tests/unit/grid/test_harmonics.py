from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.special import sph_harm_y
from torch import Tensor

from credit_ray.errors import DataError
from credit_ray.grid import EARTH_RADIUS_M, LatLonGrid
from credit_ray.grid.harmonics import SphericalHarmonics

GRIDS = {
    "gaussian": LatLonGrid.gaussian(24),
    "poles": LatLonGrid(np.linspace(90, -90, 37), np.arange(72) * 5.0),
    "cells": LatLonGrid(np.linspace(87.5, -87.5, 36), -177.5 + np.arange(72) * 5.0),
    "few columns": LatLonGrid.gaussian(24, 27),
}


@pytest.fixture(params=GRIDS)
def grid(request: pytest.FixtureRequest) -> LatLonGrid:
    return GRIDS[request.param]


@pytest.fixture
def harmonics(grid: LatLonGrid) -> SphericalHarmonics:
    return SphericalHarmonics(grid, dtype=torch.float64)


def mesh(grid: LatLonGrid) -> tuple[Tensor, Tensor]:
    """Latitude and longitude in radians, both [lat, lon]."""
    latitude, longitude = np.meshgrid(np.radians(grid.latitude), np.radians(grid.longitude), indexing="ij")
    return torch.tensor(latitude), torch.tensor(longitude)


def some_coefficients(lmax: int, *lead: int, dtype: torch.dtype = torch.complex128) -> Tensor:
    """Of a real field with power at all degrees, none in the mean: [*lead, l, m]."""
    generator = torch.Generator().manual_seed(lmax)
    coefficients = torch.randn(*lead, lmax + 1, lmax + 1, dtype=torch.complex128, generator=generator).tril()
    coefficients[..., 0].imag.zero_()
    coefficients[..., 0, 0] = 0
    return coefficients.to(dtype)


def relative(error: Tensor, of: Tensor) -> float:
    return float(error.abs().max() / of.abs().max())


@pytest.mark.parametrize(("name", "lmax"), [("gaussian", 23), ("poles", 18), ("cells", 17), ("few columns", 13)])
def test_the_highest_degree_is_the_one_that_the_quadrature_takes(name: str, lmax: int) -> None:
    assert SphericalHarmonics(GRIDS[name]).lmax == lmax


def test_each_harmonic_is_the_textbook_one(grid: LatLonGrid, harmonics: SphericalHarmonics) -> None:
    latitude, longitude = mesh(grid)
    for degree in range(0, harmonics.lmax + 1, 3):
        for order in range(0, degree + 1, 2):
            textbook = torch.from_numpy(sph_harm_y(degree, order, np.pi / 2 - latitude.numpy(), longitude.numpy()))
            for phase in (1, 1j) if order else (1,):
                field = (textbook * phase).real * (2 if order else 1)
                coefficients = harmonics.analysis(field)
                expected = torch.zeros_like(coefficients)
                expected[degree, order] = torch.tensor(phase)
                torch.testing.assert_close(coefficients, expected, rtol=0, atol=1e-12)
                torch.testing.assert_close(harmonics.synthesis(expected), field, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_analysis_undoes_synthesis_of_scalars_and_winds(grid: LatLonGrid, dtype: torch.dtype, tolerance: float) -> None:
    harmonics = SphericalHarmonics(grid, dtype=dtype)
    coefficients = some_coefficients(harmonics.lmax, 2, 3, dtype=dtype.to_complex())
    again = harmonics.analysis(harmonics.synthesis(coefficients))
    assert again.dtype == coefficients.dtype
    assert relative(again - coefficients, coefficients) < tolerance
    vorticity, divergence = coefficients
    u, v = harmonics.wind(vorticity, divergence)
    assert u.shape == (3, *grid.shape)
    for before, after in zip(coefficients, harmonics.vorticity_divergence(u, v), strict=True):
        assert relative(after - before, before) < tolerance


def test_fields_of_low_degree_are_the_sum_of_their_harmonics(grid: LatLonGrid) -> None:
    harmonics = SphericalHarmonics(grid, lmax=7, dtype=torch.float64)
    latitude, longitude = mesh(grid)
    x, y, z = latitude.cos() * longitude.cos(), latitude.cos() * longitude.sin(), latitude.sin()
    polynomial = 1 + x - 2 * y * z + 3 * z**3 - x**2 * y**3 * z**2
    torch.testing.assert_close(harmonics.synthesis(harmonics.analysis(polynomial)), polynomial, rtol=0, atol=1e-12)


def test_harmonics_are_eigenfunctions_of_the_laplacian(harmonics: SphericalHarmonics) -> None:
    coefficients = some_coefficients(harmonics.lmax)
    degree = torch.arange(harmonics.lmax + 1.0, dtype=torch.float64)[:, None]
    laplacian = harmonics.laplacian(coefficients)
    torch.testing.assert_close(laplacian, -degree * (degree + 1) / EARTH_RADIUS_M**2 * coefficients, rtol=1e-12, atol=0)
    torch.testing.assert_close(harmonics.inverse_laplacian(laplacian), coefficients, rtol=1e-12, atol=1e-15)


def test_the_divergence_of_a_gradient_is_the_laplacian_and_its_curl_is_nothing(harmonics: SphericalHarmonics) -> None:
    coefficients = some_coefficients(harmonics.lmax)
    curl, divergence = harmonics.vorticity_divergence(*harmonics.gradient(coefficients))
    laplacian = harmonics.laplacian(coefficients)
    assert relative(divergence - laplacian, laplacian) < 1e-12
    assert relative(curl, laplacian) < 1e-12


def test_the_gradient_of_a_known_field_is_its_derivative(grid: LatLonGrid, harmonics: SphericalHarmonics) -> None:
    latitude, longitude = mesh(grid)
    field = latitude.cos() ** 2 * torch.cos(2 * longitude) + latitude.sin() + 0.3 * latitude.cos() * longitude.sin()
    east = -2 * latitude.cos() * torch.sin(2 * longitude) + 0.3 * longitude.cos()
    north = -2 * latitude.cos() * latitude.sin() * torch.cos(2 * longitude) + latitude.cos()
    north -= 0.3 * latitude.sin() * longitude.sin()
    gradient = torch.stack(harmonics.gradient(harmonics.analysis(field))) * EARTH_RADIUS_M
    torch.testing.assert_close(gradient, torch.stack([east, north]), rtol=0, atol=1e-11)


@pytest.mark.parametrize("tilt", [0.0, 0.7])
def test_solid_body_rotation_has_the_vorticity_of_its_axis(
    grid: LatLonGrid, harmonics: SphericalHarmonics, tilt: float
) -> None:
    """Williamson et al. (1992), case 2: u = U(cos φ cos α + cos λ sin φ sin α), v = −U sin λ sin α."""
    speed = 40.0
    latitude, longitude = mesh(grid)
    u = speed * (latitude.cos() * math.cos(tilt) + longitude.cos() * latitude.sin() * math.sin(tilt))
    v = -speed * longitude.sin() * math.sin(tilt)
    vorticity, divergence = harmonics.vorticity_divergence(u, v)
    axis = latitude.sin() * math.cos(tilt) - longitude.cos() * latitude.cos() * math.sin(tilt)
    expected = 2 * speed / EARTH_RADIUS_M * axis
    torch.testing.assert_close(harmonics.synthesis(vorticity), expected, rtol=0, atol=1e-16)
    assert divergence.abs().max() < 1e-16
    torch.testing.assert_close(
        torch.stack(harmonics.wind(vorticity, divergence)), torch.stack([u, v]), atol=1e-11, rtol=0
    )


def test_power_by_degree_sums_to_the_mean_square(grid: LatLonGrid) -> None:
    harmonics = SphericalHarmonics(grid, lmax=9, dtype=torch.float64)  # so that the square is of an exact degree
    coefficients = some_coefficients(9, 4)
    field = harmonics.synthesis(coefficients)
    weights = harmonics.quadrature_weights / harmonics.quadrature_weights.sum()
    mean_square = (field.square() * weights).sum(-2).mean(-1)
    torch.testing.assert_close(harmonics.power(coefficients).sum(-1), mean_square, rtol=1e-12, atol=0)
    one = torch.zeros(10, 10, dtype=torch.complex128)
    one[5, 3] = torch.tensor(2 - 1j)
    assert harmonics.power(one).nonzero().flatten().tolist() == [5]


def test_the_longitude_of_the_first_column_makes_no_difference() -> None:
    coefficients = some_coefficients(11)
    here = LatLonGrid.gaussian(12)
    there = LatLonGrid(here.latitude, here.longitude - 180)
    first, second = (SphericalHarmonics(grid, dtype=torch.float64).synthesis(coefficients) for grid in (here, there))
    torch.testing.assert_close(second, first.roll(12, -1), rtol=0, atol=1e-12)


def test_gradients_pass_through_the_transforms() -> None:
    harmonics = SphericalHarmonics(LatLonGrid.gaussian(6), dtype=torch.float64)

    def there_and_back(field: Tensor) -> Tensor:
        curl, divergence = harmonics.vorticity_divergence(field, 2 * field)
        coefficients = harmonics.analysis(field) + (curl - divergence) * EARTH_RADIUS_M
        return torch.stack(harmonics.wind(coefficients, 2 * coefficients)) / EARTH_RADIUS_M

    field = torch.randn(2, 6, 12, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(there_and_back, (field,))


def test_transforms_move_and_change_precision_with_their_module() -> None:
    grid = LatLonGrid(GRIDS["cells"].latitude, GRIDS["cells"].longitude)
    converted = SphericalHarmonics(grid).double()
    coefficients = some_coefficients(converted.lmax)
    again = converted.analysis(converted.synthesis(coefficients))
    assert again.dtype == torch.complex128
    assert relative(again - coefficients, coefficients) < 1e-5
    assert converted.state_dict() == {}


def test_automatic_mixed_precision_leaves_the_transforms_their_digits() -> None:
    harmonics = SphericalHarmonics(GRIDS["gaussian"])
    coefficients = some_coefficients(harmonics.lmax, dtype=torch.complex64)
    field = harmonics.synthesis(coefficients)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(harmonics.analysis(field), harmonics.analysis(field.clone()))
        assert relative(harmonics.analysis(field) - coefficients, coefficients) < 1e-5
        assert harmonics.analysis(field.bfloat16()).dtype == torch.complex64


def test_transforms_can_be_exported() -> None:
    class Smooth(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.harmonics = SphericalHarmonics(LatLonGrid.gaussian(8), lmax=4)

        def forward(self, x: Tensor) -> Tensor:
            return self.harmonics.synthesis(self.harmonics.analysis(x))

    module = Smooth()
    exported = torch.export.export(
        module, (torch.randn(2, 3, 8, 16),), dynamic_shapes=({0: torch.export.Dim("batch")},)
    ).module()
    x = torch.randn(5, 3, 8, 16)
    torch.testing.assert_close(exported(x), module(x))


def test_grids_and_degrees_without_exact_transforms_are_refused() -> None:
    region = LatLonGrid(np.arange(60.0, 30, -2), np.arange(10.0, 40, 2))
    with pytest.raises(DataError, match="global Gaussian or equiangular"):
        SphericalHarmonics(region)
    with pytest.raises(ValueError, match="from 0 to 18"):
        SphericalHarmonics(GRIDS["poles"], lmax=19)
    with pytest.raises(ValueError, match="vector=True"):
        SphericalHarmonics(GRIDS["poles"], vector=False).gradient(torch.zeros(19, 19, dtype=torch.complex64))


@pytest.mark.parametrize(
    "grid",
    [
        LatLonGrid.gaussian(160),
        LatLonGrid(np.linspace(90, -90, 181), np.arange(360.0)),
        LatLonGrid(np.linspace(89.5, -89.5, 180), np.arange(360.0)),
    ],
    ids=lambda grid: grid.describe(),
)
def test_large_grids_are_as_exact_as_small_ones(grid: LatLonGrid) -> None:
    harmonics = SphericalHarmonics(grid, dtype=torch.float64, vector=False)
    coefficients = some_coefficients(harmonics.lmax)
    assert relative(harmonics.analysis(harmonics.synthesis(coefficients)) - coefficients, coefficients) < 2e-13
