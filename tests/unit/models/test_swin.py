"""Swin's attention, against one token after another."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from credit_ray.errors import ConfigError
from credit_ray.models.arguments import SwinArguments
from credit_ray.models.conformance import global_shape
from credit_ray.models.shifted_windows import CosineAttention

ROWS, COLUMNS, WIDTH, HEADS = 8, 12, 4, 2
WINDOW = (4, 4)


def offset_bias(layer: CosineAttention, down: int, right: int) -> Tensor:
    """[head], from the formula of the paper (eq. 4), scaled to a window of nine as its code does."""

    def logarithm(offset: int, window: int) -> float:
        scaled = 8 * offset / (window - 1)
        return math.copysign(math.log2(1 + abs(scaled)) / math.log2(8), scaled)

    at = torch.tensor([logarithm(down, WINDOW[0]), logarithm(right, WINDOW[1])], dtype=torch.float64)
    return 16 * torch.sigmoid(layer.cpb_mlp(at))


def by_tokens(layer: CosineAttention, x: Tensor, periodic: bool) -> Tensor:
    """One map [lat, lon, channel]."""
    per_head = WIDTH // HEADS
    weight = layer.qkv.weight.view(3, HEADS, per_head, WIDTH)
    biases = [layer.q_bias.view(HEADS, -1), torch.zeros(HEADS, per_head).double(), layer.v_bias.view(HEADS, -1)]
    scale = layer.logit_scale.exp().flatten()
    out = torch.zeros_like(x)
    tokens = [(y, c) for y in range(ROWS) for c in range(COLUMNS)]

    def moved(token: tuple[int, int]) -> tuple[int, int]:
        """Where a token lies in the shifted map."""
        return (token[0] - layer.shift[0]) % ROWS, (token[1] - layer.shift[1]) % COLUMNS

    def together(one: tuple[int, int], two: tuple[int, int]) -> bool:
        a, b = moved(one), moved(two)
        same = all(p // w == q // w for p, q, w in zip(a, b, WINDOW, strict=True))
        wrapped = [(p < s) != (q < s) for p, q, s in zip(one, two, layer.shift, strict=True)]
        return same and not wrapped[0] and (periodic or not wrapped[1])

    for one in tokens:
        others = [two for two in tokens if together(one, two)]
        heads = []
        for h in range(HEADS):
            query = weight[0, h] @ x[one] + biases[0][h]
            logits = []
            for two in others:
                key = weight[1, h] @ x[two]
                cosine = query @ key / query.norm() / key.norm()
                (y1, x1), (y2, x2) = moved(one), moved(two)
                logits.append(cosine * scale[h] + offset_bias(layer, y1 - y2, x1 - x2)[h])
            share = torch.stack(logits).softmax(0)
            values = torch.stack([weight[2, h] @ x[two] + biases[2][h] for two in others])
            heads.append(share @ values)
        out[one] = layer.proj(torch.cat(heads))
    return out


@pytest.mark.parametrize(("shift", "periodic"), [((0, 0), True), ((2, 2), True), ((2, 2), False)])
def test_tokens_attend_to_those_of_their_window(shift: tuple[int, int], periodic: bool) -> None:
    torch.manual_seed(0)
    layer = CosineAttention(WIDTH, HEADS, WINDOW[0], (ROWS, COLUMNS), shift, periodic).double()
    with torch.no_grad():
        layer.q_bias.normal_()
        layer.v_bias.normal_()
        x = torch.randn(2, ROWS, COLUMNS, WIDTH, dtype=torch.float64)
        found = layer(x)
        for sample, wanted in zip(found, x, strict=True):
            torch.testing.assert_close(sample, by_tokens(layer, wanted, periodic), rtol=1e-6, atol=1e-6)


def test_the_sharpness_of_attention_is_bounded() -> None:
    torch.manual_seed(0)
    layer = CosineAttention(WIDTH, HEADS, WINDOW[0], (ROWS, COLUMNS), (0, 0), True)
    x = torch.randn(1, ROWS, COLUMNS, WIDTH)
    with torch.no_grad():
        layer.logit_scale.fill_(math.log(100))
        bounded = layer(x)
        layer.logit_scale.fill_(50.0)
        assert torch.equal(layer(x), bounded)


def test_a_window_that_is_too_wide_is_refused_with_one_that_fits() -> None:
    shape = global_shape(16, 32)
    with pytest.raises(ConfigError, match=r"multiple of 64 rows and columns.*at most 4 fits"):
        SwinArguments(window=32).check(shape)
    SwinArguments(window=4).check(shape)
    with pytest.raises(ValueError, match="width is 50, no multiple of heads 4: 48 or 52 would do"):
        SwinArguments(width=50)
