"""What is particular to the U-Net."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from credit_ray.models.arguments import NetworkShape
from credit_ray.models.network import build_network
from credit_ray.models.unet import UNet

MakeShape = Callable[..., NetworkShape]


def trained(shape: NetworkShape, **arguments: Any) -> UNet:
    """With what starts at zero as if it had been trained."""
    network = build_network("unet", arguments, shape)
    assert isinstance(network, UNet)
    torch.nn.init.normal_(network.head.weight)
    torch.nn.init.normal_(network.place)
    return network


def test_more_levels_see_further(make_shape: MakeShape) -> None:
    shape = make_shape(32, 64)
    reach = []
    for levels in (1, 2, 3):
        torch.manual_seed(0)
        network = trained(shape, width=4, multipliers=(1,) * levels, blocks=(1,) * levels)
        x = torch.randn(1, 2, 3, 32, 64, requires_grad=True)
        (gradient,) = torch.autograd.grad(network(x)[0, 0, 16, 32], x)
        reach.append(int(gradient.abs().sum((0, 1, 2)).count_nonzero()))
    assert reach[0] < reach[1] < reach[2]


def test_dropout_acts_in_training_alone(make_shape: MakeShape) -> None:
    shape = make_shape()
    network = trained(shape, width=8, dropout=0.5)
    x = torch.randn(1, 2, 3, 16, 32)
    assert not torch.equal(network(x), network(x))
    network.eval()
    assert torch.equal(network(x), network(x))


def test_a_latitude_is_known_by_more_than_its_fields(make_shape: MakeShape) -> None:
    shape = make_shape()
    network = trained(shape, width=4)
    out = network(torch.ones(1, 2, 3, 16, 32) * torch.tensor([1.0, 0.2, 1.0]).view(3, 1, 1))
    assert out.std(2).min() > 1e-3  # from row to row
    assert out.std(3).max() < 1e-4  # along a row
