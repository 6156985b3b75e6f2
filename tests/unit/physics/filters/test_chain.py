"""Filters among the constraints of a model: by name, before budgets, and in training after inference."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from credit_ray.errors import ConfigError
from credit_ray.grid.latlon import LatLonGrid
from credit_ray.physics.chain import build_chain
from credit_ray.state import Fields, State

Make = Callable[..., Any]
GRID = LatLonGrid.gaussian(10)
FILTERS: list[dict[str, Any]] = [
    {"kind": "hyperdiffusion", "variables": ["u", "v", "t"]},
    {"kind": "polar_filter", "variables": ["u", "v", "q"], "latitude": 50.0},
    {"kind": "wind_artefact_filter", "threshold": 25.0},
    {"kind": "skebs"},
]


def test_all_of_them_run_in_a_chain_and_report(make_spec: Make, make_fields: Make) -> None:
    spec = make_spec(GRID)
    chain, fields = build_chain(FILTERS, spec, torch.zeros(0, *GRID.shape)), make_fields(spec)
    empty = torch.zeros(2, 0, *GRID.shape)
    state = State(fields=fields.data[:, None], forcing=empty[:, None], valid_time=torch.arange(2).numpy())
    with torch.inference_mode():
        chain.change(fields, fields, Fields(empty, spec.forcing), chain.start(state))
    fields.data.requires_grad_()
    changed, budgets, carries = chain.change(fields, fields, Fields(empty, spec.forcing), chain.start(state))
    assert [budget.name for budget in budgets] == [each["kind"] for each in FILTERS]
    assert all(torch.isfinite(budget.after).all() and budget.before.shape == (2,) for budget in budgets)
    assert set(carries[-1]) == {"key", "step", "pattern"}
    assert set(changed) == {*spec.outputs.names}
    torch.stack(list(changed.values())).sum().backward()  # although the tables were made in inference
    assert fields.data.grad is not None


@pytest.mark.parametrize("given", FILTERS, ids=[each["kind"] for each in FILTERS])
def test_a_filter_after_a_budget_that_it_would_undo_is_refused(make_spec: Make, given: Any) -> None:
    spec = make_spec(GRID)
    mass = {"kind": "dry_air_mass", "adjust": "humidity"}
    statics = torch.zeros(0, *GRID.shape)
    build_chain([given, mass], spec, statics)
    if "q" in given.get("variables", ()):
        with pytest.raises(ConfigError, match=f"'{given['kind']}' would undo the budget of 'dry_air_mass'"):
            build_chain([mass, given], spec, statics)
    else:
        build_chain([mass, given], spec, statics)
