"""Budgets close to round-off: on every grid and coordinate, in any order of levels, humid or dry, in float64 and float32."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from credit_ray.grid.latlon import EARTH_RADIUS_M, LatLonGrid
from credit_ray.physics.columns import Column
from tests.unit.physics.atmosphere import (
    LEVELS,
    TABLE,
    Independent,
    applied,
    before_of,
    chain_of,
    fields,
    forcing_of,
    spec_of,
    state_of,
)

GRIDS = {
    "gaussian 64×32": LatLonGrid.gaussian(32),
    "gaussian 20×40": LatLonGrid.gaussian(20),
    "regular with poles": LatLonGrid(np.linspace(90, -90, 19), np.arange(36) * 10.0),
    "regular without poles": LatLonGrid(np.linspace(87, -87, 30), np.arange(60) * 6.0),
}
ONE_DEGREE = LatLonGrid(np.linspace(90, -90, 181), np.arange(360.0))


def whole_chain(coordinate: str, **mass: Any) -> tuple[dict[str, Any], ...]:
    column = TABLE if coordinate == "model" else {}
    return (
        {"kind": "positive", "variables": ["q", "tp"]},
        {"kind": "dry_air_mass", **column, **mass},
        {"kind": "tracer_mass", "variables": ["o3"], **column},
        {"kind": "water", **column},
        {"kind": "energy", **column},
    )


def residuals(coordinate: str, spec: Any, before: Any, out: Any) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Measured independently: relative to the stored total, and to the step's gross flux."""
    ours = Independent(spec, TABLE["vertical"] if coordinate == "model" else None)
    found = {}
    for name, total in (("dry", ours.dry), ("ozone", ours.ozone)):
        found[name] = (abs(total(out) / total(before) - 1), np.zeros(2))
    for name, total, flux in (("water", ours.water, ours.water_in), ("energy", ours.energy, ours.energy_in)):
        net, gross = flux(out)
        left = abs(total(out) - total(before) - net)
        found[name] = (left / (total(out) + gross), left / gross)  # a dry air's water is less than falls in a step
    return found


@pytest.mark.parametrize("grid", [*GRIDS.values(), ONE_DEGREE], ids=[*GRIDS, "one degree"])
def test_cells_cover_the_sphere(grid: LatLonGrid) -> None:
    assert grid.cell_areas().sum() == pytest.approx(4 * np.pi * EARTH_RADIUS_M**2, rel=1e-12)
    assert grid.cell_areas().min() > 0


