"""A chain: in any declared order, on any shard of the grid, with gradients, limits and a schedule."""

from __future__ import annotations

import logging
import threading
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from credit_ray.errors import ConfigError, ConstraintError
from credit_ray.grid.latlon import LatLonGrid
from credit_ray.physics.chain import Chain, build_chain
from credit_ray.state import Channel, Channels, Fields, StateSpec
from tests.unit.physics.atmosphere import (
    FLUXES,
    LEVELS,
    Independent,
    applied,
    before_of,
    chain_of,
    fields,
    forcing_of,
    spec_of,
    state_of,
    statics,
)

GRID = LatLonGrid.gaussian(16)
SPEC = spec_of("sigma", LEVELS["sigma"], GRID)
RECIPES: tuple[dict[str, Any], ...] = (
    {"kind": "positive", "variables": ["q", "tp"]},
    {"kind": "dry_air_mass"},
    {"kind": "tracer_mass", "variables": ["o3"]},
    {"kind": "water"},
    {"kind": "energy", "adjust": "proportional"},
)
TIMES = np.array([0, 3600], np.int64)


@settings(max_examples=8, deadline=None)
@given(order=st.permutations(range(1, 5)), seed=st.integers(0, 1000))
def test_budgets_may_be_declared_in_any_order(order: list[int], seed: int) -> None:
    after = fields(SPEC, seed)
    before = before_of(SPEC, after, seed)
    expected, _ = applied(chain_of(SPEC, *RECIPES), before, after)
    found, budgets = applied(chain_of(SPEC, RECIPES[0], *(RECIPES[i] for i in order)), before, after)
    torch.testing.assert_close(found.data, expected.data, rtol=1e-12, atol=0)
    assert [b.name for b in budgets] == ["positive", *(RECIPES[i]["kind"] for i in order)]


def test_one_alone_is_a_chain_of_one() -> None:
    after = fields(SPEC, 1)
    before = before_of(SPEC, after, 2)
    for recipe in RECIPES:
        chain = chain_of(SPEC, recipe)
        (constraint,) = chain.constraints
        carry = constraint.start(state_of(SPEC, before))
        change = constraint(before, after, forcing_of(SPEC, after), carry)
        expected, (budget,) = applied(chain, before, after)
        assert torch.equal((after | change.fields).data, expected.data)
        assert torch.equal(change.budget.after, budget.after)


def test_members_and_batches_do_not_feel_each_other() -> None:
    chain = chain_of(SPEC, *RECIPES)
    after = fields(SPEC, 3, trajectories=3)
    before = before_of(SPEC, after, 4)
    together, _ = applied(chain, before, after)
    for each in range(3):
        mine = slice(each, each + 1)
        alone, _ = applied(chain, Fields(before.data[mine], before.channels), Fields(after.data[mine], after.channels))
        torch.testing.assert_close(alone.data, together.data[mine], rtol=1e-12, atol=0)


class Rows:
    """One of several devices, each with some rows of the grid; devices are threads that meet at each sum."""

    def __init__(self, mine: slice, shared: list[Tensor | None], place: int, barrier: threading.Barrier) -> None:
        self.mine, self.shared, self.place, self.barrier, self.sums = mine, shared, place, barrier, 0

    def part(self, values: Tensor) -> Tensor:
        return values[..., self.mine, :]

    def sum(self, values: Tensor) -> Tensor:
        self.sums += 1
        self.shared[self.place] = values
        self.barrier.wait()
        total = torch.stack([v for v in self.shared if v is not None]).sum(0)
        self.barrier.wait()
        return total


