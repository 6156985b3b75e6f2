"""Weights of another model: the same forecast to begin with, whatever channels are added, and nothing moves that is frozen."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
import torch

from credit_ray.config.training import Optimizer
from credit_ray.errors import ConfigError
from credit_ray.grid.latlon import LatLonGrid
from credit_ray.models.network import network_arguments
from credit_ray.normalizer import Normalizer
from credit_ray.state import Channel, Channels, State, StateSpec
from credit_ray.stepper import Recipe, Stepper
from credit_ray.times import Step
from credit_ray.training.fine_tuning import freeze, with_weights_of
from credit_ray.training.optimizer import Optimizers

NETWORKS: dict[str, dict[str, Any]] = {
    "unet": {"width": 8, "multipliers": [1, 1], "blocks": [1, 1]},
    "wxformer": {
        "width": 8,
        "depth": [1],
        "strides": [2],
        "kernels": [[2, 4]],
        "global_window": [4],
        "head_width": 8,
    },
    "linear": {"stencil": 3, "by_row": False},
}


def channels(names: str) -> Channels:
    return Channels([Channel(variable=name, units="1") for name in names.split()])


def make(network: str, prognostic: str, forcing: str, seed: int, diagnostic: str = "", history: int = 2) -> Stepper:
    spec = StateSpec(
        prognostic=channels(prognostic),
        forcing=channels(forcing),
        diagnostic=channels(diagnostic),
        grid=LatLonGrid.gaussian(16),
        step=Step.parse("6h"),
        history=history,
    )
    inputs, outputs = len(spec.inputs), len(spec.outputs)
    normalizer = Normalizer(
        spec,
        input_mean=torch.linspace(0, 1, inputs) + seed,
        input_std=torch.linspace(1, 2, inputs),
        output_mean=torch.zeros(outputs),
        output_std=torch.linspace(0.3, 0.6, outputs),
        residual=True,
    )
    arguments = asdict(network_arguments(network, NETWORKS[network]))
    recipe = Recipe(spec=spec, network=network, arguments=arguments, residual=True)
    torch.manual_seed(seed)
    stepper = Stepper(recipe, normalizer, torch.empty(0, *spec.grid.shape)).eval()
    with torch.no_grad():
        for parameter in stepper.network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return stepper


def forecast(stepper: Stepper, values: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    spec = stepper.spec
    fields = torch.stack([values[name] for name in spec.prognostic.names], 2)
    forcing = torch.stack([values[name] for name in spec.forcing.names], 2)
    state = State(fields=fields, forcing=forcing[:, :-1], valid_time=np.zeros(1, np.int64))
    with torch.no_grad():
        outputs = stepper.step(state, forcing[:, -1]).outputs
    return dict(zip(spec.outputs.names, outputs.unbind(1), strict=True))


@pytest.fixture
def values() -> dict[str, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    return {name: torch.randn(1, 2, 16, 32, generator=random) for name in ("u", "v", "t", "s", "w")}


def test_channels_that_can_not_be_told_apart_in_a_parameter_are_not_guessed() -> None:
    donor = make("linear", "u v", "s", seed=1)
    with_weights_of(donor, make("linear", "u v", "s", seed=2))
    with pytest.raises(ConfigError, match="parameter coefficients does not simply count channels"):
        with_weights_of(donor, make("linear", "v u", "s", seed=2))


@pytest.mark.parametrize("network", ["unet", "wxformer"])
@pytest.mark.parametrize(
    ("prognostic", "forcing", "diagnostic"),
    [("u v", "s", ""), ("v u", "s", ""), ("t u v", "s w", "")],
    ids=["the same", "another order", "more of them"],
)
def test_the_first_forecast_is_the_donors(
    values: dict[str, torch.Tensor], network: str, prognostic: str, forcing: str, diagnostic: str
) -> None:
    donor = make(network, "u v", "s", seed=1)
    mine = make(network, prognostic, forcing, seed=2, diagnostic=diagnostic)
    before = forecast(donor, values)
    after = forecast(with_weights_of(donor, mine), values)
    for name in ("u", "v"):
        torch.testing.assert_close(after[name], before[name], rtol=1e-4, atol=1e-5)


def test_another_network_grid_or_history_is_refused_by_name() -> None:
    donor = make("unet", "u v", "s", seed=1)
    with pytest.raises(ConfigError, match="the network is unet there and wxformer here"):
        with_weights_of(donor, make("wxformer", "u v", "s", seed=2))
    with pytest.raises(ConfigError, match=r"data\.history is 2 there and 1 here"):
        with_weights_of(donor, make("unet", "u v", "s", seed=2, history=1))
    wider = make("unet", "u v", "s", seed=2)
    wider.recipe = replace(wider.recipe, arguments={**wider.recipe.arguments, "width": 16})
    with pytest.raises(ConfigError, match=r"model\.width is 8 there and 16 here"):
        with_weights_of(donor, wider)


def test_what_is_frozen_stays_and_the_rest_moves() -> None:
    network = make("unet", "u v", "s", seed=1).network
    frozen = "head.*"
    freeze(network, [frozen])
    before = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    optimizer = Optimizers(network, [], Optimizer(lr=0.1))
    for parameter in network.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    moved = {name for name, parameter in network.named_parameters() if not torch.equal(parameter, before[name])}
    assert moved == {name for name in before if not name.startswith("head.")}


def test_a_pattern_that_matches_nothing_is_an_error() -> None:
    network = make("unet", "u v", "s", seed=1).network
    with pytest.raises(ConfigError, match=r"training\.freeze: no parameter matches 'haed\.\*'"):
        freeze(network, ["haed.*"])
    with pytest.raises(ConfigError, match="leaves nothing to train"):
        freeze(network, ["*"])
