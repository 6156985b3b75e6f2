"""What editors and readers are told agrees with what the loader accepts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from credit_ray.config.dump import dump_yaml, flatten
from credit_ray.config.experiment import Experiment
from credit_ray.config.loader import load_experiment
from credit_ray.config.schema import config_reference, config_schema
from credit_ray.registry import networks


@pytest.fixture(scope="module")
def schema() -> Draft202012Validator:
    described = config_schema()
    Draft202012Validator.check_schema(described)
    return Draft202012Validator(described)


def test_a_complete_config_fits_the_schema(base: Path, schema: Draft202012Validator) -> None:
    tree = yaml.safe_load(dump_yaml(load_experiment(base)))
    assert list(schema.iter_errors({**tree, "extends": "base.yaml"})) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"modl": {}},
        {"training": {"batch_size": "many"}},
        {"model": {"network": "unet", "widht": 3}},
        {"model": {"widht": 3}},
        {"model": {"network": "nothing"}},
        {"model": {"network": "unet", "width": "wide"}},
    ],
)
def test_what_the_loader_refuses_does_not_fit_the_schema(schema: Draft202012Validator, wrong: dict[str, Any]) -> None:
    assert list(schema.iter_errors(wrong))


def test_every_key_of_a_section_has_a_description() -> None:
    def undescribed(definition: dict[str, Any], name: str) -> list[str]:
        return [
            f"{name}.{key}"
            for key, about in definition.get("properties", {}).items()
            if not (about.get("description") or described["$defs"][about["$ref"].split("/")[-1]].get("description"))
        ]

    described = Experiment.model_json_schema()
    assert [key for name, part in described["$defs"].items() for key in undescribed(part, name)] == []
    assert undescribed(described, "Experiment") == []


def test_the_reference_lists_every_key_and_every_network(base: Path) -> None:
    page = config_reference()
    for key in flatten(load_experiment(base).training.model_dump(mode="json", exclude={"curriculum"})):
        assert f"| `training.{key}` |" in page
    assert "| `data.sources.<name>.prognostic` |" in page
    for name in networks.names():
        assert f"## network `{name}`" in page
