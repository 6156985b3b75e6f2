"""Between physical units and what a network sees: one undoes the other, and vectors turn at the poles."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from credit_ray.data.statistics import Statistics
from credit_ray.data.transforms import Transform
from credit_ray.errors import DataError
from credit_ray.grid.latlon import LatLonGrid
from credit_ray.normalizer import Normalizer, normalizer_from, transform_constants, transforms_of
from credit_ray.state import Channel, Channels, StateSpec
from credit_ray.times import Step

GRID = LatLonGrid.gaussian(4)


def channels(*names: str) -> Channels:
    return Channels(Channel(variable=name, units="1") for name in names)


SPEC = StateSpec(
    prognostic=channels("u", "t"),
    diagnostic=channels("tp"),
    forcing=channels("rsdt"),
    static=channels("orography"),
    history=2,
    step=Step.parse("6h"),
    grid=GRID,
)
ALL = (*SPEC.windowed.names, *SPEC.static.names)


def statistics(
    *, masked: tuple[str, ...] = (), std: dict[str, float] | None = None, change_std: dict[str, float] | None = None
) -> Statistics:
    """Means 10, 20, …; deviations 1, 2, …; one-step changes 0.5, 0.2, 1.5."""
    mask = np.ones(GRID.shape, bool)
    mask[1, 2:4] = False
    return Statistics(
        mean={name: 10.0 * (1 + i) for i, name in enumerate(ALL)},
        std={name: 1.0 + i for i, name in enumerate(ALL)} | (std or {}),
        low=dict.fromkeys(ALL, 0.0),
        high=dict.fromkeys(ALL, 1.0),
        change_std={"u": 0.5, "t": 0.2, "tp": 1.5} | (change_std or {}),
        climatology=np.zeros((1, 3, *GRID.shape), np.float32),
        mask=dict.fromkeys(masked, mask),
        content="",
        key="",
    )


def normalizer(kind: str = "standard", residual: bool = True, masked: tuple[str, ...] = ()) -> Normalizer:
    return normalizer_from(statistics(masked=masked), SPEC, kind=kind, residual=residual)


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, *GRID.shape, generator=torch.Generator().manual_seed(seed))


both = pytest.mark.parametrize("residual", [True, False])
kinds = pytest.mark.parametrize("kind", ["standard", "residual"])


@both
@pytest.mark.parametrize("kind", ["standard", "residual", "minmax"])
def test_what_the_network_should_emit_unpacks_to_the_truth(kind: str, residual: bool) -> None:
    n, newest, truth = normalizer(kind, residual), 20 + draw(3, 2), 20 + draw(3, 3, seed=1)
    np.testing.assert_allclose(n.unpack(n.network_target(truth, newest), newest), truth, rtol=1e-5)
    output = draw(3, 3, seed=2)
    np.testing.assert_allclose(n.network_target(n.unpack(output, newest), newest), output, atol=2e-5)


@kinds
def test_a_residual_network_that_emits_nothing_persists_but_predicts_diagnostics_in_full(kind: str) -> None:
    n, newest = normalizer(kind), 20 + draw(2, 2)
    after = n.unpack(torch.zeros(2, 3, *GRID.shape), newest)
    assert torch.equal(after[:, :2], newest)
    assert (after[:, 2] == 30.0).all()  # the mean of tp
    assert (n.unpack(torch.ones(2, 3, *GRID.shape), newest)[:, :2] - newest).mean((0, 2, 3)) == pytest.approx(
        [0.5, 0.2], rel=1e-4
    )


@kinds
def test_a_full_network_that_emits_nothing_predicts_the_means(kind: str) -> None:
    after = normalizer(kind, residual=False).unpack(torch.zeros(2, 3, *GRID.shape), draw(2, 2))
    assert after.mean((0, 2, 3)).tolist() == [10.0, 20.0, 30.0]


def test_inputs_have_mean_zero_and_deviation_one_in_units_of_the_training_data() -> None:
    n = normalizer()
    fields = torch.stack([10 + 1.0 * draw(1, 2), 20 + 2.0 * draw(1, 2, seed=1)], 2)  # [batch, time, prognostic, *grid]
    packed = n.pack(fields, torch.full((1, 2, 1, *GRID.shape), 44.0), torch.full((1, *GRID.shape), 45.0))
    assert packed.shape == (1, 2, 4, *GRID.shape)
    np.testing.assert_allclose(packed[0, :, 0], draw(1, 2)[0], atol=1e-4)
    np.testing.assert_allclose(packed[0, :, 1], draw(1, 2, seed=1)[0], atol=1e-4)
    assert (packed[:, :, 2] == 1.0).all()  # (44 − 40) / 4
    assert (packed[:, :, 3] == -1.0).all()  # (45 − 50) / 5


@settings(max_examples=30, deadline=None)
@given(
    std=st.lists(st.floats(1e-6, 1e6), min_size=3, max_size=3),
    change=st.lists(st.floats(1e-8, 1e6), min_size=3, max_size=3),
)
def test_the_residual_scale_is_that_of_the_one_step_change_relative_to_its_geometric_mean(
    std: list[float], change: list[float]
) -> None:
    names = ("u", "t", "tp")
    found = normalizer_from(
        statistics(std=dict(zip(names, std, strict=True)), change_std=dict(zip(names, change, strict=True))),
        SPEC,
        kind="residual",
        residual=False,
    )
    # σ_res = σ · r / G with r the deviation of the one-step change of z = (x − μ)/σ
    ratio = [c / s for c, s in zip(change, std, strict=True)]
    mean = math.prod(r ** (1 / 3) for r in ratio)
    wanted = [s * r / mean for s, r in zip(std, ratio, strict=True)]
    np.testing.assert_allclose(found.output_std, wanted, rtol=1e-5)
    np.testing.assert_allclose(found.input_std[:2], wanted[:2], rtol=1e-5)
    assert found.input_std[2:].tolist() == [4.0, 5.0]  # forcings and statics keep their own
    # so that every channel's change has the same deviation in these units
    in_units = np.array(change) / found.output_std.numpy()
    np.testing.assert_allclose(in_units, in_units[0], rtol=1e-4)


def test_vector_components_turn_at_the_poles_in_normalised_units_too() -> None:
    n = normalizer()
    sign, offset = n.pole_reflection()
    assert sign == (-1.0, 1.0, 1.0, 1.0)
    u = 3.7
    z, beyond = (u - 10) / 1.0, (-u - 10) / 1.0
    assert sign[0] * z + offset[0] == pytest.approx(beyond)
    assert offset[1:] == (0.0, 0.0, 0.0)


@both
def test_what_does_not_exist_is_the_mean_to_the_network_and_gives_no_gradient(residual: bool) -> None:
    n = normalizer(residual=residual, masked=("t", "rsdt"))
    fields = 20 + draw(1, 2, 2)
    fields[:, :, 1, 1, 2:4] = torch.nan
    fields.requires_grad_()
    forcing = torch.full((1, 2, 1, *GRID.shape), 40.0)
    forcing[..., 1, 2:4] = torch.nan
    packed = n.pack(fields, forcing, torch.zeros(1, *GRID.shape))
    assert torch.isfinite(packed).all()
    assert (packed[:, :, 1, 1, 2:4] == 0).all()
    packed.square().sum().backward()
    assert fields.grad is not None
    assert torch.isfinite(fields.grad).all()
    assert (fields.grad[:, :, 1, 1, 2:4] == 0).all()


def test_outputs_exist_where_their_training_data_did() -> None:
    assert normalizer().output_mask is None
    mask = normalizer(masked=("t", "tp")).output_mask
    assert mask is not None
    assert mask.shape == (3, *GRID.shape)
    assert mask[0].all()
    assert not mask[1, 1, 2:4].any()
    assert not mask[2, 1, 2:4].any()
    assert (~mask).sum() == 4


def test_a_mask_of_the_inputs_leaves_diagnostics_everywhere() -> None:
    full = normalizer(masked=("t", "tp"))
    assert full.mask is not None
    scales = {name: getattr(full, name) for name in ("input_mean", "input_std", "output_mean", "output_std")}
    mask = Normalizer(SPEC, **scales, residual=True, mask=full.mask[:4]).output_mask
    assert mask is not None
    assert mask[2].all()
    assert not mask[1].all()


@pytest.mark.parametrize(
    ("changed", "kind", "residual", "said"),
    [
        ({"std": {"rsdt": 0.0}}, "standard", False, "rsdt never varies over the training period"),
        ({"std": {"t": math.nan}}, "standard", False, "t never varies"),
        ({"change_std": {"t": 0.0}}, "standard", True, "t never changes from one step to the next"),
        ({"change_std": {"tp": 0.0}}, "residual", False, "tp never changes from one step to the next"),
    ],
)
def test_a_channel_without_variance_is_refused_by_name(
    changed: dict[str, Any], kind: str, residual: bool, said: str
) -> None:
    with pytest.raises(DataError, match=said):
        normalizer_from(statistics(**changed), SPEC, kind=kind, residual=residual)


def test_a_diagnostic_that_never_changes_matters_only_where_its_change_is_a_scale() -> None:
    still = statistics(change_std={"tp": 0.0})
    assert normalizer_from(still, SPEC, kind="standard", residual=True).output_std[2] == 3.0


TRANSFORMS = {
    "t": Transform(kind="quantile", knots=((-50.0, 0.0, 20.0, 40.0, 90.0), (-3.0, -1.0, 0.0, 1.0, 3.0))),
    "tp": Transform(kind="log", epsilon=0.1),
}


@both
def test_transformed_channels_are_scaled_after_the_transform_and_come_back(residual: bool) -> None:
    found = replace(statistics(), transforms=TRANSFORMS)
    n = normalizer_from(found, SPEC, kind="standard", residual=residual)
    newest, truth = 20 + draw(3, 2), 20 + draw(3, 3, seed=1)
    target = n.network_target(truth, newest)
    np.testing.assert_allclose(n.unpack(target, newest), truth, rtol=2e-5)
    rain = np.log(truth[:, 2].numpy() + 0.1) - np.log(0.1)
    np.testing.assert_allclose(n.normalized_outputs(truth)[:, 2], rain / 3.0, rtol=1e-5)
    np.testing.assert_allclose(target[:, 2], (rain - 30.0) / 3.0, rtol=1e-5)
    knots = np.array(TRANSFORMS["t"].knots)
    scores = np.interp(truth[:, 1], *knots) - (np.interp(newest[:, 1], *knots) if residual else 20.0)
    np.testing.assert_allclose(target[:, 1], scores / (0.2 if residual else 2.0), rtol=1e-4, atol=1e-4)
    packed = n.pack(newest[:, None], torch.zeros(3, 1, 1, *GRID.shape), torch.zeros(1, *GRID.shape))
    np.testing.assert_allclose(packed[:, 0, 1], (np.interp(newest[:, 1], *knots) - 20.0) / 2.0, rtol=1e-5)
    np.testing.assert_allclose(packed[:, 0, 0], newest[:, 0] - 10.0, rtol=1e-5)  # the others as ever


def test_transforms_are_made_again_from_the_constants() -> None:
    n = normalizer_from(replace(statistics(), transforms=TRANSFORMS), SPEC, kind="standard", residual=True)
    assert transforms_of(transform_constants(n)) == TRANSFORMS
    assert transforms_of({"statics": torch.zeros(1)}) == {}


def test_minmax_sends_the_lowest_value_to_zero_and_the_highest_to_one() -> None:
    n = normalizer("minmax", residual=False)
    zero = torch.zeros(1, 1, 2, *GRID.shape)
    packed = n.pack(zero, torch.ones(1, 1, 1, *GRID.shape), torch.ones(1, *GRID.shape))
    assert (packed[:, :, :2] == 0).all()
    assert (packed[:, :, 2:] == 1).all()
