"""One step and one rollout, whoever calls: the same for a batch and each of its members, and finite or refused by name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from credit_ray.errors import ConfigError, NotFiniteError
from credit_ray.grid.latlon import LatLonGrid
from credit_ray.models.arguments import NetworkShape
from credit_ray.normalizer import Normalizer
from credit_ray.registry import networks
from credit_ray.state import Channel, Channels, State, StateSpec, Window
from credit_ray.stepper import Recipe, Stepper, StepResult, network_shape
from credit_ray.times import Step, parse_time

GRID = LatLonGrid.gaussian(4)
START = parse_time("2000-02-28T12")


@dataclass(frozen=True, kw_only=True)
class MixArguments:
    """A fixed mixture of all that the network reads, or that plus not-a-number at one place."""

    scale: float = 0.1
    broken: bool = False
    widths: tuple[int, ...] = (1, 2)


@networks.register("stepper_test_mix", arguments=MixArguments)
class Mix(nn.Module):
    """A 1×1 convolution of all input times and channels, drawn from the seed."""

    def __init__(self, arguments: MixArguments, shape: NetworkShape) -> None:
        super().__init__()
        self.arguments = arguments
        self.mix = nn.Conv2d(shape.history * shape.in_channels, shape.out_channels, 1)
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x)
        out: Tensor = self.arguments.scale * self.mix(x.flatten(1, 2))
        if self.arguments.broken:
            out = out.clone()
            out[-1, 1, 2, 3] = torch.inf
        return out


def spec_of(history: int, at: Any = "target") -> StateSpec:
    def named(*names: str, **how: Any) -> Channels:
        return Channels(Channel(variable=name, units="1", **how) for name in names)

    return StateSpec(
        prognostic=named("u", "q"),
        diagnostic=named("tp"),
        forcing=named("rsdt", at=at) + named("sst", at="input"),
        static=named("orography"),
        history=history,
        step=Step.parse("6h"),
        grid=GRID,
    )


def stepper(
    spec: StateSpec,
    *,
    residual: bool = True,
    positive: tuple[str, ...] = (),
    mask: Tensor | None = None,
    **arguments: Any,
) -> Stepper:
    inputs, outputs = len(spec.inputs), len(spec.outputs)
    normalizer = Normalizer(
        spec,
        input_mean=torch.arange(inputs) / 10,
        input_std=1 + torch.arange(inputs) / 10,
        output_mean=torch.zeros(outputs) if residual else torch.arange(outputs) / 10,
        output_std=torch.full((outputs,), 0.5),
        residual=residual,
        mask=mask,
    )
    constraints = ({"kind": "positive", "variables": positive},) if positive else ()
    torch.manual_seed(3)
    recipe = Recipe(
        spec=spec, network="stepper_test_mix", arguments=arguments, residual=residual, constraints=constraints
    )
    return Stepper(recipe, normalizer, torch.ones(1, *GRID.shape)).eval()


def state(spec: StateSpec, trajectories: int = 3, seed: int = 0) -> State:
    random = torch.Generator().manual_seed(seed)
    return State(
        fields=torch.randn(trajectories, spec.history, 2, *GRID.shape, generator=random),
        forcing=torch.randn(trajectories, spec.history - 1, 2, *GRID.shape, generator=random),
        valid_time=START + 86400 * np.arange(trajectories),
    )


def forcings(steps: int, trajectories: int = 3, seed: int = 9) -> list[Tensor]:
    random = torch.Generator().manual_seed(seed)
    return [torch.randn(trajectories, 2, *GRID.shape, generator=random) for _ in range(steps)]


def roll(model: Stepper, start: State, steps: int, given: list[Tensor] | None = None) -> list[StepResult]:
    with torch.no_grad():
        return list(model.rollout(model.start(start), given or forcings(steps, len(start))))


histories = pytest.mark.parametrize("history", [1, 2, 3])


@histories
@pytest.mark.parametrize("residual", [True, False])
def test_a_trajectory_does_not_depend_on_those_beside_it(history: int, residual: bool) -> None:
    spec = spec_of(history)
    model, start, given = stepper(spec, residual=residual, positive=("q", "tp")), state(spec), forcings(4)
    together = roll(model, start, 4, given)
    for i in range(3):
        alone = State(
            fields=start.fields[i : i + 1], forcing=start.forcing[i : i + 1], valid_time=start.valid_time[i : i + 1]
        )
        for one, all_ in zip(roll(model, alone, 4, [f[i : i + 1] for f in given]), together, strict=True):
            np.testing.assert_allclose(one.outputs[0], all_.outputs[i], atol=1e-6)
            assert one.state.valid_time[0] == all_.state.valid_time[i]


@histories
def test_a_rollout_goes_on_from_any_of_its_states(history: int) -> None:
    spec = spec_of(history)
    model, given = stepper(spec), forcings(5)
    whole = roll(model, state(spec), 5, given)
    with torch.no_grad():
        again = list(model.rollout(whole[1].state, given[2:]))
    for one, other in zip(whole[2:], again, strict=True):
        assert torch.equal(one.outputs, other.outputs)
        np.testing.assert_array_equal(one.state.valid_time, other.state.valid_time)


@histories
def test_the_network_sees_its_history_in_order_with_what_forced_it(history: int) -> None:
    spec = spec_of(history)
    model, start, given = stepper(spec), state(spec), forcings(3)
    results = roll(model, start, 3, given)
    network = model.network
    assert isinstance(network, Mix)
    fields = [*start.fields.unbind(1), *(result.state.fields[:, -1] for result in results)]
    forced = [*start.forcing.unbind(1), *given]
    for step, seen in enumerate(network.seen):
        for time in range(history):
            by_hand = torch.cat([fields[step + time], forced[step + time], torch.ones(3, 1, *GRID.shape)], 1)
            wanted = (by_hand - model.normalizer.input_mean.view(-1, 1, 1)) / model.normalizer.input_std.view(-1, 1, 1)
            np.testing.assert_allclose(seen[:, time], wanted, atol=1e-6)


def test_valid_times_go_forward_by_the_calendar() -> None:
    spec = replace(spec_of(1), step=Step.parse("1MS"))
    start = replace(
        state(spec), valid_time=np.array([parse_time(t) for t in ("2000-01-01", "2000-11-01", "2001-02-01")])
    )
    times = [result.state.valid_time.tolist() for result in roll(stepper(spec), start, 2)]
    assert times[-1] == [parse_time(t) for t in ("2000-03-01", "2001-01-01", "2001-04-01")]


@histories
@pytest.mark.parametrize("at", ["input", "target"])
def test_a_window_drives_the_model_as_states_and_forcings_do(history: int, at: str) -> None:
    spec = spec_of(history, at)
    random = torch.Generator().manual_seed(1)
    times = START + 21600 * (np.arange(2)[:, None] + np.arange(history + 3))
    window = Window(fields=torch.randn(2, history + 3, 5, *GRID.shape, generator=random), times=times, spec=spec)
    model = stepper(spec)
    given = [window.forcing(step) for step in range(window.steps)]
    results = roll(model, window.initial(), 3, given)
    assert len(results) == window.steps == 3
    np.testing.assert_array_equal(results[-1].state.valid_time, times[:, -1])
    # by hand: each forcing channel from the time that it declares
    for step in range(3):
        for i, channel in enumerate(spec.forcing):
            where = history - 1 + step + (channel.at == "target")
            assert torch.equal(given[step][:, i], window.fields[:, where, 3 + i])
        assert torch.equal(window.target(step), window.fields[:, history + step, :3])


def test_constraints_come_before_the_state_is_made_of_what_they_change() -> None:
    spec = spec_of(2)
    free, held = roll(stepper(spec), state(spec), 3), roll(stepper(spec, positive=("q", "tp")), state(spec), 3)
    assert free[0].outputs[:, 1:].min() < 0
    for result in held:
        assert result.state.fields[:, -1, 1].min() >= 0
        assert result.diagnostics.min() >= 0
        assert torch.equal(result.outputs, torch.cat([result.state.fields[:, -1], result.diagnostics], 1))
        assert result.state.fields[:, -1, 0].min() < 0  # u may be negative
        (budget,) = result.budgets
        assert budget.name == "positive"
        assert (budget.after >= budget.before).all()
    assert torch.equal(held[0].state.fields[:, -1, 1], free[0].state.fields[:, -1, 1].clamp(min=0))
    assert not torch.equal(
        held[1].state.fields[:, -1, 0], free[1].state.fields[:, -1, 0]
    )  # the next step starts from it


def test_a_constraint_on_what_is_not_predicted_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"'positive' is of what the model predicts\. There is no variable 'sst'"):
        stepper(spec_of(1), positive=("sst",))


def test_a_step_that_is_not_finite_is_refused_by_channel_time_and_trajectory() -> None:
    spec = spec_of(1)
    with pytest.raises(
        NotFiniteError, match=r"The step to 2000-03-01T18:00 gave .* not finite in channel 'q' \(trajectory 2\)"
    ):
        roll(stepper(spec, broken=True), state(spec), 1)


def test_a_training_step_that_is_not_finite_is_left_to_the_trainer() -> None:
    spec = spec_of(1)
    (result,) = roll(stepper(spec, broken=True).train(), state(spec), 1)
    assert not torch.isfinite(result.outputs).all()


@pytest.mark.parametrize("residual", [True, False])
def test_what_does_not_exist_may_be_missing_throughout_a_rollout(residual: bool) -> None:
    spec = spec_of(2)
    mask = torch.ones(len(spec.inputs) + 1, *GRID.shape, dtype=torch.bool)
    mask[1, 1, 2:4] = False
    start = state(spec)
    start.fields[:, :, 1, 1, 2:4] = torch.nan
    results = roll(stepper(spec, residual=residual, mask=mask, positive=("q",)), start, 3)
    exists = mask[:2].expand(3, -1, -1, -1)
    for result in results:
        assert torch.isfinite(result.state.fields[:, -1][exists]).all()
        assert torch.isfinite(result.diagnostics).all()
        assert torch.isfinite(result.budgets[0].after).all()
    elsewhere = replace(start, fields=start.fields.clone())
    elsewhere.fields[1, 0, 0, 0, 0] = torch.nan
    with pytest.raises(
        NotFiniteError, match=r"trajectory 1\): the rollout has blown up, or its initial state has a gap"
    ):
        roll(stepper(spec, residual=residual, mask=mask), elsewhere, 1)


def test_gradients_reach_the_weights_and_the_initial_state_through_a_rollout() -> None:
    spec = spec_of(2)
    model, start = stepper(spec, positive=("q",)).train(), state(spec)
    start.fields.requires_grad_()
    results = list(model.rollout(model.start(start), forcings(3)))
    results[-1].outputs.square().mean().backward()
    assert start.fields.grad is not None
    assert (start.fields.grad.abs().amax((0, 3, 4)) > 0).all()  # each input time, each channel
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())


def test_a_recipe_is_the_same_after_json() -> None:
    recipe = stepper(spec_of(2, "input"), positive=("q",), widths=(3, 4)).recipe
    again = Recipe.from_json(json.loads(json.dumps(recipe.to_json())))
    assert again == recipe
    assert again.spec.forcing[0].at == "input"


def test_a_network_knows_counts_and_geometry() -> None:
    model = stepper(spec_of(2))
    shape = network_shape(model.spec, model.normalizer)
    assert (shape.history, shape.in_channels, shape.out_channels, shape.grid) == (2, 5, 3, (4, 8))
    assert shape.periodic
    assert shape.poles
    assert not shape.pole_points
    assert shape.pole_sign == (-1.0, 1.0, 1.0, 1.0, 1.0)


def test_a_rollout_steps_only_when_it_is_asked_to() -> None:
    spec = spec_of(1)
    model, asked = stepper(spec), []

    def one_by_one() -> Iterator[Tensor]:
        for forcing in forcings(3):
            asked.append(1)
            yield forcing

    steps = model.rollout(model.start(state(spec)), one_by_one())
    assert not asked
    next(steps)
    assert len(asked) == 1
