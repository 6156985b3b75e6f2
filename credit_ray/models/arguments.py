"""Arguments of the networks, free of torch, so that a config can be checked without it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class NetworkShape:
    """What a network may know of the data: counts and geometry, never names or units.

    Parameters
    ----------
    history, in_channels, out_channels : int
        Input times; channels of each of them (prognostic, forcing, static); channels out (prognostic, diagnostic).
    grid : tuple of int
        Rows and columns.
    periodic, poles, pole_points : bool
        Whether columns go round the circle; rows reach both poles; the first and last row are the poles themselves.
    pole_sign, pole_offset : tuple of float
        [in_channels]: a normalised input channel z becomes sign·z + offset where a path crosses a pole.
    """

    history: int
    in_channels: int
    out_channels: int
    grid: tuple[int, ...]
    periodic: bool
    poles: bool
    pole_points: bool
    pole_sign: tuple[float, ...]
    pole_offset: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class UNetArguments:
    """Arguments of `unet`.

    Parameters
    ----------
    width : int
        Channels at the finest level.
    multipliers : tuple of int
        Channels of each level, finest first, relative to `width`; as many levels as it has entries.
    blocks : tuple of int
        Residual blocks of each level, on the way down and again on the way up.
    kernel : int
        Of the blocks' convolutions; odd.
    dropout : float
        Of whole channels, inside the blocks.
    """

    width: int = 48
    multipliers: tuple[int, ...] = (1, 2, 2)
    blocks: tuple[int, ...] = (1, 1, 2)
    kernel: int = 3
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if self.width < 1 or min(self.multipliers, default=0) < 1 or min(self.blocks, default=-1) < 0:
            raise ValueError("width and multipliers are positive, blocks are not negative")
        if len(self.multipliers) != len(self.blocks):
            raise ValueError(f"multipliers has {len(self.multipliers)} levels, blocks {len(self.blocks)}: give one entry for each level")
        if self.kernel % 2 == 0 or self.kernel < 1:
            raise ValueError(f"kernel is {self.kernel}: it must be odd, such as {self.kernel - 1} or {self.kernel + 1}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is {self.dropout}: it must be at least 0 and below 1")

    def check(self, shape: NetworkShape) -> None:
        """Any grid of at least two rows and columns at the coarsest level fits."""
        smallest = min(shape.grid) >> (len(self.blocks) - 1)
        if smallest < 2:
            levels = min(shape.grid).bit_length() - 1
            raise ValueError(f"{len(self.blocks)} levels leave fewer than two rows of a grid of {shape.grid}: at most {levels} levels work")
