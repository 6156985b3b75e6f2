"""Arguments of WXFormer."""

from __future__ import annotations

from dataclasses import dataclass
from math import lcm, prod

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
    """

    width: int = 48
    depth: tuple[int, ...] = (1, 1, 2)
    strides: tuple[int, ...] = (2, 2, 2)
    kernels: tuple[tuple[int, ...], ...] = ((2, 4, 8), (2, 4), (2, 4))
    local_window: int = 4
    global_window: tuple[int, ...] = (4, 4, 4)
    head_width: int = 24
    spectral_norm: bool = False

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
            bad = [k for k in sizes if k < stride or (k - stride) % 2]
            if bad or not sizes:
                fit = ", ".join(str(stride + 2 * n) for n in range(4))
                raise ValueError(f"kernels {list(sizes)} of a stage of stride {stride}: they can be {fit}, …")
            if self.width >> (len(sizes) - 1) < 1:
                raise ValueError(
                    f"width {self.width} is too small for {len(sizes)} kernels: at least {2 ** (len(sizes) - 1)}"
                )

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
        """Rows to add in the north and south and columns to add in the west and east, so that strides and windows divide."""
        missing = [-size % self.unit for size in shape.grid]
        return missing[0] // 2, missing[0] - missing[0] // 2, missing[1] // 2, missing[1] - missing[1] // 2

    @property
    def halo(self) -> int:
        """Cells beyond the padded map that the layers that read the input see."""
        return max(1, (max(self.kernels[0]) - self.strides[0]) // 2)

    def equivariant_roll(self, shape: NetworkShape) -> int | None:
        """By whole tiles of the coarsest stage, where no columns are added."""
        if not shape.periodic or any(self.padding(shape)[2:]):
            return None
        return prod(self.strides) * self.local_window

    def check(self, shape: NetworkShape) -> None:
        """Raise ConfigError where a margin would have to be wider than the globe, at any stage."""
        rows, columns = rectangle("wxformer", shape)
        _, south, _, east = self.padding(shape)
        far = (south + self.halo - rows + (shape.poles and shape.pole_points), east + self.halo - columns)
        smallest = min(size + -size % self.unit for size in shape.grid)
        narrow = smallest // prod(self.strides) < 2 or any(
            smallest // prod(self.strides[:stage]) < (max(self.kernels[stage]) - self.strides[stage]) // 2
            for stage in range(1, len(self.strides))
        )
        if max(far) > 0 or narrow:
            raise ConfigError(
                f"model: strides {list(self.strides)}, local_window {self.local_window} and global_window {list(self.global_window)} need maps of a "
                f"multiple of {self.unit} rows and columns, and a grid of {rows}×{columns} is too small to be padded to one: use smaller windows, "
                f"smaller kernels, or fewer stages."
            )
