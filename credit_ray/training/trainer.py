"""What an optimiser step is: a rollout's loss, its gradient over all workers, a guarded, clipped and scheduled step, an average of the weights."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from credit_ray.config.training import Stage, TrainingConfig
from credit_ray.losses.loss import Loss
from credit_ray.state import Window
from credit_ray.stepper import Stepper
from credit_ray.times import format_times
from credit_ray.training.ema import Ema
from credit_ray.training.guard import DivergedError, StepGuard
from credit_ray.training.ledger import Ledger
from credit_ray.training.optimizer import Optimizers
from credit_ray.training.parallel import Workers
from credit_ray.training.rollout import rollout_length, rollout_loss, weightless
from credit_ray.training.schedule import Plateau, learning_rate
from credit_ray.training.sharding import clip_gradients, spread
from credit_ray.training.timing import StepTimer


@dataclass(frozen=True)
class StepReport:
    """One optimiser step, for the log.

    Parameters
    ----------
    loss, gradient_norm, learning_rate : float
        Over all workers; the norm is that before clipping.
    skipped : bool
        Left out by the guard.
    rollout_steps : int
        Steps that were rolled out.
    budgets : mapping of str to (float, float)
        Constraint that was applied → size of its correction, and relative residual: means over windows and steps.
    """

    loss: float
    gradient_norm: float
    learning_rate: float
    skipped: bool
    rollout_steps: int = 1
    budgets: Mapping[str, tuple[float, float]] = field(default_factory=dict)


class Trainer:
    """Weights, optimiser, schedule and average, and the one way they change.

    Parameters
    ----------
    stepper : Stepper
        On its device.
    loss : Loss
        Of normalised outputs; one that is a module may have parameters of its own, which are learnt and saved as well.
    config : TrainingConfig
        Optimiser, schedule, rollout, clipping, averaging, precision.
    total_steps : int
        Where the schedule ends.
    seed : int
        Of dropout, noise and rollout lengths.
    workers : Workers
        Whom to sum with.
    """

    def __init__(
        self, stepper: Stepper, loss: Loss, config: TrainingConfig, total_steps: int, seed: int, workers: Workers
    ) -> None:
        self.stepper, self.loss, self.config = stepper, loss, config
        self.total_steps, self.seed, self.workers = total_steps, seed, workers
        learnt = list(loss.parameters()) if isinstance(loss, nn.Module) else []
        self.parameters = [p for p in stepper.network.parameters() if p.requires_grad] + learnt
        self.optimizer = Optimizers(stepper.network, learnt, config.optimizer)
        self.ema = Ema(stepper.network, config.ema) if config.ema is not None else None
        self.bfloat16 = config.precision == "bfloat16" or (config.precision == "auto" and workers.device.type == "cuda")
        self.guard, self.plateau, self.timer = StepGuard(config.guard), Plateau(), StepTimer(workers.device)
        self.step = 0
        if config.compile:
            stepper.network.compile()

    def update(self, window: Window, stage: Stage | None = None) -> StepReport:
        """One optimiser step on one global batch, of which `window` is this worker's part.

        Parameters
        ----------
        stage : Stage, optional
            Of the curriculum; default: as many steps as the window has.

        Raises
        ------
        DivergedError
            After too many steps in a row that had to be left out; names the times, and the channels that are not finite.
        """
        self.stepper.train()
        self.stepper.training_step = self.step
        self.timer.begin()
        torch.manual_seed(
            (self.seed << 32) + self.step * self.workers.batch_world + self.workers.batch_rank
        )  # so that resuming repeats dropout exactly, and all who compute the same windows draw the same
        rate = self.config.optimizer.lr * learning_rate(
            self.config.schedule, self.step, self.total_steps, falls=self.plateau.falls
        )
        self.optimizer.set_rate(rate)
        self.optimizer.zero_grad()
        steps = rollout_length(stage, self.seed, self.step) if stage else window.steps
        ledger = Ledger(self.stepper.constraints.applied(self.step), self.workers.device)
        loss = self._differentiate(window, steps, ledger)
        with self.timer.part("communication"):
            self.workers.sum_gradients(self.parameters)
            total = float(self.workers.sum_(loss))
            budgets = ledger.means(self.workers)
        with self.timer.part("optimizer"):
            norm = clip_gradients(self.parameters, self.config.clip)
            taken = self.guard.takes(total, norm, stage.steps if stage else steps)
            if taken:
                self.optimizer.step()
                if self.ema:
                    self.ema.update()
        if self.guard.exhausted:
            raise DivergedError(self._what_went_wrong(window))
        self.step += 1
        return StepReport(total, norm, rate, not taken, steps, budgets)

    def _differentiate(self, window: Window, steps: int, ledger: Ledger) -> torch.Tensor:
        """Gradients of this worker's share, piece by piece; gives the share of the loss."""
        loss = torch.zeros((), device=self.workers.device)
        for piece in self._pieces(window):
            with (
                self.timer.part("forward"),
                torch.autocast(self.workers.device.type, torch.bfloat16, enabled=self.bfloat16),
            ):
                look = ledger.weighing(piece.share / steps)
                share = rollout_loss(self.stepper, piece, self.loss, self.config.rollout, steps, look) * piece.share
            with self.timer.part("backward"):
                if (
                    share.requires_grad
                ):  # not where the network has a closed form, of which `credit-ray check` takes one step too
                    share.backward()
            loss += share.detach()
        return loss

    def _pieces(self, window: Window) -> Iterator[Window]:
        """About equal parts of a window, each with its share of the global batch; none where it is empty.

        Where workers meet inside the network there are always as many, which a window without weight makes up for.
        """
        count = self.config.accumulate
        size = max(-(-len(window) // count), 1)
        begins = range(0, len(window), size)
        for begin in begins:
            part = slice(begin, begin + size)
            times = window.times[part]
            yield replace(
                window, fields=window.fields[part], times=times, share=window.share * len(times) / len(window)
            )
        if self.workers.in_step:
            for _ in range(count - len(begins)):
                yield weightless(self.stepper, window)

    @torch.no_grad()
    def losses_by_variable(self, window: Window) -> dict[str, float]:
        """The first step's loss of each variable by itself, over all workers; not of those without weight."""
        spec = self.stepper.spec
        sums = torch.zeros(len(spec.outputs), device=self.workers.device)
        for piece in self._pieces(window):
            with torch.autocast(self.workers.device.type, torch.bfloat16, enabled=self.bfloat16):
                result = self.stepper.step(self.stepper.start(piece.initial()), piece.forcing(0))
            scaled = self.stepper.normalizer.normalized_outputs
            by_channel = self.loss.per_channel(scaled(result.outputs)[:, None], scaled(piece.target(0)), 1)
            sums += by_channel.mean(0) * piece.share
        values = self.workers.sum_(sums).tolist()
        found: dict[str, list[float]] = {}
        for channel, value in zip(spec.outputs, values, strict=True):
            if math.isfinite(value):
                found.setdefault(channel.variable, []).append(value)
        return {name: sum(values) / len(values) for name, values in found.items()}

    def validated(self, score: float) -> None:
        """A new validation score: a schedule that waits for a plateau looks at it."""
        self.plateau.observe(score, self.config.schedule.patience)

    def _what_went_wrong(self, window: Window) -> str:
        times = (
            format_times(window.times[:, 0].tolist(), window.spec.calendar) if len(window) else "other workers' times"
        )
        return (
            f"At step {self.step}, as in the {self.guard.in_a_row - 1} before, the loss or its gradient is not finite or a spike; the batch begins at "
            f"{times}{self._not_finite(window)}. Lower training.optimizer.lr, or look for bad values: credit-ray data statistics."
        )

    @torch.no_grad()
    def _not_finite(self, window: Window) -> str:
        if not len(window):
            if not self.workers.in_step:
                return ""
            window = weightless(self.stepper, window)
        outputs = self.stepper.step(self.stepper.start(window.initial()), window.forcing(0)).outputs
        places = {"data": window.fields[:, :, : outputs.shape[1]], "forecast": outputs[:, None]}
        mask = self.stepper.normalizer.output_mask
        words = []
        for what, fields in places.items():
            bad = ~torch.isfinite(fields) & (True if mask is None else mask)
            names = [window.spec.outputs[int(i)].name for i in bad.transpose(0, 2).flatten(1).any(1).nonzero()]
            if names:
                words.append(f"in the {what}, {', '.join(names[:8])}{' …' * (len(names) > 8)}")
        return f"; not finite are: {'; '.join(words)}" if words else ""

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
        """Tensors and plain values, from which training goes on exactly; of sharded weights, this worker's part."""
        return {
            "step": self.step,
            "network": self.stepper.network.state_dict(),
            "loss": self.loss.state_dict() if isinstance(self.loss, nn.Module) else None,
            "optimizer": self.optimizer.state_dict(),
            "ema": {"shadow": self.ema.shadow, "updates": self.ema.updates} if self.ema else None,
            "guard": self.guard.state(),
            "plateau": vars(self.plateau),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`, with every tensor whole: for any number of workers, however they share the work."""
        self.step = state["step"]
        network = self.stepper.network
        mine = network.state_dict()
        network.load_state_dict({name: spread(value, mine.get(name)) for name, value in state["network"].items()})
        if isinstance(self.loss, nn.Module):
            self.loss.load_state_dict(state["loss"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.guard.restore(state["guard"])
        self.plateau = Plateau(**state["plateau"])
        if self.ema and state["ema"]:
            self.ema.updates = state["ema"]["updates"]
            for shadow, theirs in zip(self.ema.shadow, state["ema"]["shadow"], strict=True):
                shadow.copy_(spread(theirs, shadow))
