"""Spherical harmonics as physics uses them: made once for each grid, precision and device."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from credit_ray.grid.harmonics import SphericalHarmonics
from credit_ray.grid.latlon import LatLonGrid


def harmonics_like(grid: LatLonGrid, field: Tensor) -> SphericalHarmonics:
    """The grid's transforms, on the field's device and in its precision."""
    return _harmonics(grid, torch.float64 if field.dtype == torch.float64 else torch.float32, str(field.device))


@lru_cache(maxsize=4)
def _harmonics(grid: LatLonGrid, dtype: torch.dtype, device: str) -> SphericalHarmonics:
    with torch.inference_mode(False):  # kept for training, too, which could not use what inference made
        return SphericalHarmonics(grid, dtype=dtype).to(device)


def gaussian_smoother(harmonics: SphericalHarmonics, deviation_km: float) -> Tensor:
    """exp(−l(l+1) σ²/2R²), [l, 1]: what convolution with a Gaussian on the sphere does to each degree."""
    return torch.exp(harmonics.eigenvalues * (deviation_km * 1000) ** 2 / 2)
