"""Arguments of FuXi."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from credit_ray.errors import ConfigError
from credit_ray.models.arguments.rules import positive, rectangle
from credit_ray.models.arguments.shape import NetworkShape


@dataclass(frozen=True, kw_only=True)
class FuXiArguments:
    """Arguments of `fuxi`.

    Parameters
    ----------
    width : int
        Channels of the tokens.
    depth : int
        Blocks of window attention.
    heads : int
        Among which the channels are shared.
    window : int
        Attention is among tiles of so many rows and columns of tokens; every other block's lie half a tile further.
    patch : tuple of int
        Rows and columns that make one token; the blocks see half as many tokens in each direction.
    groups : int
        Of channels that are normalised together in the steps down and up.
    spectral_norm : bool
        Hold every layer's largest singular value at one (but the first and the last layer's): steadier rollouts, slower steps.
    spectral_norm_except : tuple of str
        Layers of these names are left as they are.
    margins : tuple of int, optional
        Rows to add in the north and the south and columns in the west and the east, before anything else; by default the least that makes
        patches and windows divide the map.
    beyond : {"sphere", "earth", "mirror"}
        What fills the margins. "sphere": what lies there, across the pole; vector components turned. "earth": the outermost rows in reverse,
        from the other side, as they are, poles between rows or not. "mirror": rows reflected at the outermost one. The latter two are CREDIT's.
    south_first : bool
        Whether the network reads and writes rows from south to north, as one does that was trained on files in that order.
    inner_edges : {"sphere", "zero"}
        What the layers within see beyond the map: what lies there, windows going round the globe; or zeros, as in CREDIT.
    decoder : {"smooth", "patch"}
        The first joins the grid's own cells and leaves no pattern of the patches. In the second, FuXi's own and CREDIT's, each token gives the
        cells of its patch alone, and what is then missing to the grid is interpolated.
    """

    width: int = 96
    depth: int = 4
    heads: int = 4
    window: int = 4
    patch: tuple[int, int] = (2, 2)
    groups: int = 8
    spectral_norm: bool = False
    spectral_norm_except: tuple[str, ...] = ()
    margins: tuple[int, int, int, int] | None = None
    beyond: Literal["sphere", "earth", "mirror"] = "sphere"
    south_first: bool = False
    inner_edges: Literal["sphere", "zero"] = "sphere"
    decoder: Literal["smooth", "patch"] = "smooth"

    def __post_init__(self) -> None:
        for name in ("width", "depth", "heads", "groups"):
            positive(name, getattr(self, name))
        positive("patch", *self.patch)
        if self.window < 2:
            raise ValueError(f"window is {self.window}: it must be at least 2")
        for name in ("heads", "groups"):
            share = getattr(self, name)
            if self.width % share:
                below = self.width // share * share
                near = " or ".join(str(n) for n in (below, below + share) if n)
                raise ValueError(f"width is {self.width}, no multiple of {name} {share}: {near} would do")
        if self.margins is not None and min(self.margins) < 0:
            raise ValueError(f"margins are {list(self.margins)}: none can be negative")
        if self.decoder == "smooth" and self.patch[0] != self.patch[1]:
            raise ValueError(f"patch is {list(self.patch)}: the decoder 'smooth' needs square ones")

    @property
    def fine_width(self) -> int:
        """Channels of the grid's own cells, in the smooth decoder."""
        return max(self.width // 4, 8)

    @property
    def unit(self) -> tuple[int, int]:
        """Rows and columns that patches and windows divide."""
        return 2 * self.patch[0] * self.window, 2 * self.patch[1] * self.window

    def padding(self, shape: NetworkShape) -> tuple[int, int, int, int]:
        """Rows to add in the north and south and columns to add in the west and east; by default so that patches and windows divide."""
        if self.margins is not None:
            return self.margins
        rows, columns = (-size % unit for size, unit in zip(shape.grid, self.unit, strict=True))
        return rows // 2, rows - rows // 2, columns // 2, columns - columns // 2

    def check(self, shape: NetworkShape) -> None:
        """Raise ConfigError where patches or windows do not divide the map, or a margin would have to be wider than the globe."""
        rows, columns = rectangle("fuxi", shape)
        north, south, west, east = self.padding(shape)
        size = (rows + north + south, columns + west + east)
        skipped = 1 if self.beyond == "mirror" or (self.beyond == "sphere" and shape.poles and shape.pole_points) else 0
        if max(north, south) + skipped >= rows or max(west, east) > columns:
            raise ConfigError(
                f"model: patches of {self.patch[0]}×{self.patch[1]} and windows of {self.window} need maps of a multiple of {self.unit[0]} rows and "
                f"{self.unit[1]} columns, and a grid of {rows}×{columns} is too small to be padded to one: use smaller windows or patches."
            )
        if self.inner_edges == "sphere" or self.decoder == "smooth":
            if any(n % unit for n, unit in zip(size, self.unit, strict=True)):
                near = [
                    f"{below} or {below + unit}"
                    for n, unit in zip(size, self.unit, strict=True)
                    for below in [max(n // unit, 1) * unit]
                ]
                raise ConfigError(
                    f"model.margins: with them the map has {size[0]}×{size[1]} cells, which patches and windows do not divide. Choose margins "
                    f"that make {near[0]} rows and {near[1]} columns, or leave them out: then the least that fit are added."
                )
        elif any(n < 2 * p for n, p in zip(size, self.patch, strict=True)):
            raise ConfigError(f"model.patch: {list(self.patch)} is too large for a map of {size[0]}×{size[1]} cells.")
