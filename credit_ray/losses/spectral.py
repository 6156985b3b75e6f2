"""Losses that compare how much of a field there is at each scale, wherever it is.

A mean square error is least for a forecast that leaves out what it can't place: fields blur with lead. These look at scales: degrees l of
spherical harmonics, or wavenumbers k of the waves along a row. With a_lm the coefficients of a field, P_l = Σ_m |a_lm|² / 4π is its power
at degree l, and the sum of P_l is the mean of its square. P_k is the same for Fourier coefficients along a row, and the weighted mean over
rows. Places that do not exist are filled with the target's mean, in the prediction as in the target.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from credit_ray.errors import ConfigError
from credit_ray.grid.harmonics import SphericalHarmonics
from credit_ray.grid.latlon import LatLonGrid
from credit_ray.losses.arguments import AdjustedMSEArguments, SpectralArguments, Transform
from credit_ray.losses.loss import ByChannel

_LEAST_POWER = 1e-12
"""In σ²: below it a scale is empty, and the slope of its square root, which has no bound, is no slope to follow."""

_LOG_FLOOR = 1e-8
"""Added to the power whose logarithm is taken, in σ²: what float32 can't tell from nothing weighs nothing."""


class _Scales(Protocol):
    """A transform, and what its modes are pooled into."""

    highest: int

    def modes(self, field: Tensor) -> Tensor:
        """[..., channel, lat, lon] → complex [..., channel, row, mode]."""
        ...

    def covariance(self, first: Tensor, second: Tensor) -> Tensor:
        """Modes of two fields → [..., channel, scale], whose sum is the mean of their product."""
        ...

    def amplitude(self, modes: Tensor) -> Tensor:
        """[..., channel, scale], in units of the field."""
        ...

    def log_power_distance(self, first: Tensor, second: Tensor) -> Tensor:
        """Squared difference of the logarithms of power, [..., channel, scale]."""
        ...


class _Degrees:
    """Scales are degrees of spherical harmonics."""

    def __init__(self, grid: LatLonGrid, like: Tensor) -> None:
        dtype = torch.float64 if like.dtype == torch.float64 else torch.float32
        self.harmonics = SphericalHarmonics(grid, dtype=dtype, vector=False).to(like.device)
        self.highest = self.harmonics.lmax
        # Orders m and −m of a real field are one coefficient here.
        order = torch.full((self.highest + 1,), 2.0, dtype=dtype, device=like.device)
        order[0] = 1.0
        self.multiplicity = order / (4 * torch.pi)

    def modes(self, field: Tensor) -> Tensor:
        return self.harmonics.analysis(field)

    def covariance(self, first: Tensor, second: Tensor) -> Tensor:
        return _product(first, second) @ self.multiplicity

    def amplitude(self, modes: Tensor) -> Tensor:
        return _root(self.covariance(modes, modes))

    def log_power_distance(self, first: Tensor, second: Tensor) -> Tensor:
        return _log_distance(self.covariance(first, first), self.covariance(second, second))


class _Waves:
    """Scales are wavenumbers along rows; `rows` [channel, lat] sum to one for each channel."""

    def __init__(self, grid: LatLonGrid, rows: Tensor) -> None:
        if not grid.periodic:
            raise ConfigError(
                f"loss: transform: zonal needs rows that go round the globe; this is a {grid.describe()}. Choose another loss."
            )
        columns = grid.shape[1]
        self.rows, self.highest = rows, columns // 2
        number = torch.arange(self.highest + 1, device=rows.device)
        once = (number == 0) | (2 * number == columns)  # the mean, and the shortest wave: their own conjugates
        self.scale = torch.where(once, 1.0, 2.0).to(rows.dtype).sqrt()

    def modes(self, field: Tensor) -> Tensor:
        return torch.fft.rfft(field.to(self.rows.dtype), norm="forward") * self.scale

    def covariance(self, first: Tensor, second: Tensor) -> Tensor:
        return self._over_rows(_product(first, second))

    def amplitude(self, modes: Tensor) -> Tensor:
        return self._over_rows(modes.abs())

    def log_power_distance(self, first: Tensor, second: Tensor) -> Tensor:
        # Row by row: wave number 20 is another scale at 80° than at the equator.
        return self._over_rows(_log_distance(_product(first, first), _product(second, second)))

    def _over_rows(self, x: Tensor) -> Tensor:
        return torch.einsum("...cyk,cy->...ck", x, self.rows)


