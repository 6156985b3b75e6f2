"""Spectral losses against fields whose spectra are known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from credit_ray.errors import ConfigError, DataError
from credit_ray.grid import LatLonGrid
from credit_ray.grid.harmonics import SphericalHarmonics
from credit_ray.losses.arguments import AdjustedMSEArguments, SpectralArguments, Transform
from credit_ray.losses.loss import ByChannel
from credit_ray.losses.pointwise import MeanSquaredError
from credit_ray.losses.spectral import AdjustedMSE, PowerSpectrumLoss, SpectralLoss

GRID = LatLonGrid.gaussian(12)
AREA = torch.from_numpy(GRID.area_weights()).expand(2, *GRID.shape)
TRANSFORMS: tuple[Transform, ...] = ("harmonics", "zonal")
KINDS: dict[str, Callable[[Transform, Tensor], ByChannel]] = {
    "spectral": lambda t, w: SpectralLoss(SpectralArguments(transform=t), w, GRID),
    "power_spectrum": lambda t, w: PowerSpectrumLoss(SpectralArguments(transform=t), w, GRID),
    "adjusted_mse": lambda t, w: AdjustedMSE(AdjustedMSEArguments(transform=t), w, GRID),
}
ALL = pytest.mark.parametrize(("kind", "transform"), [(kind, t) for kind in KINDS for t in TRANSFORMS])


def smooth(*lead: int, seed: int = 0) -> Tensor:
    """Fields that the grid resolves, with power at all degrees: [*lead, lat, lon]."""
    harmonics = SphericalHarmonics(GRID, dtype=torch.float64, vector=False)
    generator = torch.Generator().manual_seed(seed)
    size = harmonics.lmax + 1
    return harmonics.synthesis(torch.randn(*lead, size, size, dtype=torch.complex128, generator=generator).tril())


def wave(degree: int, order: int, size: complex) -> Tensor:
    """Two channels of one harmonic, [1, 2, lat, lon]."""
    harmonics = SphericalHarmonics(GRID, dtype=torch.float64, vector=False)
    coefficients = torch.zeros(1, 2, harmonics.lmax + 1, harmonics.lmax + 1, dtype=torch.complex128)
    coefficients[..., degree, order] = torch.tensor(size, dtype=torch.complex128)
    return harmonics.synthesis(coefficients)


@ALL
def test_a_forecast_that_is_right_costs_nothing(kind: str, transform: Transform) -> None:
    truth = smooth(3, 2) + 5
    loss = KINDS[kind](transform, AREA)
    torch.testing.assert_close(loss(truth[:, None].expand(3, 4, -1, -1, -1), truth, 1), torch.zeros(3).double())


@ALL
def test_a_turn_about_the_axis_is_seen_by_the_loss_that_knows_phases_only(kind: str, transform: Transform) -> None:
    truth = smooth(3, 2)
    found = KINDS[kind](transform, AREA)(truth.roll(5, -1)[:, None], truth, 1)
    if kind == "adjusted_mse":
        assert (found > 0.1).all()
    else:
        torch.testing.assert_close(found, torch.zeros(3).double(), atol=1e-10, rtol=0)


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_lost_amplitude_costs_its_square(transform: Transform) -> None:
    """|2 Re Y|² has the mean 2/(4π); on rows, √P_k is the field's size in each row, and its mean over rows is squared."""
    truth, forecast = wave(6, 3, 1), wave(6, 3, 0.25)
    found = KINDS["spectral"](transform, AREA)(forecast[:, None], truth, 1)
    row_size = (2 * (truth[0, 0].square()).mean(-1)).sqrt() / 2**0.5
    mean_size = (row_size * AREA[0].sum(-1)).sum() / AREA[0].sum()
    wanted = 2 / (4 * np.pi) if transform == "harmonics" else float(mean_size**2)
    assert float(found) == pytest.approx(0.75**2 * wanted, rel=1e-9)


def test_lost_power_costs_the_square_of_its_logarithm_at_its_degree_alone() -> None:
    truth, forecast = smooth(1, 2), smooth(1, 2) + wave(6, 3, 3)
    harmonics = SphericalHarmonics(GRID, dtype=torch.float64, vector=False)
    power = [harmonics.power(harmonics.analysis(field))[0, :, 6] for field in (forecast, truth)]
    found = KINDS["power_spectrum"]("harmonics", AREA).per_channel(forecast[:, None], truth, 1)[0]
    torch.testing.assert_close(found, (power[0] / power[1]).log().square() / harmonics.lmax, rtol=1e-6, atol=0)


