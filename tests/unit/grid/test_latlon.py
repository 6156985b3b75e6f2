from __future__ import annotations

import json
import math
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import j1, jn_zeros

from credit_ray.errors import DataError
from credit_ray.grid import EARTH_RADIUS_M, LatLonGrid
from credit_ray.grid.gaussian import gauss_legendre, gauss_legendre_colatitudes, gauss_legendre_latitudes

SPHERE_M2 = 4 * math.pi * EARTH_RADIUS_M**2


def regular(nlat: int, nlon: int, *, pole_points: bool, west: float = 0.0) -> LatLonGrid:
    north = 90.0 if pole_points else 90.0 - 90.0 / nlat
    return LatLonGrid(np.linspace(north, -north, nlat), west + np.arange(nlon) * (360.0 / nlon))


@st.composite
def global_grids(draw: st.DrawFn) -> LatLonGrid:
    nlat, nlon = draw(st.integers(2, 90)), draw(st.integers(2, 180))
    match draw(st.sampled_from(["gaussian", "poles", "cells"])):
        case "gaussian":
            return LatLonGrid.gaussian(nlat, nlon)
        case how:
            return regular(nlat, nlon, pole_points=how == "poles", west=draw(st.sampled_from([0.0, -180.0, 0.5])))


@given(global_grids())
def test_the_cells_of_a_global_grid_cover_the_sphere_once(grid: LatLonGrid) -> None:
    assert grid.periodic
    assert grid.reaches_poles
    areas = grid.cell_areas()
    assert areas.shape == grid.shape
    assert areas.min() > 0
    assert areas.sum() == pytest.approx(SPHERE_M2, rel=1e-12)
    assert grid.area_weights().mean() == pytest.approx(1, rel=1e-12)


@settings(max_examples=30)
@given(st.integers(1, 64), st.data())
def test_the_gaussian_quadrature_is_exact_up_to_its_degree(count: int, data: st.DataObject) -> None:
    nodes, weights = gauss_legendre(count)
    power = data.draw(st.integers(0, 2 * count - 1))
    exact = 2 / (power + 1) if power % 2 == 0 else 0.0
    assert (weights * nodes**power).sum() == pytest.approx(exact, abs=1e-13)


@pytest.mark.parametrize("count", [640, 1281])
def test_the_gaussian_nodes_of_fine_grids_are_zeros_of_the_legendre_polynomial(count: int) -> None:
    nodes, weights = gauss_legendre(count)
    value = np.polynomial.legendre.legval(nodes, [0] * count + [1])
    assert np.abs(value).max() < 1e-11
    assert np.all(np.diff(nodes) < 0)
    assert np.array_equal(nodes, -nodes[::-1])
    # the norm of a polynomial of high degree, whose square has degree 2·count − 2
    squared = np.polynomial.legendre.legval(nodes, [0] * (count - 1) + [1]) ** 2
    assert (weights * squared).sum() == pytest.approx(2 / (2 * count - 1), rel=1e-12)


def test_the_cells_of_a_region_have_the_area_between_their_meridians_and_parallels() -> None:
    grid = LatLonGrid(np.arange(60.0, 19, -1), np.arange(-20.0, 51))
    band = math.sin(math.radians(60.5)) - math.sin(math.radians(19.5))
    assert not grid.periodic
    assert not grid.reaches_poles
    assert grid.cell_areas().sum() == pytest.approx(EARTH_RADIUS_M**2 * math.radians(71) * band, rel=1e-12)


def test_half_a_grid_and_its_other_half_make_the_whole() -> None:
    whole = regular(36, 72, pole_points=False)
    halves = [LatLonGrid(whole.latitude[rows], whole.longitude) for rows in (slice(0, 18), slice(18, 36))]
    assert not any(half.reaches_poles for half in halves)
    assert sum(half.cell_areas().sum() for half in halves) == pytest.approx(SPHERE_M2, rel=1e-12)


@pytest.mark.parametrize(
    ("grid", "kind", "pole_points", "text"),
    [
        (LatLonGrid.gaussian(32), "gaussian", False, "32×64 Gaussian grid (T21)"),
        (LatLonGrid.gaussian(64), "gaussian", False, "64×128 Gaussian grid (T42)"),
        (LatLonGrid.gaussian(40, 60), "gaussian", False, "40×60 Gaussian grid"),
        (regular(73, 144, pole_points=True), "regular", True, "73×144 regular latitude–longitude grid, 2.5°"),
        (regular(91, 144, pole_points=True), "regular", True, "91×144 regular latitude–longitude grid, 2°×2.5°"),
        (regular(32, 64, pole_points=False), "regular", False, "32×64 regular latitude–longitude grid, 5.625°"),
        (
            LatLonGrid(np.arange(60.0, 19, -1), np.arange(-20.0, 51)),
            "regular",
            False,
            "41×71 regular latitude–longitude grid, 1°, 20°N to 60°N, 20°W to 50°E",
        ),
    ],
)
def test_a_grid_knows_what_it_is(grid: LatLonGrid, kind: str, pole_points: bool, text: str) -> None:
    assert grid.kind == kind
    assert grid.pole_points == pole_points
    assert grid.describe() == text


