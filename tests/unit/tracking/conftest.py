"""An MLflow database of one's own, an experiment that records to it, and a package to register."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from credit_ray.config.experiment import Experiment


@dataclass(frozen=True)
class FreshDatabase:
    """A database, and the two processes that began on it at the same moment."""

    path: Path
    drivers: list[subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def fresh_database(tmp_path_factory: pytest.TempPathFactory) -> FreshDatabase:
    """Made once, since MLflow's migrations take seconds, and copied for each test."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    program = f"from credit_ray.tracking.client import connect; connect('sqlite:///{path}', create=True)"

    def begin(_: int) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    with ThreadPoolExecutor(2) as both:
        return FreshDatabase(path, list(both.map(begin, range(2))))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test fills the developer's cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def output(tmp_path: Path, fresh_database: FreshDatabase, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The `output` of an experiment, with an empty database, in an empty working directory."""
    folder = tmp_path / "runs"
    folder.mkdir()
    shutil.copy(fresh_database.path, folder / "mlflow.db")
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.fixture
def uri(output: Path) -> str:
    return f"sqlite:///{output}/mlflow.db"


@pytest.fixture
def experiment(output: Path) -> Experiment:
    return make_experiment(output)


@pytest.fixture
def vary(experiment: Experiment) -> Callable[..., Experiment]:
    """The experiment with some dotted keys changed."""

    def changed(**keys: Any) -> Experiment:
        plain = experiment.model_dump(mode="json")
        for key, value in keys.items():
            *sections, last = key.split("__")
            section = plain
            for name in sections:
                section = section[name]
            section[last] = value
        return Experiment.model_validate(plain)

    return changed


def make_experiment(output: Path) -> Experiment:
    return Experiment.model_validate(
        {
            "name": "tiny",
            "output": str(output),
            "data": {
                "timestep": "6h",
                "sources": {
                    "atmosphere": {
                        "store": "https://example.org/weather.zarr",
                        "storage_options": {"token": "hunter2"},
                        "prognostic": ["t2m"],
                    }
                },
                "splits": {"train": ["2020-01-01", "2020-12-31"], "validation": ["2021-01-01", "2021-02-01"]},
            },
            "model": {"network": "unet", "width": 4, "multipliers": [1, 1], "blocks": [1, 1]},
            "training": {"batch_size": 8},
        }
    )


@pytest.fixture
def make_package(tmp_path: Path) -> Callable[..., Path]:
    """Writes small packages; another seed is another model."""

    def make(seed: int = 0, *, lineage: dict[str, Any] | None = None, summary: dict[str, Any] | None = None) -> Path:
        import torch

        from credit_ray.grid.latlon import LatLonGrid
        from credit_ray.normalizer import Normalizer
        from credit_ray.package import save_package
        from credit_ray.state import Channel, Channels, StateSpec
        from credit_ray.stepper import Recipe, Stepper
        from credit_ray.times import Step

        grid = LatLonGrid.gaussian(8)
        prognostic = Channels([Channel(variable="t2m", units="K"), Channel(variable="msl", units="Pa")])
        spec = StateSpec(prognostic=prognostic, step=Step(seconds=21600), grid=grid)
        scales: dict[str, Any] = {
            name: torch.ones(2) for name in ("input_mean", "input_std", "output_mean", "output_std")
        }
        arguments = {"width": 4, "multipliers": (1, 1), "blocks": (1, 1)}
        recipe = Recipe(spec=spec, network="unet", arguments=arguments, residual=True)
        torch.manual_seed(seed)
        stepper = Stepper(recipe, Normalizer(spec, **scales, residual=True), torch.zeros((0, *grid.shape)))
        known = {"data_digest": "d" * 64, "code_revision": "0.1.0+gabc", "config_digest": "c" * 64, "run_id": "r"}
        folder = tmp_path / "packages" / str(seed)
        return save_package(
            stepper, folder, summary=summary or {"steps": 10}, lineage=known | (lineage or {})
        ).directory

    return make
