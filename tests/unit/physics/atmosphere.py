"""Random atmospheres with all the fluxes of a budget, on any grid and coordinate, and sums of them written another way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from credit_ray.grid.latlon import LatLonGrid
from credit_ray.grid.vertical import VerticalCoordinate
from credit_ray.physics.arguments import VerticalArguments
from credit_ray.physics.chain import Chain, build_chain
from credit_ray.physics.columns import vertical_of
from credit_ray.physics.constants import (
    DRY_AIR_HEAT_CAPACITY,
    GRAVITY,
    LATENT_HEAT_OF_VAPORISATION,
    WATER_VAPOUR_HEAT_CAPACITY,
)
from credit_ray.state import Channel, Channels, Fields, State, StateSpec
from credit_ray.times import Step

STEP = Step.parse("6h")
LEVELS: dict[str, tuple[float, ...]] = {
    "pressure": (50.0, 250.0, 500.0, 700.0, 850.0, 1000.0),
    "model": (20.0, 60.0, 90.0, 105.0, 120.0, 137.0),
    "sigma": (0.025, 0.095, 0.2, 0.34, 0.51, 0.685, 0.835, 0.95),
}
TABLE = {"vertical": {"table": "era5_137"}}
FLUXES = {"tsr": 240.0, "ttr": -240.0, "ssr": 165.0, "str": -55.0, "sshf": -20.0, "slhf": -85.0}


def spec_of(coordinate: Any, levels: Sequence[float], grid: LatLonGrid, surface_pressure: bool = True) -> StateSpec:
    """q, t, u, v and perhaps surface pressure; precipitation, evaporation and all fluxes of energy."""
    on_levels = [
        Channel(variable=variable, units=units, level=level, vertical=coordinate)
        for variable, units in (("q", "kg kg-1"), ("t", "K"), ("u", "m s-1"), ("v", "m s-1"), ("o3", "kg kg-1"))
        for level in levels
    ]
    surface = [Channel(variable="sp", units="Pa")] if surface_pressure else []
    return StateSpec(
        prognostic=Channels([*on_levels, *surface]),
        diagnostic=Channels(
            [
                Channel(variable="tp", units="kg m-2", kind="accumulated"),
                Channel(variable="evspsbl", units="kg m-2 s-1", kind="mean"),
                *(Channel(variable=name, units="J m-2", kind="accumulated") for name in FLUXES),
            ]
        ),
        static=Channels([Channel(variable="orography", units="m")]),
        grid=grid,
        step=STEP,
    )


def chain_of(spec: StateSpec, *recipes: dict[str, Any]) -> Chain:
    return build_chain(recipes, spec, statics(spec))


def statics(spec: StateSpec) -> Tensor:
    return 3000 * torch.rand(1, *spec.grid.shape, generator=torch.Generator().manual_seed(5)) ** 4


def fields(
    spec: StateSpec, seed: int, *, trajectories: int = 2, humid: float = 1.0, dtype: torch.dtype = torch.float64
) -> Fields:
    """A random atmosphere after a step; `humid` scales humidity: 0 is dry."""
    random = torch.Generator().manual_seed(seed)

    def noise() -> Tensor:
        return torch.randn(trajectories, *spec.grid.shape, generator=random, dtype=torch.float64)

    height = statics(spec)[0].double()
    parts = []
    for channel in spec.outputs:
        depth = (channel.level or 1.0) / max(LEVELS.get(channel.vertical or "", (1.0,)))
        match channel.variable:
            case "q":
                value = humid * 0.012 * depth**3 * torch.exp(0.5 * noise())
            case "t":
                value = 215 + 75 * depth + 8 * noise()
            case "u" | "v":
                value = 10 * noise()
            case "o3":
                value = 1e-6 * torch.exp(noise())
            case "sp":
                value = 101_325 * torch.exp(-height / 8000) + 800 * noise()
            case "tp":
                value = 0.5 * torch.exp(0.8 * noise())
            case "evspsbl":
                value = (0.7 + 0.4 * noise()) / STEP.seconds
            case flux:
                value = (FLUXES[flux] + 30 * noise()) * STEP.seconds
        parts.append(value)
    return Fields(torch.stack(parts, 1).to(dtype), spec.outputs)


def before_of(spec: StateSpec, after: Fields, seed: int) -> Fields:
    """A state a little different from `after`, from which the step may have come."""
    kept = after.data[:, : len(spec.prognostic)]
    noise = torch.randn(kept.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return Fields((kept.double() * (1 + 2e-3 * noise) * 1.0007).to(kept.dtype), spec.prognostic)


def state_of(spec: StateSpec, before: Fields) -> State:
    empty = before.data.new_empty((len(before.data), 0, 0, *spec.grid.shape))
    return State(fields=before.data[:, None], forcing=empty, valid_time=np.zeros(len(before.data), np.int64))


def forcing_of(spec: StateSpec, after: Fields) -> Fields:
    return Fields(after.data.new_empty((len(after.data), 0, *spec.grid.shape)), spec.forcing)


def applied(chain: Chain, before: Fields, after: Fields) -> tuple[Fields, Any]:
    """The constrained fields, and the budgets."""
    spec = chain.spec
    carries = chain.start(state_of(spec, before))
    changed, budgets, _ = chain.change(before, after, forcing_of(spec, after), carries)
    return after | changed, budgets


class Independent:
    """The same totals with numpy, from pressures at interfaces."""

    def __init__(self, spec: StateSpec, vertical: dict[str, Any] | None = None) -> None:
        self.spec = spec
        channels = Channels(spec.prognostic[i] for i in spec.prognostic.of("q"))
        self.vertical: VerticalCoordinate = vertical_of("test", channels, VerticalArguments(**(vertical or {})))
        self.areas = spec.grid.cell_areas()
        self.height = statics(spec)[0].double().numpy()

    def thickness(self, fields: Fields) -> np.ndarray:
        """Pa, [trajectory, level, lat, lon], in the channels' order."""
        if not self.vertical.depends_on_pressure:
            return np.abs(self.vertical.thickness())[None, :, None, None]
        pressure = fields["sp"].detach().double().numpy()
        steps = np.diff(self.vertical.at_interfaces(pressure), axis=-3)
        return steps[..., np.argsort(self.vertical.from_top), :, :]

    def _get(self, fields: Fields, variable: str) -> np.ndarray:
        return fields.variable(variable).detach().double().numpy()

    def _total(self, column: np.ndarray) -> np.ndarray:
        return (column * self.areas).sum((-2, -1))

    def water(self, fields: Fields) -> np.ndarray:
        return self._total((self._get(fields, "q") * self.thickness(fields)).sum(1) / GRAVITY)

    def dry(self, fields: Fields) -> np.ndarray:
        if not self.vertical.depends_on_pressure and "sp" in fields.channels:
            return self._total(fields["sp"].detach().double().numpy() / GRAVITY) - self.water(fields)
        return self._total(((1 - self._get(fields, "q")) * self.thickness(fields)).sum(1) / GRAVITY)

    def ozone(self, fields: Fields) -> np.ndarray:
        return self._total((self._get(fields, "o3") * self.thickness(fields)).sum(1) / GRAVITY)

    def energy(self, fields: Fields) -> np.ndarray:
        q, t, u, v = (self._get(fields, name) for name in "qtuv")
        capacity = (1 - q) * DRY_AIR_HEAT_CAPACITY + q * WATER_VAPOUR_HEAT_CAPACITY
        content = capacity * t + LATENT_HEAT_OF_VAPORISATION * q + GRAVITY * self.height + (u**2 + v**2) / 2
        return self._total((content * self.thickness(fields)).sum(1) / GRAVITY)

    def water_in(self, fields: Fields) -> tuple[np.ndarray, np.ndarray]:
        """Net, and the terms' magnitudes."""
        rain = self._total(fields["tp"].detach().double().numpy())
        vapour = self._total(fields["evspsbl"].detach().double().numpy() * STEP.seconds)
        return vapour - rain, abs(rain) + abs(vapour)

    def energy_in(self, fields: Fields) -> tuple[np.ndarray, np.ndarray]:
        terms = {name: self._total(fields[name].detach().double().numpy()) for name in FLUXES}
        net = sum(value if name in ("tsr", "ttr") else -value for name, value in terms.items())
        return np.asarray(net), np.asarray(sum(abs(value) for value in terms.values()))
