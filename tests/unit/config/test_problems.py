"""Messages about wrong values: plain words, the right place, the nearest valid key."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, field_validator

from credit_ray.config.experiment import Experiment
from credit_ray.config.loader import validated
from credit_ray.config.yaml_lines import read_yaml, write_yaml
from credit_ray.errors import ConfigError


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Circle(Strict):
    shape: Literal["circle"]
    radius: float = Field(gt=0)


class Square(Strict):
    shape: Literal["square"]
    side: float


@dataclass
class Paint:
    colour: str
    layers: int = 1
    tags: list[str] = field(default_factory=list)


class Toy(Strict):
    count: int = Field(default=1, ge=0, lt=10)
    ratio: float | None = None
    flag: bool = False
    names: list[str] = []
    sizes: dict[str, float] = {}
    pair: tuple[int, int] = (0, 0)
    mode: Literal["fast", "slow"] = "fast"
    either: list[str] | Circle | Literal["all"] = "all"
    shape: Annotated[Circle | Square, Field(discriminator="shape")] | None = None
    paint: Paint | None = None
    nested: dict[str, Circle] = {}
    code: str = Field(default="a", pattern="^[a-z]+$", max_length=5)

    @field_validator("flag")
    @classmethod
    def _not_set(cls, flag: bool) -> bool:
        if flag:
            raise ValueError("is not for you")
        return flag


def said(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        validated(Toy, read_yaml(text, "x.yaml"))
    return str(caught.value).splitlines()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("count: many", "count: should be a whole number, not 'many'."),
        ("count: 1.5", "count: should be a whole number, not 1.5."),
        ("count: null", "count: should be a whole number, not null."),
        ("count: -1", "count: should be at least 0, not -1."),
        ("count: 10", "count: should be less than 10, not 10."),
        ("ratio: high", "ratio: should be a number, not 'high'."),
        ("flag: 3", "flag: should be true or false, not 3."),
        ("flag: true", "flag: is not for you."),
        ("names: a", "names: should be a list of texts, not 'a'."),
        ("names: [a, 1]", 'names.1: should be a text, not 1. Quote it to make it a text: "1".'),
        ("sizes: [1]", "sizes: should be names, each with a number, not a list."),
        ("sizes: {a: b}", "sizes.a: should be a number, not 'b'."),
        ("pair: [1]", "pair: should be a list of 2 whole numbers, not 1 of them."),
        ("pair: [1, 2, 3]", "pair: should be a list of 2 whole numbers, not 3 of them."),
        ("mode: fats", "mode: should be 'fast' or 'slow', not 'fats'. Did you mean 'fast'?"),
        ("either: 3", "either: should be a list of texts or a section with the keys shape, radius or 'all', not 3."),
        ("either: [1]", 'either.0: should be a text, not 1. Quote it to make it a text: "1".'),
        ("either: {shape: circle, radius: 0}", "either.radius: should be more than 0, not 0."),
        (
            "either: {shape: circle, radius: 1, colour: red}",
            "either.colour: is not a key here. Did you mean 'paint.colour'? Here there is: radius, shape.",
        ),
        ("shape: {shape: square, side: x}", "shape.side: should be a number, not 'x'."),
        (
            "shape: {shape: circle, radios: 1, radius: 2}",
            "shape.radios: is not a key here. Did you mean 'radius'? There is: radius, shape.",
        ),
        ("paint: {colour: red, layers: x}", "paint.layers: should be a whole number, not 'x'."),
        ("paint: {layers: 2}", "paint.colour: is missing."),
        ("nested: {a: {shape: circle}}", "nested.a.radius: is missing."),
        ("nested: {a: 3}", "nested.a: should be a section with the keys shape, radius, not 3."),
        ("code: ABC", "code: 'ABC' does not fit the pattern ^[a-z]+$"),
        ("code: abcdef", "code: should have at most 5, and has 6."),
        ("cuont: 3", "cuont: is not a key here. Did you mean 'count'?"),
        ("layers: 3", "layers: is not a key here. Did you mean 'paint.layers'?"),
    ],
)
def test_a_wrong_value_is_explained_in_plain_words(text: str, message: str) -> None:
    (line,) = said(text)
    assert line.startswith(f"x.yaml:1: {message}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("shape: {shape: triangle}", "shape: its 'shape' should be one of 'circle', 'square'."),
        ("shape: {side: 1}", "shape: 'shape' is missing."),
    ],
)
def test_an_unknown_kind_is_answered_with_those_that_there_are(text: str, message: str) -> None:
    assert said(text) == [f"x.yaml:1: {message}"]


def test_a_missing_key_may_be_one_that_was_misspelt() -> None:
    lines = said("paint: {color: red}")
    assert "x.yaml:1: paint.colour: is missing. Is it what 'color' should be?" in lines
    assert any("paint.color: is not a key here. Did you mean 'colour'?" in line for line in lines)


@pytest.mark.parametrize("text", ["count: x\nflag: 3\nnames: 2\n", "either: {a: 1}\nshape: {shape: square}\n"])
def test_no_message_speaks_of_the_library_that_found_it(text: str) -> None:
    for word in ("pydantic", "http", "Input", "type=", "literal[", "union"):
        assert word not in "".join(said(text))


VALID: dict[str, Any] = {
    "name": "sample",
    "data": {
        "timestep": "6h",
        "history": 2,
        "sources": {"weather": {"store": "x.zarr", "prognostic": ["u"], "levels": [500.0]}},
        "splits": {"train": ["2000-01-01", "2000-12-31"], "test": ["2001-01-01", "2001-12-31"]},
        "ingest": {"slab_bytes": 1000000, "prefetch": 2},
    },
    "training": {
        "batch_size": 8,
        "optimizer": {"weight_decay": 0.0},
        "curriculum": [{"epoch": 0, "steps": 1}],
        "checkpoint": {"every_minutes": 5.0},
    },
    "forecast": {"inits": {"start": "2001-01-01", "end": "2001-02-01", "every": "1D"}, "output": {"initial": True}},
    "constraints": [{"kind": "positive", "variables": ["u"]}],
    "serving": {"models": [{"name": "sample"}], "limits": {"keep_hours": 1.0}},
}


def named_keys(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of the keys whose names are the config's own, not the user's."""
    found: list[tuple[Any, ...]] = []
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        if isinstance(key, str) and path != ("data", "sources") and path[:1] != ("constraints",):
            found.append((*path, key))
        found += named_keys(value, (*path, key))
    return found


