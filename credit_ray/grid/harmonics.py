"""Spherical harmonic transforms, and what they make easy: derivatives, winds, spectra.

Conventions. Yₗᵐ = P̄ₗᵐ(sin φ) exp(imλ) is orthonormal on the unit sphere and has the Condon–Shortley phase, as in
`scipy.special.sph_harm_y`. A real field is f = Σₗ (aₗ₀ Yₗ⁰ + 2 Re Σₘ aₗₘ Yₗᵐ) with m > 0, so that
∫f² dΩ = Σₗ (|aₗ₀|² + 2 Σₘ |aₗₘ|²).
Coefficients are [..., l, m], 0 ≤ l, m ≤ lmax, zero where m > l. Derivatives are per metre on the Earth.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor, nn

from credit_ray.grid.latlon import EARTH_RADIUS_M, LatLonGrid
from credit_ray.grid.legendre import associated_legendre, exact_degree, quadrature, spin_legendre


class SphericalHarmonics(nn.Module):
    """Transforms between fields on a global grid and spherical harmonic coefficients.

    A Fourier transform along each row, then for each order a matrix product over the rows; both for all leading
    dimensions at once. Fields may be of any floating dtype; results are in the precision of the tables.

    Parameters
    ----------
    grid : LatLonGrid
        Global, with Gaussian or equiangular rows; any longitude of origin.
    lmax : int, optional
        Highest degree and order. By default the highest that is exact, so that analysis undoes synthesis: nlat − 1 on a
        Gaussian grid, ⌊(nlat − 1)/2⌋ on an equiangular one, and at most ⌊(nlon − 1)/2⌋.
    dtype : torch.dtype
        Precision of the tables: float32 or float64.
    vector : bool
        Whether winds and gradients are wanted: their table is twice as large as the scalars' (lmax + 1)² nlat numbers.

    Raises
    ------
    DataError
        For a grid that is not global, or has other rows.
    ValueError
        For a degree that the grid does not resolve.
    """

    quadrature_weights: Tensor
    scalar_table: Tensor
    spin_table: Tensor | None
    eigenvalues: Tensor
    inverse_eigenvalues: Tensor
    origin: Tensor | None

    def __init__(
        self, grid: LatLonGrid, lmax: int | None = None, dtype: torch.dtype = torch.float32, *, vector: bool = True
    ) -> None:
        super().__init__()
        most = exact_degree(grid)
        if lmax is None:
            lmax = most
        if not 0 <= lmax <= most:
            raise ValueError(f"degree {lmax} is not resolved by a {grid.describe()}: lmax must be from 0 to {most}.")
        self.grid = grid
        self.lmax = lmax
        scalar, spin = _tables(grid, lmax, dtype, vector)
        degree = torch.arange(lmax + 1, dtype=torch.float64)[:, None]
        eigenvalues = -degree * (degree + 1) / EARTH_RADIUS_M**2
        buffers = {
            "quadrature_weights": torch.tensor(2 * math.pi * quadrature(grid)[1])[:, None],  # [lat, 1]
            "scalar_table": scalar,  # [m, l, lat]
            "spin_table": spin,  # [2, m, l, lat]
            "eigenvalues": eigenvalues,  # [l, 1]
            "inverse_eigenvalues": torch.where(degree == 0, 0, 1 / eigenvalues),
            "origin": _origin(grid, lmax),  # [m, 2]
        }
        for name, value in buffers.items():
            self.register_buffer(name, None if value is None else value.to(dtype), persistent=False)

    def analysis(self, field: Tensor) -> Tensor:
        """Coefficients of a field: real [..., lat, lon] → complex [..., l, m]."""
        return self._project("...kmc,mlk->...lmc", self._fourier(field), self.scalar_table)

    def synthesis(self, coefficients: Tensor) -> Tensor:
        """The field of given coefficients: complex [..., l, m] → real [..., lat, lon]."""
        return self._rows_to_field(self._project("...lmc,mlk->...kmc", coefficients, self.scalar_table))

    def laplacian(self, coefficients: Tensor) -> Tensor:
        """∇²f in m⁻², as coefficients."""
        return coefficients * self.eigenvalues

    def inverse_laplacian(self, coefficients: Tensor) -> Tensor:
        """f with ∇²f = g and global mean zero, as coefficients: the mean of g, which no f has, is left out."""
        return coefficients * self.inverse_eigenvalues

    def gradient(self, coefficients: Tensor) -> tuple[Tensor, Tensor]:
        """Eastward and northward derivative of a scalar, per metre: complex [..., l, m] → two real [..., lat, lon]."""
        return self._components(1j * coefficients, -1j * coefficients)

    def wind(self, vorticity: Tensor, divergence: Tensor) -> tuple[Tensor, Tensor]:
        """Eastward and northward wind from coefficients of vorticity and divergence.

        Parameters
        ----------
        vorticity, divergence : Tensor [..., l, m]
            In s⁻¹. Their global means, which no wind has, are left out.

        Returns
        -------
        u, v : Tensor [..., lat, lon]
            In m s⁻¹.
        """
        stream, potential = self.inverse_laplacian(vorticity), self.inverse_laplacian(divergence)
        return self._components(1j * potential - stream, -1j * potential - stream)

    def vorticity_divergence(self, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Coefficients of vorticity and divergence of a wind: two real [..., lat, lon] → two complex [..., l, m].

        In s⁻¹ for m s⁻¹. For any vector field: with a flux in place of the wind, the second is the flux's divergence.
        """
        u, v = self._fourier(u), self._fourier(v)
        both = torch.stack([u + 1j * v, u - 1j * v], dim=-3)  # [..., 2, lat, m]
        plus, minus = self._project("...skmc,smlk->...slmc", both, self._spin()).unbind(-3)
        scale = 0.5 / EARTH_RADIUS_M
        return (plus + minus) * scale, (plus - minus) * (1j * scale)

    def power(self, coefficients: Tensor) -> Tensor:
        """Power by degree: complex [..., l, m] → real [..., l], whose sum is the mean of f² over the sphere."""
        power = coefficients.real.square() + coefficients.imag.square()
        return (2 * power.sum(-1) - power[..., 0]) / (4 * math.pi)

    def extra_repr(self) -> str:
        return f"{self.grid.describe()}, lmax={self.lmax}, {self.scalar_table.dtype}"

    def _components(self, plus: Tensor, minus: Tensor) -> tuple[Tensor, Tensor]:
        """u and v from the coefficients of u + iv and u − iv in the spin functions, times the Earth's radius."""
        both = torch.stack([plus, minus], dim=-3) / EARTH_RADIUS_M  # [..., 2, l, m]
        plus, minus = self._project("...slmc,smlk->...skmc", both, self._spin()).unbind(-3)
        field = self._rows_to_field(torch.stack([(plus + minus) / 2, (plus - minus) * -0.5j], dim=-3))
        return field[..., 0, :, :], field[..., 1, :, :]

    def _fourier(self, field: Tensor) -> Tensor:
        """Weighted Fourier coefficients of each row: [..., lat, lon] → [..., lat, m]."""
        field = field.to(self.scalar_table.dtype) * self.quadrature_weights
        modes = torch.fft.rfft(field, norm="forward")[..., : self.lmax + 1]
        return modes if self.origin is None else modes * torch.view_as_complex(self.origin).conj()

    def _rows_to_field(self, modes: Tensor) -> Tensor:
        """Sum of each row's Fourier modes: [..., lat, m] → [..., lat, lon]."""
        if self.origin is not None:
            modes = modes * torch.view_as_complex(self.origin)
        return torch.fft.irfft(modes, n=self.grid.shape[1], norm="forward")

    def _project(self, equation: str, x: Tensor, table: Tensor) -> Tensor:
        """A real table times complex coefficients, whose real and imaginary parts are two more columns."""
        with torch.autocast(x.device.type, enabled=False):  # sums over hundreds of rows need all the digits
            return torch.view_as_complex(torch.einsum(equation, torch.view_as_real(x), table).contiguous())

    def _spin(self) -> Tensor:
        if self.spin_table is None:
            raise ValueError("these SphericalHarmonics were made with vector=False: winds need vector=True.")
        return self.spin_table


def _origin(grid: LatLonGrid, lmax: int) -> Tensor | None:
    """The phase exp(imλ) of the first column, which Fourier transforms take for zero: real and imaginary, [m, 2].

    None where it is zero. Real, because `Module.to(dtype)` would cut the imaginary part off a complex buffer.
    """
    if grid.longitude[0] == 0:
        return None
    angle = math.radians(grid.longitude[0]) * torch.arange(lmax + 1, dtype=torch.float64)
    return torch.stack([angle.cos(), angle.sin()], dim=-1)


@lru_cache(maxsize=4)
def _tables(grid: LatLonGrid, lmax: int, dtype: torch.dtype, vector: bool) -> tuple[Tensor, Tensor | None]:
    """Legendre tables for the rows of a grid, shared by all instances in a process; float64 originals are let go."""
    scalar = associated_legendre(lmax, quadrature(grid)[0])
    spin = torch.from_numpy(spin_legendre(scalar)).to(dtype) if vector else None
    return torch.from_numpy(scalar).to(dtype), spin
