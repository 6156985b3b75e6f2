"""FuXi: a transformer of shifted windows between one step down and one step up.

Chen et al. 2023 (npj Clim. Atmos. Sci. 6, 190): patches of all input times together become tokens (cube embedding), which a strided
convolution halves; Swin-V2 blocks work on them; their result joins what went in, and is doubled again. CREDIT's version of it (Schreck et
al. 2025, npj Clim. Atmos. Sci. 8, 239) is what the options `inner_edges: zero` and `decoder: patch` give.

What differs by default: convolutions and windows see no edges, and the grid's own cells join the output through filters that leave no
pattern of the patches.
"""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from credit_ray.models.arguments import FuXiArguments, NetworkShape
from credit_ray.models.decoders import Decode, conv_norm_silu_twice
from credit_ray.models.margins import InputMargins, padded
from credit_ray.models.shifted_windows import SwinBlock
from credit_ray.models.spectral import hold_spectral_norm
from credit_ray.models.sphere import SphericalConv, Topology, ZeroHead


class CubeEmbedding(nn.Module):
    """Patches of all times together → normalised tokens [batch, channel, lat, lon]."""

    def __init__(self, in_channels: int, width: int, patch: tuple[int, int]) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_channels, width, patch, patch)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.proj(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Halving(nn.Module):
    """Half as many rows and columns, rounded up where zeros are seen beyond the edges, and two convolutions that are added."""

    def __init__(self, width: int, groups: int, fine: Topology, coarse: Topology) -> None:
        super().__init__()
        self.fine = fine
        # Of four cells, a token is the middle; CREDIT's are of three.
        self.conv = nn.Conv2d(width, width, 3, 2, 1) if fine.zero else nn.Conv2d(width, width, 4, 2)
        self.block = conv_norm_silu_twice(width, groups, coarse)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x if self.fine.zero else self.fine.pad(x, 1, 1, 1, 1))
        return x + self.block(x)


class PatchDecoder(nn.Module):
    """Twice as many rows and columns of tokens, and from each the cells of its patch."""

    def __init__(self, arguments: FuXiArguments, out_channels: int, fine: Topology) -> None:
        super().__init__()
        self.patch = arguments.patch
        self.conv = nn.ConvTranspose2d(2 * arguments.width, arguments.width, 2, 2)
        self.block = conv_norm_silu_twice(arguments.width, arguments.groups, fine)
        self.fc = nn.Linear(arguments.width, out_channels * self.patch[0] * self.patch[1])

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        x = self.fc((x + self.block(x)).permute(0, 2, 3, 1)).unflatten(-1, (*self.patch, -1))
        return x.permute(0, 5, 1, 3, 2, 4).flatten(4, 5).flatten(2, 3)  # [batch, channel, lat · patch, lon · patch]


class SmoothDecoder(nn.Module):
    """Up to the patches' tokens and on to the grid's cells, joining both on the way."""

    def __init__(
        self, arguments: FuXiArguments, shape: NetworkShape, maps: tuple[Topology, Topology, Topology]
    ) -> None:
        super().__init__()
        cells, tokens, halved = maps
        width, fine = arguments.width, arguments.fine_width
        self.read = SphericalConv(shape.history * shape.in_channels, fine, 3, cells)
        self.climb = Decode(2 * width, width, width, 2, halved, tokens)
        self.refine = Decode(width, fine, fine, arguments.patch[0], tokens, cells)
        self.head = ZeroHead(fine, shape.out_channels)

    def forward(self, x: Tensor, tokens: Tensor, cells: Tensor) -> Tensor:
        return self.head(self.refine(self.climb(x, tokens), self.read(cells)))


class FuXi(nn.Module):
    """[batch, time, in_channels, lat, lon] → [batch, out_channels, lat, lon], on a grid of any size.

    Parameters
    ----------
    arguments : FuXiArguments
        Width, depth, windows.
    shape : NetworkShape
        Of the data.
    """

    def __init__(self, arguments: FuXiArguments, shape: NetworkShape) -> None:
        super().__init__()
        self.margins, self.window = arguments.padding(shape), arguments.window
        self.south_first = arguments.south_first
        self.pad = InputMargins(shape, self.margins, arguments.beyond)
        zero = arguments.inner_edges == "zero"
        cells = padded(Topology.of(shape), self.margins, zero)
        rows, columns = cells.rows // arguments.patch[0], cells.columns // arguments.patch[1]
        tokens = replace(cells, rows=rows, columns=columns, north_point=False, south_point=False)
        halved = replace(tokens, rows=-(-rows // 2), columns=-(-columns // 2))
        self.size = (halved.rows, halved.columns)
        whole = tuple(n + -n % self.window for n in self.size)
        width = arguments.width
        self.embed = CubeEmbedding(shape.history * shape.in_channels, width, arguments.patch)
        self.down = Halving(width, arguments.groups, tokens, halved)
        periodic = halved.periodic and not zero
        self.blocks = nn.ModuleList(
            SwinBlock(width, arguments.heads, self.window, (whole[0], whole[1]), shifted=n % 2 == 1, periodic=periodic)
            for n in range(arguments.depth)
        )
        self.smooth = (
            SmoothDecoder(arguments, shape, (cells, tokens, halved)) if arguments.decoder == "smooth" else None
        )
        self.patches = PatchDecoder(arguments, shape.out_channels, tokens) if arguments.decoder == "patch" else None
        if arguments.spectral_norm:
            hold_spectral_norm(self, ("embed", *arguments.spectral_norm_except))

    def forward(self, x: Tensor) -> Tensor:
        grid = x.shape[-2:]
        if self.south_first:
            x = x.flip(-2)
        cells = self.pad(x)
        tokens = self.embed(cells)
        skip = self.down(tokens)
        x = torch.cat([skip, self._attend(skip)], 1)
        if self.smooth is not None:
            x = self.smooth(x, tokens, cells)
        elif self.patches is not None:
            x = self.patches(x)
        top, bottom, left, right = self.margins
        x = x[..., top : x.shape[-2] - bottom, left : x.shape[-1] - right]
        x = x if x.shape[-2:] == grid else F.interpolate(x, grid, mode="bilinear", align_corners=False)
        return x.flip(-2) if self.south_first else x

    def _attend(self, x: Tensor) -> Tensor:
        """The blocks, on a map of whole windows: zeros around it where it is not."""
        rows, columns = self.size
        north, west = -rows % self.window // 2, -columns % self.window // 2
        x = x.permute(0, 2, 3, 1)
        x = F.pad(x, (0, 0, west, -columns % self.window - west, north, -rows % self.window - north))
        for block in self.blocks:
            x = block(x)
        return x[:, north : north + rows, west : west + columns].permute(0, 3, 1, 2)
