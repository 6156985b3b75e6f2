"""What relative paths mean inside a Ray job; without Ray."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from credit_ray.config.experiment import Experiment
from credit_ray.config.loader import load_experiment
from credit_ray.errors import ConfigError
from credit_ray.launch import ray_job
from credit_ray.launch.ray_job import SUBMIT_DIR, working_folder

DESCRIPTION = json.dumps({"runtime_env": {"working_dir": "gcs://_ray_pkg_0.zip"}, "metadata": {}})


@pytest.fixture
def copy(base: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A Ray job's working directory, on a cluster of one node, with a config; nobody knows whose copy it is."""
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", DESCRIPTION)
    monkeypatch.delenv(SUBMIT_DIR, raising=False)
    monkeypatch.setattr(sys, "argv", ["jobs/train.py"])
    monkeypatch.setattr(ray_job, "_nodes", lambda experiment: 1)
    monkeypatch.setattr(ray_job, "_installed_from", lambda: iter(()))
    monkeypatch.setattr(ray_job, "_folders_of_ancestors", lambda: iter([tmp_path, Path("/")]))
    return tmp_path


@pytest.fixture
def experiment(copy: Path) -> Experiment:
    return load_experiment("base.yaml")


def original(folder: Path, copy: Path) -> Path:
    """A folder with the same config."""
    folder.mkdir()
    (folder / "base.yaml").write_bytes((copy / "base.yaml").read_bytes())
    return folder


def test_outside_a_job_it_is_the_working_directory(
    experiment: Experiment, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_JOB_CONFIG_JSON_ENV_VAR")
    assert working_folder(experiment, Path("base.yaml")) == copy
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", json.dumps({"runtime_env": {}}))  # submitted without a folder
    assert working_folder(experiment, Path("base.yaml")) == copy


def test_absolute_paths_need_no_folder(copy: Path) -> None:
    experiment = load_experiment("base.yaml", ["output=/runs", "data.sources.atmosphere.store=s3://b/w.zarr"])
    assert working_folder(experiment, Path("base.yaml")) == copy


def test_the_submitter_may_say_which_folder_it_is(
    experiment: Experiment, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = tmp_path_factory.mktemp("told")
    monkeypatch.setenv(SUBMIT_DIR, str(told))
    assert working_folder(experiment, Path("base.yaml")) == told
    monkeypatch.setenv(SUBMIT_DIR, str(told / "nowhere"))
    with pytest.raises(ConfigError, match=f"{SUBMIT_DIR} is {told}/nowhere"):
        working_folder(experiment, Path("base.yaml"))


@pytest.mark.parametrize("changed", ["its config", "another file"])
@pytest.mark.parametrize("clue", ["_folders_of_ancestors", "_installed_from"])
def test_a_folder_is_recognised_by_the_files_that_were_copied(
    experiment: Experiment,
    copy: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    clue: str,
    changed: str,
) -> None:
    folders = tmp_path_factory.mktemp("folders")
    ours = original(folders / "ours", copy)
    monkeypatch.setattr(ray_job, clue, lambda: iter([Path("/"), copy, ours]))
    assert working_folder(experiment, Path("base.yaml")) == ours
    if changed == "its config":
        (ours / "base.yaml").write_text((copy / "base.yaml").read_text().replace("seed: 1", "seed: 2"))
    else:
        (copy / "package").mkdir()
        (copy / "package/module.py").write_text("A = 1\n")
    with pytest.raises(ConfigError, match="output is 'runs'"):
        working_folder(experiment, Path("base.yaml"))


def test_two_folders_that_look_alike_are_not_guessed_between(
    experiment: Experiment, copy: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = tmp_path_factory.mktemp("folders")
    alike = [original(folders / name, copy) for name in ("a", "b")]
    monkeypatch.setattr(ray_job, "_folders_of_ancestors", lambda: iter(alike))
    with pytest.raises(ConfigError, match=SUBMIT_DIR):
        working_folder(experiment, Path("base.yaml"))


def test_on_several_nodes_relative_paths_are_refused_by_name(
    experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_job, "_nodes", lambda experiment: 3)
    with pytest.raises(ConfigError) as refused:
        working_folder(experiment, Path("base.yaml"))
    message = str(refused.value)
    assert "output is 'runs', data.sources.atmosphere.store is 'weather.zarr'" in message
    assert "3 nodes" in message


def test_the_processes_above_this_one_have_folders() -> None:
    assert next(ray_job._folders_of_ancestors()) == Path.cwd()
    assert len(list(ray_job._folders_of_ancestors())) > 1
