"""SFNO: convolutions on the sphere as filters of spherical harmonics (Bonev et al. 2023, arXiv:2306.03838).

In each block every channel is expanded in spherical harmonics; the coefficients of each degree are mixed among the channels by a matrix of
that degree; and what comes back goes through a feed-forward layer at each place. That is a convolution as wide as the globe, with no
seam and no pole. ACE and ACE2 (Watt-Meyer et al. 2023, arXiv:2310.02074, and 2024, arXiv:2411.11268) run for decades on it.

The matrices are complex, as in the paper: their phase shifts a wave along its row, as a real kernel of distance alone could not, and
waves on a turning planet do move. Layer norm is over the channels of each place rather than over the map. A component of a vector
is expanded like a scalar.

Tested sizes (parameters by a test):

| | width | depth | degree | grid | parameters |
| --- | --- | --- | --- | --- | --- |
| default | 64 | 4 | 31 | 32×64 Gaussian | 1.16 M |
| like ACE2 | 384 | 8 | 179 | 180×360 Gaussian, 50 channels in and out | 431 M |
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from credit_ray.grid.harmonics import SphericalHarmonics
from credit_ray.models.arguments import NetworkShape, SFNOArguments
from credit_ray.models.sphere import ChannelNorm, Topology, ZeroHead


class SpectralFilter(nn.Module):
    """[batch, channel, lat, lon] → the same: a matrix for each degree, on the channels of the coefficients.

    Parameters
    ----------
    width : int
        Channels.
    harmonics : SphericalHarmonics
        The transforms; shared by all filters of a network.
    """

    def __init__(self, width: int, harmonics: SphericalHarmonics) -> None:
        super().__init__()
        self.harmonics = harmonics
        scale = 1 / math.sqrt(2 * width)
        self.weight = nn.Parameter(scale * torch.randn(harmonics.lmax + 1, width, width, 2))  # [l, in, out, re and im]

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            coefficients = self.harmonics.analysis(x)  # [batch, in, l, m]
            mixed = torch.einsum("bilm,lio->bolm", coefficients, torch.view_as_complex(self.weight))
            return self.harmonics.synthesis(mixed)


class Block(nn.Module):
    """x + mlp(norm(gelu(filter(norm(x)) + linear(norm(x)))))."""

    def __init__(self, arguments: SFNOArguments, harmonics: SphericalHarmonics) -> None:
        super().__init__()
        width, hidden = arguments.width, arguments.expansion * arguments.width
        self.before, self.after = ChannelNorm(width), ChannelNorm(width)
        self.filter = SpectralFilter(width, harmonics)
        self.beside = nn.Conv2d(width, width, 1)
        self.up, self.down = nn.Conv2d(width, hidden, 1), nn.Conv2d(hidden, width, 1)
        self.dropout = nn.Dropout2d(arguments.dropout)

    def forward(self, x: Tensor) -> Tensor:
        y = self.before(x)
        y = self.after(F.gelu(self.filter(y) + self.beside(y)))
        return x + self.down(self.dropout(F.gelu(self.up(y))))


class SFNO(nn.Module):
    """[batch, time, in_channels, lat, lon] → [batch, out_channels, lat, lon], on a global Gaussian or equiangular grid.

    Parameters
    ----------
    arguments : SFNOArguments
        Width, depth, inner resolution.
    shape : NetworkShape
        Of the data.
    """

    def __init__(self, arguments: SFNOArguments, shape: NetworkShape) -> None:
        super().__init__()
        width, channels = arguments.width, shape.history * shape.in_channels
        grids, lmax = arguments.grids(shape), arguments.lmax(shape)
        self.topology, self.coarsens = Topology.of(shape), arguments.coarsening > 1
        self.outer = SphericalHarmonics(grids[0], lmax, vector=False)
        self.inner = SphericalHarmonics(grids[1], lmax, vector=False)  # of one grid, they share their tables
        self.encode = nn.Sequential(nn.Conv2d(channels, width, 1), nn.GELU(), nn.Conv2d(width, width, 1))
        self.place = nn.Parameter(torch.zeros(width, shape.grid[0], 1))  # [channel, lat, 1]
        self.blocks = nn.ModuleList(Block(arguments, self.inner) for _ in range(arguments.depth))
        self.join = nn.Conv2d(
            width + channels, width, 1
        )  # the input goes past the blocks: what they cannot resolve is kept
        self.head = ZeroHead(width, shape.out_channels)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1, 2)
        y = self.encode(x) + self.topology.own(self.place)
        if self.coarsens:
            y = self.inner.synthesis(self.outer.analysis(y))
        for block in self.blocks:
            y = block(y)
        if self.coarsens:
            y = self.outer.synthesis(self.inner.analysis(y))
        return self.head(F.gelu(self.join(torch.cat([y.to(x.dtype), x], 1))))
