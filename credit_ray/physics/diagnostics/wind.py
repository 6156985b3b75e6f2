"""What follows from a horizontal wind: its speed, vorticity, divergence, and how its kinetic energy is shared out among scales."""

from __future__ import annotations

import torch
from torch import Tensor

from credit_ray.grid.harmonics import SphericalHarmonics


def wind_speed(u: Tensor, v: Tensor) -> Tensor:
    """√(u² + v²), in the units of the components; in a calm its gradient is zero."""
    return torch.linalg.vector_norm(torch.stack([u, v]), dim=0)


def vorticity(u: Tensor, v: Tensor, harmonics: SphericalHarmonics) -> Tensor:
    """Relative vorticity, k · ∇ × (u, v): two [..., lat, lon] in m s⁻¹ → [..., lat, lon] in s⁻¹.

    By vector harmonics up to the degree that the grid resolves, hence exact up to there, poles included: Swarztrauber (1996),
    "Spectral transform methods for solving the shallow-water equations on the sphere".
    """
    return harmonics.synthesis(harmonics.vorticity_divergence(u, v)[0])


def divergence(u: Tensor, v: Tensor, harmonics: SphericalHarmonics) -> Tensor:
    """Horizontal divergence, ∇ · (u, v): two [..., lat, lon] in m s⁻¹ → [..., lat, lon] in s⁻¹. As `vorticity`."""
    return harmonics.synthesis(harmonics.vorticity_divergence(u, v)[1])


def kinetic_energy_spectrum(u: Tensor, v: Tensor, harmonics: SphericalHarmonics) -> tuple[Tensor, Tensor]:
    """Kinetic energy by total wavenumber, of the rotational and of the divergent wind.

    E_l = R²/(2 l(l+1)) times the power of vorticity, or of divergence, at degree l: Koshyk and Hamilton (2001), after Lambert (1984).
    Their sum over both and over all degrees is the mean of ½(u² + v²) over the sphere.

    Parameters
    ----------
    u, v : Tensor [..., lat, lon]
        m s⁻¹.

    Returns
    -------
    rotational, divergent : Tensor [..., l]
        m² s⁻², l from 0, where both are zero.
    """
    inverse = -harmonics.inverse_eigenvalues[:, 0] / 2  # [l]
    rotation, expansion = harmonics.vorticity_divergence(u, v)
    return harmonics.power(rotation) * inverse, harmonics.power(expansion) * inverse
