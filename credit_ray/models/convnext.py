"""ConvNeXt blocks (Liu et al. 2022, arXiv:2201.03545) on the sphere: far-reaching depthwise convolutions, wide pointwise layers."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from credit_ray.models.sphere import Topology


class ConvNextBlock(nn.Module):
    """x + down(gelu(up(norm(depthwise(x))))).

    Without the paper's scale of each layer, which starts at 1e-6 and is for networks of a hundred layers.

    Parameters
    ----------
    channels : int
        In and out.
    kernel : int
        Of the depthwise convolution; odd.
    topology : Topology
        Of the map.
    dropout : float
        Part of the inner channels that is left out of a training step.
    expansion : int
        Inner channels for each of the outer.
    """

    def __init__(
        self, channels: int, kernel: int, topology: Topology, dropout: float = 0.0, expansion: int = 4
    ) -> None:
        super().__init__()
        self.topology, self.margin = topology, kernel // 2
        self.depthwise = nn.Conv2d(channels, channels, kernel, groups=channels)
        self.norm = nn.LayerNorm(channels)
        self.up = nn.Linear(channels, expansion * channels)
        self.dropout = nn.Dropout1d(dropout)
        self.down = nn.Linear(expansion * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        n = self.margin
        y = self.norm(
            self.depthwise(self.topology.pad(x, n, n, n, n)).permute(0, 2, 3, 1)
        )  # [batch, lat, lon, channel]
        y = F.gelu(self.up(y))
        if self.training:  # whole channels
            y = self.dropout(y.flatten(1, 2).mT).mT.view(y.shape)
        return x + self.down(y).permute(0, 3, 1, 2)
