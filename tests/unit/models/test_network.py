"""How a network is built from its name and arguments: ours, and a user's own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from credit_ray.errors import ConfigError
from credit_ray.models.arguments import NetworkShape
from credit_ray.models.network import build_network, network_arguments
from credit_ray.registry import networks

MakeShape = Callable[..., NetworkShape]


@dataclass(frozen=True, kw_only=True)
class ShiftArguments:
    by: int = 1

    def check(self, shape: NetworkShape) -> None:
        if self.by >= shape.grid[1]:
            raise ConfigError(f"model.by: {self.by} goes round the globe: at most {shape.grid[1] - 1}.")


class Shift(nn.Module):
    """What a user may write: the newest fields, moved eastward."""

    def __init__(self, arguments: ShiftArguments, shape: NetworkShape) -> None:
        super().__init__()
        self.by, self.out_channels = arguments.by, shape.out_channels

    def forward(self, x: Tensor) -> Tensor:
        return x[:, -1, : self.out_channels].roll(self.by, -1)


@pytest.fixture
def shift() -> Iterator[str]:
    networks.register("shift", arguments=ShiftArguments)(Shift)
    yield "shift"
    del networks._entries["shift"]


def test_a_network_of_ones_own_is_built_by_its_name(make_shape: MakeShape, shift: str) -> None:
    network = build_network(shift, {"by": 2}, make_shape())
    x = torch.randn(1, 2, 3, 16, 32)
    assert torch.equal(network(x), x[:, -1, :2].roll(2, -1))


def test_its_arguments_are_checked_like_ours(make_shape: MakeShape, shift: str) -> None:
    with pytest.raises(ConfigError, match=r"model\.by: 40 goes round the globe: at most 31"):
        build_network(shift, {"by": 40}, make_shape())
    with pytest.raises(ConfigError, match=r"model\.bye.*Did you mean 'by'"):
        build_network(shift, {"bye": 1}, make_shape())


def test_a_class_that_is_no_module_is_refused(make_shape: MakeShape, shift: str) -> None:
    networks.register("shift", arguments=ShiftArguments)(ShiftArguments)
    networks._entries["shift"] = type(networks._entries["shift"])(lambda arguments, shape: arguments, ShiftArguments)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"no torch\.nn\.Module"):
        build_network("shift", {}, make_shape())


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("unett", {}, "Did you mean 'unet'"),
        ("unet", {"widht": 8}, r"model\.widht: .*Did you mean 'width'"),
        ("unet", {"width": "wide"}, r"model\.width: .*integer"),
        ("unet", {"multipliers": [1, 2.5, 2]}, r"model\.multipliers\.1: .*integer"),
        ("unet", {"kernel": 4}, "kernel is 4: it must be odd, such as 3 or 5"),
        ("unet", {"blocks": [1]}, "multipliers has 3 levels and blocks 1"),
        ("wxformer", {"width": 50}, "48 or 72 would do"),
        ("wxformer", {"kernels": [[2, 5], [2], [2]]}, r"kernels \[2, 5\] of a stage of stride 2: they can be 2, 4, 6"),
        ("wxformer", {"depth": [2]}, "number of stages differs"),
        ("linear", {"ridge": 0}, "ridge is 0.0: it must be positive"),
    ],
)
def test_a_wrong_argument_is_named_with_what_would_be_right(
    make_shape: MakeShape, name: str, arguments: Any, words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        build_network(name, arguments, make_shape(32, 64))


@pytest.mark.parametrize("name", ["unet", "wxformer", "linear"])
def test_an_arguments_own_values_make_it_again(name: str) -> None:
    from dataclasses import asdict

    arguments: dict[str, Any] = asdict(network_arguments(name, {}))
    assert network_arguments(name, arguments) == network_arguments(name, {})


def test_arguments_are_checked_without_torch() -> None:
    code = "import sys; from credit_ray.registry import networks; networks.arguments('wxformer')(width=24); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
