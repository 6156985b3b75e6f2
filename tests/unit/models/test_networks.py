"""What holds for every network that descends a gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from credit_ray.models.arguments import NetworkShape
from credit_ray.models.network import build_network

MakeShape = Callable[..., NetworkShape]

SMALL: dict[str, dict[str, Any]] = {
    "unet": {"width": 4},
    "wxformer": {
        "width": 8,
        "head_width": 4,
        "depth": (1, 1),
        "strides": (2, 2),
        "kernels": ((2, 4), (2, 4)),
        "local_window": 2,
        "global_window": (2, 2),
    },
}
NAMES = sorted(SMALL)


def small(name: str, shape: NetworkShape, **more: Any) -> nn.Module:
    """With all weights random, those of the head too, in float64."""
    torch.manual_seed(0)
    network = build_network(name, {**SMALL[name], **more}, shape).double().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            if not parameter.any():
                parameter.normal_(std=0.3)
    return network


def fields(shape: NetworkShape, batch: int = 1) -> Tensor:
    return torch.randn(batch, shape.history, shape.in_channels, *shape.grid, dtype=torch.float64)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("rows", "columns", "topology"),
    [
        (32, 64, {}),
        (33, 70, {"pole_points": True}),
        (73, 144, {"pole_points": True}),
        (9, 7, {}),
        (21, 30, {"periodic": False, "poles": False}),
        (20, 36, {"poles": False}),
    ],
)
def test_a_grid_of_any_size_comes_out_as_it_went_in(
    make_shape: MakeShape, name: str, rows: int, columns: int, topology: dict[str, bool]
) -> None:
    shape = make_shape(rows, columns, **topology)
    out = small(name, shape)(fields(shape))
    assert out.shape == (1, 2, rows, columns)
    assert torch.isfinite(out).all()


@pytest.mark.parametrize("name", NAMES)
def test_an_untrained_network_changes_nothing(make_shape: MakeShape, name: str) -> None:
    shape = make_shape()
    network = build_network(name, SMALL[name], shape)
    assert not network(fields(shape).float()).any()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("pole_points", [False, True])
def test_gradients_reach_every_parameter(make_shape: MakeShape, name: str, pole_points: bool) -> None:
    shape = make_shape(17, 32, pole_points=pole_points)
    network = small(name, shape).train()
    network(fields(shape, batch=2)).square().mean().backward()
    unreached = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().max() > 1e-12]
    assert not unreached


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_does_not_see_its_batch(make_shape: MakeShape, name: str) -> None:
    shape = make_shape()
    network, x = small(name, shape), fields(shape, batch=3)
    alone = torch.cat([network(sample) for sample in x.split(1)])
    torch.testing.assert_close(network(x), alone, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", NAMES)
def test_evaluation_repeats_itself(make_shape: MakeShape, name: str) -> None:
    shape = make_shape()
    network = small(name, shape, **({"dropout": 0.5} if name == "unet" else {"spectral_norm": True}))
    x = fields(shape)
    assert torch.equal(network(x), network(x))


@pytest.mark.parametrize("name", NAMES)
def test_weights_make_the_same_network_again(make_shape: MakeShape, name: str) -> None:
    shape = make_shape()
    network, again = small(name, shape), build_network(name, SMALL[name], shape).double().eval()
    again.load_state_dict(network.state_dict())
    x = fields(shape)
    assert torch.equal(network(x), again(x))


@pytest.mark.parametrize(("name", "columns"), [("unet", 4), ("wxformer", 8)])
@pytest.mark.parametrize("pole_points", [False, True])
def test_turning_the_globe_turns_the_output(make_shape: MakeShape, name: str, columns: int, pole_points: bool) -> None:
    # By whole cells of the coarsest level (and whole tiles), every layer meets the same numbers elsewhere.
    shape = make_shape(17 if pole_points and name == "unet" else 16, 32, pole_points=pole_points)
    network, x = small(name, shape), fields(shape)
    turned = network(x.roll(columns, -1))
    torch.testing.assert_close(turned, network(x).roll(columns, -1), rtol=1e-10, atol=1e-10)
    assert not torch.allclose(turned, network(x))


@pytest.mark.parametrize("name", NAMES)
def test_every_input_time_and_channel_counts(make_shape: MakeShape, name: str) -> None:
    shape = make_shape()
    network, x = small(name, shape), fields(shape)
    for time in range(shape.history):
        for channel in range(shape.in_channels):
            changed = x.clone()
            changed[:, time, channel] += 1
            assert not torch.allclose(network(changed), network(x))


@pytest.mark.parametrize("name", NAMES)
def test_what_lies_beyond_a_pole_depends_on_the_channels_sign(make_shape: MakeShape, name: str) -> None:
    shape = make_shape()
    network = small(name, shape)
    other = small(name, make_shape(pole_sign=(1.0, 1.0, 1.0), pole_offset=(0.0, 0.0, 0.0)))
    x = fields(shape)
    assert network.state_dict().keys() == other.state_dict().keys()
    assert not torch.allclose(network(x)[..., 0, :], other(x)[..., 0, :])
