"""Rules that arguments of several networks keep.

Single values: `ValueError`, which the config's loader turns into a message with file and line. What depends on the data: ConfigError.
"""

from __future__ import annotations

import numpy as np

from credit_ray.errors import ConfigError
from credit_ray.grid.latlon import LatLonGrid
from credit_ray.models.arguments.shape import NetworkShape


def rectangle(network: str, shape: NetworkShape) -> tuple[int, int]:
    """Rows and columns of a grid that has them; ConfigError for another."""
    if len(shape.grid) != 2:
        raise ConfigError(
            f"model.network: '{network}' takes grids of rows and columns, and this one has {len(shape.grid)} dimensions: {shape.grid}."
        )
    return shape.grid[0], shape.grid[1]


def globe(network: str, shape: NetworkShape) -> LatLonGrid:
    """The grid of a network that reckons with places on the whole sphere; ConfigError for another."""
    if not (shape.latitude and shape.periodic and shape.poles):
        raise ConfigError(
            f"model.network: '{network}' takes global grids of latitudes and longitudes; this one is another, of {shape.grid}."
        )
    return LatLonGrid(np.array(shape.latitude), np.array(shape.longitude))


def divides(key: str, value: int, size: int, what: str) -> None:
    """ConfigError where `value` does not divide `size`, with the nearest that do."""
    if size % value:
        fit = [n for n in range(1, size + 1) if size % n == 0]
        near = sorted(sorted(fit, key=lambda n: abs(n - value))[:2])
        raise ConfigError(
            f"model.{key}: {value} does not divide the {size} {what}: {' or '.join(map(str, near))} would do."
        )


def multiple(name: str, value: int, of: str, unit: int) -> None:
    """ValueError where `value` is no multiple of another argument, with the nearest that are."""
    if value % unit:
        below = value // unit * unit
        near = " or ".join(str(n) for n in (below, below + unit) if n)
        raise ValueError(f"{name} is {value}, no multiple of {of} {unit}: {near} would do")


def margins(shape: NetworkShape, unit: tuple[int, int]) -> tuple[int, int, int, int]:
    """Rows to add in the north and south and columns to add in the west and east, so that their numbers are multiples of `unit`."""
    rows, columns = (-size % n for size, n in zip(shape.grid, unit, strict=True))
    return rows // 2, rows - rows // 2, columns // 2, columns - columns // 2


def part(name: str, value: float) -> None:
    """ValueError where a part that is left out is not at least 0 and below 1."""
    if not 0 <= value < 1:
        raise ValueError(f"{name} is {value}: it must be at least 0 and below 1")


def positive(name: str, *values: int) -> None:
    """ValueError where an argument that counts something is less than one."""
    if not values or min(values) < 1:
        raise ValueError(f"{name} is {list(values) if len(values) != 1 else values[0]}: it must be positive")


def odd(name: str, value: int) -> None:
    """ValueError where a width that needs a middle has none."""
    if value < 1 or value % 2 == 0:
        raise ValueError(f"{name} is {value}: it must be odd, such as {max(value - 1, 1)} or {max(value + 1, 3)}")
