"""Arguments of Swin."""

from __future__ import annotations

from dataclasses import dataclass

from credit_ray.errors import ConfigError
from credit_ray.models.arguments.rules import margins, multiple, positive, rectangle
from credit_ray.models.arguments.shape import NetworkShape


@dataclass(frozen=True, kw_only=True)
class SwinArguments:
    """Arguments of `swin`.

    Parameters
    ----------
    patch : int
        Rows and columns of cells that make a token.
    width : int
        Channels of a token.
    depth : int
        Blocks; every other one has its windows shifted by half.
    heads : int
        Attention heads; must divide the width.
    window : int
        Rows and columns of tokens that attend to each other.
    """

    patch: int = 2
    width: int = 96
    depth: int = 4
    heads: int = 4
    window: int = 8

    def __post_init__(self) -> None:
        for name in ("patch", "width", "depth", "heads"):
            positive(name, getattr(self, name))
        if self.window < 2:
            raise ValueError(f"window is {self.window}: it must be at least 2")
        multiple("width", self.width, "heads", self.heads)

    def padding(self, shape: NetworkShape) -> tuple[int, int, int, int]:
        """Rows to add in the north and south and columns to add in the west and east, so that patches and windows divide."""
        unit = self.patch * self.window
        return margins(shape, (unit, unit))

    def equivariant_roll(self, shape: NetworkShape) -> int | None:
        """By whole windows, where no columns are added."""
        return self.patch * self.window if shape.periodic and not any(self.padding(shape)[2:]) else None

    def check(self, shape: NetworkShape) -> None:
        """Raise ConfigError where a margin would have to be wider than the globe."""
        rows, columns = rectangle("swin", shape)
        _, south, _, east = self.padding(shape)
        if south > rows - 1 or east > columns:
            fit = max(2, (min(shape.grid) + 1) // 2 // self.patch)
            raise ConfigError(
                f"model.window: a patch of {self.patch} and a window of {self.window} need maps of a multiple of {self.patch * self.window} rows and "
                f"columns, and a grid of {rows}×{columns} is too small to be padded to one: a window of at most {fit} fits."
            )
