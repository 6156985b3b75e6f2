"""Arguments of the networks, free of torch, so that a config can be checked without it.

Single values are checked when they are given (`ValueError`, which the config's loader turns into a message with file and
line); what depends on the data, by `check`.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import lcm, prod

from credit_ray.errors import ConfigError


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
        Channels of each level relative to `width`, finest first. Each level halves rows and columns; its length is the
        number of levels.
    blocks : tuple of int
        Residual blocks of each level, on the way down and again on the way up.
    kernel : int
        Of the blocks' convolutions; odd.
    dropout : float
        Part of the blocks' channels that is left out of a training step.
    """

    width: int = 48
    multipliers: tuple[int, ...] = (1, 2, 2)
    blocks: tuple[int, ...] = (1, 1, 2)
    kernel: int = 3
    dropout: float = 0.0

    def __post_init__(self) -> None:
        _positive("width", self.width)
        _positive("multipliers", *self.multipliers)
        _positive("blocks", *self.blocks)
        if len(self.multipliers) != len(self.blocks):
            raise ValueError(
                f"multipliers has {len(self.multipliers)} levels and blocks {len(self.blocks)}: give one value for each level"
            )
        _odd("kernel", self.kernel)
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is {self.dropout}: it must be at least 0 and below 1")

    def check(self, shape: NetworkShape) -> None:
        """Raise ConfigError where the coarsest level would be smaller than a kernel."""
        rows = _rectangle("unet", shape)[0]
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
            _positive(name, getattr(self, name))
        for name in ("depth", "strides", "global_window"):
            _positive(name, *getattr(self, name))
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

    def check(self, shape: NetworkShape) -> None:
        """Raise ConfigError where a margin would have to be wider than the globe, at any stage."""
        rows, columns = _rectangle("wxformer", shape)
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
        _odd("stencil", self.stencil)
        if self.ridge <= 0:
            raise ValueError(f"ridge is {self.ridge}: it must be positive, or equal inputs have no solution")

    def unknowns(self, shape: NetworkShape) -> int:
        """Coefficients of one output (on one row)."""
        return shape.history * shape.in_channels * self.stencil**2 + 1

    def check(self, shape: NetworkShape) -> None:
        """Raise ConfigError where the normal equations would not fit in memory."""
        rows = _rectangle("linear", shape)[0]
        systems, unknowns = rows if self.by_row else 1, self.unknowns(shape)
        size = systems * unknowns**2 * 8 / 2**30
        if size > _MOST_GIB:
            raise ConfigError(
                f"model.stencil: {systems} systems of {unknowns} equations take {size:.0f} GiB, more than the {_MOST_GIB} that are allowed: "
                f"use a smaller stencil{', or by_row: false' if self.by_row else ''}."
            )
        if self.stencil // 2 > min(shape.grid) - 1:
            raise ConfigError(f"model.stencil: {self.stencil} is wider than the grid, {rows}×{shape.grid[1]}.")


_MOST_GIB = 8


def _rectangle(network: str, shape: NetworkShape) -> tuple[int, int]:
    if len(shape.grid) != 2:
        raise ConfigError(
            f"model.network: '{network}' takes grids of rows and columns, and this one has {len(shape.grid)} dimensions: {shape.grid}."
        )
    return shape.grid[0], shape.grid[1]


def _positive(name: str, *values: int) -> None:
    if not values or min(values) < 1:
        raise ValueError(f"{name} is {list(values) if len(values) != 1 else values[0]}: it must be positive")


def _odd(name: str, value: int) -> None:
    if value < 1 or value % 2 == 0:
        raise ValueError(f"{name} is {value}: it must be odd, such as {max(value - 1, 1)} or {max(value + 1, 3)}")
