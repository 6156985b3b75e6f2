"""A source on another grid than its own."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from credit_ray.config.data import SourceConfig
from credit_ray.data.layer import Layer
from credit_ray.data.source import FieldsByVariable, Source
from credit_ray.errors import ConfigError, SpecMismatchError, did_you_mean
from credit_ray.grid.latlon import LatLonGrid
from credit_ray.grid.regrid import Method, regridding


@dataclass(frozen=True)
class RegriddedSource(Layer):
    """Fields brought onto a grid as they are read.

    Parameters
    ----------
    target : LatLonGrid
        The experiment's.
    method : {"bilinear", "conservative"}
        See `grid.regrid`.
    """

    target: LatLonGrid = field(default_factory=lambda: LatLonGrid.gaussian(2))
    method: Method = "bilinear"

    @property
    def grid(self) -> LatLonGrid:
        return self.target

    def read(self, variables: Sequence[str], times: Any) -> FieldsByVariable:
        weights = regridding(self.inner.grid, self.target, self.method)
        return {v: weights(values) for v, values in self.inner.read(variables, times).items()}

    def identity(self) -> Mapping[str, Any]:
        return {**self.inner.identity(), "regridded": [self.method, self.target.to_json()]}


def on_grid(source: Source, config: SourceConfig, grid: LatLonGrid, of: str) -> Source:
    """The source on the experiment's grid.

    Raises
    ------
    SpecMismatchError
        Where its own is another one and the config does not say how to regrid.
    """
    if source.grid == grid:
        return source
    if config.regrid is None:
        raise SpecMismatchError(
            f"data.sources.{source.name} is on a {source.grid.describe()}, {of} on a {grid.describe()}. "
            f"Say 'regrid: bilinear', or 'conservative', in data.sources.{source.name}."
        )
    regridding(source.grid, grid, config.regrid)  # says now where they have no place in common
    return RegriddedSource(source, grid, config.regrid)


def grid_named(text: str, sources: Mapping[str, Source]) -> LatLonGrid:
    """The grid that `data.grid` means: a source's, `181x360` (regular, global), or `gaussian 32x64`.

    Raises
    ------
    ConfigError
        For anything else.
    """
    if text in sources:
        return sources[text].grid
    match = re.fullmatch(r"(gaussian\s+)?(\d+)\s*x\s*(\d+)", text.strip())
    if not match or min(int(match[2]), int(match[3])) < 2:
        raise ConfigError(
            f"data.grid: '{text}' is neither a source nor a grid such as 181x360 or 'gaussian 32x64'.{did_you_mean(text, sources)}"
        )
    nlat, nlon = int(match[2]), int(match[3])
    if match[1]:
        return LatLonGrid.gaussian(nlat, nlon)
    # an odd number of rows has the poles and the equator among them, an even number lies halfway between
    latitude = np.linspace(90, -90, nlat) if nlat % 2 else 90 - 180 / nlat * (np.arange(nlat) + 0.5)
    return LatLonGrid(latitude, np.arange(nlon) * (360.0 / nlon))
