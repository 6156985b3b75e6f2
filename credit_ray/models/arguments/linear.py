"""Arguments of the linear baseline."""

from __future__ import annotations

from dataclasses import dataclass

from credit_ray.errors import ConfigError
from credit_ray.models.arguments.rules import odd, rectangle
from credit_ray.models.arguments.shape import NetworkShape

_MOST_GIB = 8


@dataclass(frozen=True, kw_only=True)
class LinearArguments:
    """Arguments of `linear`.

    Parameters
    ----------
    stencil : int
        Rows and columns that each output is computed from; odd.
    by_row : bool
        Whether each row of the grid has its own coefficients (they are always the same along a row); else all rows share them.
    ridge : float
        Penalty on the square of the coefficients, relative to the mean square of a normalised input.
    """

    stencil: int = 5
    by_row: bool = True
    ridge: float = 1e-3

    def __post_init__(self) -> None:
        odd("stencil", self.stencil)
        if self.ridge <= 0:
            raise ValueError(f"ridge is {self.ridge}: it must be positive, or equal inputs have no solution")

    def unknowns(self, shape: NetworkShape) -> int:
        """Coefficients of one output (on one row)."""
        return shape.history * shape.in_channels * self.stencil**2 + 1

    def equivariant_roll(self, shape: NetworkShape) -> int | None:
        """By any number of columns: coefficients are the same along a row."""
        return 1 if shape.periodic else None

    def check(self, shape: NetworkShape) -> None:
        """Raise ConfigError where the normal equations would not fit in memory."""
        rows = rectangle("linear", shape)[0]
        systems, unknowns = rows if self.by_row else 1, self.unknowns(shape)
        size = systems * unknowns**2 * 8 / 2**30
        if size > _MOST_GIB:
            raise ConfigError(
                f"model.stencil: {systems} systems of {unknowns} equations take {size:.0f} GiB, more than the {_MOST_GIB} that are allowed: "
                f"use a smaller stencil{', or by_row: false' if self.by_row else ''}."
            )
        if self.stencil // 2 > min(shape.grid) - 1:
            raise ConfigError(f"model.stencil: {self.stencil} is wider than the grid, {rows}×{shape.grid[1]}.")
