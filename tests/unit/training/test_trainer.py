"""An optimiser step: schedule, average, clipping, skipping, and going on exactly."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from credit_ray.config.training import TrainingConfig
from credit_ray.errors import TrainingError
from credit_ray.losses.arguments import PointwiseArguments
from credit_ray.losses.learnable import LearnableWeights
from credit_ray.losses.loss import Loss
from credit_ray.losses.pointwise import MeanSquaredError
from credit_ray.state import StateSpec, Window
from credit_ray.stepper import Stepper
from credit_ray.training.ema import Ema
from credit_ray.training.parallel import Workers
from credit_ray.training.rollout import rollout_loss
from credit_ray.training.trainer import Trainer

MakeTrainer = Callable[..., Trainer]
MakeWindows = Callable[..., Iterator[Window]]


@pytest.fixture
def make_trainer(spec: StateSpec, alone: Workers, make_stepper: Callable[..., Stepper]) -> MakeTrainer:
    def make(dropout: float = 0.0, loss: Loss | None = None, **config: object) -> Trainer:
        weights = torch.from_numpy(spec.grid.area_weights()).float().expand(2, *spec.grid.shape)
        loss = loss or MeanSquaredError(PointwiseArguments(), weights)
        return Trainer(make_stepper(dropout), loss, TrainingConfig.model_validate(config), 20, seed=3, workers=alone)

    return make


@pytest.fixture
def windows(spec: StateSpec) -> MakeWindows:
    def make(count: int = 20, batch: int = 4, steps: int = 1) -> Iterator[Window]:
        random = torch.Generator().manual_seed(7)
        for step in range(count):
            fields = torch.randn(batch, 1 + steps, 2, *spec.grid.shape, generator=random)
            times = np.arange(1 + steps)[None] * 21600 + np.arange(batch)[:, None] * 86400
            yield Window(fields=fields, times=times, spec=spec, global_step=step)

    return make


def weights_of(trainer: Trainer) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in trainer.stepper.parameters()])


def test_training_goes_on_after_a_checkpoint_as_if_it_had_not_stopped(
    make_trainer: MakeTrainer, windows: MakeWindows
) -> None:
    whole = make_trainer(dropout=0.3)
    for window in windows(12):
        whole.update(window)
    first = make_trainer(dropout=0.3)
    for window in list(windows(12))[:5]:
        first.update(window)
    second = make_trainer(dropout=0.3)
    second.load_state_dict(first.state_dict())
    for window in list(windows(12))[5:]:
        second.update(window)
    assert torch.equal(weights_of(second), weights_of(whole))
    assert whole.ema is not None
    assert second.ema is not None
    assert all(torch.equal(a, b) for a, b in zip(second.ema.shadow, whole.ema.shadow, strict=True))


def test_shares_of_a_batch_add_up_to_the_gradient_of_the_whole(make_trainer: MakeTrainer, windows: MakeWindows) -> None:
    trainer, window = make_trainer(), next(windows(batch=6))
    trainer.stepper.double()
    trainer.loss.weights = trainer.loss.weights.double()  # type: ignore[attr-defined]
    window = Window(fields=window.fields.double(), times=window.times, spec=window.spec)

    def gradient(parts: list[Window]) -> torch.Tensor:
        trainer.optimizer.zero_grad()
        sum(rollout_loss(trainer.stepper, part, trainer.loss) * part.share for part in parts).backward()  # type: ignore[union-attr]
        return torch.cat([p.grad.flatten() for p in trainer.parameters if p.grad is not None])

    pieces = [
        Window(fields=window.fields[a:b], times=window.times[a:b], spec=window.spec, share=(b - a) / 6)
        for a, b in ((0, 1), (1, 6))
    ]
    whole, parts = gradient([window]), gradient(pieces)
    assert float((whole - parts).norm() / whole.norm()) < 1e-12


def test_a_rollout_is_differentiated_through_all_of_its_steps(make_trainer: MakeTrainer, windows: MakeWindows) -> None:
    trainer, window = make_trainer(), next(windows(steps=3))
    nn.init.normal_(trainer.stepper.network.get_parameter("head.weight"), std=0.1)
    fields = window.fields.clone().requires_grad_()
    rollout_loss(trainer.stepper, Window(fields=fields, times=window.times, spec=window.spec), trainer.loss).backward()
    assert fields.grad is not None
    assert float(fields.grad[:, 0].abs().sum()) > 0
    only_last = fields.grad[:, 3].abs().sum()
    assert float(only_last) > 0


def test_the_average_is_swapped_in_and_out_again() -> None:
    network = nn.Linear(3, 2)
    ema = Ema(network, 0.9)
    before = network.weight.detach().clone()
    with torch.no_grad():
        network.weight += 1
    ema.update()
    decay = 2 / 11
    with ema.swapped_in():
        assert torch.allclose(network.weight, before + 1 - decay)
    assert torch.allclose(network.weight, before + 1)


def test_a_step_without_a_finite_gradient_changes_nothing(make_trainer: MakeTrainer, windows: MakeWindows) -> None:
    trainer, window = make_trainer(), next(windows())
    trainer.update(window)
    before = weights_of(trainer).clone()
    window.fields[0, 0, 0, 3, 3] = math.nan
    report = trainer.update(window)
    assert report.skipped
    assert trainer.guard.left_out == 1
    assert torch.equal(weights_of(trainer), before)


def test_many_such_steps_in_a_row_end_the_training_and_name_the_times(
    make_trainer: MakeTrainer, windows: MakeWindows
) -> None:
    trainer = make_trainer()
    *others, last = windows(trainer.config.guard.patience)
    for window in others:
        window.fields.fill_(math.nan)
        assert trainer.update(window).skipped
    last.fields.fill_(math.nan)
    with pytest.raises(TrainingError, match=r"not finite.*1970-01-01.*data, u, t"):
        trainer.update(last)


def test_clipping_bounds_the_step_that_is_taken(make_trainer: MakeTrainer, windows: MakeWindows) -> None:
    window = next(windows())
    window.fields[:, 1] *= 1e4
    reports = []
    for clip in (1.0, None):
        trainer = make_trainer(clip=clip)
        reports.append(trainer.update(window))
        total = torch.sqrt(sum((p.grad.double() ** 2).sum() for p in trainer.parameters if p.grad is not None))  # type: ignore[arg-type]
        assert float(total) <= 1.001 if clip else float(total) > 10
    assert reports[0].gradient_norm == pytest.approx(reports[1].gradient_norm, rel=1e-4)


def test_training_learns_what_can_be_learnt(make_trainer: MakeTrainer, windows: MakeWindows) -> None:
    trainer = make_trainer(optimizer={"lr": 2e-2}, ema=None, clip=None)
    losses = []
    for window in windows(20):
        window.fields[:, 1] = 0  # the change is minus the state
        losses.append(trainer.update(window).loss)
    assert losses[-1] < 0.8 * losses[0]


def test_learnable_weights_of_the_loss_are_trained_and_saved_with_the_network(
    make_trainer: MakeTrainer, windows: MakeWindows
) -> None:
    def make() -> Trainer:
        loss = make_trainer().loss
        assert isinstance(loss, MeanSquaredError)
        return make_trainer(loss=LearnableWeights(loss, loss.weights))

    def scales(trainer: Trainer) -> torch.Tensor:
        assert isinstance(trainer.loss, LearnableWeights)
        return trainer.loss.log_scale.detach()

    whole, first, second = make(), make(), make()
    for window in windows(6):
        whole.update(window)
    for window in list(windows(6))[:3]:
        first.update(window)
    second.load_state_dict(first.state_dict())
    assert torch.equal(scales(second), scales(first))
    for window in list(windows(6))[3:]:
        second.update(window)
    assert scales(whole).all()
    assert torch.equal(scales(second), scales(whole))
    assert torch.equal(weights_of(second), weights_of(whole))


@pytest.mark.parametrize("network", ["linear", "persistence", "climatology"])
def test_a_network_that_is_solved_rather_than_trained_takes_steps_of_nothing(
    spec: StateSpec, alone: Workers, windows: MakeWindows, make_stepper: Callable[..., Stepper], network: str
) -> None:
    like = make_stepper()
    stepper = Stepper(replace(like.recipe, network=network, arguments={}), like.normalizer, like.statics)
    loss = MeanSquaredError(PointwiseArguments(), torch.ones(2, *spec.grid.shape))
    config = TrainingConfig.model_validate({"ema": 0.9})
    trainer, again = (Trainer(stepper, loss, config, 20, seed=3, workers=alone) for _ in range(2))
    for window in windows(2):
        report = trainer.update(window)
        assert math.isfinite(report.loss)
        assert report.gradient_norm == 0
    again.load_state_dict(trainer.state_dict())
    assert again.step == 2