class _Spectral(ByChannel):
    """The mean over members of a function of two fields' modes."""

    def __init__(
        self,
        arguments: SpectralArguments | AdjustedMSEArguments,
        weights: Tensor,
        grid: LatLonGrid | None = None,
    ) -> None:
        super().__init__(arguments, weights, grid)
        if grid is None:
            raise ValueError("a spectral loss needs the grid")
        self.scales: _Scales = _scales(arguments.transform, grid, self.places.sum(-1))

    def by_channel(self, prediction: Tensor, target: Tensor) -> Tensor:
        # Without the target's mean, which no scale above the largest contains, and which would cost float32 its digits.
        known = target if self.exists is None else target.where(self.exists, 0.0)
        mean = (known * self.places).sum((-2, -1), keepdim=True)
        target, prediction = target - mean, prediction - mean[:, None]
        if self.exists is not None:
            target, prediction = target.where(self.exists, 0.0), prediction.where(self.exists, 0.0)
        return self._distance(self.scales.modes(prediction), self.scales.modes(target)[:, None]).mean(1)

    def _distance(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Modes [batch, member, channel, row, mode] and [batch, 1, channel, row, mode] → [batch, member, channel]."""
        raise NotImplementedError


class _FromLowest(_Spectral):
    """Counts scales from `lowest` on."""

    def __init__(self, arguments: SpectralArguments, weights: Tensor, grid: LatLonGrid | None = None) -> None:
        super().__init__(arguments, weights, grid)
        self.lowest = arguments.lowest
        if self.lowest > self.scales.highest:
            raise ConfigError(
                f"loss: lowest is {self.lowest}, but with transform: {arguments.transform} a {self.weights.shape[-2]}×"
                f"{self.weights.shape[-1]} grid has waves up to number {self.scales.highest}: choose a lower one."
            )


class SpectralLoss(_FromLowest):
    """Σ_l (A_l(prediction) − A_l(target))², l ≥ lowest, with the amplitudes A_l = √P_l; on rows, A_k is the mean of √P_k over rows.

    The part of the mean square error that no shift or turn of waves takes away: never more than it. On harmonics as in NeuralGCM
    (Kochkov et al. 2024); on rows as in CREDIT (Schreck et al. 2025), there with lowest = 20 and the mean over wavenumbers.
    """

    def _distance(self, prediction: Tensor, target: Tensor) -> Tensor:
        difference = self.scales.amplitude(prediction) - self.scales.amplitude(target)
        return difference[..., self.lowest :].square().sum(-1)


class PowerSpectrumLoss(_FromLowest):
    """The mean over l ≥ lowest of (log P_l(prediction) − log P_l(target))²; on rows, of each row's P_k, and the mean over rows.

    Relative: a scale that has lost half its power costs the same, however little power it has. As in CREDIT (Schreck et al. 2025),
    there on rows with lowest = 20. It sees no phases: use it beside a loss that does (`sum`).
    """

    def _distance(self, prediction: Tensor, target: Tensor) -> Tensor:
        return self.scales.log_power_distance(prediction, target)[..., self.lowest :].mean(-1)


class AdjustedMSE(_Spectral):
    """Σ_l (√P_l(x) − √P_l(y))² + 2 max(P_l(x), P_l(y)) (1 − C_l), with C_l the coherence of prediction x and target y at degree l.

    Subich et al. (2025): the mean square error is the same with √(P_l(x) P_l(y)) in place of the maximum, and pays a forecast for
    losing amplitude where it is not coherent with the truth; this does not. At l = 0 the difference of the means is squared.
    """

    def _distance(self, prediction: Tensor, target: Tensor) -> Tensor:
        ours, theirs, both = (
            self.scales.covariance(*pair)[..., 1:]
            for pair in ((prediction, prediction), (target, target), (prediction, target))
        )
        a, b = _root(ours), _root(theirs)
        waves = (a - b).square() + 2 * torch.maximum(ours, theirs) * (1 - both / (a * b))
        error = prediction - target
        return self.scales.covariance(error, error)[..., 0] + waves.sum(-1)


def _scales(transform: Transform, grid: LatLonGrid, rows: Tensor) -> _Scales:
    return _Degrees(grid, rows) if transform == "harmonics" else _Waves(grid, rows)


def _product(first: Tensor, second: Tensor) -> Tensor:
    return first.real * second.real + first.imag * second.imag


def _root(power: Tensor) -> Tensor:
    return power.clamp(min=_LEAST_POWER).sqrt()


def _log_distance(first: Tensor, second: Tensor) -> Tensor:
    return ((first + _LOG_FLOOR) / (second + _LOG_FLOOR)).log().square()
