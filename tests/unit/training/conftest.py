"""A small stepper that all tests of training share."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from credit_ray.grid.latlon import LatLonGrid
from credit_ray.models.arguments import UNetArguments
from credit_ray.normalizer import Normalizer
from credit_ray.state import Channel, Channels, StateSpec
from credit_ray.stepper import Recipe, Stepper
from credit_ray.times import Step
from credit_ray.training.parallel import Workers

MakeStepper = Callable[..., Stepper]


@pytest.fixture(scope="session")
def spec() -> StateSpec:
    """Two prognostic channels on a small Gaussian grid."""
    channels = Channels([Channel(variable="u", units="m s-1"), Channel(variable="t", units="K")])
    return StateSpec(prognostic=channels, grid=LatLonGrid.gaussian(8), step=Step.parse("6h"))


@pytest.fixture
def alone() -> Workers:
    """One worker, on the CPU."""
    return Workers(0, 1, torch.device("cpu"))


@pytest.fixture
def make_stepper(spec: StateSpec) -> MakeStepper:
    """A small U-Net that predicts changes; the same weights each time."""

    def make(dropout: float = 0.0) -> Stepper:
        torch.manual_seed(1)
        two = torch.ones(2)
        normalizer = Normalizer(
            spec, input_mean=0 * two, input_std=two, output_mean=0 * two, output_std=0.5 * two, residual=True
        )
        arguments = UNetArguments(width=8, multipliers=(1, 1), blocks=(1, 1), dropout=dropout)
        recipe = Recipe(spec=spec, network="unet", arguments=vars(arguments), residual=True)
        return Stepper(recipe, normalizer, torch.empty(0, *spec.grid.shape))

    return make
