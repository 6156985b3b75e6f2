"""Gauss–Legendre latitudes and weights: the quadrature that makes spectral transforms on a Gaussian grid exact."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

_NEWTON_STEPS = 6  # convergence is quadratic from a start that is good to 1/nlat²: four are enough, two are for comfort


@lru_cache(maxsize=32)
def gauss_legendre(count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Nodes and weights of the quadrature that integrates polynomials of degree 2·count − 1 over [−1, 1] exactly.

    Newton's method on the Legendre polynomial, for all nodes at once: O(count²); an eigenvalue solver is O(count³).

    Parameters
    ----------
    count : int
        Number of nodes.

    Returns
    -------
    nodes, weights : arrays [count], float64, read-only
        Nodes are sines of latitude, descending (north to south); weights sum to two.
    """
    if count < 1:
        raise ValueError(f"a quadrature needs at least one node, not {count}")
    # Newton in colatitude rather than in its cosine: near the poles the cosine has no digits left to improve.
    colatitude = np.pi * (np.arange(count) + 0.75) / (count + 0.5)
    for _ in range(_NEWTON_STEPS):
        value, below = _legendre(count, np.cos(colatitude))
        # P'ₙ(x) = n (Pₙ₋₁ − x Pₙ)/(1 − x²), and dPₙ/dθ = −sin θ P'ₙ
        slope = -count * (below - np.cos(colatitude) * value) / np.sin(colatitude)
        colatitude = colatitude - value / slope
    nodes = np.cos(colatitude)
    nodes = (nodes - nodes[::-1]) / 2  # the two hemispheres are mirror images, to the last bit
    _, below = _legendre(count, nodes)
    weights = 2 * np.sin(colatitude) ** 2 / (count * below) ** 2
    weights = (weights + weights[::-1]) / weights.sum()
    for array in (nodes, weights):
        array.setflags(write=False)
    return nodes, weights


def gauss_legendre_latitudes(nlat: int) -> NDArray[np.float64]:
    """Latitudes of a Gaussian grid, degrees, north to south: [nlat]."""
    return np.degrees(np.arcsin(gauss_legendre(nlat)[0]))


def _legendre(degree: int, x: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The Legendre polynomials of `degree` and `degree` − 1 at x, by Bonnet's recurrence."""
    value, below = x, np.ones_like(x)
    for n in range(2, degree + 1):
        value, below = ((2 * n - 1) * x * value - (n - 1) * below) / n, value
    return value, below
