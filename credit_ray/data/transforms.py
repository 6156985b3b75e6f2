"""Monotone transforms that are taken before mean and deviation: for amounts that are mostly small and sometimes large.

One formula for readers (numpy) and for models (torch): the array module is passed in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

Kind: TypeAlias = Literal["log", "sqrt", "quantile"]


@dataclass(frozen=True, kw_only=True)
class Transform:
    """A bijection of the real line, applied value by value.

    Parameters
    ----------
    kind : {"log", "sqrt", "quantile"}
        `log`: ±ln(1 + |x|/ε), which for x ≥ 0 is CREDIT's ln(x + ε) − ln ε. `sqrt`: ±(√(|x| + ε) − √ε). `quantile`: straight lines between
        `knots`, which send the training period's values to a standard normal distribution.
    epsilon : float
        ε, in the variable's units: what counts as small.
    knots : tuple of (tuple of float, tuple of float)
        Values, strictly ascending, and what they become.
    """

    kind: Kind
    epsilon: float = 0.0
    knots: tuple[tuple[float, ...], tuple[float, ...]] = ((), ())

    def forward(self, x: Any, xp: Any, knots: Any = None) -> Any:
        """From physical units.

        Parameters
        ----------
        x : array or Tensor
            Values.
        xp : module
            `numpy` or `torch`.
        knots : array or Tensor [2, n], optional
            `self.knots` as x's kind of array, on its device; only `quantile` reads it.
        """
        if self.kind == "log":
            return xp.sign(x) * xp.log1p(xp.abs(x) / self.epsilon)
        if self.kind == "sqrt":
            return xp.sign(x) * (xp.sqrt(xp.abs(x) + self.epsilon) - self.epsilon**0.5)
        return _lines(x, knots[0], knots[1], xp)

    def inverse(self, y: Any, xp: Any, knots: Any = None) -> Any:
        """Back to physical units."""
        if self.kind == "log":
            return xp.sign(y) * xp.expm1(xp.abs(y)) * self.epsilon
        if self.kind == "sqrt":
            return xp.sign(y) * ((xp.abs(y) + self.epsilon**0.5) ** 2 - self.epsilon)
        return _lines(y, knots[1], knots[0], xp)


def _lines(x: Any, given: Any, wanted: Any, xp: Any) -> Any:
    """Straight lines between knots; beyond them, the first and last lines go on."""
    right = xp.clip(xp.searchsorted(given, x), 1, len(given) - 1)
    slope = (wanted[right] - wanted[right - 1]) / (given[right] - given[right - 1])
    return wanted[right - 1] + slope * (x - given[right - 1])
