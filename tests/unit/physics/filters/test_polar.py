"""The polar filter: means of rows stay, nothing grows, nothing changes away from the poles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from credit_ray.errors import ConfigError
from credit_ray.grid.latlon import LatLonGrid
from credit_ray.physics.filters.arguments import PolarFilterArguments
from credit_ray.physics.filters.polar import PolarFilter
from credit_ray.state import Fields, StateSpec

Make = Callable[..., Any]
POLES = LatLonGrid([90 - 5.0 * i for i in range(37)], [5.0 * i for i in range(72)])  # type: ignore[arg-type]


def apply(spec: StateSpec, fields: Fields, **arguments: Any) -> Fields:
    return fields | PolarFilter(PolarFilterArguments(**arguments), spec)(fields, fields, fields, {}).fields


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000), power=st.sampled_from([1, 2]))
def test_the_mean_of_each_row_stays_and_no_row_varies_more(
    make_spec: Make, make_fields: Make, seed: int, power: int
) -> None:
    spec = make_spec(POLES, "uvt")
    fields = make_fields(spec, seed)
    after = apply(spec, fields, variables=("u", "v", "t"), power=power)
    torch.testing.assert_close(after.data.mean(-1), fields.data.mean(-1), rtol=0, atol=1e-12)
    assert (after.data.var(-1) <= fields.data.var(-1) * (1 + 1e-12)).all()
    away = abs(torch.tensor(POLES.latitude.copy())) <= 60
    assert torch.equal(after.data[..., away, :], fields.data[..., away, :])
    near = abs(torch.tensor(POLES.latitude.copy())) >= 80
    assert after.data[..., near, :].var(-1).sum() < 0.6 * fields.data[..., near, :].var(-1).sum()


def test_each_wave_is_damped_as_published(make_spec: Make) -> None:
    spec = make_spec(POLES, "t")
    longitude = torch.tensor(POLES.longitude.copy()).deg2rad()
    for m in (1, 5, 36):
        fields = Fields((m * longitude).cos().expand(1, 2, *POLES.shape).clone(), spec.outputs)
        after = apply(spec, fields, variables=("t",), power=2)
        for row, latitude in enumerate(POLES.latitude):
            narrow = torch.tensor(latitude).deg2rad().cos() / torch.tensor(60.0).deg2rad().cos()
            factor = min(1.0, max(narrow.item(), 0) / torch.tensor(m * torch.pi / 72).sin().item()) ** 2
            expected = (factor if abs(latitude) > 60 else 1.0) * fields["t_500"][0, row]
            torch.testing.assert_close(after["t_500"][0, row], expected, rtol=1e-6, atol=1e-6)


def test_a_flow_across_the_pole_passes(make_spec: Make) -> None:
    spec = make_spec(POLES, "uv")
    latitude = torch.tensor(POLES.latitude.copy()).deg2rad()[:, None].expand(POLES.shape)
    longitude = torch.tensor(POLES.longitude.copy()).deg2rad()[None].expand(POLES.shape)
    u, v = -20 * latitude.sin() * longitude.cos(), 20 * longitude.sin()  # the air turning about an axis in the equator
    data = torch.stack([u, u, v, v])[None]
    after = apply(spec, Fields(data, spec.outputs), variables=("u", "v"))
    torch.testing.assert_close(after.data, data, rtol=0, atol=1e-12)


def test_it_changes_nothing_more_where_there_is_nothing_short_left(make_spec: Make, make_fields: Make) -> None:
    spec = make_spec(POLES, "t")
    zonal = make_fields(spec).data.mean(-1, keepdim=True).expand(2, 2, *POLES.shape)
    torch.testing.assert_close(apply(spec, Fields(zonal, spec.outputs), variables=("t",)).data, zonal)


def test_a_region_is_refused(make_spec: Make) -> None:
    region = LatLonGrid([80.0, 70.0, 60.0], [0.0, 10.0, 20.0])  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="'polar_filter' needs rows round the globe"):
        PolarFilter(PolarFilterArguments(variables=("t",)), make_spec(region, "t"))
    with pytest.raises(ValueError, match="latitude is 90"):
        PolarFilterArguments(variables=("t",), latitude=90.0)