def test_half_the_amplitude_at_all_scales_costs_the_same_in_every_row() -> None:
    truth = smooth(1, 2)
    truth = truth - truth.mean((-2, -1), keepdim=True)
    spiky = torch.zeros(1, 2, *GRID.shape, dtype=torch.float64)
    spiky[..., 0] = 100.0  # all waves of a row have the same power
    found = KINDS["power_spectrum"]("zonal", AREA)(spiky[:, None] / 2, spiky, 1)
    assert float(found) == pytest.approx(np.log(4) ** 2, rel=1e-6)


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_losses_of_amplitude_are_bounds_of_the_mean_square_error(transform: Transform) -> None:
    truth, forecast = smooth(4, 2), smooth(4, 2, seed=1)
    square = MeanSquaredError(None, AREA)(forecast[:, None], truth, 1)
    assert (KINDS["spectral"](transform, AREA)(forecast[:, None], truth, 1) <= square).all()
    assert (KINDS["adjusted_mse"](transform, AREA)(forecast[:, None], truth, 1) >= square).all()


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_at_equal_power_the_adjusted_error_is_the_mean_square_error(transform: Transform) -> None:
    truth = smooth(2, 2) + 3
    turned = truth.roll(1, -1)
    square = MeanSquaredError(None, AREA)(turned[:, None], truth, 1)
    torch.testing.assert_close(KINDS["adjusted_mse"](transform, AREA)(turned[:, None], truth, 1), square)


def test_a_bias_costs_its_square_in_the_adjusted_error_and_nothing_in_spectra() -> None:
    truth = smooth(1, 2)
    for transform in TRANSFORMS:
        for kind in KINDS:
            found = float(KINDS[kind](transform, AREA)(truth[:, None] + 0.5, truth, 1))
            assert found == pytest.approx(0.25 if kind == "adjusted_mse" else 0.0, abs=1e-9)


def test_no_damping_of_what_cannot_be_placed_is_rewarded() -> None:
    """Where forecast and truth are not coherent, less amplitude lowers the mean square error, and not the adjusted one."""
    truth, forecast = smooth(60, 2), smooth(60, 2, seed=1)
    truth, forecast = (field - field.mean((-2, -1), keepdim=True) for field in (truth, forecast))
    square, adjusted = MeanSquaredError(None, AREA), KINDS["adjusted_mse"]("harmonics", AREA)
    damped = 0.5 * forecast
    assert square(damped[:, None], truth, 1).mean() < square(forecast[:, None], truth, 1).mean()
    gain = adjusted(damped[:, None], truth, 1).mean() / adjusted(forecast[:, None], truth, 1).mean()
    assert gain > square(damped[:, None], truth, 1).mean() / square(forecast[:, None], truth, 1).mean()


@ALL
def test_scales_below_the_lowest_do_not_count(kind: str, transform: Transform) -> None:
    if kind == "adjusted_mse":
        return
    make = SpectralLoss if kind == "spectral" else PowerSpectrumLoss
    truth, wrong = smooth(1, 2), smooth(1, 2) + wave(2, 2, 4)
    for lowest in (2, 3):
        loss = make(SpectralArguments(transform=transform, lowest=lowest), AREA, GRID)
        assert bool(loss(wrong[:, None], truth, 1) > 1e-6) == (lowest == 2)


@ALL
def test_gradients_are_derivatives_and_finite_for_an_empty_field(kind: str, transform: Transform) -> None:
    grid = LatLonGrid.gaussian(4)
    weights = torch.from_numpy(grid.area_weights()).expand(1, *grid.shape)
    made = KINDS[kind](transform, AREA)
    loss = type(made)(made.arguments, weights, grid)
    generator = torch.Generator().manual_seed(3)
    forecast, truth = (
        torch.randn(1, *shape, *grid.shape, dtype=torch.float64, generator=generator) for shape in ((2, 1), (1,))
    )
    assert torch.autograd.gradcheck(lambda p: loss(p, truth, 1), (forecast.requires_grad_(),), atol=1e-6)
    empty = torch.zeros_like(forecast, requires_grad=True)
    (gradient,) = torch.autograd.grad(loss(empty, truth, 1).sum(), empty)
    assert torch.isfinite(gradient).all()


def test_a_region_has_no_waves_round_the_globe() -> None:
    region = LatLonGrid(np.linspace(60, 30, 12), np.linspace(0, 40, 24))
    with pytest.raises(DataError, match="global"):
        SpectralLoss(SpectralArguments(), AREA, region)
    with pytest.raises(ConfigError, match="round the globe"):
        SpectralLoss(SpectralArguments(transform="zonal"), AREA, region)


@pytest.mark.parametrize(("transform", "most"), [("harmonics", 11), ("zonal", 12)])
def test_a_lowest_scale_that_the_grid_does_not_have_is_refused(transform: Transform, most: int) -> None:
    SpectralLoss(SpectralArguments(transform=transform, lowest=most), AREA, GRID)
    with pytest.raises(ConfigError, match=f"up to number {most}"):
        SpectralLoss(SpectralArguments(transform=transform, lowest=most + 1), AREA, GRID)
    with pytest.raises(ValueError, match="number 1"):
        SpectralArguments(lowest=0)
