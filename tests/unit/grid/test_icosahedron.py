"""Meshes of the sphere: how many of everything, how even, and which triangle a place lies in."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from credit_ray.grid.icosahedron import icosphere, points_on_sphere

MESHES = icosphere(4)


@pytest.mark.parametrize("refinement", range(5))
def test_counts_are_those_of_an_icosahedron_split_so_often(refinement: int) -> None:
    mesh = MESHES[refinement]
    assert len(mesh.vertices) == 10 * 4**refinement + 2
    assert len(mesh.faces) == 20 * 4**refinement
    assert mesh.edges.shape[1] == 2 * 30 * 4**refinement
    assert len(mesh.vertices) - mesh.edges.shape[1] // 2 + len(mesh.faces) == 2  # Euler


def test_graphcasts_multi_mesh_has_as_many_edges_as_its_paper_says() -> None:
    assert sum(2 * 30 * 4**r for r in range(7)) == 327_660
    assert sum(mesh.edges.shape[1] for mesh in MESHES) == sum(2 * 30 * 4**r for r in range(5))


def test_the_nodes_of_a_mesh_are_the_first_of_the_next() -> None:
    for coarse, fine in pairwise(MESHES):
        np.testing.assert_array_equal(fine.vertices[: len(coarse.vertices)], coarse.vertices)


@pytest.mark.parametrize("refinement", range(5))
def test_triangles_cover_the_sphere_once_and_are_nearly_equal(refinement: int) -> None:
    mesh = MESHES[refinement]
    a, b, c = np.moveaxis(mesh.vertices[mesh.faces], 1, 0)
    np.testing.assert_allclose(np.linalg.norm(mesh.vertices, axis=1), 1, rtol=1e-14)
    # The solid angle of a triangle (Van Oosterom and Strackee 1983); positive where it is counter-clockwise.
    numerator = np.einsum("fx,fx->f", a, np.cross(b, c))
    denominator = 1 + (a * b).sum(1) + (b * c).sum(1) + (c * a).sum(1)
    area = 2 * np.arctan2(numerator, denominator)
    assert area.min() > 0
    assert area.sum() == pytest.approx(4 * np.pi, rel=1e-12)
    assert area.max() / area.min() < 2
    sent, received = mesh.edges
    length = np.linalg.norm(mesh.vertices[sent] - mesh.vertices[received], axis=1)
    assert length.max() / length.min() < 1.35


@pytest.mark.parametrize("refinement", range(5))
def test_edges_go_both_ways_and_are_sorted_by_where_they_go(refinement: int) -> None:
    edges = MESHES[refinement].edges
    pairs = set(map(tuple, edges.T.tolist()))
    assert len(pairs) == edges.shape[1]
    assert pairs == {(b, a) for a, b in pairs}
    assert (np.diff(edges[1]) >= 0).all()
    assert set(np.bincount(edges[1]).tolist()) <= {5, 6}


@pytest.mark.parametrize("refinement", range(5))
def test_a_place_lies_in_its_triangle(refinement: int) -> None:
    generator = np.random.default_rng(refinement)
    points = points_on_sphere(
        np.concatenate([[90.0, -90.0], np.degrees(np.arcsin(generator.uniform(-1, 1, 500)))]),
        np.concatenate([[0.0, 0.0], generator.uniform(0, 360, 500)]),
    )
    mesh = MESHES[refinement]
    corners = mesh.vertices[mesh.faces_of(points)]  # [point, corner, 3]
    weights = np.linalg.solve(np.swapaxes(corners, 1, 2), points[:, :, None])[:, :, 0]
    assert weights.min() > -1e-9
    assert set(map(tuple, np.sort(mesh.faces_of(points), 1).tolist())) <= set(
        map(tuple, np.sort(mesh.faces, 1).tolist())
    )


def test_no_node_lies_on_a_pole() -> None:
    assert np.abs(MESHES[-1].vertices[:, 2]).max() < 1 - 1e-6
