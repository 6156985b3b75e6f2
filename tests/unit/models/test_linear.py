"""Ridge regression against a least-squares problem that is set up by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from credit_ray.models.arguments import NetworkShape
from credit_ray.models.linear import Linear
from credit_ray.models.network import ClosedForm, build_network

MakeShape = Callable[..., NetworkShape]


def data(shape: NetworkShape, batch: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, shape.history, shape.in_channels, *shape.grid, generator=generator, dtype=torch.float64)
    y = torch.randn(batch, shape.out_channels, *shape.grid, generator=generator, dtype=torch.float64)
    weights = 0.5 + torch.rand(shape.grid, generator=generator, dtype=torch.float64)
    return x, y, weights


def linear(shape: NetworkShape, **arguments: object) -> Linear:
    network = build_network("linear", arguments, shape)
    assert isinstance(network, Linear)
    return network.double()


def features(x: np.ndarray, shape: NetworkShape, stencil: int) -> np.ndarray:
    """[batch, lat, lon, unknown], cell by cell; a row beyond a pole is a row on the other side of it."""
    batch, history, channels, rows, columns = x.shape
    margin = stencil // 2
    out = np.ones((batch, rows, columns, history * channels * stencil**2 + 1))
    for i in range(rows):
        for j in range(columns):
            values = []
            for time in range(history):
                for channel in range(channels):
                    for di in range(-margin, margin + 1):
                        for dj in range(-margin, margin + 1):
                            row, column, across = i + di, j + dj, False
                            if row < 0:
                                row, column, across = -1 - row, column + columns // 2, True
                            elif row >= rows:
                                row, column, across = 2 * rows - 1 - row, column + columns // 2, True
                            value = x[:, time, channel, row, column % columns]
                            if across:
                                value = value * shape.pole_sign[channel] + shape.pole_offset[channel]
                            values.append(value)
            out[:, i, j, :-1] = np.stack(values, -1)
    return out


def ridge(a: np.ndarray, b: np.ndarray, weights: np.ndarray, penalty: float) -> np.ndarray:
    """As ordinary least squares, with one more row for each coefficient but the constant's."""
    count = a.shape[1]
    scale = np.sqrt(weights / weights.sum())[:, None]
    more = np.sqrt(penalty) * np.eye(count)[:-1]
    return np.linalg.lstsq(np.vstack([a * scale, more]), np.vstack([b * scale, np.zeros((count - 1, b.shape[1]))]))[0]


@pytest.mark.parametrize("by_row", [True, False])
def test_the_coefficients_solve_the_least_squares_problem(make_shape: MakeShape, by_row: bool) -> None:
    shape = make_shape(4, 8)
    x, y, weights = data(shape, batch=9)
    network = linear(shape, stencil=3, ridge=0.03, by_row=by_row)
    for part in (slice(0, 2), slice(2, 9)):
        network.accumulate(x[part], y[part], weights)
    network.solve()
    a, b = features(x.numpy(), shape, 3), y.permute(0, 2, 3, 1).numpy()
    w = np.broadcast_to(weights.numpy(), a.shape[:3])
    wanted = np.empty_like(b)
    for rows in [slice(i, i + 1) for i in range(4)] if by_row else [slice(0, 4)]:
        solved = ridge(a[:, rows].reshape(-1, a.shape[-1]), b[:, rows].reshape(-1, 2), w[:, rows].ravel(), 0.03)
        wanted[:, rows] = a[:, rows] @ solved
    np.testing.assert_allclose(network(x).permute(0, 2, 3, 1).numpy(), wanted, rtol=0, atol=1e-5)


def test_a_linear_law_is_found(make_shape: MakeShape) -> None:
    shape = make_shape(6, 12)
    x, _, weights = data(shape, batch=40)
    law = linear(shape, stencil=3)
    law.coefficients.normal_()
    network = linear(shape, stencil=3, ridge=1e-9)
    network.accumulate(x, law(x), weights)
    network.solve()
    torch.testing.assert_close(network.coefficients, law.coefficients, rtol=0, atol=1e-4)


def test_workers_sums_add_up_to_one_workers(make_shape: MakeShape) -> None:
    shape = make_shape(4, 8)
    x, y, weights = data(shape, batch=6)
    alone, first, second, idle = (linear(shape, stencil=3) for _ in range(4))
    alone.accumulate(x, y, weights)
    first.accumulate(x[:4], y[:4], weights)
    second.accumulate(x[4:], y[4:], weights)
    for mine, *others in zip(first.partials(), second.partials(), idle.partials(), strict=True):
        for other in others:
            mine += other
    alone.solve()
    first.solve()
    torch.testing.assert_close(first.coefficients, alone.coefficients, rtol=0, atol=1e-6)
    assert alone.coefficients.any()


def test_a_place_without_a_target_does_not_count(make_shape: MakeShape) -> None:
    shape = make_shape(4, 8)
    x, y, weights = data(shape, batch=5)
    y[:, 0, 1, ::2] = float("nan")  # the first output does not exist in half of a row
    weights = weights.expand(2, 4, 8) * torch.isfinite(y[0])
    network, first, second = (linear(shape, stencil=1) for _ in range(3))
    network.accumulate(x, y, weights)
    first.accumulate(x, torch.where(torch.isfinite(y), y, 1e6)[:, [0, 0]], weights[[0, 0]])
    second.accumulate(x, y[:, [1, 1]], weights[[1, 1]])
    for each in (network, first, second):
        each.solve()
    assert torch.isfinite(network.coefficients).all()
    torch.testing.assert_close(network.coefficients[..., 0], first.coefficients[..., 0], rtol=0, atol=1e-6)
    torch.testing.assert_close(network.coefficients[..., 1], second.coefficients[..., 1], rtol=0, atol=1e-6)


def test_a_target_that_is_not_finite_is_left_out(make_shape: MakeShape) -> None:
    shape = make_shape(4, 8)
    x, y, weights = data(shape, batch=5)
    holes = y.clone()
    holes[2] = float("inf")
    network, other = linear(shape, stencil=1), linear(shape, stencil=1)
    network.accumulate(x, holes, weights)
    other.accumulate(x[[0, 1, 3, 4]], y[[0, 1, 3, 4]], weights)
    network.solve()
    other.solve()
    torch.testing.assert_close(network.coefficients, other.coefficients, rtol=0, atol=1e-6)


def test_the_solution_is_saved_and_the_equations_are_not(make_shape: MakeShape) -> None:
    shape = make_shape(4, 8)
    x, y, weights = data(shape, batch=5)
    network, again = linear(shape, stencil=3), linear(shape, stencil=3)
    network.accumulate(x, y, weights)
    network.solve()
    assert set(network.state_dict()) == {"coefficients"}
    again.load_state_dict(network.state_dict())
    assert torch.equal(again(x), network(x))
    assert network(x).any()


def test_only_the_linear_network_has_a_closed_form(make_shape: MakeShape) -> None:
    shape = make_shape()
    assert isinstance(build_network("linear", {}, shape), ClosedForm)
    assert not isinstance(build_network("unet", {"width": 4}, shape), ClosedForm)


def test_channels_that_differ_in_importance_alone_share_their_equations(make_shape: MakeShape) -> None:
    shape = make_shape(4, 8)
    x, y, weights = data(shape, batch=2)
    network = linear(shape, stencil=1)
    network.accumulate(x, y, torch.stack([weights.float() / 3, weights.float() * 7]))
    assert len(network.partials()) == 3
