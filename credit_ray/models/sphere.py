"""What networks on a rectangle of the sphere share: where the rows lie to the poles at each level of coarsening, and
convolutions, down- and up-sampling that see no edges.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
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
    zero : bool
        Whether zeros are seen beyond the edges, whatever lies there.
    """

    rows: int
    columns: int
    periodic: bool
    poles: bool
    north_point: bool
    south_point: bool
    zero: bool = False

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

    @property
    def odd_rows(self) -> int:
        """The row that is left over where the whole map's rows are taken in pairs: 0 or 1."""
        return self.rows % 2

    def coarser(self) -> Topology:
        """Half as many rows and columns, rounded up.

        From a pole point every other row is kept, so that the first stays on the pole; else rows are taken in pairs. Where
        the last coarse row lies relative to the south pole then follows from the count.
        """
        rows = -(-self.rows // 2)
        last = 2 * (rows - 1) + (0.0 if self.north_point else 0.5)  # in rows of this topology
        pole = self.rows - 1 + (0.0 if self.south_point else 0.5)
        return replace(self, rows=rows, columns=-(-self.columns // 2), south_point=self.poles and pole - last < 0.5)

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
        if self.zero:
            return F.pad(x, (left, right, top, bottom))
        if self.north_point == self.south_point:
            sides = [(top, bottom, left, right, self.north_point)]
        else:
            sides = [(top, 0, 0, 0, self.north_point), (0, bottom, left, right, self.south_point)]
        for *margins, points in sides:
            x = spherical_pad(
                x, *margins, periodic=self.periodic, poles=self.poles, pole_points=points, sign=sign, offset=offset
            )
        return x

    def own(self, field: Tensor) -> Tensor:
        """Those rows of a field [..., rows, columns] of the whole map that are here: all of them, unless it is shared out."""
        return field


class ReflectedInput(nn.Module):
    """The network's input [batch, time, channel, rows, columns], its history flattened time-major, and padded: physical
    channels change across a pole (a vector's component points the other way), hidden ones do not.
    """

    sign: Tensor
    offset: Tensor

    def __init__(self, shape: NetworkShape, top: int, bottom: int, left: int, right: int) -> None:
        super().__init__()
        self.topology, self.margins = Topology.of(shape), (top, bottom, left, right)
        # Not in the state dict: they follow from the variables and their normalisation, which are kept elsewhere.
        self.register_buffer("sign", torch.tensor(shape.pole_sign * shape.history), persistent=False)
        self.register_buffer("offset", torch.tensor(shape.pole_offset * shape.history), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """→ [batch, time · channel, top + rows + bottom, left + columns + right]."""
        x = x.flatten(1, 2).contiguous(memory_format=torch.channels_last)
        return self.topology.pad(x, *self.margins, sign=self.sign, offset=self.offset)


class SphericalConv(nn.Module):
    """A convolution of odd kernel on hidden channels that keeps their size and sees no edges."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, topology: Topology) -> None:
        super().__init__()
        self.topology, self.margin = topology, 0 if topology.zero else kernel // 2
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2 if topology.zero else 0)

    def forward(self, x: Tensor) -> Tensor:
        n = self.margin
        return self.conv(self.topology.pad(x, n, n, n, n) if n else x)


class ChannelNorm(nn.Module):
    """Layer norm over the channels of each place."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ResidualBlock(nn.Module):
    """x + conv(silu(conv(norm(x)))): normalised first, added last (He et al. 2016, arXiv:1603.05027)."""

    def __init__(self, channels: int, kernel: int, topology: Topology, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm = ChannelNorm(channels)
        self.first = SphericalConv(channels, channels, kernel, topology)
        self.dropout = nn.Dropout2d(dropout)
        self.second = SphericalConv(channels, channels, kernel, topology)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(self.dropout(F.silu(self.first(self.norm(x)))))


class ZeroHead(nn.Module):
    """The last layer, which starts at zero: an untrained network that predicts changes is persistence."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(channels)
        self.weight = nn.Parameter(torch.zeros(out_channels, channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(self.norm(x), self.weight, self.bias)


class Downsample(nn.Module):
    """To `topology.coarser()`: each coarse cell from the fine ones that it covers (on pole points: from its row and both
    neighbours)."""

    def __init__(self, in_channels: int, out_channels: int, topology: Topology) -> None:
        super().__init__()
        self.topology = topology
        self.conv = nn.Conv2d(in_channels, out_channels, (3 if topology.north_point else 2, 2), stride=2)

    def forward(self, x: Tensor) -> Tensor:
        t = self.topology
        return self.conv(t.pad(x, int(t.north_point), t.odd_rows, 0, t.columns % 2))


class Upsample(nn.Module):
    """Bilinear interpolation from `topology.coarser()`: linear in between, so that no pattern of the coarse cells is left
    behind."""

    def __init__(self, topology: Topology) -> None:
        super().__init__()
        self.topology, self.coarse = topology, topology.coarser()

    def forward(self, x: Tensor) -> Tensor:
        x = self.coarse.pad(x, 1, 1, 1, 1)
        x = _double(x, 2, on_points=self.coarse.north_point)[:, :, : self.topology.rows]
        return _double(x, 3, on_points=False)[..., : self.topology.columns]


def _double(x: Tensor, dim: int, on_points: bool) -> Tensor:
    """Twice as many points between the inner points of `x` along `dim`; the outer ones are margin."""
    size = x.shape[dim] - 2
    before, here, after = (x.narrow(dim, start, size) for start in range(3))
    if on_points:
        even, odd = here, torch.lerp(here, after, 0.5)
    else:
        even, odd = torch.lerp(here, before, 0.25), torch.lerp(here, after, 0.25)
    return torch.stack([even, odd], dim + 1).flatten(dim, dim + 1)
