"""From fields to the pixels of a map."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from credit_ray.grid.latlon import LatLonGrid
from credit_ray.verification.projection import HEIGHT, WIDTH, Frame, equal_earth, inverse_equal_earth

GRIDS = [
    LatLonGrid.gaussian(16),
    LatLonGrid(np.linspace(90, -90, 19), np.arange(36) * 10.0),  # rows on the poles
    LatLonGrid(np.linspace(85, -85, 18), np.arange(36) * 10.0 + 5),
]


@given(st.floats(-89.5, 89.5), st.floats(-179.5, 179.5))
def test_the_inverse_projection_undoes_the_projection(latitude: float, longitude: float) -> None:
    x, y = equal_earth(np.array([latitude]), np.array([longitude]))
    back = inverse_equal_earth(x, y)
    assert back[0][0, 0] == pytest.approx(latitude, abs=1e-6)
    assert back[1][0, 0] == pytest.approx(longitude, abs=1e-6)
    assert not back[2][0, 0]


def test_the_projection_keeps_areas() -> None:
    latitude, longitude = np.meshgrid(np.linspace(-80, 80, 161), np.linspace(-170, 170, 171), indexing="ij")
    x, y = equal_earth(latitude, longitude)
    (x_lat, x_lon), (y_lat, y_lon) = np.gradient(x), np.gradient(y)
    area = np.abs(x_lon * y_lat - x_lat * y_lon) / np.cos(np.radians(latitude))
    inner = area[2:-2, 2:-2]
    np.testing.assert_allclose(inner, inner.mean(), rtol=2e-3)


def test_the_frame_is_the_edge_of_the_world() -> None:
    assert equal_earth(np.array([0.0]), np.array([180.0]))[0][0] == pytest.approx(WIDTH)
    assert equal_earth(np.array([90.0]), np.array([0.0]))[1][0] == pytest.approx(HEIGHT)


@pytest.mark.parametrize("grid", GRIDS, ids=["gaussian", "poles", "offset"])
def test_a_smooth_field_keeps_its_values_at_every_pixel_poles_and_date_line_included(grid: LatLonGrid) -> None:
    def smooth(latitude: np.ndarray, longitude: np.ndarray) -> np.ndarray:
        a, b = np.radians(latitude), np.radians(longitude)
        return np.cos(a) * np.cos(b - 1) + 0.5 * np.sin(a)  # linear in x, y, z: as smooth over a pole as anywhere

    frame = Frame.of(grid, 240)
    values = smooth(grid.latitude[:, None], grid.longitude[None])
    found = frame.sample(values)
    latitude, longitude, outside = inverse_equal_earth(frame.x, frame.y)
    expected = np.where(outside, np.nan, smooth(latitude, longitude))
    assert np.array_equal(np.isnan(found), outside)
    assert np.nanmax(np.abs(found - expected)) < 0.02


def test_a_field_with_gaps_shows_them_and_no_others() -> None:
    grid = LatLonGrid.gaussian(24)
    values = np.full(grid.shape, 5.0)
    values[6:12, 10:20] = np.nan
    frame = Frame.of(grid, 400)
    found = frame.sample(values)
    gap = np.isnan(found) & ~frame.outside
    inside = (np.abs(frame.row - 8.5) < 2.4) & (np.abs(frame.column - 14.5) < 4.4)
    beyond = (np.abs(frame.row - 8.5) > 3.6) | (np.abs(frame.column - 14.5) > 5.6)
    assert gap[inside].all()
    assert not gap[beyond & ~frame.outside].any()
    np.testing.assert_allclose(found[np.isfinite(found)], 5.0)


def test_a_picture_shows_no_value_that_the_field_does_not_have() -> None:
    grid = LatLonGrid.gaussian(12)
    values = (np.random.default_rng(0).random(grid.shape) > 0.7).astype(float)  # a cubic would overshoot
    found = Frame.of(grid, 300).sample(values)
    assert np.nanmin(found) >= 0
    assert np.nanmax(found) <= 1


def test_a_region_is_drawn_as_it_is() -> None:
    grid = LatLonGrid(np.linspace(60, 30, 13), np.linspace(-20, 40, 25))
    frame = Frame.of(grid, 200)
    values = grid.latitude[:, None] + 0 * grid.longitude[None]
    assert frame.kind == "region"
    found = frame.sample(values)
    inner = slice(len(frame.y) // 6, -len(frame.y) // 6)  # at the edge of the world a spline bends
    np.testing.assert_allclose(found[inner, 50], frame.y[inner], atol=0.02)
