"""What all sections of the config have in common: unknown keys are errors, values never change after loading."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, create_model

from credit_ray.errors import ConfigError
from credit_ray.registry import Registry


class Section(BaseModel):
    """Base of the sections."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, validate_default=True)


def validated_arguments(registry: Registry, name: str, given: dict[str, Any]) -> Any:
    """The argument data class of a registered name, from plain values.

    Unknown and ill-typed arguments end in a pydantic error whose location is the argument, so that the loader can point at its line.
    """
    try:
        cls = registry.arguments(name)
    except ConfigError as error:
        raise ValueError(str(error)) from None
    if not is_dataclass(cls):
        raise ValueError(f"the arguments of the {registry.kind} '{name}' are no data class: {cls!r}")
    types = {f.name: (Any, Field(default=None)) for f in fields(cls)}
    create_model(f"{name} arguments", __config__=ConfigDict(extra="forbid"), **types).model_validate(given)  # type: ignore[call-overload]
    return TypeAdapter(cls).validate_python(given)
