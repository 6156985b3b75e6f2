"""Steps up from tokens to the grid: one that leaves no pattern, and CREDIT's, for models that were trained with them."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from credit_ray.models.sphere import ResidualBlock, SphericalConv, Topology


class SubPixel(nn.Module):
    """Refine `factor` times: a sub-pixel convolution, and a filter that removes what differs only between the cells of a pixel.

    The filter is a triangle as wide as two pixels: what is the same in all pixels comes out uniform, whatever the weights are. The
    weights start equal for all cells of a pixel, so that a fresh layer interpolates (Aitken et al. 2017, arXiv:1707.02937).
    """

    def __init__(self, in_channels: int, out_channels: int, factor: int, coarse: Topology) -> None:
        super().__init__()
        self.factor, self.coarse = factor, coarse
        self.conv = nn.Conv2d(in_channels, out_channels * factor**2, 3)
        with torch.no_grad():
            for parameter in self.conv.parameters():
                parameter.copy_(parameter[:out_channels].repeat_interleave(factor**2, 0))

    def forward(self, x: Tensor) -> Tensor:
        # The filter needs whole pixels beyond the edge: across a pole the cells of a mirrored one would come in reverse.
        x = F.pixel_shuffle(self.conv(self.coarse.pad(x, 2, 2, 2, 2)), self.factor)
        return crop(F.avg_pool2d(F.avg_pool2d(x, self.factor, 1), self.factor, 1), 1)


class Decode(nn.Module):
    """One step up: refine, join the skip, and smooth out the seam."""

    def __init__(self, in_channels: int, skip: int, width: int, factor: int, coarse: Topology, fine: Topology) -> None:
        super().__init__()
        self.refine = SubPixel(in_channels, width, factor, coarse)
        self.join = nn.Conv2d(width + skip, width, 1)
        self.block = ResidualBlock(width, 3, fine)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        return self.block(self.join(torch.cat([self.refine(x), skip], 1)))


class Doubling(nn.Module):
    """CREDIT's step up: to twice as many rows and columns, and two convolutions that are added.

    Parameters
    ----------
    in_channels, out_channels : int
        Of the maps.
    groups : int
        Of channels that are normalised together.
    kind : {"sub_pixel", "transposed", "bilinear"}
        A sub-pixel convolution (Shi et al. 2016, arXiv:1609.05158), sharpened by another one; a transposed convolution; or bilinear
        interpolation and a convolution.
    coarse, fine : Topology
        Of the map before and after.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        groups: int,
        kind: Literal["sub_pixel", "transposed", "bilinear"],
        coarse: Topology,
        fine: Topology,
    ) -> None:
        super().__init__()
        self.kind = kind
        if kind == "transposed":
            self.up: nn.Module = nn.ConvTranspose2d(in_channels, out_channels, 2, 2)
        elif kind == "bilinear":
            self.up = SphericalConv(in_channels, out_channels, 3, fine)
        else:
            self.up = SphericalConv(in_channels, 4 * out_channels, 3, coarse)
            self.sharp = SphericalConv(out_channels, out_channels, 3, fine)
        self.block = conv_norm_silu_twice(out_channels, groups, fine)

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "bilinear":
            x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        x = self.up(x)
        if self.kind == "sub_pixel":
            x = F.pixel_shuffle(x, 2)
            x = x + self.sharp(x)
        return x + self.block(x)


def conv_norm_silu_twice(channels: int, groups: int, topology: Topology) -> nn.Sequential:
    """What CREDIT's networks add after each change of resolution."""
    layers: list[nn.Module] = []
    for _ in range(2):
        layers += [SphericalConv(channels, channels, 3, topology), nn.GroupNorm(groups, channels), nn.SiLU()]
    return nn.Sequential(*layers)


def doubling_head(
    in_channels: int,
    out_channels: int,
    kind: Literal["sub_pixel", "transposed", "bilinear"],
    coarse: Topology,
    fine: Topology,
) -> nn.Module:
    """CREDIT's last step up, to the outputs."""
    if kind == "transposed":
        return nn.ConvTranspose2d(in_channels, out_channels, 4, 2, 1)
    if kind == "bilinear":
        return nn.Sequential(
            nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
            SphericalConv(in_channels, out_channels, 3, fine),
        )
    return nn.Sequential(
        SphericalConv(in_channels, 4 * out_channels, 3, coarse),
        nn.PixelShuffle(2),
        SphericalConv(out_channels, out_channels, 3, fine),
    )


def crop(x: Tensor, margin: int) -> Tensor:
    """[..., rows, columns] without so many of each at every side."""
    return x[..., margin : x.shape[-2] - margin, margin : x.shape[-1] - margin]
