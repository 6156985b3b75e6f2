"""From float64 to float32 without bias.

A correction is often smaller than the last digit of what it corrects: a surface pressure of 10⁵ Pa has steps of 0.008 Pa in float32, and
rounding to nearest would swallow every smaller change, in all cells alike. Rounding up with a probability equal to the remainder keeps the
sum instead: what is lost in one cell is found in another, and the total is off by the square root of the number of cells. Numbers that
float32 holds exactly stay as they are. The "probability" is a function of the cell, the value and the step alone, so a step gives the
same on every run, and in whatever batch. Without the step, a rollout could settle where every cell is rounded the same way again and again.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

_DROPPED = 29  # bits of a float64's mantissa that a float32 has no place for
_MASK = (1 << _DROPPED) - 1
_GOLDEN = 331_804_471  # 2²⁹ · (√5 − 1)/2, odd: multiples of it fill the range evenly
_SILVER = 222_379_213  # 2²⁹ · (√2 − 1), odd: likewise, and independent of the other


def stored(values: Tensor, dtype: torch.dtype, step: Tensor) -> Tensor:
    """Float64 values as `dtype`: float32 without bias; gradients pass unchanged.

    Parameters
    ----------
    values : Tensor
        [trajectory, ..., lat, lon] float64.
    step : Tensor
        [trajectory] int64: counts the steps of a rollout.
    """
    return values if dtype == values.dtype else _Unbiased.apply(values, step)


class _Unbiased(torch.autograd.Function):
    @staticmethod
    def forward(_: Any, values: Tensor, step: Tensor) -> Tensor:
        bits = values.contiguous().view(torch.int64)
        at = (step * _SILVER).view(-1, *[1] * (values.ndim - 1))
        start = _cells(values.shape[-2:], str(values.device)) + at
        dither = (bits >> _DROPPED).mul_(_GOLDEN).add_(start).bitwise_and_(_MASK)
        return dither.add_(bits).bitwise_and_(~_MASK).view(torch.float64).float()

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient.double(), None


@lru_cache(maxsize=8)
def _cells(shape: torch.Size, device: str) -> Tensor:
    """An arbitrary number for each cell, always the same."""
    generator = torch.Generator().manual_seed(shape.numel())
    return torch.randint(1 << _DROPPED, tuple(shape), generator=generator).to(device)
