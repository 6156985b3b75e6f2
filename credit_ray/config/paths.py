"""The paths in an experiment: which are relative, all of them made absolute, or all folders left out.

A relative path means something to the process that read the config only: workers, trials and replicas have working directories of
their own.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from credit_ray.config.data import DERIVED
from credit_ray.config.experiment import Experiment

SQLITE = "sqlite:///"


def relative_paths(experiment: Experiment) -> dict[str, str]:
    """Dotted key → path of everything that is relative to the working directory."""
    return {".".join(keys): path for keys, path in _paths(experiment) if _absolute(path, "/") != path}


def absolute_paths(experiment: Experiment, folder: str | Path) -> Experiment:
    """The same experiment, with the paths that are relative taken from a folder.

    Parameters
    ----------
    folder : path
        Absolute. URLs, and models named by the registry, stay as they are.
    """
    for keys, path in _paths(experiment):
        experiment = _replaced(experiment, keys, _absolute(path, str(folder)))
    return experiment


def without_folders(experiment: Experiment) -> Experiment:
    """The same experiment, with the last name alone of each path on this machine: the same wherever it lies, and fit to be published."""
    for keys, path in _paths(experiment):
        if not _is_url(path):
            experiment = _replaced(experiment, keys, os.path.basename(path.rstrip("/")))
    return experiment


def _paths(experiment: Experiment) -> Iterator[tuple[tuple[str, ...], str]]:
    """Key and value of everything that may be a path."""
    sources, forecast, verification = experiment.data.sources, experiment.forecast, experiment.verification
    stores = [(("data", "sources", name, "store"), source.store) for name, source in sources.items()]
    for keys, path in [
        (("output",), experiment.output),
        *((keys, store) for keys, store in stores if store != DERIVED),
        (("forecast", "model"), forecast.model),
        (("forecast", "output", "store"), forecast.output.store),
        (("verification", "forecast"), verification.forecast),
        (("verification", "output"), verification.output),
        (("serving", "results"), experiment.serving.results),
        (("tracking", "uri"), experiment.tracking.uri),
    ]:
        if path:
            yield keys, path


def _absolute(path: str, folder: str) -> str:
    if path.startswith(SQLITE):
        return SQLITE + _absolute(path.removeprefix(SQLITE), folder)
    if _is_url(path):
        return path
    path = os.path.expanduser(path)
    return path if os.path.isabs(path) else os.path.normpath(os.path.join(folder, path))


def _is_url(path: str) -> bool:
    return re.match(r"[a-z][a-z0-9+.-]*:", path) is not None  # s3://bucket, models:/name@alias, databricks:profile


def _replaced(section: Any, keys: Sequence[str], value: str) -> Any:
    if not keys:
        return value
    first, *rest = keys
    if isinstance(section, dict):
        return {**section, first: _replaced(section[first], rest, value)}
    return section.model_copy(update={first: _replaced(getattr(section, first), rest, value)})
