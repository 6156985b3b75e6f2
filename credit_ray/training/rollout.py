"""What a window teaches: the loss of a rollout, and what of it is differentiated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from credit_ray.config.training import Rollout, Stage
from credit_ray.losses.loss import Loss
from credit_ray.state import State, Window
from credit_ray.stepper import Stepper, StepResult


def rollout_loss(
    stepper: Stepper,
    window: Window,
    loss: Loss,
    config: Rollout | None = None,
    steps: int | None = None,
    look: Callable[[StepResult], None] | None = None,
) -> Tensor:
    """Weighted mean over the rollout's steps, and mean over the windows, of the loss.

    Outputs and truth are compared after the constraints, in units of the output's σ.

    Parameters
    ----------
    config : Rollout
        What counts and what is differentiated.
    steps : int, optional
        Length of the rollout; default: all that the window has.
    look : callable, optional
        Shown the result of every step.
    """
    config, steps = config or Rollout(), steps or window.steps
    weights = step_weights(config, steps)
    normalizer, total = stepper.normalizer, window.fields.new_zeros(())
    state = stepper.start(_perturbed(stepper, window.initial(), config.noise))
    for k, weight in enumerate(weights):
        # What neither counts nor is differentiated through needs no graph.
        if weight or config.gradient == "through":
            result = _step(stepper, state, window.forcing(k), config.recompute)
        else:
            with torch.no_grad():
                result = stepper.step(state, window.forcing(k))
        if look is not None:
            look(result)
        if weight:
            prediction = normalizer.normalized_outputs(result.outputs)
            target = normalizer.normalized_outputs(window.target(k))
            with torch.autocast(prediction.device.type, enabled=False):  # means over a whole globe need all the digits
                total = total + weight * loss(prediction[:, None], target, k + 1).mean()
        state = result.state if config.gradient == "through" else result.state.detach()
    return total


def weightless(stepper: Stepper, window: Window) -> Window:
    """One window of mean values that counts nothing, as long as `window`, for a worker that has none and must keep step with others."""
    spec, normalizer = stepper.spec, stepper.normalizer
    mean, prognostic = normalizer.input_mean, len(spec.prognostic)
    means = torch.cat(
        [mean[:prognostic], normalizer.output_mean[prognostic:], mean[prognostic : prognostic + len(spec.forcing)]]
    ).to(window.fields.dtype)
    values = normalizer.untransformed(means[:, None, None], spec.windowed)
    fields = values.expand(1, window.fields.shape[1], *window.fields.shape[2:])
    times = spec.step.add(np.zeros((1, 1), np.int64), np.arange(window.fields.shape[1]), spec.calendar)
    return replace(window, fields=fields.contiguous(), times=times, share=0.0)


def step_weights(config: Rollout, steps: int) -> list[float]:
    """Of each step, summing to one."""
    if config.loss == "last":
        return [0.0] * (steps - 1) + [1.0]
    given = config.weights or [1.0]
    weights = [given[min(k, len(given) - 1)] for k in range(steps)]
    return [weight / sum(weights) for weight in weights]


def rollout_length(stage: Stage, seed: int, global_step: int) -> int:
    """Steps that an optimiser step rolls out: a function of seed and step, the same on every worker and after a stop."""
    if stage.draw == "fixed":
        return stage.steps
    random = np.random.Generator(np.random.Philox(key=[seed, global_step], counter=_OF_LENGTHS))
    return int(random.integers(1, stage.steps, endpoint=True))


_OF_LENGTHS = 1 << 32
"""Apart from the numbers by which the plan orders its windows."""


def _step(stepper: Stepper, state: State, forcing: Tensor, recompute: bool) -> StepResult:
    if not recompute:
        return stepper.step(state, forcing)
    result: StepResult = checkpoint(stepper.step, state, forcing, use_reentrant=False)
    return result


def _perturbed(stepper: Stepper, state: State, sigma: float) -> State:
    """Noise on the prognostic fields, from torch's generator, which the trainer seeds by the step."""
    if not sigma:
        return state
    scale = stepper.normalizer.output_std[: state.fields.shape[2]]
    scale = scale.view(-1, *[1] * (state.fields.ndim - 3))
    normalizer, channels = stepper.normalizer, stepper.spec.prognostic
    like = state.fields  # drawn for all rows, so that a band of latitudes has the noise that it has in the whole
    noise = torch.randn(*like.shape[:3], *stepper.spec.grid.shape, dtype=like.dtype, device=like.device)
    shifted = normalizer.transformed(like, channels) + sigma * scale * noise[..., stepper.rows, :]
    return replace(state, fields=normalizer.untransformed(shifted, channels))
