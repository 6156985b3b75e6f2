"""An ocean's U-Net: dilated ConvNeXt-like blocks that never look at land (after Samudra, Dheeshjith et al. 2025, arXiv:2412.03795).

As in Samudra, each block has two dense dilated convolutions and a pointwise one, coarser levels look further by dilation, and up-sampling
is bilinear. What is particular to an ocean:

* Land carries nothing. Inputs and hidden channels are zero where no output exists, at every level, so that no value that was filled in
  there gets into a convolution; coarse cells are means of their ocean part alone.
* Samudra's batch norm takes land into its mean and variance, and lets samples see each other; layer norm over the channels of
  each place does neither.

Without a mask it is a U-Net of any fluid.

Tested sizes (154 channels in, 77 out; parameters by a test):

| | widths | dilations | expansion | parameters |
| --- | --- | --- | --- | --- |
| default | 32, 48, 64 | 1, 2, 2 | 2 | 0.72 M |
| Samudra's widths | 200, 250, 300, 400 | 1, 2, 4, 8 | 4 | 108 M |
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from credit_ray.models.arguments import NetworkShape, SamudraArguments
from credit_ray.models.sphere import ChannelNorm, ReflectedInput, Topology, Upsample, ZeroHead


class DilatedConv(nn.Module):
    """A dilated convolution that keeps the map's size and sees no edges."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, dilation: int, topology: Topology) -> None:
        super().__init__()
        self.topology, self.margin = topology, kernel // 2 * dilation
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, dilation=dilation)

    def forward(self, x: Tensor) -> Tensor:
        n = self.margin
        return self.conv(self.topology.pad(x, n, n, n, n))


class OceanBlock(nn.Module):
    """skip(x) + out(gelu(norm(conv(gelu(norm(conv(x))))))), zero on land."""

    wet: Tensor

    def __init__(
        self, in_channels: int, width: int, dilation: int, arguments: SamudraArguments, topology: Topology, wet: Tensor
    ) -> None:
        super().__init__()
        inner = arguments.expansion * width
        self.skip = nn.Conv2d(in_channels, width, 1) if in_channels != width else nn.Identity()
        self.first = DilatedConv(in_channels, inner, arguments.kernel, dilation, topology)
        self.second = DilatedConv(inner, inner, arguments.kernel, dilation, topology)
        self.norms = nn.ModuleList([ChannelNorm(inner), ChannelNorm(inner)])
        self.dropout = nn.Dropout2d(arguments.dropout)
        self.out = nn.Conv2d(inner, width, 1)
        self.register_buffer("wet", wet, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        y = _on(F.gelu(self.norms[0](self.first(x))), self.wet)
        y = F.gelu(self.norms[1](self.second(y)))
        return _on(self.skip(x) + self.out(self.dropout(y)), self.wet)


class OceanMean(nn.Module):
    """To `topology.coarser()`: each coarse cell is the mean of the ocean's part of the fine ones that it covers.

    Parameters
    ----------
    topology : Topology
        Of the fine map.
    wet : Tensor
        [1, 1, rows, columns], 1 where there is ocean, else 0.
    """

    weight: Tensor
    coarse_wet: Tensor

    def __init__(self, topology: Topology, wet: Tensor) -> None:
        super().__init__()
        self.topology = topology
        share = self._mean(wet)
        self.coarse_wet = (share > 0).to(wet.dtype)
        self.register_buffer("weight", self.coarse_wet / share.clamp(min=1e-6), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return _on(self._mean(x), self.weight)

    def _mean(self, x: Tensor) -> Tensor:
        t = self.topology
        x = t.pad(x, int(t.north_point), t.odd_rows, 0, t.columns % 2)
        if t.north_point:  # a coarse row keeps its fine one, and takes half of each neighbour
            x = F.avg_pool2d(x, (2, 1), stride=1)
        return F.avg_pool2d(x, 2)


class Samudra(nn.Module):
    """[batch, time, in_channels, lat, lon] → [batch, out_channels, lat, lon], on a grid of any size.

    Parameters
    ----------
    arguments : SamudraArguments
        Widths and dilations.
    shape : NetworkShape
        Of the data; outputs are zero where its mask is False.
    """

    mask: Tensor
    wet: Tensor

    def __init__(self, arguments: SamudraArguments, shape: NetworkShape) -> None:
        super().__init__()
        widths, dilations = arguments.widths, arguments.dilations
        mask = (
            torch.ones(shape.out_channels, *shape.grid) if shape.mask is None else torch.from_numpy(shape.mask).float()
        )
        levels, wet = [Topology.of(shape)], [mask.amax(0)[None, None]]
        self.coarsen = nn.ModuleList()
        for _ in widths[1:]:
            mean = OceanMean(levels[-1], wet[-1])
            self.coarsen.append(mean)
            levels.append(levels[-1].coarser())
            wet.append(mean.coarse_wet)

        def block(level: int, in_channels: int) -> OceanBlock:
            return OceanBlock(in_channels, widths[level], dilations[level], arguments, levels[level], wet[level])

        margin = arguments.kernel // 2
        self.pad = ReflectedInput(shape, margin, margin, margin, margin)
        self.stem = nn.Conv2d(shape.history * shape.in_channels, widths[0], arguments.kernel)
        self.place = nn.Parameter(torch.zeros(widths[0], shape.grid[0], 1))  # [channel, lat, 1]
        finer = range(len(widths) - 1)
        self.down = nn.ModuleList(block(level, widths[max(level - 1, 0)]) for level in finer)
        self.bottom = block(len(widths) - 1, widths[max(len(widths) - 2, 0)])
        self.refine = nn.ModuleList(Upsample(levels[level]) for level in finer)
        self.up = nn.ModuleList(block(level, widths[level] + widths[level + 1]) for level in finer)
        self.head = ZeroHead(widths[0], shape.out_channels)
        self.register_buffer("wet", wet[0], persistent=False)
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        x = _on(self.stem(self.pad(_on(x, self.wet))) + self.pad.topology.own(self.place), self.wet)
        skips = []
        for block, coarsen in zip(self.down, self.coarsen, strict=True):
            skips.append(block(x))
            x = coarsen(skips[-1])
        x = self.bottom(x)
        for refine, block in zip(reversed(self.refine), reversed(self.up), strict=True):
            x = block(torch.cat([skips.pop(), refine(x)], 1))
        return _on(self.head(x), self.mask)


def _on(x: Tensor, weight: Tensor) -> Tensor:
    """x by a weight of each place, in the precision of x."""
    return x * weight.to(x.dtype)
