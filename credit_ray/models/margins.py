"""The margins of a network's input: what lies beyond its edges, or what CREDIT took for it."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from credit_ray.models.arguments import NetworkShape
from credit_ray.models.sphere import ReflectedInput, Topology


class InputMargins(nn.Module):
    """[batch, time, channel, rows, columns] → [batch, time · channel, rows, columns], channels last in memory, with margins.

    Parameters
    ----------
    shape : NetworkShape
        Of the data.
    margins : tuple of int
        Rows in the north and the south, columns in the west and the east.
    beyond : {"sphere", "earth", "mirror"}
        What lies there; rows across the pole, from the other side, whether the poles lie on rows or between them, and nothing changes
        sign; or rows reflected at the outermost one. The longitudes go round in each case.
    """

    def __init__(
        self,
        shape: NetworkShape,
        margins: tuple[int, int, int, int],
        beyond: Literal["sphere", "earth", "mirror"] = "sphere",
    ) -> None:
        super().__init__()
        self.margins, self.beyond = margins, beyond
        self.sphere = ReflectedInput(shape, *margins) if beyond == "sphere" else None

    def forward(self, x: Tensor) -> Tensor:
        if self.sphere is not None:
            return self.sphere(x)
        x = x.flatten(1, 2).contiguous(memory_format=torch.channels_last)
        top, bottom, left, right = self.margins
        rows = x.shape[-2]
        first = 1 if self.beyond == "mirror" else 0
        north, south = x[..., first : first + top, :], x[..., rows - first - bottom : rows - first, :]
        north, south = north.flip(-2), south.flip(-2)
        if self.beyond == "earth":
            half = x.shape[-1] // 2
            north, south = north.roll(half, -1), south.roll(half, -1)
        x = torch.cat([north, x, south], -2)
        return torch.cat([x[..., x.shape[-1] - left :], x, x[..., :right]], -1)


def padded(topology: Topology, margins: tuple[int, int, int, int], zero: bool) -> Topology:
    """Of the padded map: beyond its margins lies nothing that it knows of, so there its outer cells are repeated."""
    top, bottom, left, right = margins
    periodic = topology.periodic and not (left or right)
    poles = topology.poles and periodic and not (top or bottom)
    return Topology(
        rows=topology.rows + top + bottom,
        columns=topology.columns + left + right,
        periodic=periodic,
        poles=poles,
        north_point=topology.north_point and poles,
        south_point=topology.south_point and poles,
        zero=zero,
    )
