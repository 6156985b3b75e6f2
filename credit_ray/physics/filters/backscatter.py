"""Stochastic kinetic-energy backscatter: energy that a model loses at its smallest scales comes back to larger ones, at random."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from credit_ray.errors import ConfigError
from credit_ray.grid.harmonics import SphericalHarmonics
from credit_ray.grid.latlon import EARTH_RADIUS_M
from credit_ray.grid.legendre import exact_degree
from credit_ray.noise import normal
from credit_ray.physics.constraints import Change
from credit_ray.physics.filters.arguments import BackscatterArguments
from credit_ray.physics.filters.selection import Selection, named, wind, wind_pairs
from credit_ray.physics.filters.sphere import (
    filter_budget,
    refuse_without_harmonics,
    sphere_mean,
    step_seconds,
)
from credit_ray.physics.spectral import gaussian_smoother, harmonics_like
from credit_ray.state import Carry, Fields, State, StateSpec

_SMOOTHING_KM = 1000.0  # of the dissipation: backscatter is a large-scale response to it


class Backscatter:
    """Stir the rotational wind by a random stream function with memory.

    Coefficients of the pattern follow z ← (1 − α) z + √(1 − (1 − α)²) ε with 1 − α = exp(−Δt/τ), from their stationary distribution on, and
    are scaled by b lᵖ. In an air that kept all of it, kinetic energy would grow by `ratio` times the dissipation: with Γ = Σ l(l+1)(2l+1) l²ᵖ,
    b² = 8πR² α/(2 − α) · r D Δt/Γ, since correlated kicks add up to (2 − α)/α times the energy of independent ones. Where the dissipation
    varies, the stream function is multiplied by √(D/D̄), so that the wind that it makes has no divergence either.
    The noise is a function of the trajectory's key and step alone.

    Berner and others (2009), section 2, after Shutts (2005).
    """

    name = "skebs"

    def __init__(self, arguments: BackscatterArguments, spec: StateSpec) -> None:
        self.arguments = arguments
        self.pairs = wind_pairs(arguments.u, arguments.v, spec, self.name, arguments.levels)
        refuse_without_harmonics(spec.grid, self.name)
        self.grid, self.lmax = spec.grid, exact_degree(spec.grid)
        first, last = arguments.degrees[0], min(arguments.degrees[1], self.lmax)
        if first > last:
            raise ConfigError(
                f"constraints: 'skebs': degrees from {first} on are not resolved by a {spec.grid.describe()}."
            )
        self.seconds = step_seconds(spec, self.name)
        self.memory = math.exp(-self.seconds / arguments.decorrelation_seconds)  # 1 − α
        self._amplitude = _amplitude(first, last, self.lmax, arguments.slope, self.memory)
        self._weights = torch.from_numpy(spec.grid.area_weights())

    @property
    def changes(self) -> frozenset[str]:
        """Channels that it may change."""
        return Selection((), tuple(self.pairs)).channels

    def start(self, state: State) -> Carry:
        keys = torch.as_tensor(state.noise_keys, dtype=torch.int64)
        step = torch.zeros_like(keys)
        return {"key": keys, "step": step, "pattern": self._draw(keys, step)}

    def __call__(self, before: Fields, after: Fields, forcing: Fields, carry: Carry) -> Change:
        u, v = wind(after, self.pairs)
        harmonics = harmonics_like(self.grid, u)
        pattern = torch.view_as_complex(carry["pattern"]) * self._amplitude.to(
            carry["pattern"].device
        )  # [trajectory, l, m]
        pattern = pattern.to(u.device, harmonics.analysis(u[:1, :1]).dtype)[:, None]  # one for all levels
        du, dv = self._stir(pattern, u.detach(), v.detach(), harmonics)
        changed = named(self.pairs, u + du, v + dv)
        step = carry["step"] + 1
        renewed = self._draw(carry["key"], step) * math.sqrt(1 - self.memory**2)
        following = {"key": carry["key"], "step": step, "pattern": self.memory * carry["pattern"] + renewed}
        budget = filter_budget(self.name, after, after | changed, Selection((), tuple(self.pairs)), self._weights)
        return Change(changed, budget, following)

    def _stir(self, pattern: Tensor, u: Tensor, v: Tensor, harmonics: SphericalHarmonics) -> tuple[Tensor, Tensor]:
        """Increments of the wind, [trajectory, pair or 1, *grid], for a pattern that puts in 1 m² s⁻² per step."""
        given = self.arguments.dissipation
        if isinstance(given, str):
            dissipation = self._dissipation(u, v, harmonics)
            mean = sphere_mean(dissipation, self._weights)
            local = (dissipation / mean.clamp(min=1e-30)).sqrt().to(u.dtype)
            pattern = harmonics.analysis(harmonics.synthesis(pattern) * local)
            energy = self.arguments.ratio * mean * self.seconds
        else:
            energy = torch.full((1, 1, 1, 1), self.arguments.ratio * given * self.seconds, device=u.device)
        du, dv = harmonics.wind(harmonics.laplacian(pattern), torch.zeros_like(pattern))
        size = energy.sqrt().to(u.dtype)
        return size * du, size * dv

    def _dissipation(self, u: Tensor, v: Tensor, harmonics: SphericalHarmonics) -> Tensor:
        """K |∇ζ|², what diffusion −K∇⁴ takes from the rotational wind, smoothed: [trajectory, pair, *grid], m² s⁻³."""
        assert self.arguments.diffusivity is not None
        rotation, _ = harmonics.vorticity_divergence(u, v)
        eastward, northward = harmonics.gradient(rotation)
        lost = self.arguments.diffusivity * (eastward.double().square() + northward.double().square())
        smooth = gaussian_smoother(harmonics, _SMOOTHING_KM) * harmonics.analysis(lost)
        return harmonics.synthesis(smooth).double().clamp(min=0)

    def _draw(self, keys: Tensor, steps: Tensor) -> Tensor:
        """Coefficients of unit variance, real and imaginary part: [trajectory, l, m, 2]; those of m = 0 are real."""
        purpose = f"skebs {self.arguments.seed}"
        drawn = normal(keys.tolist(), steps.tolist(), purpose, (self.lmax + 1, self.lmax + 1, 2)).to(keys.device)
        zonal = torch.stack([drawn[:, :, :1, 0], torch.zeros_like(drawn[:, :, :1, 1])], -1)
        return torch.cat([zonal, drawn[:, :, 1:] / math.sqrt(2)], 2)


def _amplitude(first: int, last: int, lmax: int, slope: float, memory: float) -> Tensor:
    """Standard deviation of each coefficient of the stream function, [l, m], m² s⁻¹, for 1 m² s⁻² per step; zero where m > l."""
    degree = torch.arange(lmax + 1, dtype=torch.float64)
    within = (degree >= first) & (degree <= last)
    shape = torch.where(within, degree.clamp(min=1) ** slope, 0)
    gamma = (degree * (degree + 1) * (2 * degree + 1) * shape.square()).sum()
    alpha = 1 - memory
    scale = (8 * math.pi * EARTH_RADIUS_M**2 * alpha / (2 - alpha) / gamma).sqrt()
    return (scale * shape)[:, None].expand(lmax + 1, lmax + 1).tril()
