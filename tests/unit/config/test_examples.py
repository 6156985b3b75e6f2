"""The configs that come with the project."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from credit_ray.config.loader import load_experiment

PROJECT = Path(__file__).parents[3]
EXAMPLES = sorted((PROJECT / "configs").rglob("*.yaml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_is_a_valid_config_of_at_most_60_lines(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = path.read_text(encoding="utf-8")
    for name in re.findall(r"\$\{(\w+)\}", text):
        monkeypatch.setenv(name, "somewhere")
    experiment = load_experiment(path)
    assert experiment.name
    assert len(text.splitlines()) <= 60


def test_there_are_examples() -> None:
    assert len({load_name(path) for path in EXAMPLES}) == len(EXAMPLES) > 0


def load_name(path: Path) -> str:
    """The `name:` of a config; two with one name would share runs and registered models."""
    found = re.search(r"^name: *(\S+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    assert found, f"{path} has no name"
    return found[1]
