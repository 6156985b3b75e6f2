"""Columns of the standard atmosphere, in which everything is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from torch import Tensor

GRAVITY, GAS_CONSTANT = 9.80665, 287.0597


@dataclass(frozen=True)
class Troposphere:
    """Temperature falls linearly with height: T = T₀ − γ z, p = p₀ (T/T₀)^(g/R_dγ). With γ = 0 it is isothermal."""

    at_sea_level: float = 288.15
    lapse: float = 0.0065
    pressure: float = 101325.0

    def temperature_at(self, pressure: Tensor) -> Tensor:
        return self.at_sea_level * (pressure / self.pressure) ** (GAS_CONSTANT * self.lapse / GRAVITY)

    def height_at(self, pressure: Tensor) -> Tensor:
        if self.lapse == 0:
            return -GAS_CONSTANT * self.at_sea_level / GRAVITY * (pressure / self.pressure).log()
        return (self.at_sea_level - self.temperature_at(pressure)) / self.lapse

    def pressure_at(self, height: Tensor) -> Tensor:
        if self.lapse == 0:
            return self.pressure * (-GRAVITY * height / (GAS_CONSTANT * self.at_sea_level)).exp()
        return self.pressure * (1 - self.lapse * height / self.at_sea_level) ** (GRAVITY / (GAS_CONSTANT * self.lapse))


@pytest.fixture
def troposphere() -> Callable[..., Troposphere]:
    return Troposphere
