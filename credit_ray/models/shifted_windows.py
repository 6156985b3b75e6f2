"""Swin Transformer V2's blocks (Liu et al. 2022, arXiv:2111.09883): attention within tiles, which every other block shifts by half.

Similarity is the cosine, scaled for each head; position enters by a bias that is a smooth function of the offset on a logarithmic
axis; layers are normalised before they are added. Maps are [batch, lat, lon, channel].
"""

from __future__ import annotations

from math import log

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from credit_ray.models.attention import gather_windows, scatter_windows
from credit_ray.models.kept import Kept

_APART = -100.0  # added to the interest in a token that is no neighbour: softmax leaves nothing of it


class CosineAttention(nn.Module):
    """Attention among the tokens of each tile.

    Parameters
    ----------
    width, heads : int
        Channels, and attention heads among which they are shared.
    window : int
        Rows and columns of a tile; must divide the map.
    size : tuple of int
        Rows and columns of the map.
    shift : tuple of int
        Rows and columns by which the tiles are moved. Tokens that only the shift brings together do not see each other.
    periodic : bool
        Whether the columns go round the circle, so that the shift brings neighbours together there.
    """

    offsets: Tensor
    index: Tensor
    apart: Tensor | None

    def __init__(
        self, width: int, heads: int, window: int, size: tuple[int, int], shift: tuple[int, int], periodic: bool
    ) -> None:
        super().__init__()
        self.heads, self.window, self.shift = heads, window, shift
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.q_bias, self.v_bias = nn.Parameter(torch.zeros(width)), nn.Parameter(torch.zeros(width))
        self.logit_scale = nn.Parameter(torch.full((heads, 1, 1), log(10.0)))
        self.cpb_mlp = nn.Sequential(nn.Linear(2, 512), nn.ReLU(), nn.Linear(512, heads, bias=False))
        self.proj = nn.Linear(width, width)
        along = torch.arange(1 - window, window, dtype=torch.float32) * (8 / (window - 1))
        along = torch.sign(along) * torch.log2(along.abs() + 1) / 3  # equation 4 of the paper, within −1 … 1
        offsets = torch.stack(torch.meshgrid(along, along, indexing="ij"), -1).flatten(0, 1)  # [(2·window − 1)², 2]
        token = torch.stack(torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij"), -1).flatten(0, 1)
        rows, columns = (token[:, None] - token[None, :] + window - 1).unbind(-1)  # [query, key] each
        self.register_buffer("offsets", offsets, persistent=False)
        self.register_buffer("index", rows * (2 * window - 1) + columns, persistent=False)
        self.register_buffer("apart", _apart(size, window, shift, periodic), persistent=False)
        self.kept = Kept()

    def _bias(self) -> Tensor:
        """[1 or window, head, query, key]."""
        bias = 16 * torch.sigmoid(self.cpb_mlp(self.offsets))[self.index].permute(2, 0, 1)[None]
        return bias if self.apart is None else bias + self.apart[:, None].to(bias.dtype)

    def forward(self, x: Tensor) -> Tensor:
        size, (down, right) = x.shape[1:3], self.shift
        if down or right:
            x = x.roll((-down, -right), (1, 2))
        tokens = gather_windows(x, self.window, "short")  # [batch, window, token, channel]
        batch, windows, count, width = tokens.shape
        bias = torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias])
        qkv = F.linear(tokens, self.qkv.weight, bias).view(batch * windows, count, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)  # [batch · window, head, token, channel] each
        query = F.normalize(query, dim=-1) * self.logit_scale.clamp(max=log(100.0)).exp()
        weights = (*self.parameters(), *self.buffers())
        where = self.kept.get(self.training, weights, self._bias).to(query.dtype)
        if len(where) > 1:
            where = where.repeat(batch, 1, 1, 1) if batch > 1 else where
        mixed = F.scaled_dot_product_attention(query, F.normalize(key, dim=-1), value, attn_mask=where, scale=1.0)
        mixed = self.proj(mixed.transpose(1, 2).reshape(batch, windows, count, width))
        mixed = scatter_windows(mixed, size, self.window, "short")
        return mixed.roll((down, right), (1, 2)) if down or right else mixed


class SwinBlock(nn.Module):
    """x + norm(attention(x)), then x + norm(mlp(x)).

    Parameters
    ----------
    width, heads, window, size, periodic
        As in `CosineAttention`.
    shifted : bool
        Whether the tiles are moved by half a tile, where there is more than one.
    """

    def __init__(
        self, width: int, heads: int, window: int, size: tuple[int, int], *, shifted: bool, periodic: bool = False
    ) -> None:
        super().__init__()
        rows, columns = (window // 2 if shifted and n > window else 0 for n in size)
        self.attn = CosineAttention(width, heads, window, size, (rows, columns), periodic)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mlp = Mlp(width, 4 * width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.norm1(self.attn(x))
        return x + self.norm2(self.mlp(x))


class Mlp(nn.Module):
    """Two layers on each token by itself."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


def _apart(size: tuple[int, int], window: int, shift: tuple[int, int], periodic: bool) -> Tensor | None:
    """[window, query, key]: 0 between neighbours, else what keeps tokens apart that come from opposite edges; None if none do."""
    rows, columns = size
    down, right = shift[0], 0 if periodic else shift[1]
    if not (down or right):
        return None
    # After the shift the last rows are those that were first: they are another region than those beside them.
    row = (torch.arange(rows) >= rows - down).long() if down else torch.zeros(rows, dtype=torch.long)
    column = (torch.arange(columns) >= columns - right).long() if right else torch.zeros(columns, dtype=torch.long)
    region = (row[:, None] * 2 + column[None, :]).float()
    tiles = gather_windows(region[None, :, :, None], window, "short")[0, :, :, 0]  # [window, token]
    return torch.where(tiles[:, :, None] == tiles[:, None, :], 0.0, _APART)
