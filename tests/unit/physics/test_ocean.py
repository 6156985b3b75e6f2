"""Heat and salt of an ocean with land in it: what comes in through the surface is what it holds more."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from credit_ray.errors import ConfigError
from credit_ray.grid.latlon import LatLonGrid
from credit_ray.physics.constants import SEA_WATER_DENSITY, SEA_WATER_HEAT_CAPACITY
from credit_ray.state import Channel, Channels, Fields, StateSpec
from credit_ray.times import Step
from tests.unit.physics.atmosphere import applied, chain_of

DEPTHS = (22.5, 2.5, 10.0)  # in any order; layers of 15, 5 and 10 m
THICKNESS = np.array([15.0, 5.0, 10.0])[:, None, None]
SPEC = StateSpec(
    prognostic=Channels(
        Channel(variable=variable, units=units, level=depth, vertical="depth")
        for variable, units in (("thetao", "degC"), ("so", "1e-3"))
        for depth in DEPTHS
    ),
    diagnostic=Channels([Channel(variable="hfds", units="W m-2", kind="mean")]),
    grid=LatLonGrid.gaussian(16),
    step=Step.parse("5D"),
    static=Channels([Channel(variable="orography", units="m")]),
)


def ocean(seed: int, dtype: torch.dtype) -> tuple[Fields, Fields]:
    """Before and after a step; land is NaN, and deep layers have more of it."""
    random = torch.Generator().manual_seed(seed)
    noise = torch.rand(2, 2, 7, 16, 32, generator=random, dtype=torch.float64)
    scale = torch.tensor([10.0, 10, 10, 2, 2, 2, 100])[:, None, None]
    start = torch.tensor([10.0, 10, 10, 34, 34, 34, -50])[:, None, None]
    both = start + scale * noise
    both[..., :6, 3:9, 4:12] = torch.nan
    both[..., [0, 3], 10, :] = torch.nan  # shallow
    before, after = both.to(dtype)
    return Fields(before[:, :6], SPEC.prognostic), Fields(after, SPEC.outputs)


def total(fields: Fields, variable: str) -> np.ndarray:
    values = np.nan_to_num(fields.variable(variable).double().numpy())
    return (values * THICKNESS * SPEC.grid.cell_areas()).sum((1, 2, 3))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_heat_and_salt_close(dtype: torch.dtype) -> None:
    before, after = ocean(1, dtype)
    chain = chain_of(SPEC, {"kind": "ocean_heat"}, {"kind": "tracer_mass", "variables": ["so"]})
    out, budgets = applied(chain, before, after)
    sea = np.isfinite(after["thetao_d2.5"].numpy())
    flux = (np.where(sea, after["hfds"].double().numpy(), 0) * SPEC.grid.cell_areas()).sum((1, 2)) * 5 * 86400
    heat = SEA_WATER_DENSITY * SEA_WATER_HEAT_CAPACITY * (total(out, "thetao") - total(before, "thetao"))
    stored = SEA_WATER_DENSITY * SEA_WATER_HEAT_CAPACITY * total(out, "thetao")
    allowed = 1e-12 if dtype == torch.float64 else 4 * 1.2e-7 / 512**0.5
    assert (abs(heat - flux) <= allowed * stored).all()
    np.testing.assert_allclose(total(out, "so"), total(before, "so"), rtol=1e-12 if dtype == torch.float64 else 1e-8)
    assert torch.equal(torch.isnan(out.data), torch.isnan(after.data))
    assert [b.name for b in budgets] == ["ocean_heat", "tracer_mass"]
    np.testing.assert_allclose(budgets[0].flux, flux, rtol=1e-12)
    warming = (out.variable("thetao") - after.variable("thetao")).double()
    spread = np.nanstd(warming.flatten(1).numpy(), 1)  # of each trajectory, over the sea
    assert (spread < (1e-12 if dtype == torch.float64 else 1e-5)).all()


def test_the_flux_and_the_depths_are_needed() -> None:
    without = StateSpec(prognostic=SPEC.prognostic, grid=SPEC.grid, step=SPEC.step, static=SPEC.static)
    with pytest.raises(ConfigError, match="needs the heat through the surface: hfds"):
        chain_of(without, {"kind": "ocean_heat"})
    levels = Channels(Channel(variable="thetao", units="degC", level=p, vertical="pressure") for p in (500.0, 1000.0))
    other = StateSpec(prognostic=levels, diagnostic=SPEC.diagnostic, grid=SPEC.grid, step=SPEC.step, static=SPEC.static)
    with pytest.raises(ConfigError, match="on pressure levels; expected depths"):
        chain_of(other, {"kind": "ocean_heat"})
