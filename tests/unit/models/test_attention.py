"""Windows, position bias and attention against the plainest loops."""

from __future__ import annotations

import math
from typing import Literal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from credit_ray.models.attention import DynamicPositionBias, WindowAttention, gather_windows, scatter_windows

REACHES = ["short", "long"]


@given(window=st.integers(1, 3), rows=st.integers(1, 3), columns=st.integers(1, 3), reach=st.sampled_from(REACHES))
def test_scattering_undoes_gathering(window: int, rows: int, columns: int, reach: str) -> None:
    x = torch.randn(2, rows * window, columns * window, 3)
    tokens = gather_windows(x, window, reach)
    assert tokens.shape == (2, rows * columns, window**2, 3)
    assert torch.equal(scatter_windows(tokens, x.shape[1:3], window, reach), x)


def members(rows: int, columns: int, window: int, reach: str) -> list[list[tuple[int, int]]]:
    """The (row, column) of each token of each window."""
    down, right = rows // window, columns // window
    windows = []
    for a in range(down):
        for b in range(right):
            if reach == "short":
                windows.append([(a * window + i, b * window + j) for i in range(window) for j in range(window)])
            else:
                windows.append([(i * down + a, j * right + b) for i in range(window) for j in range(window)])
    return windows


@pytest.mark.parametrize("reach", REACHES)
def test_a_tile_holds_neighbours_and_a_lattice_spans_the_map(reach: str) -> None:
    rows, columns, window = 4, 6, 2
    place = torch.stack(torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij"), -1)[None]
    tokens = gather_windows(place, window, reach)[0]  # [window, token, (row, column)]
    assert [[tuple(t) for t in w] for w in tokens.tolist()] == members(rows, columns, window, reach)


@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize("window", [1, 2, 3, 4])
def test_the_bias_of_an_offset_is_what_the_network_says_of_that_offset(window: int, periodic: bool) -> None:
    torch.manual_seed(0)
    bias = DynamicPositionBias(window, heads=2, hidden=8, periodic=periodic)
    found = bias()
    for q in range(window**2):
        for k in range(window**2):
            rows, columns = q // window - k // window, q % window - k % window
            if periodic:  # the shorter way round
                columns = (columns + window // 2) % window - window // 2
            wanted = bias.layers(torch.tensor([[float(rows), float(columns)]]))[0]
            torch.testing.assert_close(found[:, q, k], wanted)


@pytest.mark.parametrize("reach", REACHES)
def test_attention_is_that_of_the_textbook(reach: Literal["short", "long"]) -> None:
    torch.manual_seed(0)
    rows, columns, window, width, heads = 4, 6, 2, 8, 2
    attention = WindowAttention(width, heads, window, reach=reach, periodic=reach == "long")
    x = torch.randn(1, rows, columns, width)
    found, bias, size = attention(x), attention.bias(), width // heads
    for places in members(rows, columns, window, reach):
        tokens = attention.norm(torch.stack([x[0, i, j] for i, j in places]))
        query, key, value = (tokens @ attention.to_qkv.weight.T).split(width, 1)
        for q, (row, column) in enumerate(places):
            mixed = []
            for h in range(heads):
                own = slice(h * size, (h + 1) * size)
                logits = torch.stack(
                    [query[q, own] @ key[k, own] / math.sqrt(size) + bias[h, q, k] for k in range(len(places))]
                )
                share = torch.exp(logits) / torch.exp(logits).sum()
                mixed.append(sum(share[k] * value[k, own] for k in range(len(places))))
            torch.testing.assert_close(found[0, row, column], attention.to_out(torch.cat(mixed)), rtol=1e-4, atol=1e-5)
