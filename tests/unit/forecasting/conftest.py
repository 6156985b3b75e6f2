"""A small world: a model that mixes its channels, and data that are a formula of time and place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from credit_ray.forecasting.layout import ForecastLayout
from credit_ray.grid.latlon import LatLonGrid
from credit_ray.models.arguments import NetworkShape
from credit_ray.normalizer import Normalizer
from credit_ray.registry import networks
from credit_ray.state import Channel, Channels, State, StateSpec
from credit_ray.stepper import Recipe, Stepper
from credit_ray.times import Step, Times

GRID = LatLonGrid.gaussian(6)
SPEC = StateSpec(
    prognostic=Channels(
        [
            Channel(variable="z", units="m2 s-2", level=500, vertical="pressure"),
            Channel(variable="z", units="m2 s-2", level=850, vertical="pressure"),
            Channel(variable="sst", units="K"),
        ]
    ),
    diagnostic=Channels([Channel(variable="tp", units="kg m-2", kind="accumulated")]),
    forcing=Channels([Channel(variable="rsdt", units="W m-2", kind="mean", at="input")]),
    static=Channels([Channel(variable="lsm", units="1")]),
    history=2,
    step=Step(seconds=21600),
    grid=GRID,
)


@dataclass(frozen=True, kw_only=True)
class MixtureArguments:
    """None."""


@networks.register("forecasting_test_mixture", arguments=MixtureArguments)
class Mixture(nn.Module):
    """Every output is a small nonlinear mixture of all inputs at its place."""

    def __init__(self, arguments: MixtureArguments, shape: NetworkShape) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(0)
        self.mixing = nn.Parameter(
            torch.randn((shape.out_channels, shape.history * shape.in_channels), generator=draw) / 4
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("oi,bihw->bohw", self.mixing, x.flatten(1, 2)).tanh()


def new_stepper(masked: bool = False, constraints: tuple[dict[str, Any], ...] = ()) -> Stepper:
    """An untrained model; `masked`: without sea-surface temperature on some land."""
    inputs, outputs = len(SPEC.inputs), len(SPEC.outputs)
    mask = torch.ones((inputs, *GRID.shape), dtype=torch.bool)
    mask[2, :3, :4] = False
    normalizer = Normalizer(
        SPEC,
        input_mean=torch.zeros(inputs),
        input_std=torch.full((inputs,), 3.0),
        output_mean=torch.zeros(outputs),
        output_std=torch.ones(outputs),
        residual=True,
        mask=mask if masked else None,
    )
    recipe = Recipe(spec=SPEC, network="forecasting_test_mixture", arguments={}, residual=True, constraints=constraints)
    lsm = torch.linspace(0, 1, GRID.shape[0] * GRID.shape[1]).reshape(1, *GRID.shape)
    return Stepper(recipe, normalizer, lsm).eval()


@dataclass
class FormulaData:
    """Fields at any time; remembers what it was asked."""

    spec: StateSpec = SPEC
    mask: NDArray[np.bool_] | None = None
    asked: list[Any] = field(default_factory=list)

    def values(self, times: Times, count: int, offset: int = 0) -> NDArray[np.float32]:
        """[time, channel, *grid]."""
        shape = self.spec.grid.shape
        place = np.arange(shape[0] * shape[1]).reshape(shape)
        phase = (np.asarray(times) // 21600)[:, None, None, None] * 0.7 + np.arange(offset, offset + count)[
            None, :, None, None
        ]
        return np.asarray(np.sin(phase + 0.3 * place), np.float32)

    def initial_state(self, init_times: Times) -> State:
        spec = self.spec
        times = spec.step.add(np.asarray(init_times)[:, None], np.arange(1 - spec.history, 1)[None], spec.calendar)
        fields = self.values(times.ravel(), len(spec.prognostic)).reshape(
            *times.shape, len(spec.prognostic), *spec.grid.shape
        )
        if self.mask is not None:
            fields = np.where(self.mask, fields, np.float32(np.nan))
        older = self.values(spec.step.add(np.asarray(init_times), -1, spec.calendar), len(spec.forcing), 10)
        return State(
            fields=torch.from_numpy(fields), forcing=torch.from_numpy(older)[:, None], valid_time=np.asarray(init_times)
        )

    def forcings(self, init_times: Times, steps: int) -> Iterator[Tensor]:
        for step in range(steps):
            self.asked.append(step)
            times = self.spec.step.add(np.asarray(init_times), step, self.spec.calendar)
            yield torch.from_numpy(self.values(times, len(self.spec.forcing), 10))


@pytest.fixture
def stepper() -> Stepper:
    return new_stepper()


@pytest.fixture
def masked_stepper() -> Stepper:
    return new_stepper(masked=True)


@pytest.fixture
def bounded_stepper() -> Stepper:
    """Two constraints of one kind, both of which have much to do."""
    return new_stepper(
        constraints=(
            {"kind": "bounds", "variables": ["tp"], "lower": 0.1},
            {"kind": "bounds", "variables": ["sst"], "upper": 0.0},
        )
    )


@pytest.fixture
def data() -> FormulaData:
    return FormulaData()


@pytest.fixture
def make_data() -> type[FormulaData]:
    return FormulaData


@pytest.fixture
def make_layout() -> Callable[..., ForecastLayout]:
    """A layout of four initial times and five lead times, with some arguments replaced."""

    def make(**replaced: Any) -> ForecastLayout:
        given: dict[str, Any] = dict(
            channels=SPEC.outputs,
            grid=GRID,
            step=SPEC.step,
            calendar="standard",
            init_times=np.arange(4, dtype=np.int64) * 86400,
            leads=(1, 2, 3, 4, 5),
        )
        return ForecastLayout(**{**given, **replaced})

    return make
