"""What constraints change, and what they say that they did."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from credit_ray.errors import ConfigError
from credit_ray.grid.latlon import LatLonGrid
from credit_ray.physics.arguments import PositiveArguments
from credit_ray.physics.constraints import Positive
from credit_ray.state import Channel, Channels, Fields, StateSpec
from credit_ray.times import Step

GRID = LatLonGrid.gaussian(4)
SPEC = StateSpec(
    prognostic=Channels(
        Channel(variable=name, units="1", level=level, vertical="pressure" if level else None)
        for name, level in (("q", 500.0), ("t", None), ("q", 850.0))
    ),
    diagnostic=Channels([Channel(variable="tp", units="kg m-2")]),
    grid=GRID,
    step=Step.parse("6h"),
)


def after(seed: int, scale: float = 1.0) -> Fields:
    return Fields(scale * torch.randn(2, 4, *GRID.shape, generator=torch.Generator().manual_seed(seed)), SPEC.outputs)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), scale=st.sampled_from([1e-9, 1.0, 1e9]))
def test_nothing_stays_negative_and_nothing_positive_is_touched(seed: int, scale: float) -> None:
    fields = after(seed, scale)
    change = Positive(PositiveArguments(variables=("q", "tp")), SPEC)(fields, fields, fields, {})
    assert set(change.fields) == {"q_500", "q_850", "tp"}  # all levels; only what it is of
    for name, value in change.fields.items():
        assert value.min() >= 0
        assert torch.equal(value[fields[name] >= 0], fields[name][fields[name] >= 0])


def test_what_clipping_added_is_in_the_budget() -> None:
    fields = after(1)
    change = Positive(PositiveArguments(variables=("tp",)), SPEC)(fields, fields, fields, {})
    weights = torch.from_numpy(GRID.area_weights())
    added = (-fields["tp"].double().clamp(max=0) * weights).mean((1, 2))
    torch.testing.assert_close(change.budget.after - change.budget.before, added)
    assert added.min() > 0


def test_where_a_variable_does_not_exist_there_is_nothing_to_count() -> None:
    fields = after(2)
    fields.data[:, 3, 1] = torch.nan
    change = Positive(PositiveArguments(variables=("tp",)), SPEC)(fields, fields, fields, {})
    assert torch.isnan(change.fields["tp"][:, 1]).all()
    assert torch.isfinite(change.budget.after).all()


def test_variables_go_by_any_of_their_names() -> None:
    names = Positive(PositiveArguments(variables=("specific_humidity",)), SPEC).names
    assert names == ["q_500", "q_850"]


def test_a_variable_that_is_not_predicted_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(
        ConfigError, match="'positive' is of what the model predicts. There is no variable 'tpp'. Did you mean 'tp'"
    ):
        Positive(PositiveArguments(variables=("tpp",)), SPEC)
    with pytest.raises(ValueError, match="variables is empty"):
        PositiveArguments(variables=())
