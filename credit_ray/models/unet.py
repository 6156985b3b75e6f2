"""U-Net: residual convolution blocks at several resolutions, joined by skips (Ronneberger et al. 2015, arXiv:1505.04597).

Every convolution pads across the dateline and the poles. Blocks normalise first and add last (He et al. 2016, arXiv:1603.05027), by layer
norm over channels (Liu et al. 2022, arXiv:2201.03545); up-sampling is bilinear, so that no pattern of the coarse cells is left behind. A learned
field by latitude tells the blocks where they are. The head starts at zero: an untrained network that predicts changes is persistence.

Tested sizes: 32×64, 33×70, 73×144, 181×360.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from credit_ray.models.arguments import NetworkShape, UNetArguments
from credit_ray.models.sphere import Downsample, SphericalConv, Topology, upsample


class ChannelNorm(nn.Module):
    """Layer norm over channels, place by place."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Block(nn.Module):
    """x + conv(act(conv(norm(x))))."""

    def __init__(self, channels: int, kernel: int, dropout: float, topology: Topology) -> None:
        super().__init__()
        self.norm = ChannelNorm(channels)
        self.first = SphericalConv(channels, channels, kernel, topology)
        self.dropout = nn.Dropout2d(dropout)
        self.second = SphericalConv(channels, channels, kernel, topology)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(self.dropout(F.silu(self.first(self.norm(x)))))


class UNet(nn.Module):
    """[batch, time, in_channels, lat, lon] → [batch, out_channels, lat, lon]."""

    def __init__(self, arguments: UNetArguments, shape: NetworkShape) -> None:
        super().__init__()
        widths = [arguments.width * m for m in arguments.multipliers]
        topologies = [Topology.of(shape)]
        for _ in widths[1:]:
            topologies.append(topologies[-1].coarser())
        self.topologies = topologies
        self.stem = SphericalConv(
            shape.history * shape.in_channels,
            widths[0],
            arguments.kernel,
            topologies[0],
            sign=torch.tensor(shape.pole_sign * shape.history),
            offset=torch.tensor(shape.pole_offset * shape.history),
        )
        self.place = nn.Parameter(torch.zeros(widths[0], shape.grid[0], 1))

        def level(i: int) -> nn.Sequential:
            return nn.Sequential(*(Block(widths[i], arguments.kernel, arguments.dropout, topologies[i]) for _ in range(arguments.blocks[i])))

        self.down = nn.ModuleList(level(i) for i in range(len(widths)))
        self.coarsen = nn.ModuleList(Downsample(widths[i], widths[i + 1], topologies[i]) for i in range(len(widths) - 1))
        self.narrow = nn.ModuleList(nn.Conv2d(widths[i + 1], widths[i], 1) for i in range(len(widths) - 1))
        self.up = nn.ModuleList(level(i) for i in range(len(widths) - 1))
        self.norm = ChannelNorm(widths[0])
        self.head = nn.Conv2d(widths[0], shape.out_channels, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1, 2).contiguous(memory_format=torch.channels_last)  # [batch, time·channel, lat, lon]
        x = self.stem(x) + self.place
        skips = []
        for blocks, coarsen in zip(self.down, self.coarsen, strict=False):
            x = blocks(x)
            skips.append(x)
            x = coarsen(x)
        x = self.down[-1](x)
        for i in reversed(range(len(skips))):
            x = skips[i] + upsample(self.narrow[i](x), self.topologies[i + 1], self.topologies[i])
            x = self.up[i](x)
        return self.head(self.norm(x))
