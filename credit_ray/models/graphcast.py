"""A graph network on an icosahedral mesh: encoder, processor, decoder (after GraphCast, Lam et al. 2023, arXiv:2212.12794).

The grid's cells tell the mesh's nodes within reach what they hold; the nodes pass messages in several rounds, along the edges of all
refinements of the mesh at once, the coarsest of which span continents; and each cell reads the three corners of the triangle it lies
in. Edges know their length and direction as seen from where they end, nodes and cells their place, so that there is no seam and no pole.
Messages are summed by `index_add`: no library of graphs is needed.

What a layer does to the concatenation of an edge and its two ends is done to each before they are gathered, which is the same sum and
far less work, since there are more edges than nodes.

Tested sizes (75 channels in, 71 out; parameters by a test):

| | refinement | width | depth | grid | parameters |
| --- | --- | --- | --- | --- | --- |
| default | 3 | 64 | 4 | 32×64 | 0.22 M |
| GraphCast | 6 | 512 | 16 | 721×1440, 2 × 237 channels in, 227 out | 35.6 M (the paper: 36.7 M) |
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor, nn

from credit_ray.grid.icosahedron import icosphere, points_on_sphere
from credit_ray.models.arguments import GraphCastArguments, NetworkShape

_EDGE_FEATURES = 4
_PLACE_FEATURES = 3

Array = NDArray[np.float64]


class MLP(nn.Module):
    """Two layers, then layer norm: on each node or edge by itself."""

    def __init__(self, width_in: int, width: int) -> None:
        super().__init__()
        self.first, self.second, self.norm = nn.Linear(width_in, width), nn.Linear(width, width), nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.second(F.silu(self.first(x))))


class Edges(nn.Module):
    """From which node to which, and what an edge knows of itself.

    Parameters
    ----------
    ends : array [2, edge]
        Indices of senders and receivers.
    senders, receivers : array [node, 3]
        Where the nodes are, on the unit sphere.
    scale : float
        Lengths are given relative to it.
    """

    ends: Tensor
    features: Tensor

    def __init__(self, ends: NDArray[np.int64], senders: Array, receivers: Array, scale: float) -> None:
        super().__init__()
        self.register_buffer("ends", torch.from_numpy(ends), persistent=False)
        seen = as_seen_from(receivers[ends[1]], senders[ends[0]]) / scale
        features = np.concatenate([np.linalg.norm(seen, axis=-1, keepdims=True), seen], -1)
        self.register_buffer("features", torch.from_numpy(features).float(), persistent=False)  # [edge, 4]


class Messages(nn.Module):
    """What each edge makes of itself and of its two ends: an MLP of all three."""

    def __init__(self, width: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.edge, self.sender = nn.Linear(width, width), nn.Linear(width, width, bias=False)
        self.receiver = nn.Linear(width, width, bias=False)
        self.second, self.norm, self.dropout = nn.Linear(width, width), nn.LayerNorm(width), nn.Dropout(dropout)

    def forward(self, edges: Tensor, senders: Tensor, receivers: Tensor, ends: Tensor) -> Tensor:
        """[(batch,) edge, width], two of [batch, node, width] → [batch, edge, width]."""
        hidden = self.edge(edges) + self.sender(senders)[:, ends[0]] + self.receiver(receivers)[:, ends[1]]
        return self.norm(self.second(self.dropout(F.silu(hidden))))


class Update(nn.Module):
    """A node's new features, from its own and the sum of the messages that reached it; added to what it had."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mlp = MLP(2 * width, width)

    def forward(self, nodes: Tensor, messages: Tensor, ends: Tensor) -> Tensor:
        heard = torch.zeros(
            len(messages), nodes.shape[1], messages.shape[-1], dtype=messages.dtype, device=messages.device
        )
        heard = heard.index_add(1, ends[1], messages)
        return nodes + self.mlp(torch.cat([nodes.expand(len(heard), -1, -1), heard.to(nodes.dtype)], -1))


