"""What a network's arguments ask of the data, and that the way out that a message names is one."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credit_ray.errors import ConfigError
from credit_ray.models.arguments import LinearArguments, NetworkShape, UNetArguments, WXFormerArguments
from credit_ray.models.network import build_network

MakeShape = Callable[..., NetworkShape]


def levels(count: int, kernel: int = 3) -> UNetArguments:
    return UNetArguments(width=1, multipliers=(1,) * count, blocks=(1,) * count, kernel=kernel)


@given(rows=st.integers(4, 60), count=st.integers(1, 9), kernel=st.sampled_from([1, 3, 5]), points=st.booleans())
def test_as_many_levels_as_the_message_says_do_fit(
    make_shape: MakeShape, rows: int, count: int, kernel: int, points: bool
) -> None:
    shape = make_shape(rows, 64, pole_points=points)
    try:
        levels(count, kernel).check(shape)
    except ConfigError as error:
        most = int(re.findall(r"at most (\d+) levels? fit", str(error))[0])
        assert 1 <= most < count
        levels(most, kernel).check(shape)
        with pytest.raises(ConfigError):
            levels(most + 1, kernel).check(shape)


@pytest.mark.parametrize("points", [False, True])
@pytest.mark.parametrize("rows", [5, 8, 9, 11, 16, 17])
def test_what_passes_the_check_runs(make_shape: MakeShape, rows: int, points: bool) -> None:
    import torch

    shape = make_shape(rows, 32, pole_points=points)
    for count in range(1, 6):
        arguments = levels(count)
        try:
            arguments.check(shape)
        except ConfigError:
            break
        given = {"width": 1, "multipliers": arguments.multipliers, "blocks": arguments.blocks}
        assert build_network("unet", given, shape)(torch.zeros(1, 2, 3, rows, 32)).shape == (1, 2, rows, 32)
    assert count > 1


def test_windows_too_large_for_the_grid_are_refused(make_shape: MakeShape) -> None:
    with pytest.raises(ConfigError, match="multiple of 64 rows and columns, and a grid of 16×32 is too small"):
        WXFormerArguments(local_window=8).check(make_shape(16, 32))
    WXFormerArguments(local_window=2, global_window=(2, 2, 2)).check(make_shape(16, 32))


def test_equations_that_do_not_fit_in_memory_are_refused(make_shape: MakeShape) -> None:
    shape = make_shape(181, 360, in_channels=70)
    with pytest.raises(ConfigError, match=r"model\.stencil: 181 systems of 3501 equations .* or by_row: false"):
        LinearArguments().check(shape)
    LinearArguments(by_row=False).check(shape)


@pytest.mark.parametrize("arguments", [UNetArguments(), WXFormerArguments(), LinearArguments()])
def test_a_grid_that_is_no_rectangle_is_refused(make_shape: MakeShape, arguments: Any) -> None:
    cells: NetworkShape = replace(make_shape(), grid=(3072,))
    with pytest.raises(ConfigError, match="rows and columns"):
        arguments.check(cells)


@pytest.mark.parametrize("arguments", [UNetArguments(), WXFormerArguments(), LinearArguments()])
def test_the_defaults_fit_the_usual_grids(make_shape: MakeShape, arguments: Any) -> None:
    for grid in [(32, 64), (73, 144), (90, 180)]:
        arguments.check(make_shape(*grid))


@pytest.mark.parametrize(
    ("cls", "wrong"),
    [
        (UNetArguments, {"width": 0}),
        (UNetArguments, {"multipliers": (1, 0, 2)}),
        (UNetArguments, {"multipliers": (), "blocks": ()}),
        (UNetArguments, {"dropout": 1.0}),
        (WXFormerArguments, {"local_window": 0}),
        (WXFormerArguments, {"strides": (2, 2, -2)}),
        (WXFormerArguments, {"kernels": ((2,), (), (2,))}),
        (WXFormerArguments, {"width": 2, "head_width": 1}),
        (LinearArguments, {"stencil": 2}),
    ],
)
def test_values_out_of_range_are_refused_when_given(cls: type, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        cls(**wrong)
