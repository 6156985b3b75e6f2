"""What an optimiser step is: a rollout's loss, its gradient over all workers, a clipped and scheduled step, an average of the weights."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from credit_ray.config.training import Schedule, TrainingConfig
from credit_ray.errors import TrainingError
from credit_ray.losses.pointwise import Loss
from credit_ray.state import Window
from credit_ray.stepper import Stepper
from credit_ray.times import format_times
from credit_ray.training.parallel import Workers

MOST_SKIPPED = 20
"""So many steps in a row without a finite gradient end the training."""


def rollout_loss(stepper: Stepper, window: Window, loss: Loss) -> Tensor:
    """Mean over windows and rollout steps, differentiable through the whole rollout.

    Outputs and truth are compared after the constraints, in units of the output's σ.
    """
    normalizer, total = stepper.normalizer, window.fields.new_zeros(())
    state = stepper.start(window.initial())
    for k, result in enumerate(stepper.rollout(state, (window.forcing(k) for k in range(window.steps)))):
        prediction = normalizer.normalized_outputs(result.outputs)
        target = normalizer.normalized_outputs(window.target(k))
        total = total + loss(prediction[:, None], target, k + 1).mean()
    return total / window.steps


def learning_rate(schedule: Schedule, step: int, total: int) -> float:
    """Relative to the peak: linear from 0 over the warm-up, then half a cosine to `final` at the last step."""
    warmup = max(round(schedule.warmup * total), 1)
    if step < warmup:
        return (step + 1) / warmup
    progress = min((step - warmup) / max(total - warmup, 1), 1.0)
    return schedule.final + (1 - schedule.final) * 0.5 * (1 + math.cos(math.pi * progress))


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


@dataclass(frozen=True)
class StepReport:
    """One optimiser step, for the log."""

    loss: float
    gradient_norm: float
    learning_rate: float
    skipped: bool


class Trainer:
    """Weights, optimiser, schedule and average, and the one way they change.

    Parameters
    ----------
    stepper : Stepper
        On its device.
    loss : Loss
        Of normalised outputs.
    config : TrainingConfig
        Optimiser, schedule, clipping, averaging, precision.
    total_steps : int
        Where the schedule ends.
    seed : int
        Of dropout.
    workers : Workers
        Whom to sum with.
    """

    def __init__(
        self, stepper: Stepper, loss: Loss, config: TrainingConfig, total_steps: int, seed: int, workers: Workers
    ) -> None:
        self.stepper, self.loss, self.config = stepper, loss, config
        self.total_steps, self.seed, self.workers = total_steps, seed, workers
        self.parameters = [p for p in stepper.network.parameters() if p.requires_grad]
        # Decay pulls kernels and matrices towards zero; biases, gains and tables of scalars have a scale of their own.
        decayed = [p for p in self.parameters if p.ndim > 1]
        kept = [p for p in self.parameters if p.ndim <= 1]
        groups = [
            {"params": decayed, "weight_decay": config.optimizer.weight_decay},
            {"params": kept, "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=config.optimizer.lr, betas=config.optimizer.betas, fused=True)
        self.ema = Ema(stepper.network, config.ema) if config.ema is not None else None
        self.bfloat16 = config.precision == "bfloat16" or (config.precision == "auto" and workers.device.type == "cuda")
        self.step, self.skipped, self.skipped_in_a_row = 0, 0, 0

    def update(self, window: Window) -> StepReport:
        """One optimiser step on one global batch, of which `window` is this worker's part.

        Raises
        ------
        TrainingError
            After twenty steps in a row whose gradient is not finite; names the times.
        """
        self.stepper.train()
        torch.manual_seed(
            (self.seed << 32) + self.step * self.workers.world + self.workers.rank
        )  # so that resuming repeats dropout exactly
        rate = self.config.optimizer.lr * learning_rate(self.config.schedule, self.step, self.total_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        share = torch.zeros((), device=self.workers.device)
        if len(window):
            with torch.autocast(self.workers.device.type, torch.bfloat16, enabled=self.bfloat16):
                share = rollout_loss(self.stepper, window, self.loss) * window.share
            share.backward()
        self.workers.sum_gradients(self.parameters)
        loss = float(self.workers.sum_(share.detach().clone()))
        norm = float(
            torch.nn.utils.clip_grad_norm_(
                self.parameters, self.config.clip if self.config.clip is not None else math.inf
            )
        )
        finite = math.isfinite(loss) and math.isfinite(norm)
        if finite:
            self.optimizer.step()
            if self.ema:
                self.ema.update()
            self.skipped_in_a_row = 0
        else:
            self._skip(window)
        self.step += 1
        return StepReport(loss, norm, rate, not finite)

    def _skip(self, window: Window) -> None:
        self.skipped, self.skipped_in_a_row = self.skipped + 1, self.skipped_in_a_row + 1
        if self.skipped_in_a_row >= MOST_SKIPPED:
            first = window.times[:, 0].tolist() if len(window) else []
            raise TrainingError(
                f"At step {self.step} the loss or its gradient is not finite, as in the {MOST_SKIPPED - 1} steps before; the batch begins at "
                f"{format_times(first, window.spec.calendar)}. Lower training.optimizer.lr, or look for bad values: credit-ray data statistics."
            )

    @contextmanager
    def averaged(self) -> Iterator[Stepper]:
        """The stepper as it is validated and packaged: with averaged weights, if they are averaged, and in eval mode."""
        self.stepper.eval()
        if self.ema is None:
            yield self.stepper
        else:
            with self.ema.swapped_in():
                yield self.stepper
        self.stepper.train()

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values, from which training goes on exactly."""
        return {
            "step": self.step,
            "skipped": self.skipped,
            "network": self.stepper.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "ema": {"shadow": self.ema.shadow, "updates": self.ema.updates} if self.ema else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.step, self.skipped = state["step"], state["skipped"]
        self.stepper.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.ema and state["ema"]:
            self.ema.updates = state["ema"]["updates"]
            for mine, theirs in zip(self.ema.shadow, state["ema"]["shadow"], strict=True):
                mine.copy_(theirs)