@pytest.mark.parametrize("rows", [(0, 8, 16), (0, 3, 10, 16)])
def test_rows_on_several_devices_give_what_one_device_gives_with_one_sum_a_step(rows: tuple[int, ...]) -> None:
    after = fields(SPEC, 5)
    before = before_of(SPEC, after, 6)
    expected, budgets = applied(chain_of(SPEC, *RECIPES), before, after)
    parts = [slice(a, b) for a, b in pairwise(rows)]
    shared: list[Tensor | None] = [None] * len(parts)
    barrier = threading.Barrier(len(parts), timeout=60)
    found: dict[int, Any] = {}

    def device(place: int, mine: slice) -> None:
        chain = chain_of(SPEC, *RECIPES)
        chain.reduce = reduce = Rows(mine, shared, place, barrier)
        first, second = (Fields(f.data[..., mine, :], f.channels) for f in (before, after))
        carries = chain.start(state_of(SPEC, first))
        started = reduce.sums
        changed, own, _ = chain.change(first, second, Fields(second.data[:, :0], SPEC.forcing), carries)
        found[place] = ((second | changed).data, own, reduce.sums - started)

    threads = [threading.Thread(target=device, args=args) for args in enumerate(parts)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    together = torch.cat([found[place][0] for place in range(len(parts))], -2)
    torch.testing.assert_close(together, expected.data, rtol=1e-11, atol=0)
    for place in found:
        assert found[place][2] == 1
        for mine_, whole in zip(found[place][1], budgets, strict=True):
            torch.testing.assert_close(mine_.after, whole.after, rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    "recipes",
    [
        ({"kind": "dry_air_mass"},),
        ({"kind": "dry_air_mass", "adjust": "humidity"},),
        ({"kind": "tracer_mass", "variables": ["o3"]},),
        ({"kind": "water"},),
        ({"kind": "water", "adjust": "evspsbl", "ratio": 1.000001},),
        *(({"kind": "energy", "adjust": method},) for method in ("uniform", "heat_capacity", "proportional")),
        RECIPES,
    ],
    ids=lambda recipes: "+".join(r["kind"] for r in recipes),
)
def test_gradients_are_those_of_finite_differences(recipes: tuple[dict[str, Any], ...]) -> None:
    spec = spec_of("sigma", LEVELS["sigma"][::3], LatLonGrid.gaussian(4))
    chain = chain_of(spec, *recipes)
    after = fields(spec, 7, trajectories=1)
    before = before_of(spec, after, 8)
    before = Fields(
        after.data[:, : len(spec.prognostic)] + 1e-3 * (before.data - after.data[:, : len(spec.prognostic)]),
        before.channels,
    )
    scale = after.data.abs().mean((0, 2, 3), keepdim=True)
    random = torch.Generator().manual_seed(9)
    wanted = torch.randn(after.data.shape, generator=random, dtype=torch.float64) / scale
    direction = torch.randn(after.data.shape, generator=random, dtype=torch.float64) * scale

    def loss(data: Tensor) -> Tensor:
        out, _ = applied(chain, before, Fields(data, spec.outputs))
        return (out.data * wanted).sum() + 0.1 * ((out.data / scale) ** 2).sum()

    data = after.data.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(data), data)
    size = 1e-6
    measured = (loss(after.data + size * direction) - loss(after.data - size * direction)) / (2 * size)
    assert torch.isfinite(gradient).all()
    assert float((gradient * direction).sum()) == pytest.approx(float(measured), rel=2e-6)


def test_training_may_leave_a_constraint_out_for_a_while() -> None:
    late = {**RECIPES[1], "training": {"from_step": 100}}
    never = {**RECIPES[3], "training": {"use": False}}
    chain = build_chain([RECIPES[0], late, never], SPEC, statics(SPEC))
    after = fields(SPEC, 10)
    carries = chain.start(state_of(SPEC, before_of(SPEC, after, 11)))

    def applies(step: int | None) -> list[str]:
        _, budgets, kept = chain.change(before_of(SPEC, after, 11), after, forcing_of(SPEC, after), carries, step)
        assert len(kept) == 3
        return [budget.name for budget in budgets]

    assert applies(99) == ["positive"]
    assert applies(100) == ["positive", "dry_air_mass"]
    assert applies(None) == ["positive", "dry_air_mass", "water"]


def test_over_its_limits_a_correction_warns_and_then_fails(caplog: pytest.LogCaptureFixture) -> None:
    after = fields(SPEC, 12)
    chain = chain_of(SPEC, {"kind": "dry_air_mass", "warn_above": 1e-5, "fail_above": 1e-2})
    _, budgets = applied(chain, before_of(SPEC, after, 13), after)
    with caplog.at_level(logging.WARNING):
        chain.watch(budgets, TIMES)
        chain.watch(budgets, TIMES)
    assert caplog.text.count("The correction of 'dry_air_mass' at 1970-01-01") == 1
    off = after | {"sp": after["sp"] * torch.tensor([1.0, 1.05])[:, None, None]}
    _, budgets = applied(chain, before_of(SPEC, after, 13), off)
    with pytest.raises(ConstraintError, match=r"'dry_air_mass' at 1970-01-01.*\(trajectory 1\) is 0.04.*fail_above"):
        chain.watch(budgets, TIMES)
    _, budgets = applied(chain, before_of(SPEC, after, 13), after | {"sp": after["sp"] * torch.nan})
    with pytest.raises(ConstraintError):
        chain.watch(budgets, TIMES)


