"""What is searched: dotted keys of the config, and the values that they may take."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from credit_ray.config.experiment import Experiment
from credit_ray.config.model import Registered
from credit_ray.config.tuning import Dimension, TuningConfig
from credit_ray.errors import ConfigError

log = logging.getLogger(__name__)


def with_values(experiment: Experiment, values: Mapping[str, Any]) -> Experiment:
    """The experiment with other values under some dotted keys.

    Where a key chooses another network (loss, constraint), the arguments of the one before do not apply to it and are left out; so are values
    for arguments that the chosen one does not have, so that one search may hold arguments of several.

    Raises
    ------
    ConfigError
        For a key that the config does not have, or a value that does not fit it.
    """
    tree = experiment.model_dump(mode="json")
    for key in sorted(values, key=_choices_first):
        *parents, last = key.split(".")
        place, section = tree, type(experiment)
        for parent in parents:
            if not isinstance(place, dict) or parent not in place:
                raise ConfigError(f"tuning.space: the config has no key '{key}'.")
            place, section = place[parent], _section(section, parent)
        if not isinstance(place, dict):
            raise ConfigError(f"tuning.space: '{'.'.join(parents)}' has no keys, so there is no '{key}'.")
        if issubclass(section, Registered):
            if last == section.selector and place.get(last) != values[key]:
                for argument in section.further_keys(place):
                    place.pop(argument, None)
            elif last not in section.model_fields and last not in section.further_keys(place):
                log.debug("%s does not apply to %s", key, place.get(section.selector))
                continue
        elif last not in place:
            raise ConfigError(f"tuning.space: the config has no key '{key}'.")
        place[last] = values[key]
    try:
        return Experiment.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(
            f"tuning.space: {'.'.join(map(str, first['loc']))}: {first['msg']} (with {dict(values)})."
        ) from None


def check_space(experiment: Experiment, tuning: TuningConfig) -> None:
    """Refuse a search of which some value can't work, before any trial starts.

    Raises
    ------
    ConfigError
        Naming the key and the value.
    """
    for key, dimension in tuning.space.items():
        for value in _samples(dimension):
            with_values(experiment, {key: value})
        section: Any = experiment
        for part in key.split(".")[:-1]:
            section = getattr(section, part, None)
        last = key.rpartition(".")[2]
        if isinstance(section, Registered) and last not in type(section).model_fields:
            selector = f"{key.rpartition('.')[0]}.{section.selector}"
            chosen = tuning.space[selector].choice if selector in tuning.space else [getattr(section, section.selector)]
            if not any(last in section.further_keys({section.selector: name}) for name in chosen or []):
                raise ConfigError(
                    f"tuning.space: '{key}' is an argument of none of {', '.join(map(str, chosen or []))}."
                )


def ray_space(tuning: TuningConfig) -> dict[str, Any]:
    """The space as Ray Tune has it."""
    from ray import tune

    def one(dimension: Dimension) -> Any:
        if dimension.choice is not None:
            return tune.choice(dimension.choice)
        for kind in ("uniform", "loguniform", "randint"):
            if (bounds := getattr(dimension, kind)) is not None:
                return getattr(tune, kind)(*bounds)
        raise AssertionError("a dimension has one kind")

    return {key: one(dimension) for key, dimension in tuning.space.items()}


def _samples(dimension: Dimension) -> list[Any]:
    """All choices, or the ends of a range."""
    if dimension.choice is not None:
        return dimension.choice
    if dimension.randint is not None:
        return [dimension.randint[0], dimension.randint[1] - 1]
    return list(dimension.uniform or dimension.loguniform or ())


def _choices_first(key: str) -> tuple[bool, str]:
    """Which network comes before what its arguments are."""
    return key.rpartition(".")[2] not in ("network", "kind"), key


def _section(section: Any, name: str) -> Any:
    """The class of a section's field, where it is a section itself."""
    field = getattr(section, "model_fields", {}).get(name)
    annotation = field.annotation if field else None
    return annotation if isinstance(annotation, type) else object
