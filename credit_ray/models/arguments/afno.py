"""Arguments of AFNO."""

from __future__ import annotations

from dataclasses import dataclass

from credit_ray.errors import ConfigError
from credit_ray.models.arguments.rules import divides, multiple, part, positive, rectangle
from credit_ray.models.arguments.shape import NetworkShape


@dataclass(frozen=True, kw_only=True)
class AFNOArguments:
    """Arguments of `afno`.

    Parameters
    ----------
    patch : int
        Rows and columns of cells that make a token; must divide the columns.
    width : int
        Channels of a token.
    depth : int
        Blocks of mixing.
    blocks : int
        Groups of channels that are mixed among themselves in spectral space; must divide the width.
    kept : float
        Part of the wavenumbers, lowest first, that are mixed; the others pass by on the skip alone.
    shrink : float
        By how much each mixed coefficient is moved towards zero.
    expansion : int
        Hidden channels of the feed-forward layers, relative to the width.
    dropout : float
        Part of the hidden channels that is left out of a training step.
    """

    patch: int = 2
    width: int = 96
    depth: int = 4
    blocks: int = 8
    kept: float = 1.0
    shrink: float = 0.01
    expansion: int = 4
    dropout: float = 0.0

    def __post_init__(self) -> None:
        for name in ("patch", "width", "depth", "blocks", "expansion"):
            positive(name, getattr(self, name))
        multiple("width", self.width, "blocks", self.blocks)
        part("dropout", self.dropout)
        if not 0 < self.kept <= 1:
            raise ValueError(f"kept is {self.kept}: it must be above 0 and at most 1")
        if self.shrink < 0:
            raise ValueError(f"shrink is {self.shrink}: it can't be negative")

    def check(self, shape: NetworkShape) -> None:
        """Raise ConfigError where patches do not fit the grid."""
        rows, columns = rectangle("afno", shape)
        divides("patch", self.patch, columns, "columns")
        if self.south(shape) > rows - 1:
            raise ConfigError(f"model.patch: {self.patch} is wider than the grid, {rows}×{columns}.")

    def south(self, shape: NetworkShape) -> int:
        """Rows to add beyond the south, so that patches divide."""
        return -shape.grid[0] % self.patch
