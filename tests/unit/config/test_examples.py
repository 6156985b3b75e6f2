"""The configs that come with the project."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from credit_ray.config.loader import load_experiment

PROJECT = Path(__file__).parents[3]
MODELS = sorted((PROJECT / "configs" / "models").glob("*.yaml"))
"""Parts of a config, for `extends:`."""
EXAMPLES = sorted(set((PROJECT / "configs").rglob("*.yaml")) - set(MODELS))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_is_a_valid_config_of_at_most_60_lines(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = path.read_text(encoding="utf-8")
    for name in re.findall(r"\$\{(\w+)\}", text):
        monkeypatch.setenv(name, "somewhere")
    experiment = load_experiment(path)
    assert experiment.name
    assert len(text.splitlines()) <= 60


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_an_experiment_takes_its_model_from_a_preset(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(PROJECT)
    sections = load_experiment(PROJECT / "configs" / "experiments" / "sample.yaml").model_dump(mode="json")
    del sections["model"]
    config = tmp_path / "experiment.yaml"
    config.write_text(yaml.safe_dump({**sections, "extends": str(path)}), encoding="utf-8")
    model = load_experiment(config).model
    assert model.network in ("wxformer", "fuxi")
    assert model.arguments.inner_edges == "zero"  # as those who published it have it


def test_there_are_examples() -> None:
    assert len({load_name(path) for path in EXAMPLES}) == len(EXAMPLES) > 0


def load_name(path: Path) -> str:
    """The `name:` of a config; two with one name would share runs and registered models."""
    found = re.search(r"^name: *(\S+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    assert found, f"{path} has no name"
    return found[1]
