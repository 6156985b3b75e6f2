"""Swin Transformer V2 at one resolution (Liu et al. 2022, arXiv:2111.09883), its windows closed around the globe.

Patches become tokens; tokens attend to those of their window; every other block shifts the windows by half, so that news travels. As a
weather model it was shown to be hard to beat at its cost (Willard et al. 2024, arXiv:2404.19630). Version 2 compares queries and
keys by their angle, normalises after each layer rather than before, and reads the position bias from a network on the logarithm of the
offset, so that it goes over to other windows.

Shifted windows go round the globe; what meets at the seam of north and south does not attend to each other.

Tested sizes (75 channels in, 71 out; parameters by a test):

| | patch | width | depth | heads | window | grid | parameters |
| --- | --- | --- | --- | --- | --- | --- | --- |
| default | 2 | 96 | 4 | 4 | 8 | 32×64 | 0.52 M |
| like Willard et al. | 4 | 768 | 12 | 8 | 9 | 720×1440, 73 channels in and out | 87.0 M |
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from credit_ray.models.arguments import NetworkShape, SwinArguments
from credit_ray.models.shifted_windows import SwinBlock
from credit_ray.models.sphere import ReflectedInput


class Swin(nn.Module):
    """[batch, time, in_channels, lat, lon] → [batch, out_channels, lat, lon], on a grid of any size.

    Where patches and windows do not divide the grid, the input is padded across the poles and the dateline until they do, and the
    output is cropped.

    Parameters
    ----------
    arguments : SwinArguments
        Patch, width, depth, windows.
    shape : NetworkShape
        Of the data.
    """

    def __init__(self, arguments: SwinArguments, shape: NetworkShape) -> None:
        super().__init__()
        patch, width, window = arguments.patch, arguments.width, arguments.window
        self.patch, self.margins = patch, arguments.padding(shape)
        top, bottom, left, right = self.margins
        self.pad = ReflectedInput(shape, *self.margins)
        self.embed = nn.Conv2d(shape.history * shape.in_channels, width, patch, stride=patch)
        self.norm = nn.LayerNorm(width)
        size = (shape.grid[0] + top + bottom) // patch, (shape.grid[1] + left + right) // patch
        self.place = nn.Parameter(torch.zeros(size[0], 1, width))
        periodic = shape.periodic and not (left or right)
        self.blocks = nn.ModuleList(
            SwinBlock(width, arguments.heads, window, size, shifted=bool(number % 2), periodic=periodic)
            for number in range(arguments.depth)
        )
        self.head = nn.Linear(width, shape.out_channels * patch**2)
        nn.init.zeros_(self.head.weight)  # an untrained network that predicts changes is persistence
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = x.shape[-2:]
        x = self.norm(self.embed(self.pad(x)).permute(0, 2, 3, 1)) + self.place  # [batch, lat, lon, width]
        for block in self.blocks:
            x = block(x)
        x = F.pixel_shuffle(self.head(x).permute(0, 3, 1, 2), self.patch)
        top, _, left, _ = self.margins
        return x[..., top : top + rows, left : left + columns]
