"""From a YAML file to a checked experiment.

In this order, each step over the one before: the files that `extends:` names, the file itself, `--set key=value`, environment variables,
the types. Paths in a config are relative to the working directory, except those of `extends:`, which are relative to the file that names
them. Everything that is wrong is said at once.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import BaseModel, ValidationError

from credit_ray.config.dump import HIDDEN
from credit_ray.config.experiment import Experiment
from credit_ray.config.located import Located, Origin, Template, dotted, parse_dotted
from credit_ray.config.problems import SECRET, messages
from credit_ray.config.yaml_lines import read_scalar, read_yaml
from credit_ray.errors import ConfigError, did_you_mean

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A value that a command's own argument gives to a key.

    Parameters
    ----------
    key : str
        Dotted key.
    value : object
        Plain value.
    given : str
        What the user typed, for messages: `--lead 10d`.
    """

    key: str
    value: Any
    given: str


def load_experiment(path: str | Path, overrides: Sequence[str | Setting] = ()) -> Experiment:
    """Read, merge and check a config.

    Parameters
    ----------
    path : str or Path
        The YAML file.
    overrides : sequence of str or Setting
        `key=value` as after `--set`: dots descend, whole numbers are positions in lists, the value is YAML. A mapping is laid over what is
        there, anything else replaces it.

    Raises
    ------
    ConfigError
        With a line for each problem: `file:line: key: what is wrong`.
    """
    return validated(Experiment, read_tree(path, overrides))


def resolve(path: str | Path, overrides: Sequence[str | Setting] = ()) -> dict[str, Any]:
    """The merged config as plain values, environment filled in, neither checked nor completed by defaults."""
    return cast(dict[str, Any], read_tree(path, overrides).plain())


def validated(model: type[M], tree: Located) -> M:
    """The tree as an instance of a pydantic model.

    Raises
    ------
    ConfigError
        With a line for each problem.
    """
    try:
        return model.model_validate(tree.plain())
    except ValidationError as error:
        raise ConfigError("\n".join(messages(model, tree, error, root_keys=["extends"]))) from None


def read_tree(path: str | Path, overrides: Sequence[str | Setting] = ()) -> Located:
    """Files, settings and environment in one tree; see `load_experiment`."""
    tree = _read_file(Path(path), ())
    problems = []
    for override in overrides:
        try:
            tree = _assign(tree, override)
        except ConfigError as error:
            problems.append(str(error))
    tree = _fill_in(tree, (), problems)
    if problems:
        raise ConfigError("\n".join(problems))
    return tree


def _read_file(file: Path, readers: tuple[Path, ...], named_at: Origin | None = None) -> Located:
    """One file over those that it extends; `readers` are the files that led here."""
    if file.resolve() in readers:
        circle = " → ".join(_shown(each) for each in [*readers[readers.index(file.resolve()) :], file.resolve()])
        raise ConfigError(f"{named_at}: extends: goes in a circle: {circle}.")
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: is not a text file in UTF-8: {error.reason} at byte {error.start}.") from None
    except OSError as error:
        raise ConfigError(_unreadable(file, error, named_at)) from None
    tree = read_yaml(text, str(file))
    if tree.value is None:
        tree = replace(tree, value={})
    if not isinstance(tree.value, dict):
        raise ConfigError(
            f"{file}: should be 'key: value' lines; it is one {'list' if isinstance(tree.value, list) else 'value'}."
        )
    parents = tree.value.pop("extends", Located([], tree.origin))
    below: Located | None = None
    for parent in parents.value if isinstance(parents.value, list) else [parents]:
        problems: list[str] = []
        name = _fill_in(parent, ("extends",), problems).value
        if problems or not isinstance(name, str):
            raise ConfigError(
                problems[0]
                if problems
                else f"{parent.origin}: extends: should be the path of a config file, or a list of such."
            )
        base = _read_file(Path(os.path.normpath(file.parent / name)), (*readers, file.resolve()), parent.origin)
        below = below.merged(base) if below else base
    return below.merged(tree) if below else tree


def _assign(tree: Located, override: str | Setting) -> Located:
    if isinstance(override, Setting):
        origin = Origin(override.given)
        return tree.assigned(parse_dotted(override.key), _located(override.value, origin))
    key, equals, text = override.partition("=")
    said = f"{key}=…" if SECRET in key or len(override) > 80 else override
    origin = Origin(f"--set {said}")
    if not equals:
        raise ConfigError(f"{origin}: should be key=value, such as --set training.max_epochs=5.")
    try:
        path = parse_dotted(key.strip())
    except ValueError:
        raise ConfigError(f"{origin}: '{key}' is no dotted key, such as training.max_epochs.") from None
    return tree.assigned(path, read_yaml(text, origin.where, numbered=False))


def _located(value: Any, origin: Origin) -> Located:
    if isinstance(value, Mapping):
        return Located({str(key): _located(item, origin) for key, item in value.items()}, origin)
    if isinstance(value, list | tuple):
        return Located([_located(item, origin) for item in value], origin)
    return Located(value, origin)


_VARIABLE = re.compile(r"\$\$\{|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}|\$\{[^}]*\}?")


def _fill_in(tree: Located, path: tuple[str | int, ...], problems: list[str]) -> Located:
    """The tree with `${NAME}` and `${NAME:-default}` replaced; `$${` stands for a literal `${`."""
    if isinstance(tree.value, dict):
        return replace(tree, value={key: _fill_in(child, (*path, key), problems) for key, child in tree.value.items()})
    if isinstance(tree.value, list):
        return replace(tree, value=[_fill_in(child, (*path, i), problems) for i, child in enumerate(tree.value)])
    place = f"{tree.origin}: {dotted(path)}"
    if tree.value == HIDDEN:
        problems.append(
            f"{place}: was hidden when this file was written. Give it again, best as ${{NAME}} from the environment."
        )
    if not isinstance(tree.value, Template):
        return tree

    def replacement(found: re.Match[str]) -> str:
        if found.group() == "$${":
            return "${"
        name, default = found["name"], found["default"]
        if name is None:
            problems.append(
                f"{place}: '{found.group()}' is not understood. Write ${{NAME}} or ${{NAME:-default}}, and $${{ for a literal ${{."
            )
            return ""
        value = os.environ.get(name)
        if default is not None:
            return value or default
        if value is None:
            problems.append(
                f"{place}: the environment variable {name} is not set. Set it, or write ${{{name}:-default}}."
            )
        return value or ""

    text = _VARIABLE.sub(replacement, tree.value.text)
    return replace(tree, value=read_scalar(text) if tree.value.plain else text)


def _unreadable(file: Path, error: OSError, named_at: Origin | None) -> str:
    where = f"{named_at}: extends: " if named_at else ""
    if not isinstance(error, FileNotFoundError):
        return f"{where}{file}: can't be read: {(error.strerror or str(error)).lower()}."
    near = sorted(_configs_near(file))
    return f"{where}{file}: no such file." + (did_you_mean(str(file), near) if near else "")


def _configs_near(file: Path) -> Iterator[str]:
    folder = next(folder for folder in file.parents if folder.is_dir())
    found = [path for path in folder.glob("*") if path.suffix in (".yaml", ".yml")] or Path("configs").glob("*/*.yaml")
    return (os.path.normpath(path) for path in found)


def _shown(file: Path) -> str:
    try:
        return str(file.relative_to(Path.cwd()))
    except ValueError:
        return str(file)