class TestWhatCannotCloseTogether:
    def refused(self, message: str, *recipes: dict[str, Any], spec: StateSpec = SPEC) -> None:
        with pytest.raises(ConfigError, match=message):
            chain_of(spec, *recipes)

    def test_is_refused(self) -> None:
        self.refused("both correct sp", {"kind": "dry_air_mass"}, {"kind": "dry_air_mass"})
        self.refused(
            "corrects q_.*which the budget of 'water' counts",
            {"kind": "tracer_mass", "variables": ["q"]},
            {"kind": "water"},
        )
        self.refused(
            "'positive' would undo the budget of 'water': put it before",
            {"kind": "water"},
            {"kind": "positive", "variables": ["tp"]},
        )
        chain_of(SPEC, {"kind": "water"}, {"kind": "positive", "variables": ["o3"]})

    def test_missing_variables_are_named(self) -> None:
        self.refused(
            "'dry_air_mass' needs 'qv' among the prognostic variables.*There is: o3, q, sp",
            {"kind": "dry_air_mass", "humidity": "qv"},
        )
        self.refused(
            "sigma levels of 'q' need surface pressure.*no 'psfc'", {"kind": "water", "surface_pressure": "psfc"}
        )
        self.refused("neither predicts 'snow'", {"kind": "water", "surface": {"down": ["tp", "snow"]}})
        self.refused("no flux 'pr'.*There is: .*tp", {"kind": "water", "adjust": "pr"})
        self.refused("no level 500", {"kind": "energy", "adjust": "weights", "weights": {500: 1}})
        self.refused("no level 500 of humidity", {"kind": "dry_air_mass", "adjust": "humidity", "layers": [500]})

    def test_a_missing_flux_is_named(self) -> None:
        def without(*names: str) -> StateSpec:
            kept = Channels(c for c in SPEC.diagnostic if c.name not in names)
            return StateSpec(prognostic=SPEC.prognostic, diagnostic=kept, static=SPEC.static, grid=GRID, step=SPEC.step)

        self.refused("'water' needs precipitation and evaporation.*has: tp", {"kind": "water"}, spec=without("evspsbl"))
        self.refused(
            "as net fluxes it lacks slhf; as up and down fluxes it lacks rsdt", {"kind": "energy"}, spec=without("slhf")
        )

    @pytest.mark.parametrize(
        ("variable", "changed", "recipe", "message"),
        [
            ("q", {"units": "g kg-1"}, {"kind": "water"}, "expects q in kg kg-1; q_s0.025 is in 'g kg-1'"),
            ("sp", {"units": "hPa"}, {"kind": "dry_air_mass"}, "expects sp in Pa; sp is in 'hPa'"),
            ("t", {"units": "degC"}, {"kind": "energy"}, "expects t in K"),
            ("tp", {"units": "K"}, {"kind": "water"}, "tp is in 'K'; expected kg m-2 per step, or kg m-2 s-1"),
            ("tp", {"units": "kg m-2 s-1"}, {"kind": "water"}, "tp is accumulated over the step.*is a rate"),
            ("evspsbl", {"units": "kg m-2"}, {"kind": "water"}, "evspsbl is a mean.*which is an amount"),
            ("q", {"vertical": "model"}, {"kind": "water"}, "'q': model levels need their hybrid coefficients"),
        ],
    )
    def test_wrong_units_and_levels_are_named(
        self, variable: str, changed: dict[str, Any], recipe: dict[str, Any], message: str
    ) -> None:
        def altered(channels: Channels) -> Channels:
            return Channels(replace(c, **changed) if c.variable == variable else c for c in channels)

        spec = replace(SPEC, prognostic=altered(SPEC.prognostic), diagnostic=altered(SPEC.diagnostic))
        self.refused(message, recipe, spec=spec)

    def test_an_unknown_coordinate_is_named(self) -> None:
        flat = Channels([Channel(variable="q", units="kg kg-1"), Channel(variable="sp", units="Pa")])
        self.refused(
            "'q' has no vertical coordinate: expected levels",
            {"kind": "dry_air_mass"},
            spec=replace(SPEC, prognostic=flat),
        )
        mixed = Channels([*flat, Channel(variable="q", units="kg kg-1", level=850, vertical="pressure")])
        self.refused("'q' has no vertical coordinate", {"kind": "dry_air_mass"}, spec=replace(SPEC, prognostic=mixed))
        other = {"edges": [0, 0.03, 0.04, 1]}
        self.refused("'q': The edges.*not those of the sigma levels", {"kind": "dry_air_mass", "vertical": other})
        fewer = Channels(c for c in SPEC.prognostic if c.name != "t_s0.51")
        self.refused("'t' has other levels", {"kind": "energy"}, spec=replace(SPEC, prognostic=fewer))

    def test_a_direction_that_is_not_the_variables_is_refused(self) -> None:
        self.refused("'tp' is positive downward", {"kind": "water", "surface": {"up": ["tp", "evspsbl"]}})
        self.refused(
            "'evspsbl' is positive upward.*'surface: {up: ", {"kind": "water", "surface": {"down": ["tp", "evspsbl"]}}
        )
        wrong = {"top": {"down": ["tsr"], "up": ["ttr"]}, "surface": {"down": ["ssr", "str", "sshf", "slhf"]}}
        self.refused("'ttr' is positive downward", {"kind": "energy", **wrong})


