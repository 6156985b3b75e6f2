"""The wind-artefact filter acts around what is too fast, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from credit_ray.errors import ConfigError
from credit_ray.grid.latlon import EARTH_RADIUS_M, LatLonGrid
from credit_ray.physics.filters.arguments import WindArtefactFilterArguments
from credit_ray.physics.filters.wind_artefacts import WindArtefactFilter, distance_to
from credit_ray.state import Fields, StateSpec

Make = Callable[..., Any]
POLES = LatLonGrid([90 - 5.0 * i for i in range(37)], [5.0 * i for i in range(72)])  # type: ignore[arg-type]


def apply(spec: StateSpec, fields: Fields, **arguments: Any) -> Fields:
    filter_ = WindArtefactFilter(WindArtefactFilterArguments(**{"threshold": 100.0, **arguments}), spec)
    return fields | filter_(fields, fields, fields, {}).fields


def points(grid: LatLonGrid) -> np.ndarray[Any, Any]:
    """Unit vectors to the cells, [lat, lon, 3]."""
    latitude, longitude = np.meshgrid(np.radians(grid.latitude), np.radians(grid.longitude), indexing="ij")
    return np.stack([np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude), np.sin(latitude)], -1)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), count=st.integers(0, 4), reach=st.floats(0.1, 3.2))
def test_distances_are_those_of_the_sphere(seed: int, count: int, reach: float) -> None:
    draw = np.random.default_rng(seed)
    marked = np.zeros(POLES.shape, bool)
    marked[draw.integers(0, 37, count), draw.integers(0, 72, count)] = True
    found = distance_to(torch.from_numpy(marked)[None], POLES, reach)[0].numpy()
    where = points(POLES)
    expected = np.full(POLES.shape, np.inf)
    for place in where[marked]:
        chord = np.linalg.norm(where - place, axis=-1)
        expected = np.minimum(expected, 2 * np.arcsin(np.clip(chord / 2, 0, 1)))
    sure = np.abs(expected - reach) > 1e-6
    expected[expected > reach] = np.inf
    np.testing.assert_allclose(found[sure], expected[sure], atol=1e-6)


def test_a_step_without_artefacts_is_left_as_it_is(make_spec: Make, make_fields: Make) -> None:
    spec = make_spec(POLES, "uvt")
    fields = make_fields(spec, dtype=torch.float32)
    fields.data[1, 0, 10, 10] = 300.0  # one trajectory has one; the other shares its batch
    after = apply(spec, fields)
    assert torch.equal(after.data[0], fields.data[0])
    assert not torch.equal(after.data[1], fields.data[1])


@pytest.mark.parametrize(("row", "column"), [(18, 0), (1, 71), (36, 30)])
def test_a_spike_is_smoothed_and_what_is_far_from_it_is_not_touched(make_spec: Make, row: int, column: int) -> None:
    spec = make_spec(POLES, "uv")
    data = torch.zeros(1, 4, *POLES.shape).double()
    data[0, 0, row, column] = 200.0
    after = apply(spec, Fields(data, spec.outputs), smoothing_km=800.0)
    assert after["u_500"].abs().max() < 100
    place = points(POLES)[row, column]
    distance = np.arccos(np.clip(points(POLES) @ place, -1, 1)) * EARTH_RADIUS_M / 1000
    far = torch.from_numpy(distance > 500 + 4 * 300 + 1)
    assert far.any()
    assert torch.equal(after.data[..., far], data[..., far])
    assert torch.equal(after["v_850"][..., far], data[:, 3][..., far])


def test_a_place_that_is_spoilt_on_one_level_is_smoothed_on_those_that_are_named(
    make_spec: Make, make_fields: Make
) -> None:
    spec = make_spec(POLES, "uv")
    fields = make_fields(spec)
    fields.data[0, 0, 20, 20] = 300.0  # u_500
    only_looked_at = apply(spec, fields, detect=(850.0,))
    assert torch.equal(only_looked_at.data, fields.data)
    smoothed = apply(spec, fields, detect=(500.0,), levels=(850.0,))
    assert torch.equal(smoothed["u_500"], fields["u_500"])
    assert not torch.equal(smoothed["u_850"], fields["u_850"])


def test_a_smooth_wind_stays_where_it_is_smoothed(make_spec: Make) -> None:
    spec = make_spec(POLES, "uv")
    latitude = torch.tensor(POLES.latitude.copy()).deg2rad()[:, None].expand(POLES.shape)
    data = torch.stack([120 * latitude.cos()] * 2 + [torch.zeros(POLES.shape).double()] * 2)[None]
    after = apply(spec, Fields(data, spec.outputs), smoothing_km=300.0)
    torch.testing.assert_close(after.data, data, rtol=0, atol=0.3)  # σ²/R² of 120 m s⁻¹


def test_energy_is_kept_in_the_mean_of_the_neighbourhood(make_spec: Make, make_fields: Make) -> None:
    spec = make_spec(LatLonGrid.gaussian(24), "uv")
    everywhere = {"threshold": 1e-6, "smoothing_km": 600.0}
    fields = apply(spec, make_fields(spec), **everywhere)
    before, lost, kept = (
        fields.data.square().mean().item(),
        apply(spec, fields, **everywhere).data.square().mean().item(),
        apply(spec, fields, **everywhere, keep_energy=True).data.square().mean().item(),
    )
    assert lost < 0.75 * before
    assert kept == pytest.approx(before, rel=0.1)


def test_a_level_that_the_model_does_not_have_is_refused(make_spec: Make) -> None:
    with pytest.raises(ConfigError, match="'u' is not on level 300; it is on 500, 850"):
        WindArtefactFilter(WindArtefactFilterArguments(threshold=100.0, detect=(300.0,)), make_spec(POLES, "uv"))
    with pytest.raises(ValueError, match="threshold is 0"):
        WindArtefactFilterArguments(threshold=0.0)
