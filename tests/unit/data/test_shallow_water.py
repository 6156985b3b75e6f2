from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from credit_ray.data.sample import FIRST_TIME, geography
from credit_ray.data.shallow_water import DEPTH, GRAVITY, OUTPUT_SECONDS, Climate, ShallowWater, Weather
from credit_ray.grid import LatLonGrid

GRID = LatLonGrid.gaussian(32)
WEIGHTS = torch.tensor(GRID.area_weights())
LAND, GROUND = geography(GRID)
UNDISTURBED = Climate(
    zonal_days=math.inf,
    eddy_days=math.inf,
    divergence_days=math.inf,
    diffusion_days=math.inf,
    stirring=0.0,
)


class Calm(np.random.Generator):
    """Nothing ever happens by chance."""

    def __init__(self) -> None:
        super().__init__(np.random.PCG64(0))

    def standard_normal(self, size: tuple[int, ...]) -> np.ndarray:  # type: ignore[override]
        return np.zeros(size)


def run(model: ShallowWater, states: int, rng: np.random.Generator) -> tuple[Weather, Weather]:
    """The first and the last of so many six hours."""
    first = weather = model.start(FIRST_TIME, rng)
    for _ in range(states):
        weather = model.advance(weather, rng)
    return first, weather


def energy(model: ShallowWater, weather: Weather) -> float:
    """Kinetic and potential energy, per density and area, times gravity."""
    fields = model.fields(weather.current)
    ground = GRAVITY * model.orography
    kinetic = (fields["z"] - ground) * (fields["u"] ** 2 + fields["v"] ** 2) / 2
    return float(((kinetic + (fields["z"] ** 2 - ground**2) / 2) * WEIGHTS).mean())


def available(model: ShallowWater, weather: Weather) -> float:
    """The part of the energy that motion can draw on: above that of a level surface."""
    surface = model.fields(weather.current)["z"]
    level = float((surface * WEIGHTS).mean())
    return energy(model, weather) - float(((level**2 - (GRAVITY * model.orography) ** 2) / 2 * WEIGHTS).mean())


def mass(model: ShallowWater, weather: Weather) -> float:
    return float(((model.fields(weather.current)["z"] / GRAVITY - model.orography) * WEIGHTS).mean())


@pytest.fixture(scope="module")
def model() -> ShallowWater:
    return ShallowWater(GRID, GROUND, 1 - LAND)


@pytest.fixture(scope="module")
def ten_days(model: ShallowWater) -> tuple[Weather, Weather]:
    return run(model, 40, np.random.default_rng(3))


def test_mass_is_conserved_to_round_off(model: ShallowWater, ten_days: tuple[Weather, Weather]) -> None:
    first, last = ten_days
    assert last.current[DEPTH, 0, 0] == first.current[DEPTH, 0, 0]
    assert mass(model, last) == pytest.approx(mass(model, first), rel=1e-12)
    assert mass(model, first) == pytest.approx(Climate().mean_depth, rel=1e-12)


def test_the_tracer_is_positive_and_comes_from_the_ocean(
    model: ShallowWater, ten_days: tuple[Weather, Weather]
) -> None:
    tracer = model.fields(ten_days[1].current)["tracer"]
    assert tracer.min() > 0
    without = ShallowWater(GRID, GROUND, np.zeros(GRID.shape))
    dry = without.fields(run(without, 20, np.random.default_rng(3))[1].current)["tracer"]
    assert (dry * WEIGHTS).mean() < 0.7 * (tracer * WEIGHTS).mean()


def test_a_quarter_of_the_step_gives_nearly_the_same_weather(
    model: ShallowWater, ten_days: tuple[Weather, Weather]
) -> None:
    now = ten_days[1]
    fine = ShallowWater(GRID, GROUND, 1 - LAND, step_seconds=600.0)

    def tomorrow(of: ShallowWater) -> Tensor:
        weather, rng = replace(now, previous=now.current), np.random.default_rng(4)
        for _ in range(4):
            weather = of.advance(weather, rng)
        return of.fields(weather.current)["v"]

    change = tomorrow(fine) - model.fields(now.current)["v"]
    error = tomorrow(model) - tomorrow(fine)
    assert change.square().mean() > 1
    assert error.square().mean().sqrt() < 0.15 * change.square().mean().sqrt()


def test_energy_is_conserved_where_nothing_drives_or_damps_the_flow() -> None:
    """Up to the time filter, which takes a little from the shortest oscillations."""
    model = ShallowWater(GRID, GROUND, 1 - LAND, UNDISTURBED)
    first, last = run(model, 8, np.random.default_rng(3))
    assert available(model, last) == pytest.approx(available(model, first), rel=2e-3)
    moved = model.fields(last.current)["u"] - model.fields(first.current)["u"]
    assert moved.abs().max() > 1


def test_balanced_jets_over_flat_ground_stay_as_they_are() -> None:
    flat = np.zeros(GRID.shape)
    model = ShallowWater(GRID, flat, flat + 1, UNDISTURBED)
    first, last = run(model, 12, Calm())
    before, after = model.fields(first.current), model.fields(last.current)
    assert before["u"].max() > 50
    assert (after["u"] - before["u"]).abs().max() < 0.1
    assert after["v"].abs().max() < 0.01
    assert (after["z"] - before["z"]).abs().max() < 20


def test_seasons_turn_the_stronger_jet_from_one_hemisphere_to_the_other(model: ShallowWater) -> None:
    def jets(seconds: int) -> tuple[float, float]:
        u = model.fields(model.start(seconds, Calm()).current)["u"].mean(-1)
        return float(u[:16].max()), float(u[16:].max())

    north, south = jets(FIRST_TIME)
    assert north > south + 5
    north, south = jets(FIRST_TIME + 182 * 4 * OUTPUT_SECONDS)
    assert south > north + 5
