"""Arguments of the mesh's graph network."""

from __future__ import annotations

from dataclasses import dataclass

from credit_ray.errors import ConfigError
from credit_ray.models.arguments.rules import globe, part, positive, rectangle
from credit_ray.models.arguments.shape import NetworkShape


@dataclass(frozen=True, kw_only=True)
class GraphCastArguments:
    """Arguments of `graphcast`.

    Parameters
    ----------
    refinement : int
        How often the faces of the icosahedron are split into four: 10·4^refinement + 2 nodes, which may not be more than the grid has cells.
    width : int
        Channels of nodes and edges.
    depth : int
        Rounds of messages on the mesh.
    radius : float
        A node hears of the grid's cells within this part of the mesh's longest edge. Below 0.58 some cells would be heard by no node.
    dropout : float
        Part of each round's messages' channels that is left out of a training step.
    """

    refinement: int = 3
    width: int = 64
    depth: int = 4
    radius: float = 0.6
    dropout: float = 0.0

    def __post_init__(self) -> None:
        for name in ("width", "depth"):
            positive(name, getattr(self, name))
        if self.refinement < 0:
            raise ValueError(f"refinement is {self.refinement}: it can't be negative")
        if self.radius < 0.58:
            raise ValueError(f"radius is {self.radius}: below 0.58 some cells would be heard by no node")
        part("dropout", self.dropout)

    def check(self, shape: NetworkShape) -> None:
        """Raise ConfigError where the mesh has more nodes than the grid has cells."""
        rows, columns = rectangle("graphcast", shape)
        globe("graphcast", shape)
        fit = [n for n in range(12) if 10 * 4**n + 2 <= rows * columns]
        if self.refinement not in fit:
            way = f"at most {fit[-1]} fits" if fit else "the grid is too small for a mesh"
            raise ConfigError(
                f"model.refinement: {self.refinement} makes a mesh of {10 * 4**self.refinement + 2} nodes, more than the {rows * columns} cells of a grid "
                f"of {rows}×{columns}: {way}."
            )
