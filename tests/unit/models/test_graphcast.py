"""The graph network's mesh, edges and messages."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from credit_ray.errors import ConfigError
from credit_ray.grid.icosahedron import points_on_sphere
from credit_ray.models.arguments import GraphCastArguments
from credit_ray.models.conformance import Subject, fields, global_shape, regional_shape
from credit_ray.models.graphcast import Messages, Update, as_seen_from

SMALL = Subject(network="graphcast", arguments={"refinement": 1, "width": 8, "depth": 2})


@pytest.mark.parametrize("kind", ["cells", "points", "gaussian"])
def test_every_cell_is_heard_and_reads_three_corners(kind: str) -> None:
    shape = global_shape(17, 32, kind=kind)
    network: Any = SMALL.build(shape)
    cells, nodes = 17 * 32, 42
    heard = network.to_mesh.ends
    assert set(heard[0].tolist()) == set(range(cells))
    assert int(heard[1].max()) < nodes
    assert torch.equal(torch.bincount(network.to_grid.ends[1]), torch.full((cells,), 3))
    assert network.on_mesh.ends.shape[1] == 60 + 240


@pytest.mark.parametrize("batch", [1, 3])
def test_messages_are_those_of_a_layer_on_an_edge_and_both_its_ends(batch: int) -> None:
    torch.manual_seed(0)
    width, ends = 5, torch.tensor([[0, 1, 2, 2, 0], [1, 1, 0, 3, 3]])
    layer, update = Messages(width).double(), Update(width).double()
    edges = torch.randn(batch, 5, width, dtype=torch.float64)
    senders, receivers = (torch.randn(batch, n, width, dtype=torch.float64) for n in (3, 4))
    said = layer(edges, senders, receivers, ends)
    joined = torch.cat([layer.edge.weight, layer.sender.weight, layer.receiver.weight], 1)
    heard = torch.zeros(batch, 4, width, dtype=torch.float64)
    for b in range(batch):
        for number, (sent, received) in enumerate(ends.T.tolist()):
            together = torch.cat([edges[b, number], senders[b, sent], receivers[b, received]])
            hidden = torch.nn.functional.silu(joined @ together + layer.edge.bias)
            wanted = layer.norm(layer.second(hidden))
            torch.testing.assert_close(said[b, number], wanted)
            heard[b, received] += wanted
    found = update(receivers, said, ends)
    torch.testing.assert_close(found, receivers + update.mlp(torch.cat([receivers, heard], -1)))


def test_an_edge_looks_the_same_from_anywhere_on_its_parallel() -> None:
    latitude, away = np.array([-80.0, 0.0, 35.0, 89.0]), np.array([10.0, -5.0, 3.0, 0.5])
    seen = [
        as_seen_from(points_on_sphere(latitude, np.full(4, turn)), points_on_sphere(latitude + away / 2, turn + away))
        for turn in (0.0, 77.0, 231.0)
    ]
    for other in seen[1:]:
        np.testing.assert_allclose(other, seen[0], atol=1e-12)


def test_a_neighbour_in_the_east_is_seen_in_the_east() -> None:
    here, there = (
        points_on_sphere(np.array([0.0, 40.0]), np.array([10.0, 350.0])),
        points_on_sphere(np.array([0.0, 40.1]), np.array([10.1, 350.0])),
    )
    step = np.radians(0.1)
    np.testing.assert_allclose(as_seen_from(here, there), [[0, step, 0], [0, 0, step]], atol=2e-6)


def test_the_coarsest_edges_carry_news_to_the_other_side_of_the_globe() -> None:
    # Two steps up to a corner of the icosahedron, three across it, two down: seven. By the shortest edges alone it would be twelve.
    shape = global_shape(16, 32)
    x = fields(shape)
    network = Subject(network="graphcast", arguments={"refinement": 2, "width": 8, "depth": 7}).build(shape)
    changed = x.clone()
    changed[..., 8, 4] += 1.0
    assert (network(changed) - network(x))[..., 7, 20].any()


def test_a_mesh_finer_than_the_grid_and_a_region_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"model\.refinement: 4 makes a mesh of 2562 nodes, .* at most 2 fits"):
        GraphCastArguments(refinement=4).check(global_shape(16, 32))
    GraphCastArguments(refinement=2).check(global_shape(16, 32))
    with pytest.raises(ConfigError, match="takes global grids"):
        GraphCastArguments().check(regional_shape(21, 30))
    with pytest.raises(ValueError, match="radius is 0.5: below 0.58"):
        GraphCastArguments(radius=0.5)
