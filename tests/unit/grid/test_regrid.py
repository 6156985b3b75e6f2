"""Regridding: what must be kept, what must be exact, and what missing values do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from credit_ray.errors import DataError
from credit_ray.grid.latlon import LatLonGrid
from credit_ray.grid.regrid import Method, Regridding, regridding


def regular(nlat: int, nlon: int, *, poles: bool = False, east: float = 0.0) -> LatLonGrid:
    rows = np.linspace(90, -90, nlat) if poles else 90 - 180 / nlat * (np.arange(nlat) + 0.5)
    return LatLonGrid(rows, east + np.arange(nlon) * 360 / nlon)


GLOBAL = {
    "regular": regular(18, 36),
    "with poles": regular(19, 30, poles=True),
    "gaussian": LatLonGrid.gaussian(16),
    "fine": regular(61, 100, poles=True, east=1.7),
    "from 180 W": regular(12, 24, east=-180.0),
}
pairs = pytest.mark.parametrize(
    ("source", "target"), [(a, b) for a in GLOBAL for b in GLOBAL if a != b], ids=lambda name: name
)


def noise(grid: LatLonGrid, count: int = 2) -> np.ndarray:
    return np.random.default_rng(3).normal(size=(count, *grid.shape)).astype(np.float32)


@pairs
def test_conservative_weights_keep_the_integral_over_the_globe(source: str, target: str) -> None:
    a, b = GLOBAL[source], GLOBAL[target]
    fields = noise(a)
    weights = Regridding(a, b, "conservative")
    before = (fields.astype(np.float64) * a.cell_areas()).sum((1, 2))
    after = (weights._block(fields.astype(np.float64)) * b.cell_areas()).sum((1, 2))
    assert_allclose(after, before, rtol=1e-9, atol=1e-10 * b.cell_areas().sum())


@pairs
@pytest.mark.parametrize("method", ["bilinear", "conservative"])
def test_a_constant_stays_what_it_is(source: str, target: str, method: Method) -> None:
    constant = np.full((1, *GLOBAL[source].shape), 7.25, np.float32)
    assert_allclose(Regridding(GLOBAL[source], GLOBAL[target], method)(constant), 7.25, rtol=1e-6)


@pytest.mark.parametrize("method", ["bilinear", "conservative"])
@pytest.mark.parametrize("grid", GLOBAL.values(), ids=GLOBAL)
def test_a_grid_onto_itself_changes_nothing(grid: LatLonGrid, method: Method) -> None:
    fields = noise(grid)
    assert_allclose(Regridding(grid, grid, method)(fields), fields, atol=1e-6)


def test_bilinear_is_exact_for_what_is_linear_between_points() -> None:
    source, target = regular(37, 72, poles=True), regular(91, 113, poles=True, east=0.9)
    inside = target.longitude < 355  # the last column's neighbour is the first
    plane = 2 * source.latitude[:, None] - 3 * source.longitude[None, :]
    expected = 2 * target.latitude[:, None] - 3 * target.longitude[None, :]
    found = Regridding(source, target, "bilinear")(plane)
    assert_allclose(found[:, inside], expected[:, inside], rtol=1e-5, atol=1e-4)


def test_bilinear_crosses_the_first_meridian() -> None:
    source = regular(4, 8)
    target = LatLonGrid(source.latitude, np.array([337.5]) + np.arange(2) * 11.25)
    ramp = np.broadcast_to(np.array([8.0, 0, 0, 0, 0, 0, 0, 4.0]), source.shape)
    assert_allclose(Regridding(source, target, "bilinear")(ramp)[0], [6.0, 7.0])


def test_beyond_the_last_row_a_grid_that_reaches_the_poles_goes_on_as_it_is() -> None:
    source, target = GLOBAL["gaussian"], GLOBAL["with poles"]
    fields = np.broadcast_to(source.latitude[:, None], source.shape)
    found = Regridding(source, target, "bilinear")(fields)
    assert_allclose(found[[0, -1]], np.broadcast_to([[source.latitude[0]], [source.latitude[-1]]], (2, 30)), rtol=1e-6)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), share=st.floats(0.05, 0.6), method=st.sampled_from(["bilinear", "conservative"]))
def test_missing_values_weigh_nothing_and_what_is_mostly_missing_is_missing(
    seed: int, share: float, method: Method
) -> None:
    source, target = GLOBAL["regular"], GLOBAL["gaussian"]
    random = np.random.default_rng(seed)
    there = random.random(source.shape) > share
    fields = random.normal(size=source.shape)
    weights = Regridding(source, target, method)
    found = weights(np.where(there, fields, np.nan))
    again = weights(np.where(there, fields, np.nan) + 0 * found.sum())  # a pure function
    full = np.einsum("ij,jk,lk->il", weights.rows.toarray(), np.where(there, fields, 0), weights.columns.toarray())
    known = np.einsum("ij,jk,lk->il", weights.rows.toarray(), there.astype(float), weights.columns.toarray())
    clear = np.abs(known - 0.5) > 1e-9
    assert_array_equal(np.isnan(found)[clear], (known < 0.5)[clear])
    valid = ~np.isnan(found)
    assert_allclose(found[valid], (full / np.where(known > 0, known, 1))[valid], rtol=1e-5, atol=1e-6)
    assert again.shape == found.shape
    if valid.any():
        assert found[valid].min() >= fields[there].min() - 1e-5
        assert found[valid].max() <= fields[there].max() + 1e-5


@pytest.mark.parametrize("method", ["bilinear", "conservative"])
def test_places_outside_a_region_are_missing(method: Method) -> None:
    region = LatLonGrid(np.arange(60.0, 29.0, -2.0), np.arange(-20.0, 41.0, 2.0))
    found = Regridding(region, regular(90, 180), method)(np.ones(region.shape))
    target = regular(90, 180)
    east = np.mod(target.longitude + 180, 360) - 180
    inside = (np.abs(target.latitude - 45) < 14)[:, None] & (np.abs(east - 10) < 29)[None, :]
    outside = (np.abs(target.latitude - 45) > 17)[:, None] | (np.abs(east - 10) > 32)[None, :]
    assert_allclose(found[inside], 1.0)
    assert np.isnan(found[outside]).all()


def test_regions_without_a_common_place_are_refused() -> None:
    north = LatLonGrid(np.array([60.0, 50.0]), np.array([0.0, 10.0]))
    south = LatLonGrid(np.array([-50.0, -60.0]), np.array([0.0, 10.0]))
    with pytest.raises(DataError, match="has no place in common with"):
        Regridding(north, south, "bilinear")


def test_weights_are_made_once() -> None:
    again = LatLonGrid.gaussian(16)
    assert regridding(GLOBAL["gaussian"], GLOBAL["regular"], "bilinear") is regridding(
        again, regular(18, 36), "bilinear"
    )


@pytest.mark.parametrize("grid", GLOBAL.values(), ids=GLOBAL)
def test_edges_enclose_the_cells_areas(grid: LatLonGrid) -> None:
    rows, columns = grid.edges()
    assert (np.diff(rows) < 0).all()
    assert_allclose(rows[[0, -1]], [1, -1], atol=1e-12)
    areas = -np.diff(rows)[:, None] * np.radians(np.diff(columns))[None, :]
    assert_allclose(areas / areas.sum(), grid.cell_areas() / grid.cell_areas().sum(), rtol=1e-9)
