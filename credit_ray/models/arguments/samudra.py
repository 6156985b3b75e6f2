"""Arguments of the ocean's U-Net."""

from __future__ import annotations

from dataclasses import dataclass

from credit_ray.errors import ConfigError
from credit_ray.models.arguments.rules import odd, part, positive, rectangle
from credit_ray.models.arguments.shape import NetworkShape


@dataclass(frozen=True, kw_only=True)
class SamudraArguments:
    """Arguments of `samudra`.

    Parameters
    ----------
    widths : tuple of int
        Channels of each level, finest first. Each level halves rows and columns; its length is the number of levels.
    dilations : tuple of int
        How far apart the cells are that the kernels of each level look at.
    kernel : int
        Of the convolutions; odd.
    expansion : int
        Inner channels of a block, relative to its width.
    dropout : float
        Part of the inner channels that is left out of a training step.
    """

    widths: tuple[int, ...] = (32, 48, 64)
    dilations: tuple[int, ...] = (1, 2, 2)
    kernel: int = 3
    expansion: int = 2
    dropout: float = 0.0

    def __post_init__(self) -> None:
        for name in ("widths", "dilations"):
            positive(name, *getattr(self, name))
        if len(self.widths) != len(self.dilations):
            raise ValueError(
                f"widths has {len(self.widths)} levels and dilations {len(self.dilations)}: give one value for each level"
            )
        odd("kernel", self.kernel)
        positive("expansion", self.expansion)
        part("dropout", self.dropout)

    def equivariant_roll(self, shape: NetworkShape) -> int | None:
        """By whole cells of the coarsest level, where all levels divide the columns and there is no land."""
        coarsest = 2 ** (len(self.widths) - 1)
        return coarsest if shape.periodic and shape.grid[1] % coarsest == 0 and shape.mask is None else None

    def check(self, shape: NetworkShape) -> None:
        """Raise ConfigError where a kernel would reach beyond the globe."""
        rows, columns = rectangle("samudra", shape)
        smallest = min(rows - shape.poles, columns)
        for level, dilation in enumerate(self.dilations):
            there, reach = -(-smallest >> level), self.kernel // 2 * dilation
            if reach > there - (level > 0):
                most = max((there - (level > 0)) // max(self.kernel // 2, 1), 0)
                way = f"at most {most} would do" if most else f"at most {level} levels fit"
                raise ConfigError(
                    f"model.dilations: {dilation} at level {level + 1} of a grid of {rows}×{columns} reaches beyond its {there} rows or columns: {way}."
                )
