"""Types and values in plain words, for messages to people who never heard of pydantic."""

from __future__ import annotations

from dataclasses import is_dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel

_ONE_AND_MANY: dict[Any, tuple[str, str]] = {
    str: ("a text", "texts"),
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    bool: ("true or false", "true or false"),
    NoneType: ("null", "null"),
}


def bare(annotation: Any) -> Any:
    """A type without `Annotated` around it."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    return annotation


def alternatives(annotation: Any) -> list[Any]:
    """The types that a union joins, without None; a single one for other types."""
    annotation = bare(annotation)
    if get_origin(annotation) in (Union, UnionType):
        return [kind for member in get_args(annotation) if member is not NoneType for kind in alternatives(member)]
    return [annotation]


def is_section(annotation: Any) -> bool:
    """Whether it is a type with keys of its own."""
    return isinstance(annotation, type) and (issubclass(annotation, BaseModel) or is_dataclass(annotation))


def keys_of(annotation: Any, given: Any) -> dict[str, Any]:
    """Name → type of the keys that a section may have, with those that depend on what is given (see `Registered`)."""
    if not is_section(annotation):
        return {}
    if not issubclass(annotation, BaseModel):
        return get_type_hints(annotation)
    known = {name: field.annotation for name, field in annotation.model_fields.items()}
    if hasattr(annotation, "further_keys") and isinstance(given, dict):
        known |= annotation.further_keys(given)
    return known


def describe(annotation: Any, *, many: bool = False) -> str:
    """What is expected: `a list of texts`, `a whole number`, `'auto' or a number`."""
    kinds = alternatives(annotation)
    if len(kinds) > 1:
        return " or ".join(dict.fromkeys(describe(kind, many=many) for kind in kinds))
    kind = kinds[0]
    if kind in _ONE_AND_MANY:
        return _ONE_AND_MANY[kind][many]
    if kind is Any:
        return "anything"
    if is_section(kind):
        return f"sections with the keys {', '.join(keys_of(kind, {}))}" if many else _section(kind)
    return _generic(kind, many)


def _section(kind: Any) -> str:
    return f"a section with the keys {', '.join(keys_of(kind, {}))}"


def _generic(kind: Any, many: bool) -> str:
    origin, members = get_origin(kind), get_args(kind)
    if origin is Literal:
        names = [shown(member) for member in members]
        return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
    if origin is tuple and members and members[-1] is not Ellipsis:
        same = len(set(members)) == 1
        items = describe(members[0], many=True) if same else ", ".join(describe(member) for member in members)
        return f"{'lists' if many else 'a list'} of {len(members)} {items}" if same else f"a list of {items}"
    if origin in (list, tuple, set, frozenset) or kind in (list, tuple, set, frozenset):
        items = f" of {describe(members[0], many=True)}" if members else ""
        return ("lists" if many else "a list") + items
    if origin is dict or kind is dict:
        return "names, each with " + describe(members[1]) if members and members[1] is not Any else "names with values"
    return str(getattr(kind, "__name__", kind))


def shown(value: Any) -> str:
    """A value as the user may have written it, short."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f"'{value}'" if len(value) <= 60 else f"'{value[:57]}…'"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    if isinstance(value, dict):
        return f"a section with the keys {', '.join(map(str, value))}" if value else "an empty section"
    return str(value)
