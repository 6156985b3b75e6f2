"""An experiment written out: as YAML, as flat keys, as the digests by which runs are told apart."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from credit_ray.config.experiment import Experiment
from credit_ray.config.located import Scalar, dotted
from credit_ray.config.paths import without_folders
from credit_ray.config.problems import SECRET
from credit_ray.config.yaml_lines import write_yaml

HIDDEN = "(hidden)"
"""Written in place of what may be a credential."""

NOT_SCIENCE = ("resources", "output", "tracking")
"""Sections that say where and on what an experiment runs: its results do not depend on them."""

_HOW_A_STORE_IS_REACHED = ("engine", "retry_seconds", "request_seconds")
_AFTER_TRAINING = ("registry", "forecast", "verification", "serving")
_HOW_NOT_WHAT = (
    "data.ingest.prefetch",
    "data.ingest.reader",
    "training.accumulate",
    "training.checkpoint",
    "training.compile",
    "training.max_failures",
    "training.walltime",
)
_NOT_OF_THE_STAGE = {"train": (*_AFTER_TRAINING, "tuning"), "tune": _AFTER_TRAINING}


def plain(experiment: Experiment) -> dict[str, Any]:
    """All keys with their values, defaults included; JSON types only, credentials hidden."""
    return cast(dict[str, Any], _hidden(experiment.model_dump(mode="json")))


def dump_yaml(experiment: Experiment) -> str:
    """The complete config as a YAML file, credentials hidden."""
    return write_yaml(_escaped(plain(experiment)))


def flatten(tree: Mapping[str, Any]) -> dict[str, Scalar]:
    """Dotted key → value. A list of plain values is one value, as JSON text; so is what is empty."""
    return {dotted(path): value for path, value in _leaves(tree, ())}


def config_diff(left: Experiment, right: Experiment) -> list[tuple[str, Scalar, Scalar]]:
    """(dotted key, left, right) of every key in which two experiments differ; None where one does not have it."""
    a, b = flatten(plain(left)), flatten(plain(right))
    return [(key, a.get(key), b.get(key)) for key in dict.fromkeys([*a, *b]) if a.get(key) != b.get(key)]


@dataclass(frozen=True)
class ConfigDifference:
    """Two configs compared.

    Parameters
    ----------
    keys : list of (str, scalar, scalar)
        As by `config_diff`.
    """

    keys: list[tuple[str, Scalar, Scalar]]

    @classmethod
    def between(cls, left: Experiment, right: Experiment) -> ConfigDifference:
        """All keys in which they differ."""
        return cls(config_diff(left, right))

    def __str__(self) -> str:
        if not self.keys:
            return "They say the same."
        width = max(len(key) for key, _, _ in self.keys)
        return "\n".join(f"{key.ljust(width)}  {json.dumps(a)} → {json.dumps(b)}" for key, a, b in self.keys)


def experiment_digest(experiment: Experiment) -> str:
    """sha256 of the whole config but its credentials."""
    return _digest(_without_secrets(experiment))


def science_digest(experiment: Experiment, stage: str | None = None) -> str:
    """sha256 of what the result depends on: see `science`."""
    return _digest(science(experiment, stage))


def science(experiment: Experiment, stage: str | None = None) -> dict[str, Any]:
    """The config without resources, output, tracking, credentials and the folders of local paths; JSON types only.

    Parameters
    ----------
    stage : str, optional
        For "train" and "tune", only what the weights depend on: what comes after training is left out, and so is how often training is
        saved and how far ahead it reads.
    """
    tree = _without_secrets(without_folders(experiment))
    for source in tree["data"]["sources"].values():
        for key in _HOW_A_STORE_IS_REACHED:
            del source[key]
    sections = {
        k: v for k, v in tree.items() if k not in NOT_SCIENCE and k not in _NOT_OF_THE_STAGE.get(stage or "", ())
    }
    return cast(dict[str, Any], _without(sections, _HOW_NOT_WHAT)) if stage in _NOT_OF_THE_STAGE else sections


def _without(tree: Any, keys: tuple[str, ...], prefix: str = "") -> Any:
    """A tree without some dotted keys."""
    if not isinstance(tree, dict):
        return tree
    return {k: _without(v, keys, f"{prefix}{k}.") for k, v in tree.items() if prefix + k not in keys}


def _digest(tree: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(tree, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _hidden(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _options(value) if key == SECRET else _hidden(value) for key, value in tree.items()}
    return [_hidden(item) for item in tree] if isinstance(tree, list) else tree


def _options(options: dict[str, Any]) -> dict[str, Any]:
    """Options of a file system; that there is no credential is no secret, and a written config that says so can be read again."""
    return {key: value if value in (True, False, None, "anon") else HIDDEN for key, value in options.items()}


def _escaped(tree: Any) -> Any:
    """A text with a literal `${` would be looked up in the environment when it is read again."""
    if isinstance(tree, dict):
        return {key: _escaped(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_escaped(item) for item in tree]
    return tree.replace("${", "$${") if isinstance(tree, str) else tree


def _without_secrets(experiment: Experiment) -> dict[str, Any]:
    def strip(tree: Any) -> Any:
        if isinstance(tree, dict):
            return {key: strip(value) for key, value in tree.items() if key != SECRET}
        return [strip(item) for item in tree] if isinstance(tree, list) else tree

    return cast(dict[str, Any], strip(experiment.model_dump(mode="json")))


def _leaves(tree: Any, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], Scalar]]:
    if isinstance(tree, Mapping) and tree:
        for key, value in tree.items():
            yield from _leaves(value, (*path, key))
    elif isinstance(tree, list) and any(isinstance(item, Mapping | list) for item in tree):
        for i, item in enumerate(tree):
            yield from _leaves(item, (*path, i))
    else:
        yield path, json.dumps(tree, ensure_ascii=False) if isinstance(tree, Mapping | list) else tree
