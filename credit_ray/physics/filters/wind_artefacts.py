"""The wind-artefact filter: where a network makes winds that nature does not, they are replaced by smoother ones."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from credit_ray.grid.harmonics import SphericalHarmonics
from credit_ray.grid.latlon import EARTH_RADIUS_M, LatLonGrid
from credit_ray.physics.constraints import Change
from credit_ray.physics.filters.arguments import WindArtefactFilterArguments
from credit_ray.physics.filters.selection import Selection, named, wind, wind_pairs
from credit_ray.physics.filters.sphere import (
    filter_budget,
    refuse_without_harmonics,
)
from credit_ray.physics.spectral import gaussian_smoother, harmonics_like
from credit_ray.state import Carry, Fields, State, StateSpec

_MOST_GAIN = 4.0


class WindArtefactFilter:
    """Smooth the wind around places where it is faster than a threshold.

    The distance from each cell to the nearest such place is measured on the sphere, across the poles and round the globe. Within `reach_km`
    the wind is replaced by its Gaussian mean, beyond it by a part that fades; far from any such place nothing changes. Smoothing is done on
    vorticity and divergence, since components of a vector can't be averaged near the poles. Without a place beyond the threshold the step
    is left as it is, to the last bit.
    """

    name = "wind_artefact_filter"

    def __init__(self, arguments: WindArtefactFilterArguments, spec: StateSpec) -> None:
        self.arguments = arguments
        self.pairs = wind_pairs(arguments.u, arguments.v, spec, self.name, arguments.levels)
        self.looked_at = wind_pairs(arguments.u, arguments.v, spec, self.name, arguments.detect)
        refuse_without_harmonics(spec.grid, self.name)
        self.grid = spec.grid
        self._weights = torch.from_numpy(spec.grid.area_weights())

    @property
    def changes(self) -> frozenset[str]:
        """Channels that it may change."""
        return Selection((), tuple(self.pairs)).channels

    def start(self, state: State) -> Carry:
        return {}

    def __call__(self, before: Fields, after: Fields, forcing: Fields, carry: Carry) -> Change:
        spoilt = (
            torch.hypot(*wind(after, self.looked_at)).detach().amax(1) > self.arguments.threshold
        )  # [trajectory, *grid]
        changed: dict[str, Tensor] = {}
        if spoilt.any():
            u, v = wind(after, self.pairs)
            share = self._share(spoilt).to(u.dtype)[:, None]
            smooth_u, smooth_v = self._smooth(u, v, harmonics_like(self.grid, u))
            # not lerp: where the share is zero the wind is to stay what it was, bit by bit
            changed = named(self.pairs, u + share * (smooth_u - u), v + share * (smooth_v - v))
        selection = Selection((), tuple(self.pairs))
        budget = filter_budget(self.name, after, after | changed, selection, self._weights)
        return Change(changed, budget)

    def _share(self, spoilt: Tensor) -> Tensor:
        """How much of the wind is replaced: 1 within reach, then Gaussian, 0 beyond four deviations."""
        reach, falloff = (
            length * 1000 / EARTH_RADIUS_M for length in (self.arguments.reach_km, self.arguments.falloff_km)
        )
        beyond = (distance_to(spoilt, self.grid, reach + 4 * falloff) - reach).clamp(min=0) / falloff
        return torch.where(beyond < 4, torch.exp(-beyond.square() / 2), 0.0)

    def _smooth(self, u: Tensor, v: Tensor, harmonics: SphericalHarmonics) -> tuple[Tensor, Tensor]:
        factor = gaussian_smoother(harmonics, self.arguments.smoothing_km)
        rotation, expansion = harmonics.vorticity_divergence(u, v)
        smooth_u, smooth_v = harmonics.wind(factor * rotation, factor * expansion)
        if not self.arguments.keep_energy:
            return smooth_u, smooth_v
        energy = harmonics.synthesis(factor * harmonics.analysis(u.square() + v.square())).clamp(min=0)
        slow = (smooth_u.square() + smooth_v.square()).clamp(min=1e-6)
        gain = (energy / slow).clamp(min=1e-12).sqrt().clamp(max=_MOST_GAIN)
        return smooth_u * gain, smooth_v * gain


def distance_to(marked: Tensor, grid: LatLonGrid, reach: float) -> Tensor:
    """Great-circle distance from each cell to the nearest marked one.

    Row by row: the nearest marked cell of a row is the one that is nearest in longitude.

    Parameters
    ----------
    marked : Tensor [trajectory, *grid] of bool
    reach : float
        Radians; beyond it distances are infinite.

    Returns
    -------
    Tensor [trajectory, *grid]
        Radians, float64.
    """
    latitude = torch.from_numpy(grid.latitude.copy()).to(marked.device).deg2rad()
    columns = _columns_to(marked)
    apart = (columns * (2 * math.pi / grid.shape[1])).clamp(max=math.pi)
    haversine = torch.where(torch.isinf(columns), torch.inf, (apart / 2).sin().square())
    nearest = torch.full_like(haversine, torch.inf)
    for row, phi in enumerate(latitude.tolist()):
        near = torch.nonzero((latitude - phi).abs() <= reach).flatten()
        rise = ((latitude[near] - phi) / 2).sin().square()[:, None]
        across = (latitude[near].cos() * math.cos(phi)).clamp(min=0)[:, None] * haversine[:, near]
        nearest[:, row] = (rise + across.nan_to_num(nan=torch.inf, posinf=torch.inf)).amin(1)
    distance = 2 * nearest.clamp(max=1).sqrt().asin()
    return torch.where(torch.isinf(nearest) | (distance > reach), torch.inf, distance)


def _columns_to(marked: Tensor) -> Tensor:
    """How many columns to the nearest marked cell of the same row, round the globe: float64, infinite in rows without any."""
    nlon = marked.shape[-1]
    twice = torch.cat([marked, marked], -1)
    index = torch.arange(2 * nlon, dtype=torch.float64, device=marked.device)
    last = torch.where(twice, index, -torch.inf).cummax(-1).values[..., nlon:]
    following = torch.where(twice, index, torch.inf).flip(-1).cummin(-1).values.flip(-1)[..., :nlon]
    own = torch.arange(nlon, dtype=torch.float64, device=marked.device)
    return torch.minimum(own + nlon - last, following - own)
