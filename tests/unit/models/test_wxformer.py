"""What is particular to WXFormer."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from credit_ray.models.arguments import NetworkShape, WXFormerArguments
from credit_ray.models.decoders import SubPixel
from credit_ray.models.network import build_network
from credit_ray.models.sphere import Topology

MakeShape = Callable[..., NetworkShape]

SMALL = {
    "width": 8,
    "head_width": 4,
    "depth": (1, 1),
    "strides": (2, 2),
    "kernels": ((2, 4), (2, 4)),
    "local_window": 2,
    "global_window": (2, 2),
}


COARSE = Topology(rows=8, columns=16, periodic=True, poles=True, north_point=False, south_point=False)


@pytest.mark.parametrize("factor", [2, 4])
def test_sub_pixel_steps_leave_no_pattern_whatever_their_weights(factor: int) -> None:
    # A sub-pixel convolution alone gives each cell of a pixel its own gain: a grid-scale pattern on top of the smoothest field.
    layer = SubPixel(3, 2, factor, COARSE)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_()
    out = layer(torch.ones(1, 3, 8, 16))
    assert out.shape == (1, 2, 8 * factor, 16 * factor)
    assert out.abs().max() > 0.1
    assert out.std((2, 3)).max() < 1e-5


def test_a_fresh_sub_pixel_step_interpolates() -> None:
    layer = SubPixel(1, 1, 2, COARSE)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
        layer.conv.weight[:, :, 1, 1] = 1.0
    wave = torch.cos(2 * torch.pi * (torch.arange(16) + 0.5) / 16).expand(1, 1, 8, 16)
    found = layer(wave)[..., 4:-4, :]  # away from the poles, where such a wave has no limit
    wanted = torch.cos(2 * torch.pi * (torch.arange(32) + 0.5) / 32)
    torch.testing.assert_close(found, wanted.expand_as(found), rtol=0, atol=0.1)


def test_a_uniform_field_comes_out_uniform(make_shape: MakeShape) -> None:
    shape = make_shape(16, 32, pole_sign=(1.0,) * 3, pole_offset=(0.0,) * 3)
    torch.manual_seed(0)
    network = build_network("wxformer", SMALL, shape).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    out = network(torch.ones(1, 2, 3, 16, 32, dtype=torch.float64))
    assert out.abs().max() > 1e-2
    assert out.std((2, 3)).max() < 1e-10


def test_spectral_norm_holds_the_largest_singular_value_at_one(make_shape: MakeShape) -> None:
    network = build_network("wxformer", {**SMALL, "spectral_norm": True}, make_shape())
    for _ in range(30):  # each pass in training is one more step of the power iteration
        network(torch.randn(1, 2, 3, 16, 32))
    for name, module in network.eval().named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            largest = torch.linalg.matrix_norm(module.weight.detach().flatten(1), 2)
            assert float(largest) == pytest.approx(1.0, rel=0.05), name


@pytest.mark.parametrize("grid", [(32, 64), (33, 70), (73, 144), (181, 360), (640, 1280)])
def test_padding_is_the_least_that_makes_windows_divide(make_shape: MakeShape, grid: tuple[int, int]) -> None:
    arguments = WXFormerArguments()
    top, bottom, left, right = arguments.padding(make_shape(*grid))
    assert 0 <= bottom - top <= 1
    assert 0 <= right - left <= 1
    for size, added in zip(grid, (top + bottom, left + right), strict=True):
        assert (size + added) % arguments.unit == 0
        assert added < arguments.unit
    for stage, window in enumerate(arguments.global_window):
        tokens = 32 // 2 ** (stage + 1)
        assert tokens % window == 0
        assert tokens % arguments.local_window == 0
