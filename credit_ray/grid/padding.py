"""What lies beyond the edges of a rectangle of the sphere.

East of the last column is the first one. North of the first row is the other side of the pole: the same rows again,
mirrored, and turned by 180°. A convolution that is fed with such a margin sees no edges.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from credit_ray.grid.latlon import LatLonGrid


def spherical_pad(
    x: Tensor,
    top: int,
    bottom: int,
    left: int,
    right: int,
    *,
    periodic: bool,
    poles: bool,
    pole_points: bool,
    sign: Tensor | None = None,
    offset: Tensor | None = None,
) -> Tensor:
    """Extend fields beyond the edges of their grid.

    Parameters
    ----------
    x : Tensor [..., channel, lat, lon]
        Fields, rows from north to south.
    top, bottom, left, right : int
        Rows beyond the north and the south, columns beyond the west and the east.
    periodic : bool
        Whether the columns go round the circle; else the outer columns are repeated.
    poles : bool
        Whether the rows reach both poles. Rows are continued across the pole where the grid is periodic too; else the
        outer rows are repeated.
    pole_points : bool
        Whether the outer rows are the poles themselves: then they are the line of the mirror, and not repeated; else
        the mirror lies half a row beyond them.
    sign, offset : Tensor [channel], optional
        What crosses a pole becomes sign · x + offset: a vector's component points the other way there. On normalised
        input (x − μ)/σ that is sign −1 and offset −2μ/σ.

    Returns
    -------
    Tensor [..., channel, top + lat + bottom, left + lon + right]
        Where the number of columns is odd, the meridian opposite lies between two columns: their mean stands for it.

    Raises
    ------
    ValueError
        Where a margin is negative, or wider than what there is to fill it with.
    """
    nlat, nlon = x.shape[-2:]
    across = periodic and poles
    rows = nlat - 1 if pole_points else nlat
    _check("top and bottom", (top, bottom), rows if across else None, f"{nlat} rows" + (" (poles)" * pole_points))
    _check("left and right", (left, right), nlon if periodic else None, f"{nlon} columns")

    if top or bottom:
        skip = 1 if pole_points else 0
        if across:
            north = _beyond(x[..., skip : skip + top, :], sign, offset)
            south = _beyond(x[..., nlat - skip - bottom : nlat - skip, :], sign, offset)
        else:
            north, south = _repeat(x[..., :1, :], -2, top), _repeat(x[..., -1:, :], -2, bottom)
        x = torch.cat([north, x, south], dim=-2)
    if left or right:
        west = x[..., nlon - left :] if periodic else _repeat(x[..., :1], -1, left)
        east = x[..., :right] if periodic else _repeat(x[..., -1:], -1, right)
        x = torch.cat([west, x, east], dim=-1)
    return x


class SphericalPadding(nn.Module):
    """`spherical_pad` with its margins and its grid's topology fixed.

    Parameters
    ----------
    top, bottom, left, right : int
        Rows beyond the north and the south, columns beyond the west and the east.
    periodic, poles, pole_points : bool
        The grid's topology, as in `spherical_pad`; `SphericalPadding.on(grid, ...)` takes it from a grid.
    sign, offset : Tensor [channel], optional
        What becomes of a channel across a pole, as in `spherical_pad`. Not part of the state dict: they follow from the
        variables and their normalisation, which are kept elsewhere.
    """

    sign: Tensor | None
    offset: Tensor | None

    def __init__(
        self,
        top: int,
        bottom: int,
        left: int,
        right: int,
        *,
        periodic: bool,
        poles: bool,
        pole_points: bool,
        sign: Tensor | None = None,
        offset: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.margins = (top, bottom, left, right)
        self.periodic, self.poles, self.pole_points = periodic, poles, pole_points
        self.register_buffer("sign", sign, persistent=False)
        self.register_buffer("offset", offset, persistent=False)

    @classmethod
    def on(
        cls,
        grid: LatLonGrid,
        top: int,
        bottom: int,
        left: int,
        right: int,
        *,
        sign: Tensor | None = None,
        offset: Tensor | None = None,
    ) -> SphericalPadding:
        """Padding for fields on `grid`."""
        return cls(
            top,
            bottom,
            left,
            right,
            periodic=grid.periodic,
            poles=grid.reaches_poles,
            pole_points=grid.pole_points,
            sign=sign,
            offset=offset,
        )

    def forward(self, x: Tensor) -> Tensor:
        """[..., channel, lat, lon] → [..., channel, top + lat + bottom, left + lon + right]."""
        return spherical_pad(
            x,
            *self.margins,
            periodic=self.periodic,
            poles=self.poles,
            pole_points=self.pole_points,
            sign=self.sign,
            offset=self.offset,
        )

    def crop(self, x: Tensor) -> Tensor:
        """Take the margins off again: [..., top + lat + bottom, left + lon + right] → [..., lat, lon]."""
        top, bottom, left, right = self.margins
        return x[..., top : x.shape[-2] - bottom, left : x.shape[-1] - right]

    def extra_repr(self) -> str:
        top, bottom, left, right = self.margins
        return f"{top=}, {bottom=}, {left=}, {right=}"


def _beyond(rows: Tensor, sign: Tensor | None, offset: Tensor | None) -> Tensor:
    """Rows [..., channel, row, lon] as they are met in walking across the pole: in reverse, from the other side."""
    nlon = rows.shape[-1]
    half = nlon // 2
    mirrored = rows.flip(-2)
    turned = torch.cat([mirrored[..., nlon - half :], mirrored[..., : nlon - half]], dim=-1)
    if nlon % 2:  # the opposite meridian lies between the columns half and half + 1 steps away
        further = torch.cat([mirrored[..., nlon - half - 1 :], mirrored[..., : nlon - half - 1]], dim=-1)
        turned = (turned + further) / 2
    if sign is not None:
        turned = turned * sign.to(turned.dtype)[:, None, None]
    if offset is not None:
        turned = turned + offset.to(turned.dtype)[:, None, None]
    return turned


def _repeat(edge: Tensor, dim: int, count: int) -> Tensor:
    shape = list(edge.shape)
    shape[dim] = count
    return edge.expand(shape)


def _check(where: str, margins: tuple[int, int], most: int | None, size: str) -> None:
    if min(margins) < 0:
        raise ValueError(f"padding {where} is {margins[0]} and {margins[1]}: it can't be negative.")
    if most is not None and max(margins) > most:
        raise ValueError(
            f"padding {where} is {margins[0]} and {margins[1]}, but a field of {size} has only {most} to give."
        )
