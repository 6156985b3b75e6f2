"""What pydantic found wrong → messages with file, line, dotted key, what is wrong and the nearest valid key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from itertools import groupby
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError

from credit_ray.config.located import Located, Path, dotted
from credit_ray.config.words import alternatives, bare, describe, is_section, keys_of, shown
from credit_ray.errors import did_you_mean

Finding = tuple[Path, Mapping[str, Any]]
"""Where below the current place, in pydantic's terms, and pydantic's description of one error."""

SECRET = "storage_options"
"""Values under this key are credentials, perhaps: no message, log or artifact shows them."""


def messages(model: type[BaseModel], tree: Located, error: ValidationError, root_keys: Sequence[str] = ()) -> list[str]:
    """One line for each problem, in the order of the files' lines.

    Parameters
    ----------
    model : type
        What the tree should have been.
    tree : Located
        What was given.
    error : ValidationError
        What validation made of it.
    root_keys : sequence of str
        Keys that the files may have beside the model's own.
    """
    findings: list[Finding] = [(found["loc"], found) for found in error.errors(include_url=False)]
    explainer = _Explainer(model, root_keys)
    problems = dict.fromkeys(explainer.explain(model, tree.plain(), findings, ()))
    placed = [(tree.nearest(path).origin, path, text) for path, text in problems]
    placed.sort(key=lambda item: (item[0].where, item[0].line or 0))
    return [": ".join(filter(None, (str(origin), dotted(path), text))) for origin, path, text in placed]


class _Explainer:
    """Walks types, values and findings together, from the root down."""

    def __init__(self, root: type[BaseModel], root_keys: Sequence[str]) -> None:
        self._root, self._root_keys = root, root_keys

    def explain(self, annotation: Any, given: Any, findings: list[Finding], path: Path) -> Iterator[tuple[Path, str]]:
        """(path, sentence) of each finding at or below a place that should hold `annotation` and holds `given`."""
        kinds = alternatives(annotation)
        if len(kinds) > 1:
            yield from self._explain_union(kinds, given, findings, path)
            return
        kind = kinds[0]
        for _, found in (f for f in findings if not f[0]):
            yield path, _sentence(kind, given, found, path)
        below = sorted((f for f in findings if f[0]), key=lambda f: str(f[0][0]))
        for key, group in groupby(below, key=lambda f: f[0][0]):
            nested = [(loc[1:], found) for loc, found in group]
            if any(not loc and found["type"] == "missing" for loc, found in nested):
                if isinstance(key, int):  # a tuple that is too short
                    yield path, f"should be {describe(kind)}, not {len(given)} of them."
                else:
                    yield (*path, key), f"is missing.{_meaning(kind, key, given)}"
            elif any(not loc and found["type"] in _UNKNOWN for loc, found in nested):
                yield (*path, key), f"is not a key here.{self._suggestion(str(key), kind, given, path)}"
            else:
                yield from self.explain(_type_at(kind, key, given), _value_at(given, key), nested, (*path, key))

    def _explain_union(
        self, kinds: list[Any], given: Any, findings: list[Finding], path: Path
    ) -> Iterator[tuple[Path, str]]:
        """pydantic tries all members and reports on each; only the one that was meant is of interest."""
        own = [(loc, found) for loc, found in findings if not loc]
        labels = {str(loc[0]) for loc, _ in findings if loc}
        meant = [kind for kind in kinds if _has_shape(kind, given)]
        if len(meant) > 1 and len(labels) == 1:  # told apart by one of their keys
            meant = [kind for kind in meant if any(labels <= set(map(str, values)) for values in _fixed_values(kind))]
        if own and own[0][1]["type"] in ("value_error", "assertion_error", *_TAGGED):
            yield path, _sentence(kinds[0], given, own[0][1], path)
        elif len(meant) == 1 and not own:
            of_it = [
                (loc[1:], found) for loc, found in findings if len(labels) == 1 or _is_label(str(loc[0]), meant[0])
            ]
            yield from self.explain(meant[0], given, of_it, path)
        else:
            yield path, _mismatch(kinds, given, path)

    def _suggestion(self, key: str, kind: Any, given: Any, path: Path) -> str:
        known = [*keys_of(kind, given), *(self._root_keys if not path else ())]
        if not get_close_matches(key, known, n=1):
            elsewhere = [place for place in _all_keys(self._root) if place[-1] == key]
            if elsewhere:
                nearest = max(elsewhere, key=lambda place: sum(a == b for a, b in zip(place, path, strict=False)))
                return f" Did you mean '{dotted(nearest)}'? Here there is: {', '.join(sorted(known))}."
        return did_you_mean(key, known, show=30)


_TAGGED = ("union_tag_invalid", "union_tag_not_found")
_UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")

_BOUNDS = {
    "greater_than": ("more than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}


def _sentence(kind: Any, given: Any, found: Mapping[str, Any], path: Path) -> str:
    """One of pydantic's errors about this very place."""
    what, context = found["type"], found.get("ctx", {})
    if what in ("value_error", "assertion_error"):
        text = str(context.get("error", found["msg"]))
        return text if text.endswith((".", "?")) else f"{text}."
    if what in _TAGGED:
        key = context["discriminator"].strip("'")
        return f"its '{key}' should be one of {context['expected_tags']}." if key in given else f"'{key}' is missing."
    if what in _BOUNDS:
        words, bound = _BOUNDS[what]
        return f"should be {words} {context[bound]:g}, not {shown(given)}."
    if what == "string_pattern_mismatch":
        return f"{shown(given)} does not fit the pattern {context['pattern']}"
    if what in ("too_short", "string_too_short"):
        return f"should have at least {context['min_length']}, and has {len(given)}."
    if what in ("too_long", "string_too_long") and get_origin(kind) is not tuple:
        return f"should have at most {context['max_length']}, and has {len(given)}."
    if what == "too_long":
        return f"should be {describe(kind)}, not {len(given)} of them."
    return _mismatch([kind], given, path)


