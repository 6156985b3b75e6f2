"""Names in a config → classes, found only when they are used.

A registry holds, for each name, where its class is (`"module:Class"`) and where the data class of its arguments is.
Arguments live in modules that import no torch, so that a config can be checked in milliseconds. Names come from four
places: the tables below, the decorator (`@networks.register("mine", arguments=MyArguments)`) in a module of the user's,
entry points of installed packages (group `credit_ray.networks` and so on), which point at the class itself, and paths
(`mine.py:Mine`, or `package.module:Mine`) to a class that the decorator registers.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, TypeGuard, TypeVar

from credit_ray.errors import ConfigError, did_you_mean

C = TypeVar("C", bound=type)


@dataclass(frozen=True)
class Entry:
    """Where a class and the data class of its arguments are; either is the class itself, or "module:Class"."""

    target: str | type
    arguments: str | type


class Registry:
    """The classes of one kind, by name.

    Parameters
    ----------
    kind : str
        What its members are, for messages: "network", "loss", …
    builtin : mapping of str to Entry
        The names that come with the package; as an attribute, the names alone.
    """

    def __init__(self, kind: str, builtin: Mapping[str, Entry]) -> None:
        self.kind = kind
        self.group = f"credit_ray.{kind.replace(' ', '_')}s"
        self.builtin = frozenset(builtin)
        self._entries = dict(builtin)

    def register(self, name: str, *, arguments: type) -> Callable[[C], C]:
        """Class decorator: make a class, which is built as `Class(arguments, ...)`, available in configs under `name`."""

        def add(cls: C) -> C:
            self._entries[name] = Entry(cls, arguments)
            return cls

        return add

    def names(self) -> list[str]:
        """All known names, sorted; entry points are listed, not loaded."""
        return sorted({*self._entries, *(point.name for point in entry_points(group=self.group))})

    def target(self, name: str) -> Any:
        """The class of that name.

        Raises
        ------
        ConfigError
            For an unknown name, with the nearest known one.
        """
        return _load(self._entry(name).target)

    def arguments(self, name: str) -> Any:
        """The data class of the arguments of that name; does not import the class, so no torch for the built-in ones."""
        return _load(self._entry(name).arguments)

    def _entry(self, name: str) -> Entry:
        if name not in self._entries and ":" in name:
            self._entries[name] = self._by_path(name)
        if name not in self._entries:
            for point in entry_points(group=self.group, name=name):
                point.load()  # its module registers itself with the decorator
        if name not in self._entries:
            raise ConfigError(f"There is no {self.kind} '{name}'.{did_you_mean(name, self.names())}")
        return self._entries[name]

    def _by_path(self, name: str) -> Entry:
        """The entry of a class that is named by where it is."""
        where, _, attribute = name.rpartition(":")
        module = _imported(where, f"the {self.kind} '{name}'")
        cls = getattr(module, attribute, None)
        for entry in self._entries.values():
            if cls is not None and entry.target is cls:
                return entry
        mine = [entry.target.__name__ for entry in self._entries.values() if _of(entry.target, module)]
        near = (
            f" It registers {', '.join(mine)}."
            if mine
            else f' Decorate the class with @{self.group.split(".")[1]}.register("…", arguments=…).'
        )
        raise ConfigError(f"{where} registers no {self.kind} class '{attribute}'.{near}")


def _of(target: str | type, module: ModuleType) -> TypeGuard[type]:
    return not isinstance(target, str) and target.__module__ == module.__name__


def _imported(where: str, wanted: str) -> ModuleType:
    """The module of that name, or in that file; a file is run once."""
    if not where.endswith(".py"):
        try:
            return import_module(where)
        except ModuleNotFoundError as error:
            raise ConfigError(
                f"{wanted}: {error}. Give the path of its file, such as mine.py:Mine, or install it."
            ) from error
    file = Path(where).resolve()
    name = f"_by_path{file.with_suffix('').as_posix().replace('.', '_').replace('/', '_')}"
    if name not in sys.modules:
        spec = spec_from_file_location(name, file)
        if not file.is_file() or spec is None or spec.loader is None:
            raise ConfigError(f"{wanted}: there is no file {file}.")
        sys.modules[name] = module = module_from_spec(spec)  # before it runs: data classes look themselves up
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
    return sys.modules[name]


def _load(where: str | type) -> Any:
    if not isinstance(where, str):
        return where
    module, _, attribute = where.partition(":")
    return getattr(import_module(module), attribute)


def _networks(**where: tuple[str, str]) -> dict[str, Entry]:
    return {
        name: Entry(f"credit_ray.models.{module}:{cls}", f"credit_ray.models.arguments:{cls}Arguments")
        for name, (module, cls) in where.items()
    }


networks = Registry(
    "network",
    _networks(
        unet=("unet", "UNet"),
        wxformer=("wxformer", "WXFormer"),
        fuxi=("fuxi", "FuXi"),
        linear=("linear", "Linear"),
        afno=("afno", "AFNO"),
        sfno=("sfno", "SFNO"),
        swin=("swin", "Swin"),
        graphcast=("graphcast", "GraphCast"),
        samudra=("samudra", "Samudra"),
        persistence=("baselines", "Persistence"),
        climatology=("baselines", "Climatology"),
    ),
)


def _losses(**where: tuple[str, str, str]) -> dict[str, Entry]:
    return {
        name: Entry(f"credit_ray.losses.{module}:{cls}", f"credit_ray.losses.arguments:{arguments}Arguments")
        for name, (module, cls, arguments) in where.items()
    }


losses = Registry(
    "loss",
    _losses(
        mse=("pointwise", "MeanSquaredError", "Pointwise"),
        mae=("pointwise", "MeanAbsoluteError", "Pointwise"),
        huber=("pointwise", "Huber", "Huber"),
        log_cosh=("pointwise", "LogCosh", "Pointwise"),
        crps=("ensemble", "CRPS", "CRPS"),
        energy_score=("ensemble", "EnergyScore", "EnergyScore"),
        spectral=("spectral", "SpectralLoss", "Spectral"),
        power_spectrum=("spectral", "PowerSpectrumLoss", "Spectral"),
        adjusted_mse=("spectral", "AdjustedMSE", "AdjustedMSE"),
        sum=("combined", "Sum", "Sum"),
    ),
)


def _constraints(**where: tuple[str, str]) -> dict[str, Entry]:
    return {
        name: Entry(f"credit_ray.physics.{module}:{cls}", f"credit_ray.physics.arguments:{cls}Arguments")
        for name, (module, cls) in where.items()
    }


def _filters(**where: tuple[str, str]) -> dict[str, Entry]:
    return {
        name: Entry(f"credit_ray.physics.filters.{target}", f"credit_ray.physics.filters.arguments:{arguments}")
        for name, (target, arguments) in where.items()
    }


constraints = Registry(
    "constraint",
    {
        **_constraints(
            positive=("ranges", "Positive"),
            bounds=("ranges", "Bounds"),
            non_negative_precipitation=("ranges", "NonNegativePrecipitation"),
            sea_ice_range=("ranges", "SeaIceRange"),
            dry_air_mass=("mass", "DryAirMass"),
            tracer_mass=("mass", "TracerMass"),
            water=("water", "Water"),
            energy=("energy", "Energy"),
            ocean_heat=("ocean", "OceanHeat"),
        ),
        **_filters(
            hyperdiffusion=("hyperdiffusion:Hyperdiffusion", "HyperdiffusionArguments"),
            polar_filter=("polar:PolarFilter", "PolarFilterArguments"),
            wind_artefact_filter=("wind_artefacts:WindArtefactFilter", "WindArtefactFilterArguments"),
            skebs=("backscatter:Backscatter", "BackscatterArguments"),
        ),
    },
)
