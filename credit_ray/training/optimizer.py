"""From gradients to a step: which parameters decay, and which optimiser moves which."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from credit_ray.config.training import Optimizer
from credit_ray.training.sharding import spread


class Optimizers:
    """One optimiser, or Muon for matrices beside AdamW for the rest, behind one face.

    Parameters
    ----------
    network : nn.Module
        Whose trainable parameters decay if they are kernels or matrices.
    others : iterable of Parameter
        Those of a loss that learns its weights; they never decay.
    config : Optimizer
        Kind, rate, decay.
    """

    def __init__(self, network: nn.Module, others: Iterable[nn.Parameter], config: Optimizer) -> None:
        trainable = [p for p in network.parameters() if p.requires_grad]
        # Decay pulls kernels and matrices towards zero; biases, gains and tables of scalars have a scale of their own.
        kept = [p for p in trainable if p.ndim <= 1] + list(others)
        kernels = [p for p in trainable if p.ndim > 1]
        # Muon's step has the same root mean square for every matrix, scaled to that of AdamW's, so that one learning rate serves both.
        matrices = [p for p in kernels if p.ndim == 2] if config.kind == "muon" else []
        self._all: list[torch.optim.Optimizer] = []
        if matrices:
            self._all.append(
                torch.optim.Muon(
                    matrices, lr=config.lr, weight_decay=config.weight_decay, adjust_lr_fn="match_rms_adamw"
                )
            )
        moved = {id(p) for p in matrices}
        groups = [
            {"params": [p for p in kernels if id(p) not in moved], "weight_decay": config.weight_decay},
            {"params": kept, "weight_decay": 0.0},
        ]
        if groups := [g for g in groups if g["params"]]:  # what is solved in closed form has none
            self._all.append(torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, fused=True))

    def set_rate(self, rate: float) -> None:
        """The learning rate of the next step."""
        for optimizer in self._all:
            for group in optimizer.param_groups:
                group["lr"] = rate

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for optimizer in self._all:
            optimizer.zero_grad(set_to_none=True)

    def step(self) -> None:
        """Move the parameters."""
        for optimizer in self._all:
            optimizer.step()

    def state_dict(self) -> list[dict[str, Any]]:
        """Of each of them."""
        return [optimizer.state_dict() for optimizer in self._all]

    def load_state_dict(self, states: list[dict[str, Any]]) -> None:
        """The inverse of `state_dict`."""
        for optimizer, state in zip(self._all, states, strict=True):
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            moments = {
                number: {name: spread(value, parameters[number]) if value.ndim else value for name, value in of.items()}
                for number, of in state["state"].items()
            }
            optimizer.load_state_dict({**state, "state": moments})
