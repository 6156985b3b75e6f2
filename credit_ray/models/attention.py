"""Attention within windows of a map: near (tiles) and far (lattices of tokens spread over the map).

Both kinds, and the dynamic position bias, are CrossFormer's (Wang et al. 2022, arXiv:2108.00154). Maps are [batch, lat, lon,
channel].
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from credit_ray.models.kept import Kept


class DynamicPositionBias(nn.Module):
    """What a query adds to its interest in a key for where the key lies, learned as a function of the offset between them.

    Parameters
    ----------
    window : int
        Rows and columns of tokens.
    heads : int
        Functions.
    hidden : int
        Width of the network that they are read from.
    periodic : bool
        Whether the window's columns go round the circle, so that its last is next to its first.
    shared : bool
        CREDIT's: one function for all heads. Its table has rows of 2·window + 1 offsets and is looked up as if they had 2·window − 1,
        so that an offset gets the value of another one; weights that were trained with it need it.
    """

    offsets: Tensor
    index: Tensor

    def __init__(self, window: int, heads: int, hidden: int, periodic: bool = False, shared: bool = False) -> None:
        super().__init__()
        self.window = window
        layers: list[nn.Module] = []
        for width_in in (2, hidden, hidden):
            layers += [nn.Linear(width_in, hidden), nn.LayerNorm(hidden), nn.ReLU()]
        # Softmax does not see what is the same for all keys; CREDIT's has it all the same.
        self.layers = nn.Sequential(*layers, nn.Linear(hidden, 1 if shared else heads, bias=shared))
        row = 2 * window - 1
        along = torch.arange(-window, window + 1) if shared else torch.arange(1 - window, window)
        offsets = torch.stack(torch.meshgrid(along, along, indexing="ij"), -1).flatten(0, 1)[: row**2]
        token = torch.stack(torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij"), -1).flatten(0, 1)
        rows, columns = (token[:, None] - token[None, :]).unbind(-1)  # [query, key] each
        if periodic and not shared:
            half = window // 2
            columns = (columns + half) % window - half
        index = (rows + window - 1) * row + columns + window - 1
        self.register_buffer("offsets", offsets.float(), persistent=False)
        self.register_buffer("index", index, persistent=False)
        self.kept = Kept()

    def forward(self) -> Tensor:
        """[head or 1, query, key]; tokens of a window are counted row by row."""
        weights = (*self.parameters(), *self.buffers())
        return self.kept.get(self.training, weights, lambda: self.layers(self.offsets)[self.index].permute(2, 0, 1))


class WindowAttention(nn.Module):
    """Multi-head attention among the tokens of each window; normalises its input, does not add it.

    Parameters
    ----------
    width, heads : int
        Channels, and attention heads among which they are shared.
    window : int
        Rows and columns of tokens in a window; must divide the map.
    reach : {"short", "long"}
        Tiles of neighbours, or lattices of tokens as far apart as the map allows.
    periodic : bool
        Whether a lattice goes round the circle.
    shared_bias : bool
        Whether the heads share a position bias of CREDIT's kind.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        window: int,
        *,
        reach: Literal["short", "long"],
        periodic: bool = False,
        shared_bias: bool = False,
    ) -> None:
        super().__init__()
        self.heads, self.window, self.reach = heads, window, reach
        self.norm = nn.LayerNorm(width)
        self.to_qkv = nn.Linear(width, 3 * width, bias=False)
        self.bias = DynamicPositionBias(
            window, heads, width // 4 if shared_bias else max(width // 4, 8), periodic, shared_bias
        )
        self.to_out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        tokens = gather_windows(self.norm(x), self.window, self.reach)  # [batch, window, token, channel]
        batch, windows, count, width = tokens.shape
        qkv = self.to_qkv(tokens).view(batch * windows, count, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)  # [batch · window, head, token, channel] each
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=self.bias().to(query.dtype)[None])
        mixed = mixed.transpose(1, 2).reshape(batch, windows, count, width)
        return scatter_windows(self.to_out(mixed), x.shape[1:3], self.window, self.reach)


class FeedForward(nn.Module):
    """Two layers on each token by itself; normalises its input, does not add it."""

    def __init__(self, width: int, expansion: int = 4) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, expansion * width)
        self.down = nn.Linear(expansion * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.gelu(self.up(self.norm(x))))


def gather_windows(x: Tensor, window: int, reach: str) -> Tensor:
    """[batch, lat, lon, channel] → [batch, windows, window², channel].

    A tile is `window` × `window` neighbours. A lattice is every (lat / window)-th row and (lon / window)-th column: there are as
    many lattices as such steps, each begun at another token.
    """
    batch, rows, columns, width = x.shape
    if reach == "short":
        x = x.reshape(batch, rows // window, window, columns // window, window, width).permute(0, 1, 3, 2, 4, 5)
    else:
        x = x.reshape(batch, window, rows // window, window, columns // window, width).permute(0, 2, 4, 1, 3, 5)
    return x.reshape(batch, -1, window * window, width)


def scatter_windows(tokens: Tensor, size: tuple[int, int] | torch.Size, window: int, reach: str) -> Tensor:
    """The inverse of `gather_windows`: back to [batch, lat, lon, channel] of that size."""
    rows, columns = size
    batch, width = tokens.shape[0], tokens.shape[-1]
    x = tokens.view(batch, rows // window, columns // window, window, window, width)
    x = x.permute(0, 1, 3, 2, 4, 5) if reach == "short" else x.permute(0, 3, 1, 4, 2, 5)
    return x.reshape(batch, rows, columns, width)
