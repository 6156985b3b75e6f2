"""YAML as scientists write it, and where each value stands."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credit_ray.config.located import Located
from credit_ray.config.yaml_lines import read_scalar, read_yaml, write_yaml
from credit_ray.errors import ConfigError

TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Co", "Cn"]), max_size=12)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS
TREES = st.dictionaries(
    TEXTS, st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3))
)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("1e-3", 1e-3),
        ("1E5", 1e5),
        (".5", 0.5),
        ("256_000_000", 256_000_000),
        ("010", 10),
        ("0x1F", 31),
        ("-.inf", -math.inf),
        ("true", True),
        ("FALSE", False),
        ("on", "on"),
        ("no", "no"),
        ("2020-01-01", "2020-01-01"),
        ("2020-01-01T06:00:00", "2020-01-01T06:00:00"),
        ("6:00", "6:00"),
        ("6h", "6h"),
        ("~", None),
        ("", None),
        ("'1e-3'", "1e-3"),
        ('"true"', "true"),
        ("=", "="),
        ("1.2.3", "1.2.3"),
    ],
)
def test_a_value_means_what_it_looks_like(written: str, meant: object) -> None:
    assert read_yaml(f"key: {written}", "x.yaml").plain() == {"key": meant}
    if "'" not in written and '"' not in written:
        assert read_scalar(written) == meant


@given(TREES)
def test_what_is_written_is_read_back_as_the_same_values(tree: dict[str, object]) -> None:
    text = write_yaml(tree)
    if "${" not in text:  # those are for the environment
        assert read_yaml(text, "x.yaml").plain() == tree


def test_every_value_knows_the_line_of_its_key() -> None:
    text = """\
# a comment
a: 1

b:
  c: [1,
      2]
  d: |
    several
    lines
e: {f: 3}
"""
    tree = read_yaml(text, "x.yaml")

    def lines(of: Located) -> object:
        if isinstance(of.value, dict):
            return {key: (child.origin.line, lines(child)) for key, child in of.value.items()}
        return [child.origin.line for child in of.value] if isinstance(of.value, list) else None

    assert lines(tree) == {
        "a": (2, None),
        "b": (4, {"c": (5, [5, 6]), "d": (7, None)}),
        "e": (10, {"f": (10, None)}),
    }


def test_anchors_and_merge_keys_work_and_own_keys_win() -> None:
    text = "base: &base {a: 1, b: 2}\nmine:\n  <<: *base\n  b: 3\n"
    assert read_yaml(text, "x.yaml").plain() == {"base": {"a": 1, "b": 2}, "mine": {"a": 1, "b": 3}}


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a: 1\nb: 2\na: 3\n", ["x.yaml:3: a:", "line 1"]),
        ("s:\n  k: 1\n  k: 2\nt: {m: 1, m: 2}\n", ["x.yaml:3: k:", "x.yaml:4: m:"]),
        ("a:\n\tb: 1\n", ["x.yaml:2:1:", "spaces, not tabs"]),
        ("a: b: c\n", ["x.yaml:1:5:", "Quote"]),
        ("a: [1, 2\nb: 3\n", ["x.yaml:2:", "bracket"]),
        ("a: {b: ${C}}\n", ["x.yaml:1:", "quote"]),
        ("a: !!python/object:os.system x\n", ["x.yaml:1:", "python/object"]),
        ("a: 1\n---\nb: 2\n", ["x.yaml:2:1:", "one document"]),
        ("? [a, b]\n: 1\n", ["x.yaml:1:", "a key must be a name"]),
        ("a: &a [*a]\n", ["x.yaml:1", "contains itself"]),
        ("a: \x00", ["x.yaml", "text file"]),
    ],
)
def test_what_is_not_yaml_is_said_with_its_place(text: str, parts: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        read_yaml(text, "x.yaml")
    for part in parts:
        assert part in str(caught.value)
