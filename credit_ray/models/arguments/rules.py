"""Rules that arguments of several networks keep.

Single values: `ValueError`, which the config's loader turns into a message with file and line. What depends on the data: ConfigError.
"""

from __future__ import annotations

from credit_ray.errors import ConfigError
from credit_ray.models.arguments.shape import NetworkShape


def rectangle(network: str, shape: NetworkShape) -> tuple[int, int]:
    """Rows and columns of a grid that has them; ConfigError for another."""
    if len(shape.grid) != 2:
        raise ConfigError(
            f"model.network: '{network}' takes grids of rows and columns, and this one has {len(shape.grid)} dimensions: {shape.grid}."
        )
    return shape.grid[0], shape.grid[1]


def positive(name: str, *values: int) -> None:
    """ValueError where an argument that counts something is less than one."""
    if not values or min(values) < 1:
        raise ValueError(f"{name} is {list(values) if len(values) != 1 else values[0]}: it must be positive")


def odd(name: str, value: int) -> None:
    """ValueError where a width that needs a middle has none."""
    if value < 1 or value % 2 == 0:
        raise ValueError(f"{name} is {value}: it must be odd, such as {max(value - 1, 1)} or {max(value + 1, 3)}")
