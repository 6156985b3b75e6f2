"""From YAML to a loss, by name, by path and with errors that say where."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from credit_ray.config.loader import validated
from credit_ray.config.model import LossConfig, LossWeights
from credit_ray.config.section import Section
from credit_ray.config.yaml_lines import read_yaml
from credit_ray.errors import ConfigError
from credit_ray.grid import LatLonGrid
from credit_ray.losses.build import build_loss, weight_field
from credit_ray.losses.combined import Sum
from credit_ray.losses.learnable import LearnableWeights
from credit_ray.losses.loss import ByChannel
from credit_ray.registry import losses
from credit_ray.state import Channel, Channels, StateSpec
from credit_ray.times import Step

SPEC = StateSpec(
    prognostic=Channels([Channel(variable="u", units="m s-1"), Channel(variable="t", units="K")]),
    grid=LatLonGrid.gaussian(8),
    step=Step.parse("6h"),
)
STATISTICS: Any = SimpleNamespace(std={"u": 2.0, "t": 4.0}, change_std={"u": 1.0, "t": 1.0})


def config(text: str) -> LossConfig:
    return validated(LossConfig, read_yaml(text, "x.yaml"))


def built(text: str, mask: Tensor | None = None) -> Any:
    given = config(text)
    return build_loss(given, weight_field(given.weights, SPEC, torch.ones(2), mask, STATISTICS), SPEC)


class Shown(Section):
    """A config of which only the loss is of interest."""

    loss: LossConfig


@dataclass(frozen=True, kw_only=True)
class CubeArguments:
    power: int = 3


class Cube(ByChannel):
    """A user's loss."""

    def by_channel(self, prediction: Tensor, target: Tensor) -> Tensor:
        return self.over_places(self.difference(prediction, target).abs().mean(1) ** self.arguments.power)


def test_a_loss_of_ones_own_is_used_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(losses, "_entries", dict(losses._entries))
    losses.register("cube", arguments=CubeArguments)(Cube)
    loss = built("{kind: cube, power: 2}")
    assert float(
        loss(torch.full((1, 1, 2, *SPEC.grid.shape), 3.0), torch.zeros(1, 2, *SPEC.grid.shape), 1)
    ) == pytest.approx(9)
    with pytest.raises(ConfigError, match="powr: is not a key here.*power"):
        config("{kind: cube, powr: 2}")


@pytest.mark.parametrize("kind", ["mse", "mae", "log_cosh", "spectral", "crps"])
def test_a_perfect_forecast_costs_nothing(kind: str) -> None:
    truth = torch.randn(1, 2, *SPEC.grid.shape)
    assert float(built(f"kind: {kind}")(truth[:, None], truth, 1)) == pytest.approx(0, abs=1e-6)


def test_learnable_weights_are_parameters_beside_the_loss() -> None:
    loss = built("{kind: mse, weights: {learnable: true}}")
    assert isinstance(loss, LearnableWeights)
    assert [tuple(p.shape) for p in loss.parameters()] == [(2,)]


def test_parts_are_written_with_all_that_they_mean() -> None:
    given = config("{kind: sum, parts: [{kind: mse}, {kind: power_spectrum, weight: 0.1}]}")
    parts = given.model_dump(mode="json")["parts"]
    assert parts == [
        {"kind": "mse", "weight": 1.0},
        {"kind": "power_spectrum", "weight": 0.1, "transform": "harmonics", "lowest": 1},
    ]
    assert LossConfig.model_validate(given.model_dump()).model_dump() == given.model_dump()
    assert isinstance(built("{kind: sum, parts: [{kind: mse}, {kind: huber, delta: 2}]}"), Sum)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind: rmse", "There is no loss 'rmse'. Did you mean 'mse'?"),
        ("{kind: huber, delta: 0}", "delta is 0.0: it must be more than 0"),
        ("{kind: crps, alpha: 2}", "alpha is 2.0: it must be between 0 and 1"),
        ("{kind: spectral, transform: zonl}", "transform: should be 'harmonics' or 'zonal'"),
        ("{kind: sum, parts: []}", "parts is empty"),
        ("{kind: sum, parts: [{weight: 1}]}", "parts.0: each part names its loss"),
        ("{kind: sum, parts: [{kind: mse, weight: -1}]}", "parts.0: weight is -1"),
        ("{kind: sum, parts: [{kind: mse}, {kind: huber, delt: 1}]}", "parts.1.delt: is not a key here"),
        ("{kind: sum, parts: [{kind: mes}]}", "There is no loss 'mes'"),
        ("{weights: {variables: {t: -1}}}", "weights.variables.t: should be at least 0"),
        ("{weights: {levels: presure}}", "weights.levels: should be"),
        ("{weights: {inverse_variance: both}}", "weights.inverse_variance: should be 'output', 'state' or 'change'"),
    ],
)
def test_what_is_wrong_in_the_section_is_said_with_its_place(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config(text)
    assert message in str(caught.value)


def test_what_does_not_fit_the_data_is_said_when_the_loss_is_built() -> None:
    for text, message in (
        ("{kind: spectral, lowest: 20}", "waves up to number 7"),
        ("{weights: {variables: {tt: 1}}}", "'tt'.*Did you mean 't'"),
        ("{weights: {variables: {t: 0, u: 0}}}", "nothing to learn"),
        ("{weights: {levels: {500: 2}}}", "no output is at level 500"),
    ):
        with pytest.raises(ConfigError, match=message):
            built(text)


def test_the_field_has_area_variables_variance_and_mask_in_it() -> None:
    mask = torch.ones(2, *SPEC.grid.shape, dtype=torch.bool)
    mask[1, 0] = False
    given = config("{weights: {variables: {t: 2}, inverse_variance: state}}")
    field = weight_field(given.weights, SPEC, torch.ones(2), mask, STATISTICS)
    assert torch.equal(field > 0, mask)
    assert float(field[1].sum() / field[0].sum()) == pytest.approx(2 * (2.0 / 4.0) ** 2)
    area = torch.from_numpy(SPEC.grid.area_weights()).float()
    torch.testing.assert_close(field[0] / field[0, 0, 0], area / area[0, 0])


def blocks_of_the_page(language: str) -> list[str]:
    page = (Path(__file__).parents[3] / "docs" / "losses.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.M | re.S)


def test_the_page_about_losses_names_them_all_and_what_it_shows_works(monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[3] / "docs" / "losses.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(\w+)`", page.split("## Weights")[0], re.M)) == set(losses.names())
    assert set(re.findall(r"^\| `(\w+):", page, re.M)) == set(LossWeights.model_fields)
    shown = blocks_of_the_page("yaml")
    assert len(shown) == 2
    for text in shown:
        validated(Shown, read_yaml(text, "page.yaml"))
    monkeypatch.setattr(losses, "_entries", dict(losses._entries))
    module = ModuleType("cubic")
    monkeypatch.setitem(sys.modules, "cubic", module)
    exec(blocks_of_the_page("python")[0], module.__dict__)
    loss = built("{kind: power, exponent: 4}")
    assert float(
        loss(torch.full((1, 1, 2, *SPEC.grid.shape), 2.0), torch.zeros(1, 2, *SPEC.grid.shape), 1)
    ) == pytest.approx(16)