def test_real_fluxes_with_a_wrong_sign_or_length_are_noticed() -> None:
    chain = chain_of(SPEC, {"kind": "dry_air_mass"}, {"kind": "water"}, {"kind": "energy"})
    after = fields(SPEC, 14)
    forcing = forcing_of(SPEC, after)
    assert chain.examine(after, forcing) == []
    (said,) = chain.examine(after | {"slhf": -after["slhf"]}, forcing)
    assert "'slhf' has a global mean of 8" in said
    assert "its sign is wrong" in said
    (said,) = chain.examine(after | {"tsr": after["tsr"] / 6}, forcing)
    assert "'tsr'" in said
    assert "what it is accumulated over" in said
    moist = after | {name: after[name] * 1000 for name in after.channels.names if name.startswith("q_")}
    assert any("water is" in said for said in chain.examine(moist, forcing))
    upside_down = after | {"q_s0.025": after["q_s0.95"], "q_s0.95": after["q_s0.025"]}
    (said,) = chain.examine(upside_down, forcing)
    assert "'q_s0.025' is moister than 'q_s0.95'" in said
    assert "in another order" in said


def test_a_state_that_closes_is_left_alone() -> None:
    chain = chain_of(SPEC, *RECIPES)
    once, _ = applied(chain, before_of(SPEC, fields(SPEC, 15), 16), fields(SPEC, 15))
    before = once.select(SPEC.prognostic)
    still = once | {"tp": once["tp"] * 0, "evspsbl": once["evspsbl"] * 0} | {name: once[name] * 0 for name in FLUXES}
    out, budgets = applied(chain, before, still)
    assert ((out.data - still.data).abs() <= 1e-13 * still.data.abs()).all()
    assert all(budget.size.max() < 1e-12 for budget in budgets)


def test_totals_are_what_a_budget_says() -> None:
    after = fields(SPEC, 17)
    before = before_of(SPEC, after, 18)
    out, budgets = applied(chain_of(SPEC, *RECIPES), before, after)
    ours = Independent(SPEC)
    by_name = {budget.name: budget for budget in budgets}
    np.testing.assert_allclose(by_name["dry_air_mass"].after, ours.dry(out), rtol=1e-12)
    np.testing.assert_allclose(by_name["water"].before, ours.water(before), rtol=1e-12)
    np.testing.assert_allclose(by_name["water"].after, ours.water(out), rtol=1e-12)
    np.testing.assert_allclose(by_name["energy"].after, ours.energy(out), rtol=1e-12)
    np.testing.assert_allclose(by_name["energy"].flux, ours.energy_in(out)[0], rtol=1e-12)


def test_a_chain_without_constraints_changes_nothing() -> None:
    after = fields(SPEC, 19)
    assert Chain([], SPEC).change(after, after, forcing_of(SPEC, after), ()) == ({}, (), ())
