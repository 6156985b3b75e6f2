"""Persistence and climatology as networks: in physical units they are what they are called, whatever a network's outputs mean."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from credit_ray.errors import ConfigError
from credit_ray.models.conformance import fields, global_shape
from credit_ray.models.network import build_network

CHANGE: dict[str, Any] = {"prognostic": 1, "change": (0.25,)}
VALUE: dict[str, Any] = {"prognostic": 1, "change": ()}


def next_value(out: Tensor, x: Tensor, meaning: dict[str, Any]) -> Tensor:
    """Normalised value of the prognostic channel one step later, as a normaliser would have it."""
    return x[:, -1, 0] + 0.25 * out[:, 0] if meaning is CHANGE else out[:, 0]


@pytest.mark.parametrize("meaning", [CHANGE, VALUE])
def test_persistence_keeps_the_newest_state_and_predicts_the_rest_at_its_mean(meaning: dict[str, Any]) -> None:
    shape = global_shape(**meaning)
    x = fields(shape, batch=2)
    out = build_network("persistence", {}, shape)(x)
    assert torch.equal(next_value(out, x, meaning), x[:, -1, 0])
    assert not out[:, 1].any()


@pytest.mark.parametrize("meaning", [CHANGE, VALUE])
def test_climatology_is_the_mean_of_what_followed_at_each_place(meaning: dict[str, Any]) -> None:
    shape = global_shape(**meaning)
    network: Any = build_network("climatology", {}, shape)
    x, target = fields(shape, batch=6).float(), torch.randn(6, 2, 16, 32)
    target[4, :, 3, 5] = torch.nan
    weights = torch.ones(16, 32)
    network.accumulate(x[:2], target[:2], weights)
    network.accumulate(x[2:], target[2:], weights)
    network.solve()
    other = fields(shape, batch=3, seed=8).float()
    out = network(other)
    followed = next_value(target, x, meaning)
    torch.testing.assert_close(next_value(out, other, meaning), followed.nanmean(0).expand(3, 16, 32))
    torch.testing.assert_close(out[:, 1], target[:, 1].nanmean(0).expand(3, 16, 32))


def test_sums_of_two_workers_make_one_climatology() -> None:
    shape = global_shape(**CHANGE)
    x, target, weights = fields(shape, batch=6).float(), torch.randn(6, 2, 16, 32), torch.ones(16, 32)
    networks: Any = [build_network("climatology", {}, shape) for _ in range(3)]
    alone, first, second = networks
    alone.accumulate(x, target, weights)
    first.accumulate(x[:4], target[:4], weights)
    second.accumulate(x[4:], target[4:], weights)
    for one, two in zip(first.partials(), second.partials(), strict=True):
        one += two
    for network in networks[:2]:
        network.solve()
    torch.testing.assert_close(first(x), alone(x))


@pytest.mark.parametrize("name", ["persistence", "climatology"])
def test_without_anything_to_keep_they_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="needs a prognostic variable"):
        build_network(name, {}, global_shape(prognostic=0, change=()))
