"""What follows from weights alone, computed once where they do not change: in evaluation."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn


class Kept:
    """Remembers the last result of a function of weights.

    It is used again only while no gradient is asked for and no weight was written to since (each tensor counts its writes). Copies
    start empty: it holds nothing that is part of a model.
    """

    def __init__(self) -> None:
        self.off = False
        """Whether to remember nothing: where weights are gathered anew into the same memory, which counts no writes."""
        self._of: tuple[Any, ...] | None = None
        self._value: Tensor | None = None

    def get(self, training: bool, weights: Iterable[Tensor], compute: Callable[[], Tensor]) -> Tensor:
        """`compute()`, a function of these weights, or what it gave last time."""
        if self.off or training or torch.is_grad_enabled() or torch.compiler.is_compiling():
            return compute()
        weights = tuple(weights)
        # Sharded and traced tensors have no memory to name them by, and inference tensors count no writes.
        plain = all(type(weight) in (Tensor, nn.Parameter) and not weight.is_inference() for weight in weights)
        if not plain or torch.is_autocast_enabled(weights[0].device.type):
            return compute()
        of = tuple((weight.data_ptr(), weight.device, weight.dtype, weight._version) for weight in weights)
        if self._value is None or of != self._of:
            self._of, self._value = of, compute()
        return self._value

    def __deepcopy__(self, memo: Any) -> Kept:
        return Kept()

    def __reduce__(self) -> tuple[type[Kept], tuple[()]]:
        return Kept, ()
