"""The ocean's network and its land."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from credit_ray.errors import ConfigError
from credit_ray.models.arguments import NetworkShape, SamudraArguments
from credit_ray.models.conformance import Subject, fields, global_shape
from credit_ray.models.samudra import OceanMean
from credit_ray.models.sphere import Topology

SMALL = Subject(network="samudra", arguments={"widths": (4, 6, 6), "dilations": (1, 2, 1)})


def with_land(rows: int = 16, columns: int = 32, **changed: object) -> NetworkShape:
    """A continent; the second channel, a deeper level, has less ocean still."""
    mask = np.ones((2, rows, columns), bool)
    mask[:, 3:11, 5:14] = False
    mask[1, :, 20:24] = False
    return global_shape(rows, columns, mask=mask, **changed)  # type: ignore[arg-type]


def test_outputs_are_zero_on_land_and_nowhere_else() -> None:
    shape = with_land()
    out = SMALL.build(shape)(fields(shape))[0]
    assert shape.mask is not None
    assert torch.equal(out != 0, torch.from_numpy(shape.mask))


def test_what_stands_on_land_does_not_matter() -> None:
    shape = with_land()
    network, x = SMALL.build(shape), fields(shape)
    filled = x.clone()
    filled[..., 3:11, 5:14] = 1e3
    assert torch.equal(network(filled), network(x))
    filled[..., 3, 4] = 1e3  # a coast
    assert not torch.allclose(network(filled), network(x))


@pytest.mark.parametrize("kind", ["cells", "points"])
def test_a_coarse_cell_is_the_mean_of_its_ocean(kind: str) -> None:
    topology = Topology.of(global_shape(9 if kind == "points" else 8, 12, kind=kind))
    torch.manual_seed(0)
    wet = (torch.rand(1, 1, topology.rows, topology.columns) > 0.6).double()
    x = torch.randn(1, 2, topology.rows, topology.columns, dtype=torch.float64) * wet
    found = OceanMean(topology, wet).double()(x)[0]
    kernel = {-1: 0.25, 0: 0.5, 1: 0.25} if kind == "points" else {0: 0.5, 1: 0.5}
    checked = 0
    for row in range(1, topology.coarser().rows - 1):
        for column in range(topology.coarser().columns):
            cells = [(2 * row + dy, 2 * column + dx, weight) for dy, weight in kernel.items() for dx in (0, 1)]
            share = sum(weight * wet[0, 0, y, c].item() for y, c, weight in cells)
            for channel in range(2):
                total = sum(weight * x[0, channel, y, c].item() for y, c, weight in cells)
                wanted = total / share if share else 0.0
                assert found[channel, row, column].item() == pytest.approx(wanted, abs=1e-6)
                checked += bool(share)
    assert checked > 10


def test_a_uniform_ocean_stays_uniform_up_to_its_coast() -> None:
    shape = with_land()
    topology = Topology.of(shape)
    assert shape.mask is not None
    wet = torch.from_numpy(shape.mask).double().amax(0)[None, None]
    pooled = OceanMean(topology, wet).double()(3 * wet)
    assert set(pooled.unique().round(decimals=5).tolist()) == {0.0, 3.0}


@pytest.mark.parametrize("rows", [9, 16, 17, 33])
@pytest.mark.parametrize("dilations", [(1, 1), (1, 4), (2, 8), (1, 2, 8), (1, 1, 1, 1, 1), (1, 1, 1, 1, 1, 1, 1)])
def test_what_passes_the_check_runs_and_so_does_what_a_refusal_advises(rows: int, dilations: tuple[int, ...]) -> None:
    shape = global_shape(rows, 32, kind="points" if rows % 2 else "cells")
    while (refusal := refused(dilations, shape)) is not None:
        level, most = (int(re.findall(pattern, refusal)[0]) for pattern in (r"at level (\d+)", r"at most (\d+)"))
        narrower = dilations[:most] if "levels fit" in refusal else (*dilations[: level - 1], most, *dilations[level:])
        assert narrower != dilations
        dilations = narrower
    given = {"widths": (2,) * len(dilations), "dilations": dilations}
    assert Subject(network="samudra", arguments=given).build(shape)(fields(shape)).shape == (1, 2, rows, 32)


def refused(dilations: tuple[int, ...], shape: NetworkShape) -> str | None:
    try:
        SamudraArguments(widths=(2,) * len(dilations), dilations=dilations).check(shape)
    except ConfigError as error:
        return str(error)
    return None
