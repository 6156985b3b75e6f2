"""What all commands share: the arguments that say which config, how an answer is given, and how an error is."""

from __future__ import annotations

import json
import logging
import math
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from credit_ray.errors import ConfigError, CreditRayError

if TYPE_CHECKING:
    from credit_ray.config.experiment import Experiment
    from credit_ray.config.loader import Setting

DEBUG = "CREDIT_RAY_DEBUG"

ConfigPath = Annotated[
    Path | None, typer.Argument(metavar="CONFIG", help="The experiment's YAML file.", show_default=False)
]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="The same, as an option.", show_default=False)
]
DataOption = Annotated[
    Path | None,
    typer.Option(
        "--config", "--data", metavar="FILE", help="The experiment's YAML file: where the data are.", show_default=False
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Set a key of the config: training.max_epochs=5. May be repeated.",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as one line of JSON.")]


def group(help_text: str) -> typer.Typer:
    """A set of commands."""
    return typer.Typer(help=help_text, no_args_is_help=True, rich_markup_mode="rich", pretty_exceptions_enable=False)


def load(
    positional: Path | None, option: Path | None, overrides: list[str] | None, *arguments: Setting | None
) -> Experiment:
    """The experiment that a command's arguments name, ready to be worked on: its paths are absolute."""
    from credit_ray.config.paths import absolute_paths
    from credit_ray.launch.ray_job import working_folder

    experiment = read(positional, option, overrides, *arguments)
    folder = working_folder(experiment, _config_file(positional, option))
    os.chdir(folder)  # what is not in the config, such as a URI from the environment, may be relative too
    return absolute_paths(experiment, folder)


def read(
    positional: Path | None, option: Path | None, overrides: list[str] | None, *arguments: Setting | None
) -> Experiment:
    """The same as written; a command's own arguments win over `--set`, and both over the file."""
    from credit_ray.config.loader import load_experiment

    return load_experiment(_config_file(positional, option), [*(overrides or ()), *filter(None, arguments)])


def _config_file(positional: Path | None, option: Path | None) -> Path:
    if positional and option and positional != option:
        raise ConfigError(f"Two configs: {positional} and --config {option}. Give one.")
    if found := positional or option:
        return found
    raise ConfigError("Which config? Give its file, such as configs/experiments/sample.yaml, or --config FILE.")


def argument(key: str, value: Any, spelling: str) -> Setting | None:
    """A key of the config that a command's own argument sets; None where it was not given."""
    from credit_ray.config.loader import Setting

    if value is None:
        return None
    shown = " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return Setting(key=key, value=value, given=f"{spelling} {shown}".strip())


def finish(result: Any, as_json: bool) -> None:
    """The end of a command: what it found out, as text for people, or as one line of JSON on standard output.

    With JSON the text goes to standard error, so that standard output can be read by a program. The text shows paths below the working
    directory as relative ones; in the JSON they are absolute.
    """
    here = Path.cwd()
    text = str(result).replace(f"{here}/", "") if here != Path("/") else str(result)
    if text:
        print(text, file=sys.stderr if as_json else sys.stdout)
    if as_json:
        print(json.dumps(_plain(result)))


def _plain(value: Any) -> Any:
    """JSON types only: no NaN, no paths; a grid is its description."""
    if hasattr(value, "describe"):
        return value.describe()
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


@contextmanager
def errors_as_messages() -> Iterator[None]:
    """Turn errors that are meant for the user into one message on standard error, and their exit code.

    Anything else is a defect of ours and keeps its traceback; with `--debug`, so do these.
    """
    try:
        yield
    except CreditRayError as error:
        if debugging():
            raise
        # Ray wraps what a task raised into the same class with the task's traceback as its text; the cause has the message.
        print(getattr(error, "cause", None) or error, file=sys.stderr)
        sys.exit(error.exit_code)


def debugging() -> bool:
    """Whether tracebacks and debug logs are wanted."""
    return bool(os.environ.get(DEBUG))


def log_to_stderr() -> None:
    """Our own news, everybody's warnings; with `--debug` everything of ours."""
    logging.basicConfig(
        level=logging.WARNING, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S"
    )
    logging.getLogger("credit_ray").setLevel(logging.DEBUG if debugging() else logging.INFO)
