"""What a rollout teaches: which steps count, what is differentiated, and that memory is all that recomputing changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from credit_ray.config.training import Rollout, Stage, TrainingConfig
from credit_ray.losses.arguments import PointwiseArguments
from credit_ray.losses.pointwise import MeanSquaredError
from credit_ray.state import StateSpec, Window
from credit_ray.stepper import Stepper
from credit_ray.training.parallel import Workers
from credit_ray.training.rollout import rollout_length, rollout_loss, step_weights
from credit_ray.training.trainer import Trainer


@pytest.fixture
def stepper(make_stepper: Callable[..., Stepper]) -> Stepper:
    made = make_stepper().double()
    nn.init.normal_(made.network.get_parameter("head.weight"), std=0.1)
    return made


@pytest.fixture
def loss(spec: StateSpec) -> MeanSquaredError:
    return MeanSquaredError(PointwiseArguments(), torch.ones(2, *spec.grid.shape, dtype=torch.float64))


@pytest.fixture
def window(spec: StateSpec) -> Window:
    fields = torch.randn(2, 4, 2, *spec.grid.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    return Window(fields=fields, times=np.arange(8).reshape(2, 4) * 21600, spec=spec)


def gradient(stepper: Stepper, total: Tensor) -> Tensor:
    return torch.cat([g.flatten() for g in torch.autograd.grad(total, list(stepper.network.parameters()))])


def distance(one: Tensor, other: Tensor) -> float:
    return float((one - other).norm() / other.norm())


def unrolled(stepper: Stepper, window: Window, loss: MeanSquaredError, detach: bool) -> list[Tensor]:
    """Loss of each step, written out by hand."""
    state, losses = stepper.start(window.initial()), []
    for k in range(window.steps):
        result = stepper.step(state, window.forcing(k))
        scaled = [fields / 0.5 for fields in (result.outputs, window.target(k))]
        losses.append(loss(scaled[0][:, None], scaled[1], k + 1).mean())
        state = result.state.detach() if detach else result.state
    return losses


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize(
    ("config", "counts"),
    [
        ({}, [1 / 3] * 3),
        ({"loss": "last"}, [0, 0, 1]),
        ({"weights": [3.0, 1.0]}, [0.6, 0.2, 0.2]),
        ({"gradient": "detach"}, [1 / 3] * 3),
        ({"gradient": "detach", "loss": "last"}, [0, 0, 1]),
    ],
)
def test_loss_and_gradient_are_those_of_the_unrolled_graph(
    stepper: Stepper,
    window: Window,
    loss: MeanSquaredError,
    config: dict[str, Any],
    counts: list[float],
    recompute: bool,
) -> None:
    by_hand = unrolled(stepper, window, loss, detach=config.get("gradient") == "detach")
    expected = torch.stack([w * value for w, value in zip(counts, by_hand, strict=True)]).sum()
    found = rollout_loss(stepper, window, loss, Rollout.model_validate({**config, "recompute": recompute}))
    assert float(found.detach()) == pytest.approx(float(expected.detach()), rel=1e-12)
    assert distance(gradient(stepper, found), gradient(stepper, expected)) < 1e-9


def test_back_propagation_through_the_rollout_is_not_that_through_single_steps(
    stepper: Stepper, window: Window, loss: MeanSquaredError
) -> None:
    through = gradient(stepper, rollout_loss(stepper, window, loss, Rollout()))
    detached = gradient(stepper, rollout_loss(stepper, window, loss, Rollout(gradient="detach")))
    assert distance(detached, through) > 1e-3


def test_recomputing_keeps_only_the_states_between_steps(
    stepper: Stepper, window: Window, loss: MeanSquaredError
) -> None:
    def kept(recompute: bool) -> int:
        sizes: list[int] = []

        def pack(tensor: Tensor) -> Tensor:
            sizes.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            rollout_loss(stepper, window, loss, Rollout(recompute=recompute))
        return sum(sizes)

    assert kept(True) < 0.3 * kept(False)


def test_noise_perturbs_the_first_state_and_nothing_else(
    stepper: Stepper, window: Window, loss: MeanSquaredError
) -> None:
    torch.manual_seed(0)
    noisy = rollout_loss(stepper, window, loss, Rollout(noise=0.5))
    torch.manual_seed(0)
    fields = window.fields.clone()
    fields[:, :1] += 0.5 * 0.5 * torch.randn_like(fields[:, :1])
    moved = rollout_loss(stepper, Window(fields=fields, times=window.times, spec=window.spec), loss)
    assert float(noisy.detach()) == pytest.approx(float(moved.detach()), rel=1e-6)


def test_lengths_are_drawn_by_seed_and_step_alone() -> None:
    stage = Stage(epoch=0, steps=4, draw="uniform")
    drawn = [rollout_length(stage, 1, step) for step in range(400)]
    assert drawn == [rollout_length(stage, 1, step) for step in range(400)]
    assert drawn != [rollout_length(stage, 2, step) for step in range(400)]
    assert set(drawn) == {1, 2, 3, 4}
    assert {rollout_length(Stage(epoch=0, steps=4), 1, step) for step in range(9)} == {4}


@pytest.mark.parametrize("weights", [[-1.0, 1.0], [1.0, 0.0]])
def test_weights_that_can_not_be_are_refused(weights: list[float]) -> None:
    with pytest.raises(ValueError, match="weights are"):
        Rollout(weights=weights)
    with pytest.raises(ValueError, match="only the last step counts"):
        Rollout(weights=[1.0], loss="last")


def test_the_last_weight_given_holds_for_all_further_steps() -> None:
    assert step_weights(Rollout(weights=[2.0, 1.0]), 4) == [0.4, 0.2, 0.2, 0.2]


@pytest.mark.parametrize("pieces", [2, 3, 7])
def test_pieces_of_a_batch_have_the_gradient_of_the_whole(
    stepper: Stepper, loss: MeanSquaredError, spec: StateSpec, alone: Workers, pieces: int
) -> None:
    random = torch.Generator().manual_seed(4)
    fields = torch.randn(5, 3, 2, *spec.grid.shape, generator=random, dtype=torch.float64)
    window = Window(fields=fields, times=np.zeros((5, 3), np.int64), spec=spec)
    gradients = []
    for count in (1, pieces):
        config = TrainingConfig.model_validate({"accumulate": count, "clip": None, "optimizer": {"lr": 1e-12}})
        trainer = Trainer(stepper, loss, config, 10, 0, alone)
        trainer.update(window)
        gradients.append(torch.cat([p.grad.flatten() for p in trainer.parameters if p.grad is not None]))
    assert distance(*gradients) < 1e-9


def windows_of(spec: StateSpec, count: int) -> Iterator[Window]:
    random = torch.Generator().manual_seed(7)
    for step in range(count):
        fields = torch.randn(4, 3, 2, *spec.grid.shape, generator=random)
        yield Window(fields=fields, times=np.zeros((4, 3), np.int64), spec=spec, global_step=step)


@pytest.mark.parametrize(
    "config",
    [
        {"optimizer": {"kind": "muon"}},
        {"schedule": {"kind": "restarts", "cycles": 2}},
        {"schedule": {"kind": "plateau", "patience": 1}},
        {"rollout": {"noise": 0.1}, "curriculum": [{"epoch": 0, "steps": 2, "draw": "uniform"}]},
        {"precision": "bfloat16", "rollout": {"recompute": True}},
    ],
)
def test_every_kind_of_training_goes_on_exactly(
    make_stepper: Callable[..., Stepper], spec: StateSpec, alone: Workers, config: dict[str, Any]
) -> None:
    def trained(stop: int | None) -> Tensor:
        validated = TrainingConfig.model_validate(config)
        loss = MeanSquaredError(PointwiseArguments(), torch.ones(2, *spec.grid.shape))
        trainer = Trainer(make_stepper(), loss, validated, 8, 3, alone)
        for step, window in enumerate(windows_of(spec, 8)):
            if step == stop:
                state = trainer.state_dict()
                trainer = Trainer(make_stepper(), loss, validated, 8, 3, alone)
                trainer.load_state_dict(state)
            trainer.update(window, validated.stage(0))
            trainer.validated(1.0)
        return torch.cat([p.detach().flatten() for p in trainer.stepper.network.parameters()])

    assert torch.equal(trained(5), trained(None))


def test_losses_by_variable_add_up_to_the_loss(
    make_stepper: Callable[..., Stepper], spec: StateSpec, alone: Workers
) -> None:
    loss = MeanSquaredError(PointwiseArguments(), torch.ones(2, *spec.grid.shape))
    trainer = Trainer(make_stepper(), loss, TrainingConfig(accumulate=3), 8, 3, alone)
    fields = next(windows_of(spec, 1)).fields[:, :2]
    window = Window(fields=fields, times=np.zeros((4, 2), np.int64), spec=spec)
    found = trainer.losses_by_variable(window)
    assert set(found) == {"u", "t"}
    assert sum(found.values()) / 2 == pytest.approx(trainer.update(window).loss, rel=1e-5)
