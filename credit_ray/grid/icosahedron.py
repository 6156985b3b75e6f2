"""Meshes of nearly equal triangles on the sphere: an icosahedron, each of whose faces is split into four again and again.

Numpy only. Refinement r has 10·4ʳ + 2 vertices, 20·4ʳ faces and 30·4ʳ edges; the vertices of each refinement are the first of the next.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

_NEAREST_FACES = 12
"""Among the faces whose centres are nearest is the one that a point lies in: triangles are nearly equilateral."""


@dataclass(frozen=True, eq=False)
class Mesh:
    """Triangles on the unit sphere.

    Parameters
    ----------
    vertices : array [vertex, 3]
        Points of unit length.
    faces : array [face, 3]
        Their corners, counter-clockwise as seen from outside.
    """

    vertices: Array
    faces: Indices

    @property
    def edges(self) -> Indices:
        """[2, edge]: from and to, in both directions, sorted by where they go."""
        sides = np.concatenate([self.faces[:, [0, 1]], self.faces[:, [1, 2]], self.faces[:, [2, 0]]])
        both = np.unique(np.concatenate([sides, sides[:, ::-1]])[:, ::-1], axis=0)
        return np.ascontiguousarray(both[:, ::-1].T)

    def split(self) -> Mesh:
        """Each face into four, at the middles of its sides."""
        sides = np.sort(np.stack([self.faces, np.roll(self.faces, -1, axis=1)], -1), -1)  # [face, side, 2]
        unique, member = np.unique(sides.reshape(-1, 2), axis=0, return_inverse=True)
        middles = _unit(self.vertices[unique].sum(1))
        ab, bc, ca = (member.reshape(-1, 3) + len(self.vertices)).T
        a, b, c = self.faces.T
        corners = [(a, ab, ca), (b, bc, ab), (c, ca, bc), (ab, bc, ca)]
        return Mesh(
            np.concatenate([self.vertices, middles]), np.concatenate([np.stack(corner, -1) for corner in corners])
        )

    def faces_of(self, points: Array) -> Indices:
        """Corners [point, 3] of the face that each point [point, 3] of the sphere lies in."""
        corners = self.vertices[self.faces]  # [face, corner, 3]
        centres = cKDTree(_unit(corners.sum(1)))
        near: Indices = np.asarray(centres.query(points, k=min(_NEAREST_FACES, len(self.faces)))[1], dtype=np.int64)
        # A point lies inside where it is on the inner side of all three planes through a side and the centre of the sphere.
        normals = np.cross(corners, np.roll(corners, -1, axis=1))  # [face, side, 3]
        inside = np.empty(near.shape)
        for rank in range(near.shape[1]):
            inside[:, rank] = np.einsum("psx,px->ps", normals[near[:, rank]], points).min(1)
        best = near[np.arange(len(points)), inside.argmax(1)]
        return self.faces[best]


def icosphere(refinement: int) -> list[Mesh]:
    """The icosahedron and its refinements, coarsest first: `refinement` + 1 meshes.

    Two faces are level on top and bottom, so that no vertex lies on a pole, where rows of cells crowd.
    """
    golden = (1 + np.sqrt(5)) / 2
    ones, phis = np.meshgrid([1.0, -1.0], [golden, -golden], indexing="ij")
    pairs = np.stack([np.zeros(4), ones.ravel(), phis.ravel()], -1)
    vertices = _unit(np.concatenate([np.roll(pairs, turn, axis=1) for turn in range(3)]))
    tree = cKDTree(vertices)
    side = 2 / np.sqrt(1 + golden**2)
    around: Any = tree.query_ball_point(vertices, 1.01 * side)
    near = [set(neighbours) - {i} for i, neighbours in enumerate(around)]
    faces = [(a, b, c) for a in range(12) for b in near[a] for c in near[a] & near[b] if a < b < c]
    outward = [(a, b, c) if np.linalg.det(vertices[[a, b, c]]) > 0 else (a, c, b) for a, b, c in sorted(faces)]
    top = _unit(vertices[list(outward[0])].sum(0))
    meshes = [Mesh(vertices @ _turning(top).T, np.array(outward, dtype=np.int64))]
    for _ in range(refinement):
        meshes.append(meshes[-1].split())
    return meshes


def points_on_sphere(latitude: Array, longitude: Array) -> Array:
    """Unit vectors of places given in degrees: two arrays of one shape → [*shape, 3]."""
    phi, lam = np.radians(latitude), np.radians(longitude)
    return np.stack([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)], -1)


def _unit(points: Array) -> Array:
    return points / np.linalg.norm(points, axis=-1, keepdims=True)


def _turning(axis: Array) -> Array:
    """A rotation that takes a unit vector to the north pole: [3, 3]."""
    east = _unit(np.cross([0.0, 1.0, 0.0], axis))
    return np.stack([east, np.cross(axis, east), axis])
