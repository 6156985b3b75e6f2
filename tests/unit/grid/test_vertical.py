"""Levels, interfaces and column integrals: exact where they should be, whatever the order of the levels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from credit_ray.errors import ConfigError
from credit_ray.grid.levels import (
    depth_levels,
    height_levels,
    hybrid_full_levels,
    hybrid_levels,
    pressure_levels,
    sigma_levels,
    table,
)
from credit_ray.grid.vertical import VerticalCoordinate

SPEEDY_SIGMA = [0.025, 0.095, 0.2, 0.34, 0.51, 0.685, 0.835, 0.95]
SPEEDY_EDGES = [0.0, 0.05, 0.14, 0.26, 0.42, 0.6, 0.77, 0.9, 1.0]
PRESSURE = np.linspace(45_000, 108_000, 12).reshape(3, 4)


def coordinate(kind: str, order: np.ndarray) -> VerticalCoordinate:
    """One of each kind, its levels in that order (indices into the six that it has)."""
    levels = {
        "pressure": [50.0, 200.0, 500.0, 700.0, 850.0, 1000.0],
        "pressure layers": [75.0, 200.0, 400.0, 600.0, 800.0, 950.0],
        "sigma": SPEEDY_SIGMA[1:7],
        "hybrid": [20.0, 60.0, 90.0, 91.0, 120.0, 137.0],
        "hybrid points": [5.0, 10.0, 20.0, 25.0, 30.0, 32.0],
        "height": [10.0, 100.0, 500.0, 1500.0, 5000.0, 12000.0],
        "depth": [2.5, 10.0, 22.5, 40.0, 62.5, 90.0],
    }[kind]
    picked = np.array(levels)[order]
    if kind == "pressure":
        return pressure_levels(picked)
    if kind == "pressure layers":
        return pressure_levels(picked, [50, 100, 300, 500, 700, 900, 1000])
    if kind == "sigma":
        return sigma_levels(picked, SPEEDY_EDGES)
    if kind == "height":
        return height_levels(picked, [0, 50, 250, 1000, 3000, 8000, 20000])
    if kind == "depth":
        return depth_levels(picked)
    if kind == "hybrid":
        return hybrid_levels(picked, *table("era5_137"))
    return hybrid_levels(picked, *table("cam_32"), integral="trapezoid")


KINDS = ("pressure", "pressure layers", "sigma", "hybrid", "hybrid points", "height", "depth")


@settings(max_examples=40, deadline=None)
@given(kind=st.sampled_from(KINDS), order=st.permutations(range(6)), size=st.integers(2, 6))
def test_a_column_integral_does_not_depend_on_the_order_of_the_levels(kind: str, order: list[int], size: int) -> None:
    chosen = np.array(order[:size])
    mixed, sorted_ = coordinate(kind, chosen), coordinate(kind, np.sort(chosen))
    values = np.random.default_rng(1).normal(size=(size, *PRESSURE.shape))
    expected = sorted_.integrate(values[np.argsort(chosen)], PRESSURE)
    np.testing.assert_allclose(mixed.integrate(values, PRESSURE), expected, rtol=1e-12)
    np.testing.assert_array_equal(
        mixed.at_levels(PRESSURE)[np.argsort(chosen)],
        sorted_.at_levels(PRESSURE),
    )
    np.testing.assert_array_equal(mixed.at_interfaces(PRESSURE), sorted_.at_interfaces(PRESSURE))


@pytest.mark.parametrize("kind", KINDS)
def test_layers_lie_between_their_interfaces_and_fill_the_column(kind: str) -> None:
    vertical = coordinate(kind, np.array([3, 0, 5, 1, 4, 2]))
    interfaces = vertical.at_interfaces(PRESSURE)
    at, thickness = vertical.at_levels(PRESSURE)[vertical.from_top], vertical.thickness(PRESSURE)
    low, high = np.minimum(interfaces[1:], interfaces[:-1]), np.maximum(interfaces[1:], interfaces[:-1])
    assert (low <= at).all()
    assert (at <= high).all()
    assert (thickness > 0).all()
    np.testing.assert_allclose(thickness[vertical.from_top], high - low)
    np.testing.assert_allclose(thickness.sum(0), abs(interfaces[-1] - interfaces[0]))


def test_layers_of_sigma_and_hybrid_levels_hold_the_whole_atmosphere_whichever_levels_are_chosen() -> None:
    for vertical in (
        sigma_levels(SPEEDY_SIGMA),
        sigma_levels(SPEEDY_SIGMA[1:], SPEEDY_EDGES),
        sigma_levels(SPEEDY_SIGMA[::2]),
        hybrid_levels(np.arange(1, 138), *table("era5_137")),
        hybrid_levels([137, 1, 60, 101], *table("era5_137")),
    ):
        np.testing.assert_allclose(vertical.thickness(PRESSURE).sum(0), PRESSURE, rtol=1e-12)


def test_sigma_interfaces_are_found_from_the_middles_of_layers() -> None:
    np.testing.assert_allclose(sigma_levels(SPEEDY_SIGMA[::-1]).b_half, SPEEDY_EDGES, atol=1e-12)
    np.testing.assert_allclose(depth_levels([2.5, 10, 22.5]).a_half, [0, 5, 15, 30])


def test_all_levels_of_a_hybrid_model_have_its_own_half_levels() -> None:
    a, b = table("cam_32")
    vertical = hybrid_levels(np.arange(32, 0, -1), a, b)
    np.testing.assert_array_equal(vertical.a_half, a)
    np.testing.assert_array_equal(vertical.b_half, b)
    np.testing.assert_allclose(vertical.b_full[::-1], (b[1:] + b[:-1]) / 2)


def test_the_tables_are_those_of_the_models(real_data: Path) -> None:
    import xarray as xr

    with xr.open_dataset(real_data / "hybrid_levels.nc") as theirs:
        a, b = table("era5_137")
        np.testing.assert_allclose(a, theirs["era5_a_half"], atol=1e-6)
        np.testing.assert_allclose(b, theirs["era5_b_half"], atol=1e-9)
        a, b = table("cam_32")
        np.testing.assert_allclose(a, theirs["cesm_hyai"], atol=1e-6)
        np.testing.assert_allclose(b, theirs["cesm_hybi"], atol=1e-9)
        points = hybrid_full_levels([1, 70, 137], theirs["era5_a_full"], theirs["era5_b_full"])
        whole = hybrid_levels([1, 70, 137], *table("era5_137"), integral="trapezoid")
        np.testing.assert_allclose(points.at_levels(PRESSURE), whole.at_levels(PRESSURE), rtol=2e-5)


def test_a_trapezoid_is_exact_for_straight_lines() -> None:
    vertical = pressure_levels([1000, 50, 850, 500])
    p = vertical.at_levels()
    expected = 3 * (1e5 - 5e3) + (1e10 - 25e6) / 2 * 2e-5
    assert vertical.integrate((3 + 2e-5 * p)[:, None, None])[0, 0] == pytest.approx(expected, rel=1e-12)


def test_tensors_go_in_and_come_out() -> None:
    vertical = hybrid_levels([10, 137, 50], *table("era5_137"))
    pressure = torch.from_numpy(PRESSURE).expand(2, 3, 4)
    assert vertical.thickness(pressure).shape == (2, 3, 3, 4)
    torch.testing.assert_close(
        vertical.integrate(torch.ones(2, 3, 3, 4, dtype=torch.float64), pressure), pressure, rtol=1e-12, atol=0
    )
    assert pressure_levels([500, 850]).integrate(torch.ones(5, 2, 3, 4)).shape == (5, 3, 4)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: pressure_levels([500, 500]), "one is there twice"),
        (lambda: pressure_levels([500]), "needs two levels"),
        (lambda: pressure_levels([500, 850], [300, 600, 500]), "must go one way"),
        (lambda: pressure_levels([500, 850], [600, 800, 900]), "must lie in a layer of its own"),
        (lambda: sigma_levels([500, 850]), "Are these hPa"),
        (lambda: hybrid_levels([1, 138], *table("era5_137")), "numbered 1 to 137.*another model's table"),
        (lambda: hybrid_levels([1, 2], table("cam_32")[0][::-1], table("cam_32")[1][::-1]), "grows downwards"),
        (lambda: hybrid_levels([1, 2], table("cam_32")[0], table("cam_32")[1][1:]), "one length"),
        (lambda: table("era5_l137"), "Did you mean 'era5_137'"),
        (lambda: sigma_levels(SPEEDY_SIGMA).thickness(), "surface pressure, and none was given"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_was_expected(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()
