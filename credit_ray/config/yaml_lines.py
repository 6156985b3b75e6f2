"""YAML ↔ a tree that knows its lines, without the surprises of YAML 1.1.

`1e-3` is a number; `on`, `no`, `2020-01-01` and `6:00` are texts, not booleans, dates and sexagesimal numbers; a key that
stands twice is an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, ClassVar

import yaml

from credit_ray.config.located import Located, Origin, Scalar, Template
from credit_ray.errors import ConfigError

_CORE = "tag:yaml.org,2002:"


class _Reader(yaml.SafeLoader):
    """Composes nodes and tells their kinds by the core schema of YAML 1.2, with `_` between digits and `<<` kept from 1.1."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}  # type: ignore[misc]


class _Writer(yaml.SafeDumper):
    """Quotes each text that YAML 1.1 or `_Reader` would take for something else."""


for _kind, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9][0-9_]*|0x[0-9a-fA-F]+|0o[0-7]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
    ("merge", r"<<", ["<"]),
):
    for _class in (_Reader, _Writer):
        _class.add_implicit_resolver(_CORE + _kind, re.compile(rf"(?:{_pattern})\Z"), _first)


def read_yaml(text: str, where: str, *, numbered: bool = True) -> Located:
    """The tree of one YAML document.

    Parameters
    ----------
    text : str
        The document.
    where : str
        Its file, or what else to call it in messages.
    numbered : bool
        Whether lines mean something: not for a value from the command line.

    Raises
    ------
    ConfigError
        For text that is not YAML, with line and column, and for every key that stands twice.
    """
    try:
        reader = _Reader(text)
        node = reader.get_single_node()
    except yaml.MarkedYAMLError as error:
        raise ConfigError(_syntax_message(error, where, numbered)) from None
    except yaml.YAMLError as error:  # a character that no text has
        raise ConfigError(f"{where}: is not a text file: {str(error).splitlines()[0]}") from None
    if node is None:
        return Located(None, Origin(where))
    if twice := list(_keys_that_stand_twice(node, where, set())):
        raise ConfigError("\n".join(twice))
    builder = _Builder(reader, where, numbered)
    return builder.build(node, Origin(where))


def read_scalar(text: str) -> Scalar:
    """What a word without quotes means in YAML: a number, true or false, nothing, else the text itself."""
    tag = _Reader("").resolve(yaml.ScalarNode, text, (True, False))
    return _scalar(tag, text)


def write_yaml(tree: Any) -> str:
    """Plain values as YAML that `read_yaml`, and every other reader, reads back as the same values."""
    return yaml.dump(tree, Dumper=_Writer, sort_keys=False, allow_unicode=True, width=120, default_flow_style=None)


class _Builder:
    """Nodes → located values, for one document."""

    def __init__(self, reader: _Reader, where: str, numbered: bool) -> None:
        self._reader, self._where, self._numbered = reader, where, numbered
        self._open: set[int] = set()  # nodes around the current one: an alias to one of them has no end

    def build(self, node: yaml.Node, origin: Origin) -> Located:
        if id(node) in self._open:
            raise ConfigError(f"{origin}: an alias to something that contains itself.")
        self._open.add(id(node))
        try:
            return Located(self._value(node, origin), origin)
        finally:
            self._open.discard(id(node))

    def _value(self, node: yaml.Node, origin: Origin) -> Any:
        tag = node.tag.removeprefix(_CORE)
        if isinstance(node, yaml.MappingNode) and tag == "map":
            self._reader.flatten_mapping(node)  # `<<: *base`
            return {key.value: self.build(value, self._at(key)) for key, value in node.value}
        if isinstance(node, yaml.SequenceNode) and tag == "seq":
            return [self.build(item, self._at(item)) for item in node.value]
        if isinstance(node, yaml.ScalarNode) and tag in ("null", "bool", "int", "float", "str", "merge"):
            if "${" in node.value:
                return Template(node.value, plain=node.style is None and tag == "str")
            return _scalar(node.tag, node.value)
        raise ConfigError(f"{origin}: '{node.tag}' is not understood here; write plain keys, lists, texts and numbers.")

    def _at(self, node: yaml.Node) -> Origin:
        return Origin(self._where, node.start_mark.line + 1 if self._numbered else None)


def _scalar(tag: str, text: str) -> Scalar:
    kind = tag.removeprefix(_CORE)
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() == "true"
    digits = text.replace("_", "")
    if kind == "int":
        return int(digits, 0) if digits[:2] in ("0x", "0o") else int(digits)
    if kind == "float":
        return float(digits.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return text


def _keys_that_stand_twice(node: yaml.Node, where: str, seen: set[int]) -> Iterator[str]:
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _keys_that_stand_twice(item, where, seen)
    elif isinstance(node, yaml.MappingNode):
        lines: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                yield f"{where}:{line}: a key must be a name; for a text with '{{' or '[', use quotes."
            elif key.value in lines:
                yield f"{where}:{line}: {key.value}: this key stands in line {lines[key.value]} already; remove one of them."
            else:
                lines[key.value] = line
            yield from _keys_that_stand_twice(value, where, seen)


_ADVICE = (
    ("cannot start any token", "YAML indents with spaces, not tabs, and quotes a text that begins with % @ or `."),
    (
        "mapping values are not allowed",
        "Quote a text that contains ': ', and check that the keys of a section begin in one column.",
    ),
    (
        "expected <block end>",
        "Check that the keys of a section begin in one column, and that quotes and brackets are closed.",
    ),
    ("could not find expected ':'", "A key is followed by a colon and a space."),
    ("expected a single document", "A config is one document: remove the line '---' between its parts."),
    ("expected ',' or", "A bracket is not closed, or a comma is missing; quote '${…}' inside brackets."),
)


def _syntax_message(error: yaml.MarkedYAMLError, where: str, numbered: bool) -> str:
    mark = error.problem_mark or error.context_mark
    place = f"{where}:{mark.line + 1}:{mark.column + 1}" if mark and numbered else where
    problem = error.problem or error.context or "unreadable"
    if error.context and error.problem:
        problem = f"{error.problem} ({error.context})"
    advice = next((advice for sign, advice in _ADVICE if sign in problem), "")
    return f"{place}: is not YAML: {problem}. {advice}".rstrip()
