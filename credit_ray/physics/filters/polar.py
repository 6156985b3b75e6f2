"""The polar filter: where meridians converge, waves along a row become shorter than the grid resolves elsewhere."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from credit_ray.errors import ConfigError
from credit_ray.grid.latlon import LatLonGrid
from credit_ray.physics.constraints import Change
from credit_ray.physics.filters.arguments import PolarFilterArguments
from credit_ray.physics.filters.selection import Selection, named, stack, wind
from credit_ray.physics.filters.sphere import filter_budget
from credit_ray.state import Carry, Fields, State, StateSpec


class PolarFilter:
    """Damp waves along each row poleward of a latitude φ_c that are shorter than the shortest one at φ_c.

    Wavenumber m of the row at φ is multiplied by min(1, cos φ/(cos φ_c sin(mΔλ/2))), once or, for the stronger filter, twice. The mean of
    each row stays, hence any mean over the sphere and any integral of a scalar; no wave grows. A uniform flow across the pole has m = 1 in
    the components of the wind, which turn with longitude: for them m − 1 takes the place of m, so that it passes.

    Arakawa and Lamb (1977), section V; Takacs and Balgovind (1983) for the power of two.
    """

    name = "polar_filter"

    def __init__(self, arguments: PolarFilterArguments, spec: StateSpec) -> None:
        if not spec.grid.periodic:
            raise ConfigError(
                f"constraints: 'polar_filter' needs rows round the globe; this is a {spec.grid.describe()}."
            )
        self.arguments = arguments
        self.selection = Selection.of(arguments.variables, spec, self.name)
        self.grid = spec.grid
        self._weights = torch.from_numpy(spec.grid.area_weights())

    @property
    def changes(self) -> frozenset[str]:
        """Channels that it may change."""
        return self.selection.channels

    def start(self, state: State) -> Carry:
        return {}

    def __call__(self, before: Fields, after: Fields, forcing: Fields, carry: Carry) -> Change:
        changed: dict[str, Tensor] = {}
        if self.selection.scalars:
            kept = self._filter(stack(after, self.selection.scalars), 0)
            changed |= dict(zip(self.selection.scalars, kept.unbind(1), strict=True))
        if self.selection.winds:
            u, v = (self._filter(component, 1) for component in wind(after, self.selection.winds))
            changed |= named(self.selection.winds, u, v)
        return Change(changed, filter_budget(self.name, after, after | changed, self.selection, self._weights))

    def _filter(self, fields: Tensor, spared: int) -> Tensor:
        rows, response = _response(self.grid, self.arguments.latitude, self.arguments.power, spared, str(fields.device))
        if not len(rows):
            return fields
        waves = torch.fft.rfft(fields[..., rows, :]) * response.to(fields.dtype)
        return fields.index_copy(-2, rows, torch.fft.irfft(waves, n=fields.shape[-1]))


@lru_cache(maxsize=8)
def _response(grid: LatLonGrid, latitude: float, power: int, spared: int, device: str) -> tuple[Tensor, Tensor]:
    """Rows beyond the latitude, and what is kept of each of their waves: [row] and [row, m]."""
    nlon = grid.shape[1]
    rows = np.flatnonzero(np.abs(grid.latitude) > latitude)
    narrowing = np.cos(np.radians(grid.latitude[rows])) / np.cos(np.radians(latitude))
    m = np.maximum(np.arange(nlon // 2 + 1) - spared, 0)
    short = np.sin(m * np.pi / nlon)
    kept = np.minimum(1.0, np.maximum(narrowing, 0)[:, None] / np.where(m == 0, 1.0, short)[None, :])
    kept[:, m == 0] = 1.0
    with torch.inference_mode(False):  # kept for training, too, which could not use what inference made
        return torch.from_numpy(rows).to(device), torch.from_numpy(kept**power).to(device)
