"""Archives and layouts by name: `preset: arco-era5` in a source stands for URL, access, names, units and levels.

Each preset is one YAML file in `presets/`. What the config says itself stands over what its preset says.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from credit_ray.config.section import Section
from credit_ray.config.yaml_lines import read_yaml
from credit_ray.errors import ConfigError, did_you_mean

_FOLDER = Path(__file__).parent / "presets"


class Layout(Section):
    """How the fields lie in the store: what nobody has to say in a config, and one wants to know before one reads."""

    format: str
    """Of the store."""
    step: str
    """From one time to the next."""
    calendar: str = "standard"
    """Of its times."""
    time_units: str
    """Of the coordinate, as stored."""
    grid: tuple[int, int]
    """Latitudes and longitudes."""
    latitude: Literal["north to south", "south to north"]
    """Order of its rows."""
    dims: tuple[str, ...]
    """Of a variable with levels, in the store's order; one without lacks the level's."""
    levels: list[float] = []
    """Values of the level coordinate."""
    chunks: dict[str, int] = {}
    """By dimension, where the chunks are known; a whole dimension is not listed."""
    upper: dict[str, str] = {}
    """Variables on levels, with their units; empty units are not stored."""
    surface: dict[str, str] = {}
    """Variables without levels."""
    static: dict[str, str] = {}
    """Variables without time."""


class Preset(Section):
    """One archive."""

    title: str
    """In one line."""
    source: dict[str, Any]
    """Keys of a source of the config."""
    layout: Layout
    """What lies there."""

    def describe(self) -> dict[str, Any]:
        """As plain values."""
        return self.model_dump(mode="json")


@cache
def preset_names() -> tuple[str, ...]:
    """All presets, sorted."""
    return tuple(sorted(file.stem for file in _FOLDER.glob("*.yaml")))


@cache
def load_preset(name: str) -> Preset:
    """The preset of that name.

    Raises
    ------
    ConfigError
        With the nearest name, where there is none.
    """
    if name not in preset_names():
        raise ConfigError(f"there is no preset '{name}'.{did_you_mean(name, preset_names())}")
    file = _FOLDER / f"{name}.yaml"
    return Preset.model_validate(read_yaml(file.read_text(encoding="utf-8"), file.name).plain())


def on_preset(given: dict[str, Any]) -> dict[str, Any]:
    """A source's keys laid over those of its preset; mappings are merged.

    A store of one's own, such as a copy, is reached by its own options: the preset's are those of its URL.
    """
    below = dict(load_preset(str(given["preset"])).source)
    if "store" in given:
        below.pop("storage_options", None)
    merged = below | given
    for key, value in below.items():
        if isinstance(value, dict) and isinstance(given.get(key), dict):
            merged[key] = value | given[key]
    return merged


@dataclass(frozen=True)
class PresetList:
    """What `credit-ray data presets` shows.

    Parameters
    ----------
    presets : dict of str to Preset
        By name.
    """

    presets: dict[str, Preset]

    def __str__(self) -> str:
        return "\n".join(line for name, preset in self.presets.items() for line in _described(name, preset))


def list_presets() -> PresetList:
    """Every preset."""
    return PresetList({name: load_preset(name) for name in preset_names()})


def _described(name: str, preset: Preset) -> list[str]:
    layout, store = preset.layout, preset.source.get("store", "(give 'store:' yourself)")
    chunks = " × ".join(f"{dim} {size}" for dim, size in layout.chunks.items())
    return [
        f"{name}: {preset.title}",
        f"  {store}",
        f"  {layout.format}, every {layout.step}, {layout.calendar} calendar, {layout.grid[0]}×{layout.grid[1]}"
        + (f", {len(layout.levels)} levels" if layout.levels else "")
        + (f", chunks {chunks}" if chunks else ""),
        f"  {', '.join((*layout.upper, *layout.surface, *layout.static))}",
    ]
