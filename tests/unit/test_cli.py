"""The frame of all commands: what they answer, where, and with which exit code."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from credit_ray import __version__, cli, command
from credit_ray.config.experiment import Experiment
from credit_ray.errors import ClusterError, ConfigError, DataError

Ask = Callable[..., "Answer"]
PROJECT = Path(cli.__file__).parents[1]
COMMANDS = (
    ["quickstart"],
    ["check"],
    ["train"],
    ["tune"],
    ["forecast"],
    ["verify"],
    ["serve"],
    ["plot"],
    *(["data", name] for name in ("sample", "info", "statistics", "plan")),
    *(["models", name] for name in ("list", "show", "card", "promote", "compare", "trace")),
    *(["config", name] for name in ("schema", "reference", "show", "diff")),
)


@dataclass
class Answer:
    code: int
    out: str
    err: str


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], base: Path) -> Ask:
    """Runs a command line in this process, in a folder with a small config."""
    monkeypatch.delenv(command.DEBUG, raising=False)

    def run(*words: str) -> Answer:
        monkeypatch.setattr(sys, "argv", ["credit-ray", *words])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        return Answer(int(stopped.value.code or 0), *capsys.readouterr())

    return run


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_explains_itself(ask: Ask, words: list[str]) -> None:
    answer = ask(*words, "--help")
    assert answer.code == 0
    assert f"credit-ray {' '.join(words)}" in answer.out


def test_the_version_is_that_of_the_package(ask: Ask) -> None:
    assert ask("--version").out.strip() == f"credit-ray {__version__}"


def test_a_misspelt_command_is_answered_with_the_nearest_one(ask: Ask) -> None:
    answer = ask("trian")
    assert answer.code == 2
    assert "'train'" in answer.err


@pytest.mark.parametrize(
    "words",
    [
        ["train", "nothing.yaml"],
        ["train"],
        ["train", "base.yaml", "--config", "other.yaml"],
        ["train", "base.yaml", "--set", "training.max_epochs=many"],
        ["train", "base.yaml", "--no-such-option"],
        ["forecast", "models:/x@y", "--init", "2000-01-01"],
        ["forecast", "base.yaml", "--init", "2000-01-01", "--inits", "test"],
        ["forecast", "base.yaml", "--inits", "2000-01-01/2000-02-01"],
        ["verify", "f.zarr", "--config", "base.yaml", "--baseline", "persistance"],
        ["serve", "base.yaml", "--port", "70000"],
        ["config", "diff", "base.yaml", "nothing.yaml"],
    ],
    ids=" ".join,
)
def test_what_can_not_work_ends_at_once_with_code_2_and_no_traceback(ask: Ask, words: list[str]) -> None:
    answer = ask(*words)
    assert answer.code == 2
    assert answer.out == ""
    assert answer.err.strip()
    assert "Traceback" not in answer.err


def test_an_argument_is_named_as_it_was_typed(ask: Ask) -> None:
    answer = ask("serve", "base.yaml", "--port", "70000")
    assert answer.err == "--port 70000: serving.port: should be at most 65535, not 70000.\n"
    answer = ask("verify", "f.zarr", "--data", "base.yaml", "--baseline", "persistance")
    assert "--baseline persistance: verification.baselines.0: " in answer.err
    assert "Did you mean 'persistence'?" in answer.err


@pytest.mark.parametrize(
    ("words", "key", "value"),
    [
        (["forecast", "models:/m@a", "--config", "base.yaml"], "model", "models:/m@a"),
        (
            ["forecast", "base.yaml", "--init", "2021-01-01", "--init", "2021-01-02"],
            "inits",
            ["2021-01-01", "2021-01-02"],
        ),
        (["forecast", "base.yaml", "--inits", "validation"], "inits", "validation"),
        (["forecast", "base.yaml", "--lead", "3d", "--set", "forecast.lead=9d"], "lead", "3d"),
        (["forecast", "base.yaml", "--set", "forecast.lead=9d"], "lead", "9d"),
    ],
    ids=str,
)
def test_arguments_override_settings_and_settings_the_file(
    ask: Ask, monkeypatch: pytest.MonkeyPatch, words: list[str], key: str, value: object
) -> None:
    from credit_ray import forecasting

    seen: list[Experiment] = []
    monkeypatch.setattr(forecasting, "run_forecast", seen.append, raising=False)
    assert ask(*words).code == 0
    assert seen[0].forecast.model_dump()[key] == value


def test_evenly_spaced_initial_times_are_one_argument() -> None:
    assert cli._inits("2000-01-01/2000-02-01/1D") == {"start": "2000-01-01", "end": "2000-02-01", "every": "1D"}


def test_a_complete_config_is_shown_without_credentials(ask: Ask) -> None:
    shown = ask("config", "show", "base.yaml", "--set", "seed=5")
    assert shown.code == 0
    assert "seed: 5" in shown.out
    assert "sesame" not in shown.out


@dataclass(frozen=True)
class Result:
    score: float
    store: Path
    runs: list[float]

    def __str__(self) -> str:
        return "It went well.\nNext: credit-ray plot"


def test_a_result_is_a_text_for_people_or_one_line_of_json_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    result = Result(0.5, Path("a/b"), [1.0, float("nan")])
    command.finish(result, as_json=False)
    assert capsys.readouterr().out == f"{result}\n"
    command.finish(result, as_json=True)
    answer = capsys.readouterr()
    assert answer.err == f"{result}\n"
    assert json.loads(answer.out) == {"score": 0.5, "store": "a/b", "runs": [1.0, None]}
    assert answer.out.count("\n") == 1


def test_people_see_paths_as_they_would_type_them_and_programs_absolute_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    result = {"store": f"{tmp_path}/f.zarr", "uri": f"sqlite:///{tmp_path}/runs/mlflow.db", "other": f"{tmp_path}-2/f"}
    command.finish(result, as_json=True)
    answer = capsys.readouterr()
    assert answer.err == f"{{'store': 'f.zarr', 'uri': 'sqlite:///runs/mlflow.db', 'other': '{tmp_path}-2/f'}}\n"
    assert json.loads(answer.out) == result


@pytest.mark.parametrize(
    ("error", "code"), [(ConfigError("a: b"), 2), (DataError("no"), 1), (ClusterError("x"), 1)], ids=repr
)
def test_an_error_is_one_message_and_its_exit_code(
    error: Exception, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped, command.errors_as_messages():
        raise error
    assert stopped.value.code == code
    assert capsys.readouterr() == ("", f"{error}\n")


def test_an_error_inside_a_ray_task_is_told_by_its_own_message(capsys: pytest.CaptureFixture[str]) -> None:
    class AsRayWrapsItError(DataError):
        cause = DataError("chunk 3 of 'u' is damaged")

    with pytest.raises(SystemExit), command.errors_as_messages():
        raise AsRayWrapsItError("ray::task() (pid=1)\n  a traceback\n")
    assert capsys.readouterr().err == "chunk 3 of 'u' is damaged\n"


def test_for_debugging_the_traceback_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(command.DEBUG, "1")
    with pytest.raises(DataError), command.errors_as_messages():
        raise DataError("no")


def test_a_defect_of_ours_is_not_dressed_up_as_a_message() -> None:
    with pytest.raises(ZeroDivisionError), command.errors_as_messages():
        _ = 1 / 0


@pytest.mark.parametrize("job", sorted((PROJECT / "jobs").glob("*.py")), ids=lambda path: path.name)
def test_a_job_is_its_command(job: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "path", [str(job.parent), *sys.path])  # as Python does for a script
    monkeypatch.setattr(sys, "argv", [str(job), "--config", "nothing.yaml"])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(job), run_name="__main__")
    assert stopped.value.code == 2
    assert capsys.readouterr().err.startswith("nothing.yaml: no such file.")
    assert str(job.parent) not in sys.path


def test_no_job_hides_a_module_of_python_from_the_others(tmp_path: Path) -> None:
    spy = tmp_path / "sitecustomize.py"
    spy.write_text(
        "import atexit, sys\natexit.register(lambda: print(__import__('statistics').__file__, file=sys.stderr))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    job = [sys.executable, str(PROJECT / "jobs/train.py"), "--help"]
    done = subprocess.run(job, capture_output=True, text=True, env=environment, check=True)
    assert "jobs" not in Path(done.stderr.strip()).parts
