from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from credit_ray.grid import LatLonGrid
from credit_ray.grid.padding import SphericalPadding, spherical_pad

TOPOLOGIES = {
    "gaussian": LatLonGrid.gaussian(12, 24),
    "poles": LatLonGrid(np.linspace(90, -90, 13), np.arange(24) * 15.0),
    "cells": LatLonGrid(np.linspace(82.5, -82.5, 12), -180 + np.arange(24) * 15.0),
}
REGION = LatLonGrid(np.arange(60.0, 30, -2), np.arange(10.0, 40, 2))
margins = st.tuples(*[st.integers(0, 11)] * 4)


def on_the_sphere(grid: LatLonGrid, top: int, bottom: int, left: int, right: int) -> Tensor:
    """A scalar and the two components of a vector, smooth on the sphere, on a grid that goes on beyond its edges.

    The vector is the tangential part of one constant vector in space. Someone who walks on across the pole keeps east
    on the right: latitudes beyond 90° in the formulas of the two unit vectors do just that.
    """
    axes = [
        torch.tensor(axis[0] + (axis[1] - axis[0]) * np.arange(-before, len(axis) + after))
        for axis, before, after in ((grid.latitude, top, bottom), (grid.longitude, left, right))
    ]
    phi, lam = torch.deg2rad(torch.stack(torch.meshgrid(*axes, indexing="ij")))
    x, y, z = torch.cos(phi) * torch.cos(lam), torch.cos(phi) * torch.sin(lam), torch.sin(phi)
    scalar = torch.exp(0.7 * x - 0.4 * y) + z * y
    east = -torch.sin(lam) - 2 * torch.cos(lam)
    north = -torch.sin(phi) * (torch.cos(lam) - 2 * torch.sin(lam)) + 0.5 * torch.cos(phi)
    return torch.stack([scalar, east, north])


@pytest.mark.parametrize("name", ["poles", "cells"])
@settings(max_examples=20, deadline=None)
@given(margin=margins)
def test_padding_continues_fields_as_the_sphere_does(name: str, margin: tuple[int, int, int, int]) -> None:
    """Normalised fields, of which two are vector components and so turn round beyond the pole."""
    grid = TOPOLOGIES[name]
    mean, std = torch.tensor([0.3, 1.5, -0.5]).double(), torch.tensor([2.0, 3.0, 0.7]).double()
    vector = torch.tensor([False, True, True])
    padding = SphericalPadding.on(
        grid, *margin, sign=torch.where(vector, -1.0, 1.0), offset=torch.where(vector, -2 * mean / std, 0.0)
    )
    expected = (on_the_sphere(grid, *margin) - mean[:, None, None]) / std[:, None, None]
    inside = padding.crop(expected)
    assert inside.shape[-2:] == grid.shape
    torch.testing.assert_close(padding(inside), expected)


@pytest.mark.parametrize("name", TOPOLOGIES)
@settings(max_examples=20, deadline=None)
@given(margin=margins, data=st.data())
def test_padding_in_parts_is_padding_at_once(name: str, margin: tuple[int, int, int, int], data: st.DataObject) -> None:
    """A wider margin has the narrower one inside it, whatever the shape before the channel."""
    grid = TOPOLOGIES[name]
    lead = data.draw(st.sampled_from([(), (2,), (2, 3)]))
    x = torch.randn(*lead, 2, *grid.shape, generator=torch.Generator().manual_seed(1))
    widest = SphericalPadding.on(grid, 11, 11, 11, 11)(x)
    top, bottom, left, right = margin
    part = widest[..., 11 - top : widest.shape[-2] - 11 + bottom, 11 - left : widest.shape[-1] - 11 + right]
    assert torch.equal(SphericalPadding.on(grid, *margin)(x), part)


def test_with_an_odd_number_of_columns_the_meridian_opposite_is_the_mean_of_its_neighbours() -> None:
    grid = LatLonGrid.gaussian(6, 9)
    x = torch.randn(1, 6, 9, dtype=torch.float64)
    beyond = SphericalPadding.on(grid, 1, 0, 0, 0)(x)[0, 0]
    for column in range(9):
        assert beyond[column] == (x[0, 0, (column + 4) % 9] + x[0, 0, (column + 5) % 9]) / 2


def test_a_region_repeats_its_edges() -> None:
    x = torch.randn(1, 2, *REGION.shape)
    padded = SphericalPadding.on(REGION, 3, 20, 4, 30, sign=-torch.ones(2))(x)
    assert torch.equal(padded, torch.nn.functional.pad(x, (4, 30, 3, 20), mode="replicate"))


def test_a_band_that_does_not_reach_the_poles_is_periodic_all_the_same() -> None:
    grid = LatLonGrid(np.arange(30.0, -31, -5), np.arange(36) * 10.0)
    x = torch.randn(1, 2, *grid.shape)
    padded = SphericalPadding.on(grid, 2, 2, 3, 3)(x)
    assert torch.equal(padded[..., 2:-2, :3], x[..., -3:])
    assert torch.equal(padded[..., :2, 3:-3], x[..., :1, :].expand(-1, -1, 2, -1))


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_gradients_flow_back_to_where_the_margin_came_from(name: str) -> None:
    padding = SphericalPadding.on(
        TOPOLOGIES[name], 2, 3, 4, 1, sign=torch.tensor([1.0, -1.0]), offset=torch.tensor([0.0, 0.5])
    )
    x = torch.randn(1, 2, *TOPOLOGIES[name].shape, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(padding, (x,))


def test_padding_keeps_precision_and_memory_format() -> None:
    padding = SphericalPadding.on(TOPOLOGIES["gaussian"], 2, 3, 4, 1, sign=-torch.ones(4), offset=torch.ones(4))
    x = torch.randn(2, 4, 12, 24).to(memory_format=torch.channels_last)
    assert padding(x).is_contiguous(memory_format=torch.channels_last)
    assert padding(x.bfloat16()).dtype == torch.bfloat16
    assert torch.equal(padding(x.bfloat16())[..., 2:-3, 4:-1], x.bfloat16())


def test_padding_can_be_exported() -> None:
    padding = SphericalPadding.on(TOPOLOGIES["poles"], 2, 3, 4, 1, sign=-torch.ones(4))
    x = torch.randn(2, 4, 13, 24)
    exported = torch.export.export(padding, (x,), dynamic_shapes=({0: torch.export.Dim("batch")},)).module()
    y = torch.randn(5, 4, 13, 24)
    assert torch.equal(exported(y), padding(y))


def test_signs_are_no_weights() -> None:
    assert SphericalPadding.on(REGION, 1, 1, 1, 1, sign=torch.ones(2), offset=torch.ones(2)).state_dict() == {}


@pytest.mark.parametrize(
    ("margin", "says"),
    [((13, 0, 0, 0), "13 rows.* only 12"), ((0, 0, 0, 25), "24 columns.* only 24"), ((0, -1, 0, 0), "negative")],
)
def test_a_margin_that_cannot_be_filled_is_refused(margin: tuple[int, int, int, int], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        spherical_pad(torch.zeros(1, 13, 24), *margin, periodic=True, poles=True, pole_points=True)
