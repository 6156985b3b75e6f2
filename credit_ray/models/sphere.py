"""What networks on a rectangle of the sphere share: where a grid's rows lie to the poles, at each level of coarsening,
and convolutions, down- and up-sampling that see no edges.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from credit_ray.grid.padding import spherical_pad
from credit_ray.models.arguments import NetworkShape


@dataclass(frozen=True, kw_only=True)
class Topology:
    """Rows and columns, and what lies beyond them.

    Each end has its own flag: halving 10 rows that begin and end on the poles leaves a row on one of them only.

    Parameters
    ----------
    rows, columns : int
        Size.
    periodic, poles : bool
        Whether columns go round the circle, and rows reach both poles.
    north_point, south_point : bool
        Whether the first, and the last, row is the pole itself; else the pole lies half a row beyond it.
    """

    rows: int
    columns: int
    periodic: bool
    poles: bool
    north_point: bool
    south_point: bool

    @classmethod
    def of(cls, shape: NetworkShape) -> Topology:
        """The topology of the fields that a network is given."""
        rows, columns = shape.grid
        points = shape.poles and shape.pole_points
        return cls(
            rows=rows,
            columns=columns,
            periodic=shape.periodic,
            poles=shape.poles,
            north_point=points,
            south_point=points,
        )

    def coarser(self) -> Topology:
        """Half as many rows and columns, rounded up.

        From a pole every other row is kept, so that the first stays on the pole; else rows are taken in pairs. Where the
        last coarse row then lies relative to the south pole follows from the count.
        """
        rows = -(-self.rows // 2)
        last = 2 * (rows - 1) + (0.0 if self.north_point else 0.5)  # in rows of this topology
        pole = self.rows - 1 + (0.0 if self.south_point else 0.5)
        return replace(
            self,
            rows=rows,
            columns=-(-self.columns // 2),
            south_point=self.poles and pole - last < 0.5,
        )

    def pad(
        self,
        x: Tensor,
        top: int,
        bottom: int,
        left: int,
        right: int,
        *,
        sign: Tensor | None = None,
        offset: Tensor | None = None,
    ) -> Tensor:
        """[batch, channel, rows, columns] with a margin; `sign` and `offset` are what crossing a pole does to a channel."""
        if self.north_point == self.south_point:
            sides = [(top, bottom, left, right, self.north_point)]
        else:
            sides = [(top, 0, 0, 0, self.north_point), (0, bottom, left, right, self.south_point)]
        for *margins, points in sides:
            x = spherical_pad(
                x, *margins, periodic=self.periodic, poles=self.poles, pole_points=points, sign=sign, offset=offset
            )
        return x


class SphericalConv(nn.Module):
    """A convolution of odd kernel that keeps the size of its input and sees no edges.

    Parameters
    ----------
    in_channels, out_channels, kernel : int
        As of `nn.Conv2d`.
    topology : Topology
        Of its input.
    sign, offset : Tensor [in_channels], optional
        What crossing a pole does to a channel, where the input is physical; hidden channels have neither.
    """

    sign: Tensor | None
    offset: Tensor | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        topology: Topology,
        *,
        sign: Tensor | None = None,
        offset: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.topology, self.margin = topology, kernel // 2
        self.conv = nn.Conv2d(in_channels, out_channels, kernel)
        self.register_buffer("sign", sign, persistent=False)
        self.register_buffer("offset", offset, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        n = self.margin
        return self.conv(self.topology.pad(x, n, n, n, n, sign=self.sign, offset=self.offset))


class Downsample(nn.Module):
    """Halve rows and columns, each coarse cell from the fine ones that it covers (from a pole point: from its row and both
    neighbours)."""

    def __init__(self, in_channels: int, out_channels: int, topology: Topology) -> None:
        super().__init__()
        self.topology = topology
        self.conv = nn.Conv2d(in_channels, out_channels, (3 if topology.north_point else 2, 2), stride=2)

    def forward(self, x: Tensor) -> Tensor:
        t = self.topology
        return self.conv(t.pad(x, int(t.north_point), t.rows % 2, 0, t.columns % 2))


def upsample(x: Tensor, coarse: Topology, fine: Topology) -> Tensor:
    """Bilinear interpolation from `coarse` to `fine` (of which it is `coarser()`): linear in between, so no pattern of the
    coarse cells can be left behind.
    """
    x = coarse.pad(x, 1, 1, 1, 1)
    x = _double(x, -2, on_points=coarse.north_point)[..., : fine.rows, :]
    return _double(x, -1, on_points=False)[..., : fine.columns]


def _double(x: Tensor, dim: int, on_points: bool) -> Tensor:
    """Twice as many points between the inner points of `x` along `dim`; the outer ones are margin."""
    size = x.shape[dim] - 2
    before, here, after = (x.narrow(dim, start, size) for start in range(3))
    if on_points:
        even, odd = here, torch.lerp(here, after, 0.5)
    else:
        even, odd = torch.lerp(here, before, 0.25), torch.lerp(here, after, 0.25)
    return torch.stack([even, odd], dim if dim > 0 else dim + x.ndim + 1).flatten(dim - 1, dim) if False else _interleave(even, odd, dim)


def _interleave(even: Tensor, odd: Tensor, dim: int) -> Tensor:
    dim = dim % even.ndim
    return torch.stack([even, odd], dim + 1).flatten(dim, dim + 1)
