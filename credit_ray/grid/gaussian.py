"""Gauss–Legendre latitudes and weights: the quadrature that makes spectral transforms on a Gaussian grid exact."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

_NEWTON_STEPS = 6  # convergence is quadratic from a start that is good to 1/nlat²: four are enough, two are for comfort


@lru_cache(maxsize=32)
def gauss_legendre(count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Nodes and weights of the quadrature that integrates polynomials of degree 2·count − 1 over [−1, 1] exactly.

    Parameters
    ----------
    count : int
        Number of nodes.

    Returns
    -------
    nodes, weights : arrays [count], float64, read-only
        Nodes are sines of latitude, descending (north to south); weights sum to two.
    """
    colatitude, weights = _north(count)
    half = count // 2
    nodes = np.cos(colatitude)
    if count % 2:
        nodes[-1] = 0.0
    # The two hemispheres are mirror images, to the last bit.
    nodes = np.concatenate([nodes, -nodes[:half][::-1]])
    weights = np.concatenate([weights, weights[:half][::-1]])
    weights *= 2 / weights.sum()
    for array in (nodes, weights):
        array.setflags(write=False)
    return nodes, weights


def gauss_legendre_colatitudes(nlat: int) -> NDArray[np.float64]:
    """Colatitudes of a Gaussian grid, radians from the north pole: [nlat]. Near the poles the nodes have lost digits that these have."""
    north = _north(nlat)[0]
    return np.concatenate([north, np.pi - north[: nlat // 2][::-1]])


def gauss_legendre_latitudes(nlat: int) -> NDArray[np.float64]:
    """Latitudes of a Gaussian grid, degrees, north to south: [nlat]."""
    return np.degrees(np.arcsin(gauss_legendre(nlat)[0]))


def _north(count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Colatitude and weight of the nodes from the north pole to the equator.

    Newton's method on the Legendre polynomial, for all nodes at once: O(count²); an eigenvalue solver is O(count³).
    """
    if count < 1:
        raise ValueError(f"a quadrature needs at least one node, not {count}")
    # In colatitude rather than in its cosine: near the poles the cosine has no digits left to improve.
    colatitude: NDArray[np.float64] = np.pi * (np.arange((count + 1) // 2, dtype=np.float64) + 0.75) / (count + 0.5)
    for _ in range(_NEWTON_STEPS):
        value, slope = _legendre(count, colatitude)
        colatitude = colatitude - value / slope
    if count % 2:
        colatitude[-1] = np.pi / 2
    _, slope = _legendre(count, colatitude)
    return colatitude, 2 / slope**2


def _legendre(degree: int, colatitude: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The Legendre polynomial Pₙ(cos θ) and its derivative by θ, n the `degree`.

    By Bonnet's recurrence for the differences Pₖ − Pₖ₋₁, which needs 1 − cos θ = 2 sin² ½θ alone: towards the pole, where cos θ has
    lost the digits that matter, the recurrence for the polynomials themselves is off by n² times the rounding error.
    """
    below_one = 2 * np.sin(colatitude / 2) ** 2
    value, step = np.ones_like(colatitude), np.zeros_like(colatitude)
    for n in range(degree):
        step = (n * step - (2 * n + 1) * below_one * value) / (n + 1)
        value = value + step
    # dPₙ/dθ = −n (Pₙ₋₁ − cos θ Pₙ)/sin θ
    return value, degree * (step - below_one * value) / np.sin(colatitude)
