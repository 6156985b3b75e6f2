"""Arguments of the U-Net."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from credit_ray.errors import ConfigError
from credit_ray.models.arguments.rules import odd, part, positive, rectangle
from credit_ray.models.arguments.shape import NetworkShape


@dataclass(frozen=True, kw_only=True)
class UNetArguments:
    """Arguments of `unet`.

    Parameters
    ----------
    width : int
        Channels at the finest level.
    multipliers : tuple of int
        Channels of each level relative to `width`, finest first. Each level halves rows and columns; its length is the
        number of levels.
    blocks : tuple of int
        Residual blocks of each level, on the way down and again on the way up.
    block : {"residual", "convnext"}
        Two dense convolutions, or a depthwise one and a wide pointwise pair, which has more channels for the same work: a CPU runs the
        former faster, a GPU gets more out of the latter with a kernel of 7.
    kernel : int
        Of the blocks' convolutions; odd.
    dropout : float
        Part of the blocks' channels that is left out of a training step.
    """

    width: int = 48
    multipliers: tuple[int, ...] = (1, 2, 2)
    blocks: tuple[int, ...] = (1, 1, 2)
    block: Literal["residual", "convnext"] = "residual"
    kernel: int = 3
    dropout: float = 0.0

    def __post_init__(self) -> None:
        positive("width", self.width)
        positive("multipliers", *self.multipliers)
        positive("blocks", *self.blocks)
        if len(self.multipliers) != len(self.blocks):
            raise ValueError(
                f"multipliers has {len(self.multipliers)} levels and blocks {len(self.blocks)}: give one value for each level"
            )
        odd("kernel", self.kernel)
        part("dropout", self.dropout)

    def check(self, shape: NetworkShape) -> None:
        """Raise ConfigError where the coarsest level would be smaller than a kernel."""
        rows = rectangle("unet", shape)[0]
        levels, smallest = len(self.blocks), min(shape.grid)
        needed = max(self.kernel // 2, 1) + shape.poles  # rows that padding takes from, and a pole's own

        def coarsest(count: int) -> int:
            return -(-smallest >> count - 1)

        if coarsest(levels) < needed:
            most = max((count for count in range(1, levels) if coarsest(count) >= needed), default=0)
            fit = f"at most {most} levels fit" if most else "use a smaller kernel"
            raise ConfigError(
                f"model.multipliers: {levels} levels of a grid of {rows}×{shape.grid[1]} end at less than a kernel of {self.kernel}: {fit}."
            )

    def equivariant_roll(self, shape: NetworkShape) -> int | None:
        """By whole cells of the coarsest level, where all levels divide the columns."""
        coarsest = 2 ** (len(self.blocks) - 1)
        return coarsest if shape.periodic and shape.grid[1] % coarsest == 0 else None
