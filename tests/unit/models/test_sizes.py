"""Parameters of the sizes that the networks' own tables and docs/networks.md name, counted without making them."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch

from credit_ray.models.arguments import NetworkShape
from credit_ray.models.conformance import global_shape
from credit_ray.models.network import build_network
from credit_ray.registry import networks

DOCS = Path(__file__).parents[3] / "docs" / "networks.md"


def data(rows: int, columns: int, channels_in: int = 75, channels_out: int = 71, **changed: Any) -> NetworkShape:
    return global_shape(
        rows,
        columns,
        **{"history": 1, "kind": "gaussian", **changed},
        in_channels=channels_in,
        out_channels=channels_out,
        pole_sign=(1.0,) * channels_in,
        pole_offset=(0.0,) * channels_in,
    )


SMALL, ATMOSPHERE, OCEAN = data(32, 64), {"kind": "cells"}, data(180, 360, 154, 77)

SIZES: list[tuple[str, dict[str, Any], NetworkShape, str]] = [
    ("unet", {}, SMALL, "0.86 M"),
    ("unet", {"block": "convnext", "kernel": 7}, SMALL, "0.61 M"),
    ("afno", {}, SMALL, "0.42 M"),
    ("afno", {"patch": 8, "width": 768, "depth": 12}, data(720, 1440, 20, 20, kind="cells"), "74.7 M"),
    ("sfno", {}, SMALL, "1.16 M"),
    ("sfno", {"width": 384, "depth": 8}, data(180, 360, 50, 50), "431 M"),
    ("swin", {}, SMALL, "0.52 M"),
    (
        "swin",
        {"patch": 4, "width": 768, "depth": 12, "heads": 8, "window": 9},
        data(720, 1440, 73, 73, kind="cells"),
        "87.0 M",
    ),
    ("graphcast", {}, SMALL, "0.22 M"),
    # The mesh has GraphCast's 40 962 nodes; parameters do not depend on the grid, and this one is quicker to search.
    (
        "graphcast",
        {"refinement": 6, "width": 512, "depth": 16},
        data(181, 360, 237, 227, history=2, kind="points"),
        "35.6 M",
    ),
    ("samudra", {}, OCEAN, "0.72 M"),
    (
        "samudra",
        {"widths": (200, 250, 300, 400), "dilations": (1, 2, 4, 8), "expansion": 4},
        OCEAN,
        "108 M",
    ),
]


@pytest.mark.parametrize(("name", "arguments", "shape", "wanted"), SIZES, ids=[f"{s[0]} {s[3]}" for s in SIZES])
def test_parameters_are_as_many_as_the_tables_say(
    name: str, arguments: dict[str, Any], shape: NetworkShape, wanted: str
) -> None:
    with torch.device("meta"):
        network = build_network(name, arguments, shape)
    millions = sum(p.numel() for p in network.parameters()) / 1e6
    digits = len(wanted.split(" ")[0].partition(".")[2])
    assert f"{millions:.{digits}f} M" == wanted
    table = import_module(networks.target(name).__module__).__doc__ or ""
    assert wanted in table
    assert wanted in DOCS.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", sorted(networks.builtin))
def test_every_network_has_its_row_in_the_docs(name: str) -> None:
    assert f"| `{name}` |" in DOCS.read_text(encoding="utf-8")
