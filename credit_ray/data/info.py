"""What a store holds, and how it would be understood: the first thing to ask of data that one does not know."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from credit_ray.data.access import Access
from credit_ray.data.arrays import ArrayInfo
from credit_ray.data.axes import Axes
from credit_ray.data.meaning import conversion_over_an_interval, kind_of
from credit_ray.data.store import open_store
from credit_ray.data.units import conversion, dimensionless
from credit_ray.errors import DataError
from credit_ray.state import ROLES
from credit_ray.times import Step, Times, format_time, format_times
from credit_ray.variables import lookup

_GAPS_SHOWN = 5
_DAY = 86_400


@dataclass(frozen=True, kw_only=True)
class VariableInfo:
    """One array with a place on the sphere.

    Parameters
    ----------
    name : str
        In the store.
    known_as : str, optional
        Canonical name, where the vocabulary has it.
    units : str
        As stored; empty where the store does not say.
    dims : tuple of str
        As stored.
    shape, chunks : tuple of int
        By dimension.
    bytes : int
        Of all its values, not compressed.
    kind : str
        Whether values belong to times or to intervals; empty for what has no time.
    role : str
        `static`, without time; `diagnostic`, of intervals of time; `prognostic`, of instants, as far as the store can say it.
    """

    name: str
    known_as: str | None
    units: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    bytes: int
    kind: str
    role: str


@dataclass(frozen=True, kw_only=True)
class StoreInfo:
    """What `describe_store` found.

    Parameters
    ----------
    store, format : str
        URL, and what lies there.
    grid : str, optional
        Described.
    times : int
        How many; `first`, `last`, `step`, `calendar` say which.
    gaps : tuple of (str, str)
        Times between which steps are missing.
    levels : dict of str to str
        Dimension → what its levels are.
    variables : tuple of VariableInfo
        Coordinates left out.
    problems : tuple of str
        What would keep a config from using it.
    """

    store: str
    format: str
    grid: str | None
    times: int
    first: str | None
    last: str | None
    step: str | None
    calendar: str | None
    gaps: tuple[tuple[str, str], ...]
    levels: dict[str, str]
    variables: tuple[VariableInfo, ...]
    problems: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield f"{self.store} ({self.format}, {_size(sum(v.bytes for v in self.variables))} without compression)"
        yield f"grid       {self.grid or 'none'}"
        if self.times:
            yield f"times      {self.times}, {self.first} … {self.last}, step {self.step or 'irregular'}, {self.calendar} calendar"
        for before, after in self.gaps[:_GAPS_SHOWN]:
            yield f"           nothing between {before} and {after}"
        if len(self.gaps) > _GAPS_SHOWN:
            yield f"           … {len(self.gaps)} gaps in all"
        for dim, text in self.levels.items():
            yield f"levels     {dim}: {text}"
        yield "variables"
        header = ("in the store", "known as", "units", "kind", "dimensions", "chunks", "size")
        rows = [header, *(self._row(variable) for variable in self.variables)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            yield "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for problem in self.problems:
            yield f"problem    {problem}"
        if self.variables:
            yield from self._suggestion()

    def _row(self, variable: VariableInfo) -> tuple[str, ...]:
        return (
            variable.name,
            variable.known_as or "–",
            variable.units or "–",
            variable.kind or "static",
            " × ".join(f"{dim} {size}" for dim, size in zip(variable.dims, variable.shape, strict=True)),
            "×".join(map(str, variable.chunks)),
            _size(variable.bytes),
        )

    def _suggestion(self) -> Iterator[str]:
        yield "In a config, as far as the store can say it:"
        yield f"  store: {self.store}"
        for role in ROLES:
            names = [v.known_as or v.name for v in self.variables if v.role == role]
            if names:
                yield f"  {role}: [{', '.join(names)}]"


def describe_store(url: str, storage_options: Mapping[str, Any] | None = None) -> StoreInfo:
    """Look at a store: coordinates are read, fields are not.

    Parameters
    ----------
    url : str
        A Zarr store (any fsspec URL), a NetCDF file, or a glob of them.
    storage_options : mapping, optional
        Of the file system.

    Raises
    ------
    DataError
        Where there is no store; what is only odd about one is among its `problems`.
    """
    axes = Axes(open_store(url, Access(options=storage_options or {})))
    kinds = {name: [axes.kind(dim) for dim in info.dims] for name, info in axes.arrays.items()}
    fields = [name for name, kind in kinds.items() if {"latitude", "longitude"} <= set(kind)]
    problems = (
        [] if fields else [f"no variable with latitude and longitude; it has {', '.join(sorted(kinds)) or 'nothing'}"]
    )
    timed = [name for name in fields if "time" in kinds[name]]
    grid = times = calendar = None
    try:
        if fields:
            grid = axes.grid(*(axes.dimension(kind, fields) for kind in ("latitude", "longitude"))).grid.describe()
    except DataError as error:
        problems.append(str(error))
    try:
        if timed:
            dim = axes.dimension("time", timed)
            times, calendar = axes.raw_times(dim)
            problems += _disorder(times, dim, calendar)
    except DataError as error:
        problems.append(str(error))
    times = np.unique(times) if times is not None and len(times) else None
    step, gaps = _rhythm(times, calendar or "standard") if times is not None else (None, [])
    levels = {}
    for dim in dict.fromkeys(dim for name in fields for dim in axes.arrays[name].dims if axes.kind(dim) == "level"):
        try:
            vertical, values = axes.levels(dim)
            levels[dim] = f"{len(values)} of {vertical}: {', '.join(f'{value:g}' for value in values)}"
        except DataError as error:
            problems.append(str(error))
    variables = tuple(_variable(name, axes.arrays[name], "time" not in kinds[name]) for name in fields)
    problems += filter(None, map(_problem_of_units, variables))
    return StoreInfo(
        store=url,
        format=axes.store.format,
        grid=grid,
        times=0 if times is None else len(times),
        first=None if times is None else format_time(times.min(), calendar or "standard"),
        last=None if times is None else format_time(times.max(), calendar or "standard"),
        step=step,
        calendar=calendar,
        gaps=tuple(gaps),
        levels=levels,
        variables=variables,
        problems=tuple(problem.removeprefix(f"{url}: ") for problem in problems),
    )


def _variable(name: str, info: ArrayInfo, static: bool) -> VariableInfo:
    known = lookup(name) or lookup(str(info.attributes.get("standard_name", "")))
    kind = "" if static else kind_of(info, known.kind if known else "instantaneous")
    return VariableInfo(
        name=name,
        known_as=known.name if known else None,
        units=str(info.attributes.get("units", "")),
        dims=info.dims,
        shape=info.shape,
        chunks=info.chunks,
        bytes=math.prod(info.shape) * info.bytes_per_value,
        kind=kind,
        role="static" if static else "prognostic" if kind == "instantaneous" else "diagnostic",
    )


def _size(count: int) -> str:
    """Bytes in a unit that leaves two or three digits."""
    value, unit = float(count), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 1000 or unit == "TB":
            break
        value /= 1000
    return f"{value:.3g} {unit}"


def _problem_of_units(variable: VariableInfo) -> str | None:
    known = lookup(variable.known_as or "")
    if known is None or (not variable.units and dimensionless(known.units)):
        return None
    if not variable.units:
        return f"'{variable.name}' has no units; a config says them, 'units: {{{known.name}: …}}'"
    try:
        if known.kind == "instantaneous":
            conversion(variable.units, known.units, f"'{variable.name}'")
        else:
            conversion_over_an_interval(variable.units, known, f"'{variable.name}'")
    except DataError as error:
        return str(error)
    return None


def _disorder(times: Times, dim: str, calendar: str) -> list[str]:
    """What is wrong with times as a store has them: none, repeated ones, and ones that go back."""
    if not len(times):
        return [f"no times: '{dim}' is empty"]
    unique, counts = np.unique(times, return_counts=True)
    repeated, back = unique[counts > 1], np.flatnonzero(np.diff(times) < 0)
    said = []
    if len(repeated):
        said.append(
            f"{len(times) - len(unique)} times repeat an earlier one: {format_times(repeated, calendar)}; drop one of each"
        )
    if len(back):
        first = int(back[0])
        said.append(
            f"the times go back {len(back)} time{'s' * (len(back) > 1)}, first from {format_time(times[first], calendar)} to "
            f"{format_time(times[first + 1], calendar)} (position {first + 1} of {len(times)}); sort the store by '{dim}'"
        )
    return said


def _rhythm(times: Times, calendar: str) -> tuple[str | None, list[tuple[str, str]]]:
    """The step that most neighbours have, if most have one, and where more than that lies between two."""
    if len(times) < 2:
        return None, []
    differences = np.diff(times)
    sizes, counts = np.unique(differences, return_counts=True)
    usual = int(sizes[counts.argmax()])
    step = Step(months=1) if 28 * _DAY <= usual <= 31 * _DAY else Step(seconds=usual)
    apart = step.between(times[:-1], times[1:], calendar)
    if (apart == 1).mean() < 0.5:
        return None, []
    gaps = [(format_time(times[i], calendar), format_time(times[i + 1], calendar)) for i in np.flatnonzero(apart != 1)]
    return str(step), gaps
