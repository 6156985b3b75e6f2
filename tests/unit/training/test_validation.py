"""Validation scores: area-weighted, by lead, the same for any number of workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from credit_ray.physics.chain import build_chain
from credit_ray.state import Channels, State, StateSpec
from credit_ray.stepper import Stepper
from credit_ray.training.parallel import Workers
from credit_ray.training.validation import validate


class WalkingData:
    """Each field is its valid time in days, plus the latitude row: known at any time."""

    def __init__(self, spec: StateSpec) -> None:
        self.spec = spec

    def fields(self, times: NDArray[np.int64], channels: Channels) -> NDArray[np.float32]:
        days = (times / 86400)[:, None, None, None] + np.arange(self.spec.grid.shape[0])[None, None, :, None]
        return np.broadcast_to(days, (len(times), len(channels), *self.spec.grid.shape)).astype(np.float32)

    def initial_state(self, init_times: NDArray[np.int64]) -> State:
        fields = torch.from_numpy(self.fields(init_times, self.spec.prognostic))[:, None]
        return State(
            fields=fields, forcing=torch.empty(len(init_times), 0, 0, *self.spec.grid.shape), valid_time=init_times
        )

    def forcings(self, init_times: NDArray[np.int64], steps: int) -> Iterator[Tensor]:
        for _ in range(steps):
            yield torch.empty(len(init_times), 0, *self.spec.grid.shape)


INITS = np.arange(5, dtype=np.int64) * 86400


def test_an_untrained_network_that_predicts_changes_scores_as_persistence(
    spec: StateSpec, alone: Workers, make_stepper: Callable[..., Stepper]
) -> None:
    scores = validate(make_stepper().eval(), WalkingData(spec), INITS, 3, alone, 2)  # type: ignore[arg-type]
    assert scores.rmse[:, 0].tolist() == pytest.approx([0.25, 0.5, 0.75], rel=1e-6)  # a quarter of a day a step
    assert scores.score == pytest.approx(1.0)


def test_workers_share_the_initial_times_and_come_to_the_same_scores(
    spec: StateSpec, alone: Workers, make_stepper: Callable[..., Stepper]
) -> None:
    stepper = make_stepper().eval()
    torch.nn.init.normal_(stepper.network.get_parameter("head.weight"), std=0.1)
    whole = validate(stepper, WalkingData(spec), INITS, 2, alone, 5)  # type: ignore[arg-type]

    class Part(Workers):
        def sum_(self, tensor: Tensor) -> Tensor:
            sums.append(tensor.clone())
            return tensor

    sums: list[Tensor] = []
    for rank in range(2):
        validate(stepper, WalkingData(spec), INITS, 2, Part(rank, 2, torch.device("cpu")), 1)  # type: ignore[arg-type]
    together = ((sums[0] + sums[1]) / len(INITS)).sqrt()[0]
    assert torch.allclose(together, whole.rmse, rtol=1e-6)


def test_the_log_names_each_channel_at_the_first_and_the_last_lead(
    spec: StateSpec, alone: Workers, make_stepper: Callable[..., Stepper]
) -> None:
    metrics = validate(make_stepper().eval(), WalkingData(spec), INITS, 3, alone, 5).metrics()  # type: ignore[arg-type]
    assert set(metrics) == {
        "validation/score",
        *(f"validation/rmse_{lead}/{c}" for lead in ("6h", "18h") for c in ("u", "t")),
    }


def test_the_log_says_how_large_the_corrections_were(
    spec: StateSpec, alone: Workers, make_stepper: Callable[..., Stepper]
) -> None:
    stepper = make_stepper().eval()
    stepper.constraints = build_chain([{"kind": "bounds", "variables": ["u"], "upper": 1.0}], spec, stepper.statics)
    metrics = validate(stepper, WalkingData(spec), INITS, 2, alone, 2).metrics()  # type: ignore[arg-type]
    assert 0 < metrics["validation/budget_6h/bounds/correction"] < 1
    assert metrics["validation/budget_6h/bounds/residual"] > 0
