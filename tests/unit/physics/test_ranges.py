"""What ranges change, and what they say that they did."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from credit_ray.errors import ConfigError
from credit_ray.grid.latlon import LatLonGrid
from credit_ray.physics.arguments import (
    BoundsArguments,
    NonNegativePrecipitationArguments,
    PositiveArguments,
    SeaIceRangeArguments,
)
from credit_ray.physics.ranges import Bounds, NonNegativePrecipitation, Positive, SeaIceRange
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


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000))
def test_cutting_twice_is_cutting_once(seed: int) -> None:
    fields = after(seed)
    constraint = Bounds(BoundsArguments(variables=("t", "q"), lower=-0.5, upper=1), SPEC)
    once = fields | constraint(fields, fields, fields, {}).fields
    assert once["t"].min() >= -0.5
    assert once["q_500"].max() <= 1
    again = constraint(once, once, once, {})
    assert torch.equal((once | again.fields).data, once.data)
    assert again.budget.size.max() == 0


@pytest.mark.parametrize("straight_through", [False, True])
def test_gradients_pass_where_a_value_was_cut_only_if_asked(straight_through: bool) -> None:
    fields = Fields(after(3).data.double().requires_grad_(), SPEC.outputs)
    constraint = Positive(PositiveArguments(variables=("tp",), straight_through=straight_through), SPEC)
    change = constraint(fields, fields, fields, {})
    assert change.fields["tp"].min() == 0
    change.fields["tp"].sum().backward()
    assert fields.data.grad is not None
    cut = fields["tp"] < 0
    assert cut.any()
    assert (fields.data.grad[:, 3][cut] == float(straight_through)).all()
    assert (fields.data.grad[:, 3][~cut] == 1).all()


def test_precipitation_is_found_by_its_names() -> None:
    constraint = NonNegativePrecipitation(NonNegativePrecipitationArguments(), SPEC)
    assert constraint.names == ["tp"]
    without = StateSpec(prognostic=SPEC.prognostic, grid=GRID, step=SPEC.step)
    with pytest.raises(ConfigError, match="predicts neither of tp, pr"):
        NonNegativePrecipitation(NonNegativePrecipitationArguments(), without)


def test_sea_ice_covers_at_most_all_and_has_no_thickness_where_there_is_none() -> None:
    spec = StateSpec(
        prognostic=Channels([Channel(variable="siconc", units="1"), Channel(variable="sithick", units="m")]),
        grid=GRID,
        step=SPEC.step,
    )
    fields = Fields(1.5 * torch.randn(3, 2, *GRID.shape, generator=torch.Generator().manual_seed(7)), spec.outputs)
    fields.data[:, :, 2, 3] = torch.nan  # land
    change = SeaIceRange(SeaIceRangeArguments(thickness=("sithick",)), spec)(fields, fields, fields, {})
    ice, thickness = change.fields["siconc"], change.fields["sithick"]
    assert torch.isnan(ice[:, 2, 3]).all()
    assert torch.isnan(thickness[:, 2, 3]).all()
    ice, thickness = ice.nan_to_num(nan=0.5), thickness.nan_to_num(nan=0.5)
    assert ice.min() == 0
    assert ice.max() == 1
    assert (thickness[ice == 0] == 0).all()
    assert (thickness >= 0).all()
    percent = StateSpec(prognostic=Channels([Channel(variable="siconc", units="%")]), grid=GRID, step=SPEC.step)
    with pytest.raises(ConfigError, match="fraction in units of 1; siconc is in %"):
        SeaIceRange(SeaIceRangeArguments(), percent)