class Round(nn.Module):
    """One exchange on the mesh: edges, then nodes; both add to what they had."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.messages, self.update = Messages(width, dropout), Update(width)

    def forward(self, nodes: Tensor, edges: Tensor, ends: Tensor) -> tuple[Tensor, Tensor]:
        said = self.messages(edges, nodes, nodes, ends)
        return self.update(nodes, said, ends), edges + said


class GraphCast(nn.Module):
    """[batch, time, in_channels, lat, lon] → [batch, out_channels, lat, lon], on a global grid.

    Parameters
    ----------
    arguments : GraphCastArguments
        Mesh, width, depth.
    shape : NetworkShape
        Of the data.
    """

    cells: Tensor
    nodes: Tensor

    def __init__(self, arguments: GraphCastArguments, shape: NetworkShape) -> None:
        super().__init__()
        width = arguments.width
        latitude, longitude = np.meshgrid(shape.latitude, shape.longitude, indexing="ij")
        cells = points_on_sphere(latitude, longitude).reshape(-1, 3)
        meshes = icosphere(arguments.refinement)
        mesh = meshes[-1]
        nodes, finest = mesh.vertices, mesh.edges
        longest = float(np.linalg.norm(nodes[finest[0]] - nodes[finest[1]], axis=-1).max())
        ends = np.concatenate([m.edges for m in meshes], 1)
        ends = ends[:, np.argsort(ends[1], kind="stable")]  # neighbours in memory are summed into one node
        self.to_mesh = Edges(_within(cells, nodes, arguments.radius * longest), cells, nodes, longest)
        self.on_mesh = Edges(ends, nodes, nodes, longest)
        corners = mesh.faces_of(cells)
        to_grid = np.stack([corners.ravel(), np.arange(len(cells)).repeat(3)])
        self.to_grid = Edges(to_grid, nodes, cells, longest)
        self.register_buffer("cells", torch.from_numpy(_place(cells)).float(), persistent=False)
        self.register_buffer("nodes", torch.from_numpy(_place(nodes)).float(), persistent=False)

        channels = shape.history * shape.in_channels
        self.embed_cells = MLP(channels + _PLACE_FEATURES, width)
        self.embed_nodes = MLP(_PLACE_FEATURES, width)
        self.embed_edges = nn.ModuleList(MLP(_EDGE_FEATURES, width) for _ in range(3))
        self.encode, self.encode_nodes, self.encode_cells = Messages(width), Update(width), MLP(width, width)
        self.rounds = nn.ModuleList(Round(width, arguments.dropout) for _ in range(arguments.depth))
        self.decode, self.decode_cells = Messages(width), Update(width)
        self.before, self.head = nn.Linear(width, width), nn.Linear(width, shape.out_channels)
        nn.init.zeros_(self.head.weight)  # an untrained network that predicts changes is persistence
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor) -> Tensor:
        batch, rows, columns = x.shape[0], x.shape[-2], x.shape[-1]
        x = x.flatten(1, 2).flatten(2).mT  # [batch, cell, channel]
        cells = self.embed_cells(torch.cat([x, self.cells.to(x.dtype).expand(batch, -1, -1)], -1))
        nodes = self.embed_nodes(self.nodes)[None]  # [1, node, width]
        to_mesh, on_mesh, to_grid = (
            embed(edges.features)
            for embed, edges in zip(self.embed_edges, (self.to_mesh, self.on_mesh, self.to_grid), strict=True)
        )
        said = self.encode(to_mesh, cells, nodes, self.to_mesh.ends)
        nodes, cells = self.encode_nodes(nodes, said, self.to_mesh.ends), cells + self.encode_cells(cells)
        for exchange in self.rounds:
            nodes, on_mesh = exchange(nodes, on_mesh, self.on_mesh.ends)
        said = self.decode(to_grid, nodes, cells, self.to_grid.ends)
        cells = self.decode_cells(cells, said, self.to_grid.ends)
        return self.head(F.silu(self.before(cells))).mT.unflatten(2, (rows, columns))


def as_seen_from(here: Array, there: Array) -> Array:
    """there − here in a frame whose first axis is up, second east and third north at `here`: two of [n, 3] → [n, 3].

    At a pole, east is where it is on the meridian of Greenwich.
    """
    flat = np.hypot(here[:, 0], here[:, 1])
    on_pole = flat < 1e-12
    cosine = np.where(on_pole, 1.0, here[:, 0] / np.where(on_pole, 1.0, flat))
    sine = np.where(on_pole, 0.0, here[:, 1] / np.where(on_pole, 1.0, flat))
    east = np.stack([-sine, cosine, np.zeros_like(sine)], -1)
    frame = np.stack([here, east, np.cross(here, east)], 1)  # [n, axis, 3]
    return np.einsum("nax,nx->na", frame, there - here)


def _within(cells: Array, nodes: Array, radius: float) -> NDArray[np.int64]:
    """Edges [2, edge] from each cell to all nodes within a radius, sorted by node."""
    heard: Any = cKDTree(cells).query_ball_point(nodes, radius, return_sorted=True)
    counts = [len(some) for some in heard]
    senders = np.concatenate([np.asarray(some, dtype=np.int64) for some in heard])
    return np.stack([senders, np.arange(len(nodes)).repeat(counts)])


def _place(points: Array) -> Array:
    """Sine of the latitude, and cosine and sine of the longitude."""
    flat = np.maximum(np.hypot(points[:, 0], points[:, 1]), 1e-12)
    return np.stack([points[:, 2], points[:, 0] / flat, points[:, 1] / flat], -1)
