"""U-Net: residual convolution blocks at several resolutions, joined by skips (Ronneberger et al. 2015, arXiv:1505.04597).

Every convolution pads across the dateline and the poles, and up-sampling is bilinear. Layer norm is over channels (Liu et
al. 2022, arXiv:2201.03545), never over places, so that a storm's depth is not judged by the rest of the globe. A learned field by
latitude tells the blocks where they are. By default their kernels are dense, 3×3: on a CPU they do more work in less time than the
depthwise ones of ConvNeXt blocks, which are there to be chosen.

Tested sizes (75 channels in, 71 out; parameters by a test):

| | blocks | width | grid | parameters |
| --- | --- | --- | --- | --- |
| default | residual, 3×3 | 48, 96, 96 | 32×64 | 0.86 M |
| ConvNeXt | depthwise, 7×7 | 48, 96, 96 | 32×64 | 0.61 M |
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from credit_ray.models.arguments import NetworkShape, UNetArguments
from credit_ray.models.convnext import ConvNextBlock
from credit_ray.models.sphere import Downsample, ReflectedInput, ResidualBlock, Topology, Upsample, ZeroHead


class UNet(nn.Module):
    """[batch, time, in_channels, lat, lon] → [batch, out_channels, lat, lon], on a grid of any size.

    Parameters
    ----------
    arguments : UNetArguments
        Width and depth.
    shape : NetworkShape
        Of the data.
    """

    def __init__(self, arguments: UNetArguments, shape: NetworkShape) -> None:
        super().__init__()
        widths = [arguments.width * m for m in arguments.multipliers]
        levels = [Topology.of(shape)]
        for _ in widths[1:]:
            levels.append(levels[-1].coarser())

        block = ConvNextBlock if arguments.block == "convnext" else ResidualBlock

        def blocks(i: int) -> nn.Sequential:
            count, kernel, dropout = arguments.blocks[i], arguments.kernel, arguments.dropout
            return nn.Sequential(*(block(widths[i], kernel, levels[i], dropout) for _ in range(count)))

        margin = arguments.kernel // 2
        self.pad = ReflectedInput(shape, margin, margin, margin, margin)
        self.stem = nn.Conv2d(shape.history * shape.in_channels, widths[0], arguments.kernel)
        self.place = nn.Parameter(torch.zeros(widths[0], shape.grid[0], 1))  # [channel, lat, 1]
        finer = range(len(widths) - 1)
        self.down = nn.ModuleList(blocks(i) for i in finer)
        self.coarsen = nn.ModuleList(Downsample(widths[i], widths[i + 1], levels[i]) for i in finer)
        self.refine = nn.ModuleList(
            nn.Sequential(nn.Conv2d(widths[i + 1], widths[i], 1), Upsample(levels[i])) for i in finer
        )
        self.up = nn.ModuleList(blocks(i) for i in finer)
        self.bottom = blocks(len(widths) - 1)
        self.head = ZeroHead(widths[0], shape.out_channels)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(self.pad(x)) + self.pad.topology.own(self.place)
        skips = []
        for blocks, coarsen in zip(self.down, self.coarsen, strict=True):
            skips.append(blocks(x))
            x = coarsen(skips[-1])
        x = self.bottom(x)
        for refine, blocks in zip(reversed(self.refine), reversed(self.up), strict=True):
            x = blocks(skips.pop() + refine(x))
        return self.head(x)
