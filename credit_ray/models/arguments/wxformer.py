"""Arguments of WXFormer."""

from __future__ import annotations

from dataclasses import dataclass
from math import lcm, prod
from typing import Literal

from credit_ray.errors import ConfigError
from credit_ray.models.arguments.rules import positive, rectangle
from credit_ray.models.arguments.shape import NetworkShape


@dataclass(frozen=True, kw_only=True)
class WXFormerArguments:
    """Arguments of `wxformer`.

    Parameters
    ----------
    width : int
        Channels of the grid's own cells and of the first stage; each further stage has twice as many.
    depth : tuple of int
        Pairs of short- and long-distance attention in each stage; its length is the number of stages.
    strides : tuple of int
        By how much each stage coarsens the one before it (the first one: the grid).
    kernels : tuple of tuple of int
        Sizes of the cross-scale embedding of each stage: kernels of several sizes side by side, each at least as wide as the stride,
        by an even number of cells.
    local_window : int
        Short-distance attention is among the tokens of tiles of so many rows and columns.
    global_window : tuple of int
        Long-distance attention of each stage is among so many rows and columns of tokens, spread evenly over the whole map.
    head_width : int
        Channels of one attention head.
    spectral_norm : bool
        Hold every layer's largest singular value at one (but the last layer's): steadier rollouts, slower steps.
    spectral_norm_except : tuple of str
        Layers of these names are left as they are.
    margins : tuple of int, optional
        Rows to add in the north and the south and columns in the west and the east, before anything else; by default the least that makes
        strides and windows divide the map.
    beyond : {"sphere", "earth", "mirror"}
        What fills the margins. "sphere": what lies there, across the pole; vector components turned. "earth": the outermost rows in reverse,
        from the other side, as they are, poles between rows or not. "mirror": rows reflected at the outermost one. The latter two are CREDIT's.
    south_first : bool
        Whether the network reads and writes rows from south to north, as one does that was trained on files in that order.
    inner_edges : {"sphere", "zero"}
        What the layers within see beyond the map: what lies there, or zeros, as in CREDIT.
    decoder : {"smooth", "sub_pixel", "transposed", "bilinear"}
        The first leaves no pattern of its cells. The others are those of CREDIT's `wxformer`, of its `crossformer`, and of the latter with
        `upsample_v_conv`; they double at each stage, and what is then missing to the grid is interpolated.
    position_bias : {"by_head", "shared"}
        A bias for each head, looked up by its offset; or CREDIT's, which all heads share, and which is looked up with the row length of a smaller
        table than the one it is in.
    """

    width: int = 48
    depth: tuple[int, ...] = (1, 1, 2)
    strides: tuple[int, ...] = (2, 2, 2)
    kernels: tuple[tuple[int, ...], ...] = ((2, 4, 8), (2, 4), (2, 4))
    local_window: int = 4
    global_window: tuple[int, ...] = (4, 4, 4)
    head_width: int = 24
    spectral_norm: bool = False
    spectral_norm_except: tuple[str, ...] = ()
    margins: tuple[int, int, int, int] | None = None
    beyond: Literal["sphere", "earth", "mirror"] = "sphere"
    south_first: bool = False
    inner_edges: Literal["sphere", "zero"] = "sphere"
    decoder: Literal["smooth", "sub_pixel", "transposed", "bilinear"] = "smooth"
    position_bias: Literal["by_head", "shared"] = "by_head"

    def __post_init__(self) -> None:
        for name in ("width", "local_window", "head_width"):
            positive(name, getattr(self, name))
        for name in ("depth", "strides", "global_window"):
            positive(name, *getattr(self, name))
        stages = {name: len(getattr(self, name)) for name in ("depth", "strides", "kernels", "global_window")}
        if len(set(stages.values())) > 1:
            given = ", ".join(f"{name} {count}" for name, count in stages.items())
            raise ValueError(f"the number of stages differs ({given}): give one value for each stage")
        if self.width % self.head_width:
            below = self.width // self.head_width * self.head_width
            near = " or ".join(str(n) for n in (below, below + self.head_width) if n)
            raise ValueError(f"width is {self.width}, no multiple of head_width {self.head_width}: {near} would do")
        for sizes, stride in zip(self.kernels, self.strides, strict=True):
            bad = [k for k in sizes if k < stride or (self.inner_edges == "sphere" and (k - stride) % 2)]
            if bad or not sizes:
                fit = ", ".join(str(stride + 2 * n) for n in range(4))
                raise ValueError(f"kernels {list(sizes)} of a stage of stride {stride}: they can be {fit}, …")
            if self.width >> (len(sizes) - 1) < 1:
                raise ValueError(
                    f"width {self.width} is too small for {len(sizes)} kernels: at least {2 ** (len(sizes) - 1)}"
                )

        if self.decoder != "smooth" and any(stride != 2 for stride in self.strides[1:]):
            raise ValueError(
                f"strides are {list(self.strides)}, and the decoder '{self.decoder}' doubles at each stage: all but the first must be 2"
            )
        if self.margins is not None and min(self.margins) < 0:
            raise ValueError(f"margins are {list(self.margins)}: none can be negative")

    @property
    def unit(self) -> int:
        """Rows and columns of the smallest map that all strides and windows divide; others are padded to a multiple of it."""
        return lcm(
            *(
                prod(self.strides[: stage + 1]) * lcm(self.local_window, window)
                for stage, window in enumerate(self.global_window)
            )
        )

    def padding(self, shape: NetworkShape) -> tuple[int, int, int, int]:
        """Rows to add in the north and south and columns to add in the west and east; by default so that strides and windows divide."""
        if self.margins is not None:
            return self.margins
        missing = [-size % self.unit for size in shape.grid]
        return missing[0] // 2, missing[0] - missing[0] // 2, missing[1] // 2, missing[1] - missing[1] // 2

    @property
    def halo(self) -> int:
        """Cells beyond the padded map that the layers that read the input see."""
        return max(1, (max(self.kernels[0]) - self.strides[0]) // 2) if self.inner_edges == "sphere" else 0

    def equivariant_roll(self, shape: NetworkShape) -> int | None:
        """By whole tiles of the coarsest stage, where no columns are added."""
        if not shape.periodic or any(self.padding(shape)[2:]):
            return None
        return prod(self.strides) * self.local_window

    def check(self, shape: NetworkShape) -> None:
        """Raise ConfigError where windows do not divide a map, or a margin would have to be wider than the globe, at any stage."""
        rows, columns = rectangle("wxformer", shape)
        north, south, west, east = self.padding(shape)
        size = (rows + north + south, columns + west + east)
        self._check_windows(size)
        skipped = 1 if self.beyond == "mirror" or (self.beyond == "sphere" and shape.poles and shape.pole_points) else 0
        far = (max(north, south) + self.halo - rows + skipped, max(west, east) + self.halo - columns)
        smallest = min(size)
        narrow = smallest // prod(self.strides) < 2 or any(
            smallest // prod(self.strides[:stage]) < (max(self.kernels[stage]) - self.strides[stage]) // 2
            for stage in range(1, len(self.strides))
        )
        if max(far) > 0 or (narrow and self.inner_edges == "sphere"):
            raise ConfigError(
                f"model: strides {list(self.strides)}, local_window {self.local_window} and global_window {list(self.global_window)} need maps of a "
                f"multiple of {self.unit} rows and columns, and a grid of {rows}×{columns} is too small to be padded to one: use smaller windows, "
                f"smaller kernels, or fewer stages."
            )

    def _check_windows(self, size: tuple[int, int]) -> None:
        """Each stage's map must consist of whole windows; what CREDIT's decoders join must have one size."""
        here = size
        for stage, (stride, window) in enumerate(zip(self.strides, self.global_window, strict=True)):
            coarse = (here[0] // stride, here[1] // stride)
            # CREDIT's first embedding drops rows that its stride leaves over, and the decoder interpolates to the grid
            exact = stage > 0 or self.decoder == "smooth" or self.inner_edges == "sphere"
            if exact and (coarse[0] * stride, coarse[1] * stride) != here:
                why = f"has maps of {here[0]}×{here[1]}, which its stride of {stride} does not divide"
            elif any(n % self.local_window or n % window for n in coarse) or not min(coarse):
                why = (
                    f"has maps of {coarse[0]}×{coarse[1]}, which local_window {self.local_window} and global_window {window} "
                    "do not divide"
                )
            else:
                here = coarse
                continue
            near = [f"{below} or {below + self.unit}" for n in size for below in [max(n // self.unit, 1) * self.unit]]
            raise ConfigError(
                f"model.margins: with them stage {stage + 1} {why}. Choose margins that make {near[0]} rows and {near[1]} columns "
                f"(now {size[0]} and {size[1]}), or leave them out: then the least that fit are added."
            )
