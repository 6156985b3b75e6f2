"""AFNO: tokens mixed by a small network on their Fourier coefficients (Guibas et al. 2022, arXiv:2111.13587).

FourCastNet's architecture (Pathak et al. 2022, arXiv:2202.11214): patches become tokens; in each block the map of tokens is Fourier
transformed, each wavenumber goes through the same two layers, whose matrices are block-diagonal, and small coefficients are shrunk to
zero; then a feed-forward layer works on each token by itself. Global in one step, at the cost of a transform. The transform takes the
map for periodic in both directions, which on the sphere it is in longitude alone: `sfno` has no such seam.

Tested sizes (75 channels in, 71 out; parameters by a test):

| | patch | width | depth | grid | parameters |
| --- | --- | --- | --- | --- | --- |
| default | 2 | 96 | 4 | 32×64 | 0.42 M |
| FourCastNet | 8 | 768 | 12 | 720×1440, 20 channels in and out | 74.7 M |
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from credit_ray.models.arguments import AFNOArguments, NetworkShape
from credit_ray.models.sphere import ReflectedInput


class SpectralMixer(nn.Module):
    """[batch, lat, lon, channel] → the same: two complex layers on the channels of each wavenumber.

    Parameters
    ----------
    width, blocks : int
        Channels, and into how many groups they fall.
    kept : float
        Part of the wavenumbers that are mixed.
    shrink : float
        Threshold of the soft shrinkage (eq. 10 of Guibas et al.).
    """

    def __init__(self, width: int, blocks: int, kept: float, shrink: float) -> None:
        super().__init__()
        size = width // blocks
        self.kept, self.shrink, self.blocks = kept, shrink, blocks
        self.weights = nn.Parameter(0.02 * torch.randn(2, blocks, size, size, 2))  # [layer, block, in, out, re and im]
        self.biases = nn.Parameter(0.02 * torch.randn(2, blocks, size, 2))

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):  # there are no transforms of bfloat16
            rows, columns = x.shape[1:3]
            whole = x if x.dtype == torch.float64 else x.float()
            modes = torch.fft.rfft2(whole, dim=(1, 2), norm="ortho")  # [batch, ky, kx, channel]
            ky, kx = max(1, int(rows // 2 * self.kept)), max(1, int(modes.shape[2] * self.kept))
            if 2 * ky + 1 >= rows and kx == modes.shape[2]:
                modes = self._mix(modes)
            else:  # wavenumbers from zero upwards come first, negative ones last
                low, high = self._mix(torch.cat([modes[:, :ky, :kx], modes[:, -ky:, :kx]], 1)).chunk(2, 1)
                between = F.pad(low, (0, 0, 0, 0, 0, rows - 2 * ky)).narrow(1, ky, rows - 2 * ky)
                modes = F.pad(torch.cat([low, between, high], 1), (0, 0, 0, modes.shape[2] - kx))
            return torch.fft.irfft2(modes, s=(rows, columns), dim=(1, 2), norm="ortho").to(x.dtype)

    def _mix(self, modes: Tensor) -> Tensor:
        grouped = modes.unflatten(-1, (self.blocks, -1))  # [batch, ky, kx, block, channel]
        first, second = torch.view_as_complex(self.weights)
        one, two = torch.view_as_complex(self.biases)
        hidden = torch.einsum("byxki,kio->byxko", grouped, first) + one
        hidden = torch.view_as_complex(F.relu(torch.view_as_real(hidden)))
        out = torch.einsum("byxki,kio->byxko", hidden, second) + two
        return torch.view_as_complex(F.softshrink(torch.view_as_real(out), self.shrink)).flatten(-2)


class Block(nn.Module):
    """Mixing over the map, then on each token; both add to their input."""

    def __init__(self, arguments: AFNOArguments) -> None:
        super().__init__()
        width, hidden = arguments.width, arguments.expansion * arguments.width
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.mixer = SpectralMixer(width, arguments.blocks, arguments.kept, arguments.shrink)
        self.up, self.down = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.dropout = nn.Dropout(arguments.dropout)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norms[0](x)
        x = x + y + self.mixer(y)
        return x + self.down(self.dropout(F.gelu(self.up(self.norms[1](x)))))


class AFNO(nn.Module):
    """[batch, time, in_channels, lat, lon] → [batch, out_channels, lat, lon], on a grid whose columns the patch divides.

    Parameters
    ----------
    arguments : AFNOArguments
        Patch, width, depth.
    shape : NetworkShape
        Of the data.
    """

    def __init__(self, arguments: AFNOArguments, shape: NetworkShape) -> None:
        super().__init__()
        patch, width, south = arguments.patch, arguments.width, arguments.south(shape)
        self.patch = patch
        self.pad = ReflectedInput(shape, 0, south, 0, 0)
        self.embed = nn.Conv2d(shape.history * shape.in_channels, width, patch, stride=patch)
        rows, columns = (shape.grid[0] + south) // patch, shape.grid[1] // patch
        self.place = nn.Parameter(0.02 * torch.randn(rows, columns, width))
        self.blocks = nn.ModuleList(Block(arguments) for _ in range(arguments.depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, shape.out_channels * patch**2)
        nn.init.zeros_(self.head.weight)  # an untrained network that predicts changes is persistence
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor) -> Tensor:
        rows = x.shape[-2]
        x = self.embed(self.pad(x)).permute(0, 2, 3, 1) + self.place  # [batch, lat, lon, width]
        for block in self.blocks:
            x = block(x)
        x = self.head(self.norm(x)).permute(0, 3, 1, 2)
        return F.pixel_shuffle(x, self.patch)[..., :rows, :]