def _mismatch(kinds: list[Any], given: Any, path: Path) -> str:
    expected = " or ".join(dict.fromkeys(describe(kind) for kind in kinds))
    got = "what is given" if SECRET in path else shown(given)
    text = f"should be {expected}, not {got}."
    choices = [str(value) for kind in kinds if get_origin(kind) is Literal for value in get_args(kind)]
    if isinstance(given, str) and (near := get_close_matches(given, choices, n=1)):
        text += f" Did you mean '{near[0]}'?"
    if str in kinds and isinstance(given, bool | int | float):
        text += f' Quote it to make it a text: "{shown(given)}".'
    return text


def _meaning(kind: Any, key: str, given: Any) -> str:
    """The description of a missing key, where its section has one, and what may have been meant to be it."""
    field = kind.model_fields.get(key) if is_section(kind) and issubclass(kind, BaseModel) else None
    text = f" It says: {field.description}" if field and field.description else ""
    near = get_close_matches(key, [name for name in given if name not in keys_of(kind, given)], n=1)
    return text + (f" Is it what '{near[0]}' should be?" if near else "")


def _type_at(kind: Any, key: str | int, given: Any) -> Any:
    if is_section(kind):
        return keys_of(kind, given).get(str(key), Any)
    members = get_args(kind)
    if get_origin(kind) is dict:
        return members[1]
    if get_origin(kind) is tuple and isinstance(key, int) and members[-1] is not Ellipsis:
        return members[min(key, len(members) - 1)]
    return members[0] if members else Any


def _value_at(given: Any, key: str | int) -> Any:
    try:
        return given[key]
    except (KeyError, IndexError, TypeError):
        return given


def _has_shape(kind: Any, given: Any) -> bool:
    """Whether a value looks as if that type was meant, be it well-formed or not."""
    if isinstance(given, dict):
        return is_section(kind) or dict in (kind, get_origin(kind))
    return isinstance(given, list) and bool({list, tuple} & {kind, get_origin(kind)})


def _is_label(label: str, kind: Any) -> bool:
    """Whether a part of pydantic's location names this member of a union."""
    name = kind.__name__ if is_section(kind) else getattr(get_origin(kind) or kind, "__name__", "")
    return name in label


def _fixed_values(kind: Any) -> Iterator[tuple[Any, ...]]:
    for annotation in keys_of(kind, {}).values():
        if get_origin(bare(annotation)) is Literal:
            yield get_args(bare(annotation))


def _all_keys(kind: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every key below a section; `<name>` stands for names of the user's choice."""
    for key, annotation in keys_of(kind, {}).items():
        yield (*path, key)
        for member in alternatives(annotation):
            if is_section(member):
                yield from _all_keys(member, (*path, key))
            elif get_origin(member) is dict and is_section(get_args(member)[1]):
                yield from _all_keys(get_args(member)[1], (*path, key, "<name>"))
