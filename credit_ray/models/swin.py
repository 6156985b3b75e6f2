"""Swin Transformer V2 at one resolution (Liu et al. 2022, arXiv:2111.09883), its windows closed around the globe.

Patches become tokens; tokens attend to those of their window; every other block shifts the windows by half, so that news travels. As a
weather model it was shown to be hard to beat at its cost (Willard et al. 2024, arXiv:2404.19630). Version 2 compares queries and
keys by their angle, normalises after each layer rather than before, and reads the position bias from a network on the logarithm of the
offset, so that it goes over to other windows.

Shifted windows go round the globe; what meets at the seam of north and south does not attend to each other.

Tested sizes (75 channels in, 71 out; parameters by a test):

| | patch | width | depth | heads | window | grid | parameters |
| --- | --- | --- | --- | --- | --- | --- | --- |
| default | 2 | 96 | 4 | 4 | 4×8 | 32×64 | 0.52 M |
| like Willard et al. | 4 | 768 | 12 | 8 | 9×18 | 720×1440, 73 channels in and out | 87.0 M |
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from credit_ray.models.arguments import NetworkShape, SwinArguments
from credit_ray.models.sphere import ReflectedInput

_LARGEST_SCALE = math.log(100.0)


class LogPositionBias(nn.Module):
    """What an offset between tokens adds to their interest in each other: [head, query, key], between 0 and 16.

    Parameters
    ----------
    window : tuple of int
        Rows and columns of tokens.
    heads : int
        Functions.
    """

    offsets: Tensor
    index: Tensor

    def __init__(self, window: tuple[int, int], heads: int) -> None:
        super().__init__()
        rows, columns = window
        self.layers = nn.Sequential(nn.Linear(2, 512), nn.ReLU(), nn.Linear(512, heads, bias=False))
        down, right = torch.meshgrid(torch.arange(1 - rows, rows), torch.arange(1 - columns, columns), indexing="ij")
        offsets = 8 * torch.stack([down / max(rows - 1, 1), right / max(columns - 1, 1)], -1).flatten(0, 1)
        self.register_buffer("offsets", offsets.sign() * torch.log2(1 + offsets.abs()) / 3, persistent=False)
        y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        y, x = (token.flatten()[:, None] - token.flatten()[None, :] for token in (y, x))  # [query, key]
        index = (y + rows - 1) * (2 * columns - 1) + x + columns - 1
        self.register_buffer("index", index, persistent=False)

    def forward(self) -> Tensor:
        return 16 * torch.sigmoid(self.layers(self.offsets))[self.index].permute(2, 0, 1)


class ShiftedWindowAttention(nn.Module):
    """Cosine attention within windows of a map [batch, lat, lon, channel], which they must divide.

    Parameters
    ----------
    width, heads : int
        Channels, and attention heads among which they are shared.
    window, shift : tuple of int
        Rows and columns of tokens of a window, and by how many the windows are shifted.
    size : tuple of int
        Of the map.
    periodic : bool
        Whether its columns go round the circle.
    """

    mask: Tensor | None

    def __init__(
        self,
        width: int,
        heads: int,
        window: tuple[int, int],
        shift: tuple[int, int],
        size: tuple[int, int],
        periodic: bool,
    ) -> None:
        super().__init__()
        self.heads, self.window, self.shift, self.size = heads, window, shift, size
        self.to_qkv = nn.Linear(width, 3 * width, bias=False)
        self.query_bias, self.value_bias = nn.Parameter(torch.zeros(width)), nn.Parameter(torch.zeros(width))
        self.log_scale = nn.Parameter(torch.full((heads, 1, 1), math.log(10.0)))
        self.bias = LogPositionBias(window, heads)
        self.to_out = nn.Linear(width, width)
        self.register_buffer("mask", self._mask(periodic), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = self.shift
        if rows or columns:
            x = x.roll((-rows, -columns), (1, 2))
        tokens = to_windows(x, self.window)  # [batch, window, token, channel]
        batch, windows, count, width = tokens.shape
        bias = torch.cat([self.query_bias, torch.zeros_like(self.query_bias), self.value_bias])
        qkv = F.linear(tokens, self.to_qkv.weight, bias).view(batch * windows, count, 3, self.heads, -1)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)  # [batch · window, head, token, channel] each
        query = F.normalize(query, dim=-1) * self.log_scale.clamp(max=_LARGEST_SCALE).exp().to(query.dtype)
        key = F.normalize(key, dim=-1)
        allowed = self.bias()[None]  # [1, head, token, token]
        if self.mask is not None:
            allowed = (allowed + self.mask[:, None]).repeat(batch, 1, 1, 1)
        mixed = F.scaled_dot_product_attention(
            query.to(value.dtype), key.to(value.dtype), value, attn_mask=allowed.to(value.dtype), scale=1.0
        )
        mixed = self.to_out(mixed.transpose(1, 2).reshape(batch, windows, count, width))
        x = from_windows(mixed, self.size, self.window)
        return x.roll((rows, columns), (1, 2)) if rows or columns else x

    def _mask(self, periodic: bool) -> Tensor | None:
        """[window, token, token]: −∞ between tokens that the shift has brought together from opposite edges."""
        rows, columns = self.shift[0], 0 if periodic else self.shift[1]
        if not (rows or columns):
            return None
        wrapped = torch.zeros(1, *self.size, 1)
        wrapped[:, self.size[0] - rows :] += 1
        wrapped[:, :, self.size[1] - columns :] += 2
        token = to_windows(wrapped, self.window)[0, :, :, 0]
        return torch.zeros(len(token), token.shape[1], token.shape[1]).masked_fill(
            token[:, :, None] != token[:, None], -torch.inf
        )


class SwinBlock(nn.Module):
    """x + norm(attention(x)), then x + norm(mlp(x)): normalised last, which keeps the activations of deep networks small."""

    def __init__(
        self,
        width: int,
        heads: int,
        window: tuple[int, int],
        shift: tuple[int, int],
        size: tuple[int, int],
        periodic: bool,
        expansion: int = 4,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.attention = ShiftedWindowAttention(width, heads, window, shift, size, periodic)
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.up, self.down = nn.Linear(width, expansion * width), nn.Linear(expansion * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.norms[0](self.attention(x))
        return x + self.norms[1](self.down(self.dropout(F.gelu(self.up(x)))))


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
        # A window as long as the map has no half to be shifted by, unless it closes around it.
        half = tuple(w // 2 if w < n else 0 for w, n in zip(window, size, strict=True))
        self.blocks = nn.ModuleList(
            SwinBlock(
                width,
                arguments.heads,
                window,
                (half[0], half[1]) if number % 2 else (0, 0),
                size,
                periodic,
                arguments.expansion,
                arguments.dropout,
            )
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


def to_windows(x: Tensor, window: tuple[int, int]) -> Tensor:
    """[batch, lat, lon, channel] → [batch, window, token, channel]."""
    batch, rows, columns, width = x.shape
    x = x.reshape(batch, rows // window[0], window[0], columns // window[1], window[1], width)
    return x.transpose(2, 3).reshape(batch, -1, window[0] * window[1], width)


def from_windows(tokens: Tensor, size: tuple[int, int], window: tuple[int, int]) -> Tensor:
    """The inverse of `to_windows`: back to [batch, lat, lon, channel] of that size."""
    batch, width = tokens.shape[0], tokens.shape[-1]
    x = tokens.view(batch, size[0] // window[0], size[1] // window[1], window[0], window[1], width)
    return x.transpose(2, 3).reshape(batch, *size, width)
