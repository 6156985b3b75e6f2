"""Transforms undo themselves, with numpy as with torch; samples for quantiles are the same in any order."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from credit_ray.data import quantiles
from credit_ray.data.quantiles import Sample
from credit_ray.data.transforms import Transform

RAIN = np.where(np.random.default_rng(1).random(5000) < 0.6, 0.0, np.random.default_rng(2).gamma(0.4, 3.0, 5000))
PRESSURE = 1e5 + 1e3 * np.random.default_rng(3).normal(size=5000)


def by_quantiles(values: np.ndarray) -> Transform:
    return Sample.of(values.reshape(10, 20, 25), np.arange(10)).transform()


TRANSFORMS = {
    "log": Transform(kind="log", epsilon=1e-3),
    "sqrt": Transform(kind="sqrt", epsilon=1e-6),
    "quantile of pressure": by_quantiles(PRESSURE),
    "quantile of rain": by_quantiles(RAIN),
}
each = pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS)


@each
@settings(max_examples=40, deadline=None)
@given(scaled=st.lists(st.floats(-4, 4), min_size=1, max_size=20))
def test_the_inverse_undoes_it_for_any_number(transform: Transform, scaled: list[float]) -> None:
    y, knots = np.array(scaled), np.array(transform.knots)
    x = transform.inverse(y, np, knots)
    assert_allclose(transform.forward(x, np, knots), y, atol=1e-7)
    order = np.argsort(y)
    assert (np.diff(x[order]) >= 0).all()


@each
def test_torch_gives_what_numpy_gives_with_finite_gradients(transform: Transform) -> None:
    knots = np.array(transform.knots)
    values = np.concatenate([[0.0, 1e-9, -1e-9], RAIN[:50], PRESSURE[:50]])
    x = torch.tensor(values, requires_grad=True)
    y = transform.forward(x, torch, torch.tensor(knots))
    assert_allclose(y.detach(), transform.forward(values, np, knots), rtol=1e-12)
    again = transform.inverse(y, torch, torch.tensor(knots))
    assert_allclose(again.detach(), values, rtol=1e-9, atol=1e-9)
    transform.forward(transform.inverse(y, torch, torch.tensor(knots)), torch, torch.tensor(knots)).sum().backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()


def test_the_logarithm_of_amounts_is_credits() -> None:
    x = np.array([0.0, 1e-8, 1e-3, 20.0])
    found = Transform(kind="log", epsilon=1e-8).forward(x, np)
    assert_allclose(found, np.log(x + 1e-8) - np.log(1e-8), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("values", [PRESSURE, RAIN], ids=["pressure", "rain"])
def test_quantiles_make_a_standard_normal_distribution(values: np.ndarray) -> None:
    transform = by_quantiles(values)
    scores = transform.forward(values, np, np.array(transform.knots))
    if values is PRESSURE:
        assert scores.mean() == pytest.approx(0, abs=0.03)
        assert scores.std() == pytest.approx(1, abs=0.03)
    else:
        wet = np.sort(scores[values > 0])
        assert np.median(scores) == scores[values == 0][0]  # the dry places share the middle of their ranks
        assert_allclose(np.mean(wet < 1.0), 1 - 0.1587 / 0.4, atol=0.05)


@settings(max_examples=20, deadline=None)
@given(cuts=st.lists(st.integers(0, 30), min_size=0, max_size=5), seed=st.integers(0, 99))
def test_a_sample_is_the_same_however_the_data_are_cut(cuts: list[int], seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=(30, 4, 5)).astype(np.float32)
    values[3, 1] = np.nan
    times = np.arange(30) * 21600
    keep = pytest.MonkeyPatch()
    with keep.context() as patch:
        patch.setattr(quantiles, "SAMPLE_SIZE", 50)
        whole = Sample.of(values, times)
        edges = sorted({0, 30, *cuts})
        parts = [Sample.of(values[a:b], times[a:b]) for a, b in pairwise(edges)]
        total = parts[-1]
        for part in reversed(parts[:-1]):
            total = total + part
    assert len(whole.value) == 50
    assert_array_equal(total.value, whole.value)
    assert np.isfinite(whole.value).all()
