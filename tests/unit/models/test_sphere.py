"""Topologies under coarsening, and layers that see no edges: against fields whose value is known everywhere."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor

from credit_ray.models.arguments import NetworkShape
from credit_ray.models.sphere import Downsample, ReflectedInput, Topology, Upsample

MakeShape = Callable[..., NetworkShape]


def globe(rows: int, columns: int, points: bool) -> Topology:
    return Topology(rows=rows, columns=columns, periodic=True, poles=True, north_point=points, south_point=points)


def colatitude(topology: Topology, first: float, step: float) -> Tensor:
    return first + step * torch.arange(topology.rows, dtype=torch.float64)


def smooth(colatitude: Tensor, columns: int, first: float = 0.0) -> Tensor:
    """x + 0.5 z of the unit sphere: smooth everywhere, the poles included. [1, 1, rows, columns]"""
    longitude = first + 2 * math.pi / columns * torch.arange(columns, dtype=torch.float64)
    return (colatitude.sin()[:, None] * longitude.cos()[None, :] + 0.5 * colatitude.cos()[:, None])[None, None]


@given(rows=st.integers(8, 90), half_columns=st.integers(6, 40), points=st.booleans())
def test_interpolation_from_the_coarse_rows_is_as_good_at_the_poles_as_elsewhere(
    rows: int, half_columns: int, points: bool
) -> None:
    # Bilinear interpolation of a field of unit curvature errs by h²/8 along each axis; a row taken for its neighbour, by about h.
    columns = 2 * half_columns
    fine = globe(rows, columns, points)
    step = math.pi / (rows - 1 if points else rows)
    here = colatitude(fine, 0.0 if points else step / 2, step)
    there = colatitude(fine.coarser(), 0.0 if points else step, 2 * step)
    east = 2 * math.pi / columns
    wanted = smooth(here, columns)
    found = Upsample(fine)(smooth(there, half_columns, first=east / 2))
    assert (found - wanted).abs().max() < 1.2 * ((2 * step) ** 2 + (2 * east) ** 2) / 8


@given(rows=st.integers(2, 400), points=st.booleans(), levels=st.integers(1, 4))
def test_coarse_rows_never_lie_beyond_the_south_pole_or_far_from_it(rows: int, points: bool, levels: int) -> None:
    topology, spacing = globe(rows, 8, points), 1.0
    first, pole = (0.0, rows - 1.0) if points else (0.5, float(rows))  # in rows of the finest level
    for _ in range(levels):
        assume(topology.rows > 2)
        topology = topology.coarser()
        first, spacing = first if topology.north_point else first + spacing / 2, 2 * spacing
        last = first + spacing * (topology.rows - 1)
        away = (pole - last) / spacing
        assert away == pytest.approx(0.0 if topology.south_point else 0.5, abs=0.5)
        assert topology.rows == -(-rows // round(spacing))


@given(rows=st.integers(4, 20), columns=st.integers(4, 20), points=st.booleans())
def test_down_and_up_again_gives_the_size_back(rows: int, columns: int, points: bool) -> None:
    topology = globe(rows, columns, points)
    coarse = Downsample(1, 2, topology)(torch.zeros(1, 1, rows, columns))
    assert coarse.shape == (1, 2, topology.coarser().rows, topology.coarser().columns)
    assert Upsample(topology)(coarse).shape == (1, 2, rows, columns)


def test_a_constant_wind_goes_on_across_the_pole(make_shape: MakeShape) -> None:
    # A vector that is the same in all of space has the components u = −sin λ, v = −sin φ cos λ; on its way over the pole
    # φ grows beyond 90°, and the formula goes on to hold.
    rows, columns, margin = 8, 16, 3
    step = math.pi / rows
    latitude = math.pi / 2 - step * (torch.arange(-margin, rows + margin, dtype=torch.float64) + 0.5)
    longitude = 2 * math.pi / columns * torch.arange(columns, dtype=torch.float64)
    u = (-longitude.sin()).expand(len(latitude), columns)
    v = -latitude.sin()[:, None] * longitude.cos()[None, :]
    mean, deviation = torch.tensor([0.3, -0.2]).double(), torch.tensor([2.0, 0.5]).double()
    wind = (torch.stack([u, v]) - mean[:, None, None]) / deviation[:, None, None]  # normalised, [u and v, margins too]
    shape = make_shape(
        rows,
        columns,
        in_channels=2,
        pole_sign=(-1.0, -1.0),
        pole_offset=tuple((-2 * mean / deviation).tolist()),
    )
    inside = wind[:, margin:-margin].expand(1, 2, 2, rows, columns)  # the same at both input times
    found = ReflectedInput(shape, margin, margin, 0, 0)(inside)
    torch.testing.assert_close(found, torch.cat([wind, wind])[None], rtol=1e-6, atol=1e-6)