@given(path=st.sampled_from(named_keys(VALID)), seed=st.integers(0, 1000))
def test_a_misspelt_key_anywhere_is_named_with_its_line_and_its_right_spelling(
    path: tuple[Any, ...], seed: int
) -> None:
    key = path[-1]
    at = random.Random(seed).randrange(1, len(key))
    wrong = key[:at] + "x" + key[at:]  # a slip of the finger

    def misspelt(tree: Any, here: tuple[Any, ...]) -> Any:
        if isinstance(tree, dict):
            return {
                (wrong if (*here, name) == path else name): misspelt(value, (*here, name))
                for name, value in tree.items()
            }
        return [misspelt(item, (*here, i)) for i, item in enumerate(tree)] if isinstance(tree, list) else tree

    text = write_yaml(misspelt(VALID, ()))
    line = next(number for number, row in enumerate(text.splitlines(), 1) if f"{wrong}:" in row)
    with pytest.raises(ConfigError) as caught:
        validated(Experiment, read_yaml(text, "x.yaml"))
    place = ".".join(map(str, (*path[:-1], wrong)))
    (about,) = [said for said in str(caught.value).splitlines() if f": {place}: is not a key here." in said]
    assert about.startswith(f"x.yaml:{line}: ")
    assert f"Did you mean '{key}'?" in about