@pytest.mark.parametrize(
    ("latitude", "longitude", "periodic", "reaches_poles"),
    [
        (np.linspace(87.5, -87.5, 71), np.arange(144) * 2.5, True, False),  # the pole rows were cut off
        (np.linspace(90, -89.75, 720), np.arange(1440) * 0.25, True, False),  # and one of them
        (np.linspace(90, -90, 73), np.arange(143) * 2.5, False, True),
        (np.linspace(90, -90, 73), np.arange(72) * 2.5, False, True),
    ],
)
def test_a_grid_with_rows_or_columns_missing_is_not_global(
    latitude: np.ndarray, longitude: np.ndarray, periodic: bool, reaches_poles: bool
) -> None:
    grid = LatLonGrid(latitude, longitude)
    assert grid.periodic == periodic
    assert grid.reaches_poles == reaches_poles


@given(global_grids())
def test_a_grid_survives_json_pickle_and_float32(grid: LatLonGrid) -> None:
    copies = [
        LatLonGrid.from_json(json.loads(json.dumps(grid.to_json()))),
        pickle.loads(pickle.dumps(grid)),
        LatLonGrid(grid.latitude.astype(np.float32), grid.longitude.astype(np.float32)),
    ]
    for copy in copies:
        assert copy == grid
        assert hash(copy) == hash(grid)
        assert copy.kind == grid.kind
        assert copy.pole_points == grid.pole_points


def test_grids_of_other_coordinates_are_other_grids() -> None:
    grid = regular(32, 64, pole_points=False)
    assert grid != LatLonGrid.gaussian(32)
    assert grid != regular(32, 64, pole_points=False, west=-180)
    assert grid != regular(16, 64, pole_points=False)
    assert grid != "32×64"


@pytest.mark.parametrize(
    ("latitude", "longitude", "says"),
    [
        ([-30.0, 0, 30], [0.0, 1], "latitude must descend"),
        ([91.0, 0], [0.0, 1], "latitude must descend within"),
        ([30.0, 0], [0.0, 180, 360], "repeats the first"),
        ([30.0, 0], [0.0, 180, -90], "longitude must ascend"),
        ([30.0], [0.0, 1], "latitude must be a one-dimensional axis"),
        ([30.0, 0], [0.0, float("nan")], "longitude must be a one-dimensional axis"),
    ],
)
def test_coordinates_that_make_no_grid_are_refused(latitude: list[float], longitude: list[float], says: str) -> None:
    with pytest.raises(DataError, match=says):
        LatLonGrid(np.array(latitude), np.array(longitude))


def test_a_grid_of_an_unknown_type_is_refused() -> None:
    with pytest.raises(DataError, match="healpix"):
        LatLonGrid.from_json({"type": "healpix"})


def test_the_coordinates_of_a_grid_cannot_be_written_to() -> None:
    latitude = gauss_legendre_latitudes(8)
    grid = LatLonGrid(latitude, np.arange(16) * 22.5)
    latitude[0] = 0
    assert grid.kind == "gaussian"
    with pytest.raises(ValueError, match="read-only"):
        grid.latitude[0] = 0


@pytest.mark.parametrize("count", [1, 2, 7, 64, 481])
def test_gaussian_colatitudes_are_those_of_the_nodes_and_their_weights_have_all_digits(count: int) -> None:
    nodes, weights = gauss_legendre(count)
    colatitude = gauss_legendre_colatitudes(count)
    np.testing.assert_allclose(np.cos(colatitude), nodes, rtol=0, atol=1e-15)
    # Towards the pole Pₙ(cos θ) is the Bessel function J₀((n + ½)θ), to order θ²: Olver (1997), chapter 12.
    if count > 100:
        first_zero = jn_zeros(0, 1)[0]
        assert colatitude[0] * (count + 0.5) == pytest.approx(first_zero, rel=1e-5)
        assert weights[0] * (count + 0.5) ** 2 == pytest.approx(2 / j1(first_zero) ** 2, rel=1e-5)
    # ∫ x²ᵏ dx = 2/(2k + 1) for all 2k below 2·count: the high powers live near the poles
    for k in {0, count // 2, count - 1}:
        np.testing.assert_allclose((weights * nodes ** (2 * k)).sum(), 2 / (2 * k + 1), rtol=2e-13)
