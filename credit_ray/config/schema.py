"""The config described: as JSON Schema, for editors that complete and check while one types, and as a page to read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args, get_origin

from pydantic import BaseModel, TypeAdapter
from pydantic_core import PydanticUndefined

from credit_ray.config.experiment import Experiment
from credit_ray.config.model import Registered
from credit_ray.config.words import alternatives, describe, is_section, shown


def config_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a config file, with the arguments of every registered class.

    Name it in a file's first line: `# yaml-language-server: $schema=experiment.schema.json`.
    """
    schema = Experiment.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["properties"]["extends"] = {
        "description": "Configs that this one is laid over, relative to this file; later ones win.",
        "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
    }
    # With `extends`, what this file lacks may be in another.
    for section in [schema, *schema["$defs"].values()]:
        section.pop("required", None)
    for kind in Registered.__subclasses__():
        _add_arguments(schema["$defs"], kind)
    return schema


def _add_arguments(definitions: dict[str, Any], kind: type[Registered]) -> None:
    """`if network is X then these keys`, for each registered X."""
    section = definitions[kind.__name__]
    own = section["properties"]
    own[kind.selector]["enum"] = kind.registry.names()
    section["allOf"] = []
    for name in kind.registry.names():
        arguments = TypeAdapter(kind.registry.arguments(name)).json_schema(ref_template=f"#/$defs/{name} {{model}}")
        for nested, definition in arguments.pop("$defs", {}).items():
            definitions[f"{name} {nested}"] = definition
        keys = {**dict.fromkeys(own, True), **arguments.get("properties", {})}
        chosen: dict[str, Any] = {"properties": {kind.selector: {"const": name}}}
        if name != kind.model_fields[kind.selector].default:
            chosen["required"] = [kind.selector]
        section["allOf"].append({"if": chosen, "then": {"properties": keys, "additionalProperties": False}})


def config_reference() -> str:
    """Every key of the config with its type, default and meaning, as a Markdown page."""
    lines = [
        "# Every key of the config",
        "",
        "Made from the code by `credit-ray config reference`.",
        "",
        "| key | type | default | meaning |",
        "| --- | --- | --- | --- |",
        *_rows(Experiment, ()),
    ]
    for kind in Registered.__subclasses__():
        for name in kind.registry.names():
            arguments = TypeAdapter(kind.registry.arguments(name)).json_schema().get("properties", {})
            lines += ["", f"## {kind.registry.kind} `{name}`", "", "| key | default | meaning |", "| --- | --- | --- |"]
            for key, about in arguments.items():
                lines.append(
                    _row(key, shown(about["default"]) if "default" in about else "–", about.get("description", ""))
                )
    return "\n".join(lines) + "\n"


def _rows(section: type[BaseModel], path: tuple[str, ...]) -> Iterator[str]:
    for name, field in section.model_fields.items():
        key = (*path, name)
        default = field.get_default(call_default_factory=False)
        is_plain = default is not PydanticUndefined and not isinstance(default, BaseModel | dict | list | None)
        kinds = alternatives(field.annotation)
        kind = "section" if is_section(kinds[0]) else describe(field.annotation)
        yield _row(".".join(key), kind, shown(default) if is_plain else "–", field.description or "")
        for member in kinds:
            inner = get_args(member)[-1] if get_origin(member) in (dict, list) else member
            if is_section(inner) and issubclass(inner, BaseModel):
                yield from _rows(
                    inner, key if inner is member else (*key, "<name>" if get_origin(member) is dict else "<n>")
                )


def _row(*cells: str) -> str:
    texts = [cell.replace("|", "\\|").replace("\n", " ") for cell in cells]
    return f"| `{texts[0]}` | " + " | ".join(texts[1:]) + " |"
