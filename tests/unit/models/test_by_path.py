"""A network and its arguments in one file of a user's, named in a config by its path, or by an entry point of its package."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from credit_ray.config.loader import load_experiment
from credit_ray.errors import ConfigError
from credit_ray.models.conformance import CHECKS, Subject, global_shape
from credit_ray.models.network import build_network
from credit_ray.registry import networks

MINE = """
from dataclasses import dataclass

from torch import nn

from credit_ray.errors import ConfigError
from credit_ray.registry import networks


@dataclass(frozen=True, kw_only=True)
class MixArguments:
    width: int = 8

    def check(self, shape):
        if shape.grid[1] % self.width:
            raise ConfigError(f"model.width: {self.width} does not divide {shape.grid[1]} columns")


@networks.register("user_mix", arguments=MixArguments)
class Mix(nn.Module):
    def __init__(self, arguments, shape):
        super().__init__()
        self.enter = nn.Conv2d(shape.history * shape.in_channels, arguments.width, 1)
        self.leave = nn.Conv2d(arguments.width, shape.out_channels, 1)

    def forward(self, x):
        return self.leave(self.enter(x.flatten(1, 2)).relu())
"""

CONFIG = """
name: mine
data:
  timestep: 6h
  sources:
    one: {store: nowhere.zarr, prognostic: [t2m]}
  splits: {train: [2000-01-01, 2000-02-01]}
model: {network: "NETWORK", width: 4}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(networks, "_entries", dict(networks._entries))
    before = set(sys.modules)
    (tmp_path / "mine.py").write_text(MINE, encoding="utf-8")
    yield tmp_path
    for name in set(sys.modules) - before:
        if name in ("mine", "inside.mine") or name.startswith("_by_path"):
            del sys.modules[name]


def config(folder: Path, network: str) -> Path:
    path = folder / "config.yaml"
    path.write_text(CONFIG.replace("NETWORK", network), encoding="utf-8")
    return path


@pytest.mark.parametrize("network", ["mine.py:Mix", "./mine.py:Mix", "mine:Mix"])
def test_a_class_is_found_by_its_file_or_module(folder: Path, network: str) -> None:
    model = load_experiment(config(folder, network)).model
    assert model.arguments.width == 4
    assert build_network(model.network, {"width": 4}, global_shape()).get_parameter("leave.weight").shape[1] == 4


def test_a_class_is_found_by_an_entry_point(folder: Path) -> None:
    installed = folder / "mine-0.1.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 0.1\n", encoding="utf-8")
    (installed / "entry_points.txt").write_text("[credit_ray.networks]\nuser_mix = mine:Mix\n", encoding="utf-8")
    model = load_experiment(config(folder, "user_mix")).model
    assert model.arguments.width == 4
    assert "user_mix" in networks.names()
    assert build_network("user_mix", {}, global_shape()).get_parameter("leave.weight").shape[1] == 8


def test_its_arguments_are_checked_like_ours(folder: Path) -> None:
    path = config(folder, "mine.py:Mix")
    path.write_text(path.read_text(encoding="utf-8").replace("width", "widht"), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"config\.yaml:\d+: model\.widht.*[Dd]id you mean 'width'"):
        load_experiment(path)
    with pytest.raises(ConfigError, match="5 does not divide 32 columns"):
        build_network("mine.py:Mix", {"width": 5}, global_shape())


@pytest.mark.parametrize(
    ("network", "said"),
    [
        ("other.py:Mix", r"there is no file .*other\.py"),
        ("mine.py:Mixx", "registers no network class 'Mixx'. It registers Mix"),
        ("mine.py:MixArguments", "registers no network class"),
        ("other:Mix", "No module named 'other'.*Give the path of its file"),
    ],
)
def test_what_is_not_there_is_named(folder: Path, network: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_experiment(config(folder, network))


def test_a_file_that_fails_says_so_each_time(folder: Path) -> None:
    (folder / "mine.py").write_text("1 / 0", encoding="utf-8")
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            networks.target("mine.py:Mix")


@pytest.mark.parametrize("check", CHECKS[:4], ids=lambda check: check.__name__)
def test_the_checks_of_conformance_take_it_by_path(folder: Path, check: object) -> None:
    assert callable(check)
    check(Subject(network="mine.py:Mix", arguments={"width": 2}))