@settings(max_examples=30, deadline=None)
@given(
    grid=st.sampled_from(sorted(GRIDS)),
    coordinate=st.sampled_from(sorted(LEVELS)),
    order=st.permutations(range(6)),
    size=st.integers(3, 6),
    humid=st.sampled_from([0.0, 1e-3, 1.0, 3.0]),
    method=st.sampled_from(["uniform", "heat_capacity", "proportional"]),
    single=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_after_the_whole_chain_all_budgets_close_at_once(
    grid: str, coordinate: str, order: list[int], size: int, humid: float, method: str, single: bool, seed: int
) -> None:
    levels = [LEVELS[coordinate][i] for i in order[:size]]
    spec = spec_of(coordinate, levels, GRIDS[grid])
    *others, energy = whole_chain(coordinate)
    dtype = torch.float32 if single else torch.float64
    after = fields(spec, seed, humid=humid, dtype=dtype)
    before = before_of(spec, after, seed + 1)
    out, budgets = applied(chain_of(spec, *others, {**energy, "adjust": method}), before, after)
    cells = spec.grid.shape[0] * spec.grid.shape[1]
    for name, (of_total, of_gross) in residuals(coordinate, spec, before, out).items():
        if single:
            assert (of_total <= 4 * 1.2e-7 / cells**0.5).all(), name
            assert (of_gross <= 1e-6).all(), name
        else:
            assert (of_total <= 1e-9).all(), name
            assert (of_gross <= 1e-9).all(), name
    for budget in budgets:
        if budget.name != "positive":
            assert (budget.relative_residual < 1e-9).all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_they_close_at_one_degree(dtype: torch.dtype) -> None:
    spec = spec_of("model", LEVELS["model"], ONE_DEGREE)
    after = fields(spec, 1, trajectories=1, dtype=dtype)
    before = before_of(spec, after, 2)
    out, _ = applied(chain_of(spec, *whole_chain("model")), before, after)
    single = dtype == torch.float32
    for of_total, of_gross in residuals("model", spec, before, out).values():
        assert of_total.max() <= (4 * 1.2e-7 / 65160**0.5 if single else 1e-9)
        assert of_gross.max() <= (1e-6 if single else 1e-9)


@settings(max_examples=10, deadline=None)
@given(
    coordinate=st.sampled_from(sorted(LEVELS)),
    layers=st.sampled_from([(), (-1,), (-2, -1)]),
    seed=st.integers(0, 1000),
)
def test_dry_air_can_be_conserved_by_the_humidity_of_chosen_layers(
    coordinate: str, layers: tuple[int, ...], seed: int
) -> None:
    spec = spec_of(coordinate, LEVELS[coordinate], GRIDS["gaussian 64×32"])
    chosen = [LEVELS[coordinate][i] for i in layers]
    after = fields(spec, seed)
    before = state_near(spec, after, seed)
    recipes = whole_chain(coordinate, adjust="humidity", layers=chosen)
    out, _ = applied(chain_of(spec, *recipes), before, after)
    if coordinate == "pressure":  # there, all of the mass between the levels is air or water
        ours = Independent(spec)
        assert ours.water(out) == pytest.approx(ours.water(before), rel=1e-12)
        found = residuals(coordinate, spec, before, out)
        del found["dry"]
    else:
        found = residuals(coordinate, spec, before, out)
    assert out["q_" + spec.prognostic[0].name.split("_")[1]].min() >= 0
    for name, (_, of_gross) in found.items():
        assert of_gross.max() < 1e-9, name
    if coordinate != "pressure":
        assert found["dry"][0].max() < 1e-12
    untouched = [c.name for c in spec.prognostic if c.variable == "q" and chosen and c.level not in chosen]
    for name in untouched:
        assert torch.equal(out[name], after[name])


def state_near(spec: Any, after: Any, seed: int) -> Any:
    """So near that humidity alone can make up for the difference in mass."""
    before = before_of(spec, after, seed)
    kept = after.select(spec.prognostic)
    return type(kept)(kept.data + 1e-3 * (before.data - kept.data), spec.prognostic)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("coordinate", sorted(LEVELS))
def test_applied_twice_it_changes_nothing_more(coordinate: str, dtype: torch.dtype) -> None:
    spec = spec_of(coordinate, LEVELS[coordinate], GRIDS["gaussian 64×32"])
    chain = chain_of(spec, *whole_chain(coordinate))
    after = fields(spec, 3, dtype=dtype)
    before = before_of(spec, after, 4)
    once, _ = applied(chain, before, after)
    twice, budgets = applied(chain, before, once)
    allowed = 1e-12 if dtype == torch.float64 else 1.3e-7
    assert ((twice.data - once.data).abs() <= allowed * once.data.abs().clamp(min=1e-30)).all()
    for budget in budgets:
        assert budget.size.max() < (1e-12 if dtype == torch.float64 else 3e-7), budget.name


def test_dry_air_does_not_drift_in_a_thousand_steps_of_a_leaking_model() -> None:
    for dtype in (torch.float64, torch.float32):
        spec = spec_of("sigma", LEVELS["sigma"][::3], GRIDS["gaussian 20×40"])
        chain = chain_of(spec, {"kind": "dry_air_mass"})
        ours = Independent(spec)
        leaking = fields(spec, 5, trajectories=1, dtype=dtype)
        state = leaking.select(spec.prognostic)
        carries = chain.start(state_of(spec, state))
        start = ours.dry(state)
        worst = 0.0
        for step in range(1000):
            leaking = type(leaking)(
                torch.cat([state.data * (1 - 1e-5), leaking.data[:, len(spec.prognostic) :]], 1), spec.outputs
            )
            changed, _, carries = chain.change(state, leaking, forcing_of(spec, leaking), carries)
            state = (leaking | changed).select(spec.prognostic)
            if step % 100 == 99:
                worst = max(worst, float(abs(ours.dry(state) / start - 1)[0]))
        assert worst < (1e-12 if dtype == torch.float64 else 4 * 1.2e-7 / 800**0.5)


@pytest.mark.parametrize("kind", ["dry_air_mass", "water", "energy", "tracer_mass"])
def test_a_limited_correction_reports_what_it_left(kind: str) -> None:
    spec = spec_of("sigma", LEVELS["sigma"], GRIDS["gaussian 20×40"])
    extra = {"variables": ["o3"]} if kind == "tracer_mass" else {}
    after = fields(spec, 6)
    before = before_of(spec, after, 7)
    _, (whole,) = applied(chain_of(spec, {"kind": kind, **extra}), before, after)
    out, (budget,) = applied(
        chain_of(spec, {"kind": kind, **extra, "limit": float(whole.size.min()) / 3}), before, after
    )
    torch.testing.assert_close(
        budget.size, torch.full_like(budget.size, float(whole.size.min()) / 3), rtol=1e-9, atol=0
    )
    assert (budget.relative_residual > 1e-9).all()
    ours = Independent(spec)
    totals: dict[str, tuple[Any, Any]] = {
        "dry_air_mass": (ours.dry, None),
        "tracer_mass": (ours.ozone, None),
        "water": (ours.water, ours.water_in),
        "energy": (ours.energy, ours.energy_in),
    }
    total, flux = totals[kind]
    net = flux(out)[0] if flux else 0.0
    np.testing.assert_allclose(budget.residual, total(out) - total(before) - net, rtol=1e-6)


@settings(max_examples=10, deadline=None)
@given(rain=st.floats(1e-9, 1e3), seed=st.integers(0, 1000))
def test_rain_never_becomes_negative_while_the_budget_has_any(rain: float, seed: int) -> None:
    spec = spec_of("sigma", LEVELS["sigma"], GRIDS["gaussian 20×40"])
    after = fields(spec, seed)
    column = after.data[:, spec.outputs.index("tp")]
    column *= rain * (torch.rand(column.shape, generator=torch.Generator().manual_seed(seed)) < 0.3)  # dry elsewhere
    out, (budget,) = applied(chain_of(spec, {"kind": "water"}), state_near(spec, after, seed), after)
    areas = torch.as_tensor(spec.grid.cell_areas())
    falls = (out["tp"] * areas).flatten(1).sum(1) >= 0
    assert bool((out["tp"][falls] >= 0).all())
    assert budget.relative_residual.max() < 1e-9


def test_too_much_rain_is_scaled_down_rather_than_shifted() -> None:
    spec = spec_of("sigma", LEVELS["sigma"], GRIDS["gaussian 20×40"])
    after = fields(spec, 8)
    before = state_near(spec, after, 9)
    after.data[:, spec.outputs.index("tp")] *= 30
    out, (budget,) = applied(chain_of(spec, {"kind": "water"}), before, after)
    factor = out["tp"] / after["tp"]
    assert (factor - factor[:, :1, :1]).abs().max() < 1e-9
    assert (factor > 0).all()
    assert budget.relative_residual.max() < 1e-9


@pytest.mark.parametrize("rain", [0.0, 1e-6, -0.1])
def test_where_a_ratio_would_be_out_of_bounds_the_missing_rain_is_added_evenly(rain: float) -> None:
    spec = spec_of("sigma", LEVELS["sigma"], GRIDS["gaussian 20×40"])
    after = fields(spec, 8)
    after.data[:, spec.outputs.index("tp")] *= rain
    before = state_near(spec, after, 9)
    out, _ = applied(chain_of(spec, {"kind": "water"}), before, after)
    ours = Independent(spec)
    net, gross = ours.water_in(out)
    assert (abs(ours.water(out) - ours.water(before) - net) / gross).max() < 1e-9
    added = (out["tp"] - after["tp"]).flatten(1)
    assert (added - added[:, :1]).abs().max() < 1e-9
    assert added.abs().min() > 0


@settings(max_examples=6, deadline=None)
@given(adjust=st.sampled_from(["precipitation", "evspsbl"]), seed=st.integers(0, 1000))
def test_either_precipitation_or_evaporation_gives_way(adjust: str, seed: int) -> None:
    spec = spec_of("model", LEVELS["model"], GRIDS["gaussian 20×40"])
    after = fields(spec, seed)
    before = state_near(spec, after, seed)
    out, (budget,) = applied(chain_of(spec, {"kind": "water", "adjust": adjust, **TABLE}), before, after)
    moved, kept = ("tp", "evspsbl") if adjust == "precipitation" else ("evspsbl", "tp")
    assert torch.equal(out[kept], after[kept])
    ratio = out[moved] / after[moved]
    assert (ratio - ratio[:, :1, :1]).abs().max() < 1e-9
    assert budget.relative_residual.max() < 1e-12


def test_temperature_is_corrected_as_the_method_says() -> None:
    spec = spec_of("sigma", LEVELS["sigma"], GRIDS["gaussian 20×40"])
    after = fields(spec, 11)
    before = before_of(spec, after, 12)

    def change(**how: Any) -> torch.Tensor:
        out, _ = applied(chain_of(spec, {"kind": "energy", **how}), before, after)
        return out.variable("t") - after.variable("t")

    uniform = change()
    assert (uniform - uniform[:, :1, :1, :1]).abs().max() < 1e-9
    low = change(adjust="weights", weights={0.835: 1.0, 0.95: 0.5})
    assert low[:, :6].abs().max() == 0
    torch.testing.assert_close(low[:, 6], 2 * low[:, 7], rtol=0, atol=1e-9)
    proportional = change(adjust="proportional")
    assert proportional.std() > 1e-3 * proportional.abs().mean()
    assert (proportional > 0).all() or (proportional < 0).all()
    assert change(adjust="none").abs().max() == 0


def test_columns_ask_for_surface_pressure_only_where_it_matters() -> None:
    spec = spec_of("pressure", LEVELS["pressure"], GRIDS["gaussian 20×40"], surface_pressure=False)
    recipes = whole_chain("pressure")
    out, _ = applied(chain_of(spec, *recipes), *reversed((fields(spec, 1), state_near(spec, fields(spec, 1), 2))))
    ours = Independent(spec)
    before = state_near(spec, fields(spec, 1), 2)
    assert ours.dry(out) == pytest.approx(ours.dry(before), rel=1e-12)
    assert isinstance(chain_of(spec, *recipes).constraints[1].columns[0], Column)  # type: ignore[attr-defined]
