"""Rollouts from the validation period, scored as forecasts are: area-weighted, by lead, against persistence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from credit_ray.data.dataset import Dataset
from credit_ray.state import State
from credit_ray.stepper import Stepper
from credit_ray.times import Step, Times
from credit_ray.training.parallel import Workers


@dataclass(frozen=True)
class Scores:
    """Of a set of rollouts.

    Parameters
    ----------
    rmse, persistence : Tensor
        [lead, outputs], area-weighted, physical units; of the model, and of leaving the prognostic fields as they are.
    names : tuple of str
        Of the outputs.
    prognostic : int
        How many of them can persist.
    step : Step
        Of the leads.
    budgets : mapping of str to Tensor
        Constraint → [lead, 2]: the mean size of its correction, and of its relative residual.
    """

    rmse: Tensor
    persistence: Tensor
    names: tuple[str, ...]
    prognostic: int
    step: Step
    budgets: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def score(self) -> float:
        """Mean over leads and prognostic channels of RMSE relative to persistence: below 1 is skill, lower is better."""
        ratio = self.rmse[:, : self.prognostic] / self.persistence[:, : self.prognostic]
        return float(ratio[torch.isfinite(ratio)].mean())

    def metrics(self) -> dict[str, float]:
        """For the log: the score, and each channel's RMSE and each budget at the first and the last lead."""
        found = {"validation/score": self.score}
        for lead in sorted({0, len(self.rmse) - 1}):
            label = _lead_label(self.step, lead + 1)
            found |= {
                f"validation/rmse_{label}/{name}": float(value)
                for name, value in zip(self.names, self.rmse[lead], strict=True)
            }
            for name, values in self.budgets.items():
                found[f"validation/budget_{label}/{name}/correction"] = float(values[lead, 0])
                found[f"validation/budget_{label}/{name}/residual"] = float(values[lead, 1])
        return found


def _lead_label(step: Step, count: int) -> str:
    return f"{step.seconds * count // 3600}h" if step.fixed and step.seconds % 3600 == 0 else f"{count}steps"


@torch.inference_mode()
def validate(
    stepper: Stepper, dataset: Dataset, init_times: Times, lead_steps: int, workers: Workers, batch_size: int
) -> Scores:
    """Roll out from each initial time and compare with the data; workers share the initial times, and those of a domain the places.

    Parameters
    ----------
    init_times : Times
        All of them, the same on each worker.
    batch_size : int
        Trajectories at a time.
    """
    spec, device = stepper.spec, workers.device
    outputs = spec.outputs
    weights = torch.from_numpy(spec.grid.area_weights()).to(device)
    if (mask := stepper.normalizer.output_mask) is not None:
        weights = weights * mask
    weights = weights.expand(len(outputs), *spec.grid.shape)
    weights = (weights / weights.sum((-2, -1), keepdim=True))[..., stepper.rows, :]
    sums = torch.zeros(2, lead_steps, len(outputs), dtype=torch.float64, device=device)
    constraints = stepper.constraints.constraints
    corrections = torch.zeros(lead_steps, len(constraints), 2, dtype=torch.float64, device=device)
    mine = init_times[workers.batch_rank :: workers.batch_world]
    counted = np.ones(len(mine))
    if workers.in_step and len(mine) * workers.batch_world < len(init_times):  # one to keep step with the others
        mine, counted = np.append(mine, init_times[0]), np.append(counted, 0.0)
    for begin in range(0, len(mine), batch_size):
        times, weighs = mine[begin : begin + batch_size], torch.tensor(counted[begin : begin + batch_size]).to(device)
        state = stepper.start(_rows(dataset.initial_state(times).to(device), stepper.rows))
        first = state.fields[:, -1]
        forcings = (forcing[..., stepper.rows, :].to(device) for forcing in dataset.forcings(times, lead_steps))
        for lead, result in enumerate(stepper.rollout(state, forcings)):
            truth = torch.from_numpy(dataset.fields(spec.step.add(times, lead + 1, spec.calendar), outputs))[
                ..., stepper.rows, :
            ].to(device)
            sums[0, lead] += _weighted_square(result.outputs - truth, weights, weighs)
            for place, budget in enumerate(result.budgets):
                size = torch.stack([budget.size, budget.relative_residual])  # [2, trajectory]
                corrections[lead, place] += (size.double() * weighs).sum(1)
            still = torch.full_like(truth, np.nan)
            still[:, : first.shape[1]] = first
            sums[1, lead] += _weighted_square(still - truth, weights, weighs)
    rmse, persistence = (workers.sum_(sums) / len(init_times)).sqrt().cpu()
    budgets: dict[str, Tensor] = {}
    if constraints:  # each worker of a domain has counted the budgets of the whole globe
        means = (workers.sum_(corrections) / (len(init_times) * workers.size("domain"))).cpu()
        budgets = dict(zip(stepper.constraints.kinds(), means.unbind(1), strict=True))
    return Scores(rmse, persistence, outputs.names, len(spec.prognostic), spec.step, budgets)


def _rows(state: State, rows: slice) -> State:
    return replace(state, fields=state.fields[..., rows, :], forcing=state.forcing[..., rows, :])


def _weighted_square(error: Tensor, weights: Tensor, counted: Tensor) -> Tensor:
    """Sum over the trajectories that count of the weighted mean square: [trajectory, outputs, *grid] → [outputs]; places without weight do not count."""
    square = torch.where(weights > 0, error.double() ** 2, 0.0)
    return counted @ (square * weights).sum((-2, -1))
