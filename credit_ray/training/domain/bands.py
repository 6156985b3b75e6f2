"""Bands of latitude: which rows are whose, and what lies beyond a band's edges.

A band is full circles of latitude, so all that goes round the globe, across a pole too, stays within one; what lies north and south of it
is its neighbours'.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from itertools import pairwise

import torch
from torch import Tensor, nn

from credit_ray.errors import ConfigError
from credit_ray.models.sphere import Topology
from credit_ray.training.domain.exchange import Ring, neighbours_rows


@dataclass(frozen=True)
class Bands:
    """Where a map is cut.

    Parameters
    ----------
    bounds : tuple of int
        First row of each band, north to south, and the number of all rows.
    """

    bounds: tuple[int, ...]

    @classmethod
    def cut(cls, rows: int, count: int, *, unit: int, north: int = 0, south: int = 0) -> Bands:
        """About equal bands of a map that is extended by `north` and `south` rows, between multiples of `unit` of its rows then.

        Raises
        ------
        ConfigError
            Where there are fewer units than bands.
        """
        units = -(-(north + rows + south) // unit)
        inner = [round(k * units / count) * unit - north for k in range(1, count)]
        if any(a >= b for a, b in pairwise([0, *inner, rows])):
            raise ConfigError(
                f"resources.parallel.domain is {count}, but this network's {rows} rows can only be cut at every {unit} of them: "
                f"use at most {max(rows // unit, 1)} bands, or a network of fewer levels or smaller windows."
            )
        return cls((0, *inner, rows))

    @property
    def rows(self) -> tuple[int, ...]:
        """Of each band."""
        return tuple(b - a for a, b in pairwise(self.bounds))

    def of(self, index: int) -> slice:
        """Rows of one band."""
        return slice(self.bounds[index], self.bounds[index + 1])

    def strided(self, stride: int, rows: int) -> Bands:
        """Of a map of so many rows, one for each `stride` of these; all inner bounds are multiples of it."""
        return Bands((*(bound // stride for bound in self.bounds[:-1]), rows))

    def extended(self, north: int, south: int) -> Bands:
        """Of the map with margins, which are the outer bands'."""
        return Bands((0, *(bound + north for bound in self.bounds[1:-1]), self.bounds[-1] + north + south))


@dataclass(frozen=True, kw_only=True)
class BandTopology(Topology):
    """One band of a map: `rows` are its own, and its neighbours are asked for what lies beyond.

    Parameters
    ----------
    bands : Bands
        All bands of the map.
    ring : Ring
        Who has them.
    beyond : (int, int)
        Rows in the north and in the south by which every margin extends the whole map, before it shows what lies beyond its edges: between
        bands there are none of them.
    """

    bands: Bands
    ring: Ring
    beyond: tuple[int, int] = (0, 0)

    @classmethod
    def part(cls, whole: Topology, bands: Bands, ring: Ring, beyond: tuple[int, int] = (0, 0)) -> BandTopology:
        """This worker's band of a map."""
        values = {field.name: getattr(whole, field.name) for field in fields(Topology)}
        return cls(**{**values, "rows": bands.rows[ring.index]}, bands=bands, ring=ring, beyond=beyond)

    @property
    def odd_rows(self) -> int:
        """As of the whole map: all bands take as many rows from their neighbours."""
        return self.bands.bounds[-1] % 2

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
        """As `Topology.pad`, with the neighbours' rows where the map goes on."""
        ring, inner = self.ring, (top - self.beyond[0], bottom - self.beyond[1])
        outer = (top if ring.first else 0, bottom if ring.last else 0)
        self._refuse_wider(max(top, bottom))
        north, south = neighbours_rows(x, *inner, ring) if any(inner) else (x[..., :0, :], x[..., :0, :])
        mine = super().pad(x, *outer, 0, 0, sign=sign, offset=offset)
        return super().pad(torch.cat([north, mine, south], -2), 0, 0, left, right)

    def own(self, field: Tensor) -> Tensor:
        """This band's rows of a field [..., rows, columns] of the whole map."""
        return field[..., self.bands.of(self.ring.index), :]

    def _refuse_wider(self, margin: int) -> None:
        thinnest = min(self.bands.rows)
        if margin > thinnest - (self.north_point or self.south_point):
            raise ConfigError(
                f"resources.parallel.domain is {self.ring.size}: a level of {self.bands.bounds[-1]} rows is cut into bands of as few as {thinnest}, "
                f"and a layer needs {margin} beyond its own. Use fewer bands, or a network of fewer levels."
            )


def cut_topologies(network: nn.Module, parts: Mapping[Topology, BandTopology]) -> None:
    """Give each layer that holds a topology, or a list of them, its band of it."""
    for module in network.modules():
        for name, value in list(vars(module).items()):
            if isinstance(value, Topology):
                setattr(module, name, parts[value])
            elif isinstance(value, list) and value and all(isinstance(item, Topology) for item in value):
                setattr(module, name, [parts[item] for item in value])
