"""Associated Legendre functions at the rows of a grid, and the quadrature that makes them orthogonal there.

Numpy in float64 throughout; who needs less casts the result.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from credit_ray.errors import DataError
from credit_ray.grid.gaussian import gauss_legendre, gauss_legendre_colatitudes
from credit_ray.grid.latlon import TOLERANCE_DEGREES, LatLonGrid

Array = NDArray[np.float64]


def exact_degree(grid: LatLonGrid) -> int:
    """The highest degree up to which transforms on `grid` lose nothing.

    nlat − 1 on a Gaussian grid, ⌊(nlat − 1)/2⌋ on an equiangular one, and no more than the columns resolve.
    """
    nlat, nlon = grid.shape
    rows = nlat - 1 if grid.kind == "gaussian" else (nlat - 1) // 2
    return min(rows, (nlon - 1) // 2)


def quadrature(grid: LatLonGrid) -> tuple[Array, Array]:
    """Colatitude and weight of each row of `grid`: Gauss–Legendre, Clenshaw–Curtis (poles) or Fejér (no poles).

    Returns
    -------
    colatitude : array [lat]
        Radians from the north pole: exact, where the grid's own coordinates may have been rounded.
    weights : array [lat]
        They sum to two.

    Raises
    ------
    DataError
        For a grid that is not global, or whose rows are neither Gaussian nor at equal steps.
    """
    nlat = grid.shape[0]
    if grid.periodic and grid.kind == "gaussian":
        return gauss_legendre_colatitudes(nlat), gauss_legendre(nlat)[1]
    if not (grid.periodic and grid.reaches_poles and np.ptp(np.diff(grid.latitude)) <= 2 * TOLERANCE_DEGREES):
        raise DataError(f"spherical harmonics need a global Gaussian or equiangular grid; this is a {grid.describe()}.")
    first = 0.0 if grid.pole_points else np.pi / nlat / 2
    colatitude = np.linspace(first, np.pi - first, nlat, dtype=np.float64)
    return colatitude, _equiangular_weights(colatitude)


def _equiangular_weights(colatitude: Array) -> Array:
    """Weights that integrate polynomials in sin φ of degree nlat − 1 exactly.

    Those of Clenshaw and Curtis, and those of Fejér, follow from one demand: that each cos nθ is integrated against
    sin θ as it should be, to (1 + (−1)ⁿ)/(1 − n²).
    """
    n = np.arange(len(colatitude))
    even = n % 2 == 0
    integrals = np.where(even, 2.0 / np.where(even, 1.0 - n.astype(float) ** 2, 1.0), 0.0)
    return np.linalg.solve(np.cos(np.outer(n, colatitude)), integrals)


def associated_legendre(lmax: int, colatitude: Array) -> Array:
    """P̄ₗᵐ(cos θ) for 0 ≤ m ≤ l ≤ lmax, zero where m > l: [m, l, lat].

    Orthonormal on the unit sphere together with exp(imλ), with the Condon–Shortley phase.

    The recurrence in l at fixed m, started from P̄ₘᵐ ∝ sinᵐ θ. It is stable, and loses nothing to underflow below a
    degree of about 1900: values at degree l are negligible there wherever sinᵐ θ is too small for float64.
    """
    x, sine = np.cos(colatitude), np.sin(colatitude)
    table = np.zeros((lmax + 1, lmax + 1, len(x)))
    table[0, 0] = np.sqrt(1 / (4 * np.pi))
    for m in range(1, lmax + 1):
        table[m, m] = -np.sqrt((2 * m + 1) / (2 * m)) * sine * table[m - 1, m - 1]
    for degree in range(1, lmax + 1):
        order = np.arange(degree, dtype=np.float64)[:, None]
        rise = np.sqrt((4 * degree**2 - 1) / (degree**2 - order**2))
        value = x * table[:degree, degree - 1]
        if degree > 1:
            fall = np.sqrt(np.maximum((degree - 1) ** 2 - order**2, 0) / (4 * (degree - 1) ** 2 - 1))
            value -= fall * table[:degree, degree - 2]
        table[:degree, degree] = rise * value
    return table


def spin_legendre(scalar: Array) -> Array:
    """∂P̄/∂φ + m P̄/cos φ and ∂P̄/∂φ − m P̄/cos φ, in which u + iv and u − iv are expanded: [2, m, l, lat].

    Made of neighbours in order and degree of the `scalar` functions [m, l, lat], with no division by cos φ, which would
    fail at the poles. From the ladder operators, ∂P̄ₗᵐ/∂φ = ½(√((l+m)(l−m+1)) P̄ₗᵐ⁻¹ − √((l−m)(l+m+1)) P̄ₗᵐ⁺¹) and
    m P̄ₗᵐ/cos φ = −½ √((2l+1)/(2l−1)) (√((l−m)(l−m−1)) P̄ₗ₋₁ᵐ⁺¹ + √((l+m)(l+m−1)) P̄ₗ₋₁ᵐ⁻¹).
    """
    lmax = scalar.shape[1] - 1
    m = np.arange(lmax + 1.0)[:, None, None]
    degree = np.arange(lmax + 1.0)[None, :, None]
    up, down = np.zeros_like(scalar), np.zeros_like(scalar)  # orders m + 1 and m − 1
    up[:-1] = scalar[1:]
    down[1:] = scalar[:-1]
    if lmax:
        down[0] = -scalar[1]  # P̄ₗ⁻¹ = −P̄ₗ¹

    def root(value: Array) -> Array:
        return np.sqrt(np.maximum(value, 0))

    slope = (root((degree + m) * (degree - m + 1)) * down - root((degree - m) * (degree + m + 1)) * up) / 2
    below = root((degree - m) * (degree - m - 1))[:, 1:] * up[:, :-1]
    below += root((degree + m) * (degree + m - 1))[:, 1:] * down[:, :-1]
    over_cosine = np.zeros_like(scalar)
    degree_1 = degree[:, 1:]
    over_cosine[:, 1:] = -np.sqrt((2 * degree_1 + 1) / (2 * degree_1 - 1)) / 2 * below
    valid = m <= degree
    return np.stack([slope + over_cosine, slope - over_cosine]) * valid
