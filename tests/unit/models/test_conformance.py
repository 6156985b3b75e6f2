"""What holds for every network: ours, in small, and one of a user's; and that the checks find what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from credit_ray.models.arguments import NetworkShape
from credit_ray.models.conformance import (
    CHECKS,
    Subject,
    agrees_with_itself_in_lower_precision,
    does_not_let_samples_see_each_other,
    fields,
    gives_the_same_when_exported,
    gives_what_it_should_on_every_grid_that_it_accepts,
    global_shape,
    has_a_gradient_for_every_parameter,
    has_the_same_gradients_with_activation_checkpointing,
    is_made_again_by_its_state_dict,
    repeats_itself_in_evaluation,
    turns_with_the_globe_where_it_says_so,
    uses_every_input,
)
from credit_ray.models.network import build_network
from credit_ray.registry import networks

SMALL: dict[str, dict[str, Any]] = {
    "unet": {"width": 4, "dropout": 0.5},
    "wxformer": {
        "width": 8,
        "head_width": 4,
        "depth": (1, 1),
        "strides": (2, 2),
        "kernels": ((2, 4), (2, 4)),
        "local_window": 2,
        "global_window": (2, 2),
    },
    "afno": {"width": 8, "depth": 2, "blocks": 2, "kept": 0.6, "dropout": 0.3},
    "sfno": {"width": 6, "depth": 2, "coarsening": 2, "dropout": 0.3},
    "swin": {"width": 8, "depth": 2, "heads": 2, "window": 2},
    "graphcast": {"refinement": 1, "width": 8, "depth": 2, "dropout": 0.3},
    "samudra": {"widths": (4, 6), "dilations": (1, 2), "dropout": 0.3},
    "fuxi": {"width": 8, "heads": 2, "groups": 2, "depth": 2, "window": 2},
    "linear": {"stencil": 3},
    "persistence": {},
    "climatology": {},
}
PADDED = ("unet", "wxformer", "samudra")
"""Networks whose convolutions read across the poles."""
VARIANTS: dict[str, Subject] = {
    **{name: Subject(network=name, arguments=arguments) for name, arguments in SMALL.items()},
    "unet of ConvNeXt blocks": Subject(network="unet", arguments={"width": 4, "block": "convnext", "dropout": 0.5}),
    "afno of all wavenumbers": Subject(network="afno", arguments={"width": 8, "depth": 1, "blocks": 4, "patch": 1}),
    "sfno on one grid": Subject(network="sfno", arguments={"width": 6, "depth": 1, "degree": 3}),
    "swin of wide windows": Subject(network="swin", arguments={"width": 8, "depth": 2, "heads": 1, "window": 8}),
}
BUILTIN = networks.builtin


def test_every_network_is_among_them() -> None:
    assert set(SMALL) == BUILTIN


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", sorted(VARIANTS))
def test_a_network_conforms(name: str, check: Callable[[Subject], None]) -> None:
    check(VARIANTS[name])


def test_a_spectral_norm_stays_as_it_is_in_evaluation() -> None:
    repeats_itself_in_evaluation(Subject(network="wxformer", arguments={**SMALL["wxformer"], "spectral_norm": True}))


@pytest.mark.parametrize("name", sorted(SMALL.keys() - {"climatology"}))
def test_an_untrained_network_changes_nothing(name: str) -> None:
    shape = global_shape(kind="gaussian")
    assert not build_network(name, SMALL[name], shape)(fields(shape).float()).any()


@pytest.mark.parametrize("name", PADDED)
def test_what_lies_beyond_a_pole_depends_on_the_channels_sign(name: str) -> None:
    shape = global_shape()
    other = global_shape(pole_sign=(1.0, 1.0, 1.0), pole_offset=(0.0, 0.0, 0.0))
    subject, x = Subject(network=name, arguments=SMALL[name]), fields(shape)
    one, two = subject.build(shape), subject.build(other)
    assert one.state_dict().keys() == two.state_dict().keys()
    assert not torch.allclose(one(x)[..., 0, :], two(x)[..., 0, :])


@dataclass(frozen=True, kw_only=True)
class FaultyArguments:
    fault: str = ""

    def equivariant_roll(self, shape: NetworkShape) -> int:
        return 1


class Faulty(nn.Module):
    """A row of points by itself, with one fault."""

    def __init__(self, arguments: FaultyArguments, shape: NetworkShape) -> None:
        super().__init__()
        self.fault, width = arguments.fault, shape.history * shape.in_channels
        self.mix = nn.Conv2d(width, shape.out_channels, 1)
        self.place = torch.randn(shape.grid[1], dtype=torch.float64)
        self.calls = 0
        if self.fault == "unused weight":
            self.forgotten = nn.Parameter(torch.ones(3))
        if self.fault == "weight outside the state dict":
            self.gain = torch.rand(1, dtype=torch.float64)

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        if self.fault == "half the history":
            x = x * torch.tensor([0.0, 1.0], dtype=x.dtype).view(1, 2, 1, 1, 1)
        if self.fault == "counts in training" and self.training:
            x = x * (1 + 0.1 * self.calls)
        x = self.mix(x.flatten(1, 2))
        if self.fault == "batch norm":
            x = x / x.std(0, keepdim=True, correction=0).clamp(min=0.1)
        if self.fault == "counts its calls":
            x = x * (1 + 0.1 * self.calls)
        if self.fault == "knows its columns":
            x = x * self.place.to(x.dtype)
        if self.fault == "weight outside the state dict":
            x = x * self.gain.to(x.dtype)
        if self.fault == "large numbers":
            x = (x + 1e6) - 1e6
        if self.fault == "branches on data" and x.sum() > 0:
            x = -x
        return x[..., 1:] if self.fault == "loses a column" else x


@pytest.fixture
def faulty() -> Iterator[str]:
    networks.register("faulty", arguments=FaultyArguments)(Faulty)
    yield "faulty"
    del networks._entries["faulty"]


@pytest.mark.parametrize(
    ("fault", "check"),
    [
        ("loses a column", gives_what_it_should_on_every_grid_that_it_accepts),
        ("half the history", uses_every_input),
        ("unused weight", has_a_gradient_for_every_parameter),
        ("batch norm", does_not_let_samples_see_each_other),
        ("counts its calls", repeats_itself_in_evaluation),
        ("weight outside the state dict", is_made_again_by_its_state_dict),
        ("large numbers", agrees_with_itself_in_lower_precision),
        ("branches on data", gives_the_same_when_exported),
        ("counts in training", has_the_same_gradients_with_activation_checkpointing),
        ("knows its columns", turns_with_the_globe_where_it_says_so),
    ],
)
def test_each_check_finds_its_fault(faulty: str, fault: str, check: Callable[[Subject], None]) -> None:
    check(Subject(network=faulty))
    with pytest.raises(AssertionError):
        check(Subject(network=faulty, arguments={"fault": fault}))
