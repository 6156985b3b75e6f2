"""Arguments of SFNO."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from credit_ray.errors import ConfigError, DataError
from credit_ray.grid.latlon import LatLonGrid
from credit_ray.grid.legendre import exact_degree, quadrature
from credit_ray.models.arguments.rules import divides, globe, part, positive, rectangle
from credit_ray.models.arguments.shape import NetworkShape


@dataclass(frozen=True, kw_only=True)
class SFNOArguments:
    """Arguments of `sfno`.

    Parameters
    ----------
    width : int
        Channels.
    depth : int
        Blocks of a spectral filter and a feed-forward layer.
    coarsening : int
        By how much the Gaussian grid of the blocks is coarser than that of the data; must divide the columns.
    degree : int, optional
        Highest degree of the filters; by default the highest that both grids resolve.
    expansion : int
        Hidden channels of the feed-forward layers, relative to the width.
    dropout : float
        Part of the hidden channels that is left out of a training step.
    """

    width: int = 64
    depth: int = 4
    coarsening: int = 1
    degree: int | None = None
    expansion: int = 2
    dropout: float = 0.0

    def __post_init__(self) -> None:
        for name in ("width", "depth", "coarsening", "expansion"):
            positive(name, getattr(self, name))
        if self.degree is not None:
            positive("degree", self.degree)
        part("dropout", self.dropout)

    def equivariant_roll(self, shape: NetworkShape) -> int | None:
        """By whole columns of the inner grid."""
        return self.coarsening

    def check(self, shape: NetworkShape) -> None:
        """Raise ConfigError where the grid has no spherical harmonics, or not so many."""
        rectangle("sfno", shape)
        try:
            quadrature(globe("sfno", shape))
        except DataError as error:
            raise ConfigError(f"model.network: 'sfno': {error}") from None
        divides("coarsening", self.coarsening, shape.grid[1], "columns")
        most = min(exact_degree(grid) for grid in self.grids(shape))
        if most < 1:
            raise ConfigError(
                f"model.coarsening: {self.coarsening} leaves nothing of a grid of {shape.grid}: use a smaller one."
            )
        if self.degree is not None and self.degree > most:
            raise ConfigError(f"model.degree: {self.degree} is not resolved by these grids: at most {most}.")

    def grids(self, shape: NetworkShape) -> tuple[LatLonGrid, LatLonGrid]:
        """The grid of the data, and that of the blocks."""
        outer = globe("sfno", shape)
        if self.coarsening == 1:
            return outer, outer
        rows, columns = -(-shape.grid[0] // self.coarsening), shape.grid[1] // self.coarsening
        longitude = shape.longitude[0] + np.arange(columns) * (360 / columns)
        return outer, LatLonGrid(LatLonGrid.gaussian(rows, columns).latitude, longitude)

    def lmax(self, shape: NetworkShape) -> int:
        """Highest degree of the filters."""
        return self.degree or min(exact_degree(grid) for grid in self.grids(shape))
