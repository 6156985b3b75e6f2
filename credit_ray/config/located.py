"""A tree of plain values in which each knows where it was written: what merging and `--set` work on, and errors point at."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from credit_ray.errors import ConfigError

Scalar = None | bool | int | float | str
Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Origin:
    """Where a value comes from: a file and its line there, or what was given on the command line."""

    where: str
    line: int | None = None

    def __str__(self) -> str:
        return f"{self.where}:{self.line}" if self.line else self.where


@dataclass(frozen=True)
class Template:
    """A scalar that names environment variables, before they are looked up.

    Parameters
    ----------
    text : str
        As written.
    plain : bool
        Written without quotes, so that what replaces it is read as YAML: a number, `true`, nothing.
    """

    text: str
    plain: bool


@dataclass(frozen=True)
class Located:
    """A value, with the origin of its key."""

    value: Scalar | Template | list[Located] | dict[str, Located]
    origin: Origin

    def merged(self, over: Located) -> Located:
        """This tree with another laid over it: mappings are joined key by key, everything else is replaced."""
        if not (isinstance(self.value, dict) and isinstance(over.value, dict)):
            return over
        joined = dict(self.value)
        for key, value in over.value.items():
            joined[key] = joined[key].merged(value) if key in joined else value
        return Located(joined, over.origin)

    def assigned(self, path: Path, value: Located) -> Located:
        """This tree with the value at one path replaced; mappings on the way are made where they are missing.

        Raises
        ------
        ConfigError
            Where the path names an item that a list does not have.
        """
        if not path:
            return self.merged(value)
        key, rest = path[0], path[1:]
        if isinstance(self.value, list):
            if not (isinstance(key, int) and 0 <= key < len(self.value)):
                items = f"0 to {len(self.value) - 1}" if self.value else "none: it is empty"
                raise ConfigError(f"{value.origin}: '{key}' is no item of the list; its items are {items}.")
            items_after = list(self.value)
            items_after[key] = self.value[key].assigned(rest, value)
            return replace(self, value=items_after)
        fields = dict(self.value) if isinstance(self.value, dict) else {}
        fields[str(key)] = fields.get(str(key), Located(None, value.origin)).assigned(rest, value)
        return replace(self, value=fields)

    def plain(self) -> object:
        """The tree as ordinary dictionaries, lists and scalars."""
        if isinstance(self.value, dict):
            return {key: child.plain() for key, child in self.value.items()}
        if isinstance(self.value, list):
            return [child.plain() for child in self.value]
        return self.value.text if isinstance(self.value, Template) else self.value

    def nearest(self, path: Path) -> Located:
        """The value at a path, or the innermost one around it that exists."""
        found = self
        for key in path:
            if isinstance(found.value, dict) and key in found.value:
                found = found.value[str(key)]
            elif isinstance(found.value, list) and isinstance(key, int) and key < len(found.value):
                found = found.value[key]
            else:
                break
        return found


def dotted(path: Sequence[str | int]) -> str:
    """A path as text; a key that has dots itself is quoted: `tuning.space."model.width".choice`."""
    return ".".join(f'"{key}"' if isinstance(key, str) and "." in key else str(key) for key in path)


def parse_dotted(text: str) -> Path:
    """The opposite of `dotted`: whole numbers are positions in lists.

    Raises
    ------
    ValueError
        For empty keys and unpaired quotes.
    """
    if not re.fullmatch(rf"{_KEY}(\.{_KEY})*", text):
        raise ValueError(f"'{text}' is no dotted key")
    keys = re.findall(_KEY, text)
    return tuple(key.strip('"') if key.startswith('"') else int(key) if key.isdecimal() else key for key in keys)


_KEY = r'(?:"[^"]+"|[^."\s]+)'
