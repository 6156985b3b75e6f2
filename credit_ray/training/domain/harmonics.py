"""Spherical harmonics of bands: rows are transformed where they are, and sums over all rows are made by whoever has the wave number.

A transform is one of Fourier along each row, which a band has whole, and one of Legendre over all rows, for each order m by itself. In
between, the workers of a domain change bands of rows for sets of orders, and back (as in the distributed transforms of Bonev et al. 2023,
arXiv:2306.03838).
"""

from __future__ import annotations

from functools import partial

from torch import Tensor

from credit_ray.grid.harmonics import SphericalHarmonics
from credit_ray.training.domain.bands import Bands
from credit_ray.training.domain.exchange import Ring, exchanged


def share_harmonics(harmonics: SphericalHarmonics, bands: Bands, ring: Ring) -> None:
    """Let transforms of scalars take and give bands of the grid, and this worker's orders of the coefficients."""
    orders = Bands.cut(harmonics.lmax + 1, ring.size, unit=1)
    mine = orders.of(ring.index)
    harmonics.quadrature_weights = harmonics.quadrature_weights[bands.of(ring.index)].clone()
    harmonics.scalar_table = harmonics.scalar_table[mine].clone()
    harmonics.analysis = partial(_analysis, harmonics, bands, orders, ring)  # type: ignore[method-assign]
    harmonics.synthesis = partial(_synthesis, harmonics, bands, orders, ring)  # type: ignore[method-assign]


def _analysis(harmonics: SphericalHarmonics, bands: Bands, orders: Bands, ring: Ring, field: Tensor) -> Tensor:
    """[..., a band's rows, lon] → complex [..., l, own orders]."""
    modes = exchanged(harmonics._fourier(field), -2, bands.rows, -1, orders.rows, ring)  # [..., lat, own orders]
    return harmonics._project("...kmc,mlk->...lmc", modes, harmonics.scalar_table)


def _synthesis(harmonics: SphericalHarmonics, bands: Bands, orders: Bands, ring: Ring, coefficients: Tensor) -> Tensor:
    """Complex [..., l, own orders] → [..., a band's rows, lon]."""
    modes = harmonics._project("...lmc,mlk->...kmc", coefficients, harmonics.scalar_table)
    return harmonics._rows_to_field(exchanged(modes, -1, orders.rows, -2, bands.rows, ring))
