"""The moving average of the weights that is validated and packaged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


class Ema:
    """Exponential moving average of the weights, on their device, in float32.

    The decay grows as (1 + n)/(10 + n) up to its limit, so that the random start is soon forgotten. Its shadow is not a module: it is swapped
    into the network to be validated and packaged.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay, self.updates = decay, 0
        self._weights = list(network.parameters())
        self.shadow = [p.detach().clone().float() for p in self._weights]

    @torch.no_grad()
    def update(self) -> None:
        """Move towards the weights as they are now."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        if self.shadow:  # none where the network is solved in closed form
            torch._foreach_lerp_(self.shadow, [p.detach().float() for p in self._weights], 1 - decay)

    @contextmanager
    def swapped_in(self) -> Iterator[None]:
        """The network has the averaged weights inside this block."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    @torch.no_grad()
    def _exchange(self) -> None:
        for weight, shadow in zip(self._weights, self.shadow, strict=True):
            kept = weight.detach().clone()
            weight.copy_(shadow)
            shadow.copy_(kept)
