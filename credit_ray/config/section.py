"""What all sections of the config have in common: unknown keys are errors, values never change after loading."""

from __future__ import annotations

from dataclasses import is_dataclass
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, create_model

from credit_ray.errors import ConfigError
from credit_ray.registry import Registry


class Section(BaseModel):
    """Base of the sections."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, validate_default=True)


def argument_types(registry: Registry, name: str) -> dict[str, Any]:
    """Name → type of the arguments of a registered class.

    Raises
    ------
    ConfigError
        For an unknown name, with the nearest known one.
    """
    cls = registry.arguments(name)
    if not is_dataclass(cls):
        raise ConfigError(f"The arguments of the {registry.kind} '{name}' are no data class: {cls!r}.")
    return get_type_hints(cls, include_extras=True)


def validated_arguments(registry: Registry, name: str, given: dict[str, Any]) -> Any:
    """The argument data class of a registered name, from plain values.

    Unknown and ill-typed arguments end in a pydantic error whose location is the argument, so that the loader can point at its line.
    """
    try:
        types = argument_types(registry, name)
    except ConfigError as error:
        raise ValueError(str(error)) from None
    keys: dict[str, Any] = {key: (Any, Field(default=None)) for key in types}
    create_model(f"{name} arguments", __config__=ConfigDict(extra="forbid"), **keys).model_validate(given)
    return TypeAdapter(registry.arguments(name)).validate_python(given)
