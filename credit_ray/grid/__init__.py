"""Geometry of the sphere: grids and their exact cell areas, vertical coordinates, padding across the poles, spherical harmonics.

* `latlon.LatLonGrid`: coordinates, areas, topology of a latitude–longitude grid; `latlon.EARTH_RADIUS_M`.
* `gaussian.gauss_legendre`: nodes and weights of Gaussian latitudes; `legendre`: the tables of spectral transforms.
* `vertical.VerticalCoordinate`: levels, interfaces, column integrals; `levels`: coordinates from pressure, sigma, hybrid, height or depth levels.
* `padding.SphericalPadding`, `padding.spherical_pad` (torch): what lies beyond the edges of a rectangle of the sphere.
* `harmonics.SphericalHarmonics` (torch): spectral transforms, derivatives and winds on the sphere.
"""

from __future__ import annotations

from credit_ray.grid.latlon import EARTH_RADIUS_M, LatLonGrid

__all__ = ["EARTH_RADIUS_M", "LatLonGrid"]
