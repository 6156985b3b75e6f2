"""Paths become absolute; nothing else changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from credit_ray.config.dump import science, science_digest
from credit_ray.config.loader import load_experiment
from credit_ray.config.paths import absolute_paths, relative_paths, without_folders

EVERYWHERE = {
    "output": "results",
    "data.sources.atmosphere.store": "../weather.zarr",
    "forecast.model": "package",
    "forecast.output.store": "f.zarr",
    "verification.forecast": "f.zarr",
    "verification.output": "scores",
    "serving.results": "served",
    "tracking.uri": "sqlite:///runs/mlflow.db",
}


def settings(values: dict[str, str]) -> list[str]:
    return [f"{key}={value}" for key, value in values.items()]


def test_every_relative_path_is_named_and_made_absolute(base: Path) -> None:
    written = load_experiment(base, settings(EVERYWHERE))
    assert relative_paths(written) == EVERYWHERE
    absolute = absolute_paths(written, "/home/me")
    assert relative_paths(absolute) == {}
    assert absolute.output == "/home/me/results"
    assert absolute.data.sources["atmosphere"].store == "/home/weather.zarr"
    assert absolute.tracking.uri == "sqlite:////home/me/runs/mlflow.db"
    assert absolute_paths(absolute, "/elsewhere") == absolute


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("output", "s3://bucket/runs"),
        ("output", "/scratch/runs"),
        ("data.sources.atmosphere.store", "simplecache::https://host/store.zarr"),
        ("forecast.model", "models:/name@champion"),
        ("tracking.uri", "http://host:5000"),
        ("tracking.uri", "sqlite:////scratch/mlflow.db"),
    ],
)
def test_what_means_the_same_everywhere_stays(base: Path, key: str, value: str) -> None:
    written = load_experiment(base, ["data.sources.atmosphere.store=/w.zarr", "output=/runs", f"{key}={value}"])
    assert relative_paths(written) == {}
    assert absolute_paths(written, "/home/me") == written


def test_a_home_directory_is_no_folder_named_tilde(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert absolute_paths(load_experiment(base, ["output=~/runs"]), "/work").output == "/home/me/runs"


def test_only_paths_change(base: Path) -> None:
    written = load_experiment(base)
    absolute = absolute_paths(written, "/home/me")
    back = absolute.model_copy(update={"output": written.output, "data": written.data})
    assert back == written
    assert absolute.data.sources["atmosphere"].prognostic == written.data.sources["atmosphere"].prognostic


def test_what_is_computed_has_no_place(base: Path) -> None:
    clock = "data.sources.clock={store: derived, forcing: [cos_local_time]}"
    written = load_experiment(base, [clock, "output=/runs"])
    assert relative_paths(written) == {"data.sources.atmosphere.store": "weather.zarr"}
    assert absolute_paths(written, "/").data.sources["clock"] == written.data.sources["clock"]


def test_the_same_science_in_another_folder_is_the_same(base: Path) -> None:
    written = load_experiment(base, settings(EVERYWHERE))
    here, there = absolute_paths(written, "/home/me"), absolute_paths(written, "/scratch/you")
    assert here != there
    assert science_digest(here) == science_digest(there) == science_digest(written)
    assert science_digest(load_experiment(base)) != science_digest(written)


def test_what_is_published_names_no_folder_of_this_machine_but_urls_as_they_are(base: Path) -> None:
    experiment = load_experiment(base, ["data.sources.atmosphere.store=/home/me/secret-project/weather.zarr/"])
    assert "secret-project" not in str(science(experiment))
    assert without_folders(experiment).data.sources["atmosphere"].store == "weather.zarr"
    url = "https://host/public/weather.zarr"
    experiment = load_experiment(base, [f"data.sources.atmosphere.store={url}"])
    assert without_folders(experiment).data.sources["atmosphere"].store == url
