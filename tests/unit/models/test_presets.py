"""Published sizes: each preset in configs/models has the number of parameters that its source has."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

from credit_ray.models.arguments import NetworkShape
from credit_ray.models.network import build_network

MODELS = Path(__file__).parents[3] / "configs" / "models"


@pytest.mark.parametrize(
    ("name", "grid", "history", "channels", "millions"),
    [
        ("wxformer_credit_6h", (640, 1280), 1, (74, 71), 155),
        ("wxformer_credit_1deg", (181, 360), 1, (79, 84), 7.9),
        ("fuxi_credit_6h", (640, 1280), 2, (74, 71), 261),
        ("camulator", (192, 288), 1, (136, 147), 874),
    ],
)
def test_a_preset_has_the_published_number_of_parameters(
    name: str, grid: tuple[int, int], history: int, channels: tuple[int, int], millions: float
) -> None:
    arguments = yaml.safe_load((MODELS / f"{name}.yaml").read_text(encoding="utf-8"))["model"]
    network = arguments.pop("network")
    assert arguments.pop("residual") is False
    shape = NetworkShape(
        history=history,
        in_channels=channels[0],
        out_channels=channels[1],
        grid=grid,
        periodic=True,
        poles=True,
        pole_points=False,
        pole_sign=(1.0,) * channels[0],
        pole_offset=(0.0,) * channels[0],
    )
    with torch.device("meta"):
        count = sum(parameter.numel() for parameter in build_network(network, arguments, shape).parameters())
    assert count / 1e6 == pytest.approx(millions, rel=0.01)
