"""Weather on a rotating sphere, from the shallow-water equations: what the sample data are made of.

One layer of fluid over mountains. Its winds and its depth are pulled towards jet streams that follow the seasons and are too
sharp to be stable, so that eddies grow on them, break, and are drawn out; a weak random stirring with a memory of two days
keeps the waves from settling into a pattern. A tracer is picked up over warm oceans, carried along, and lost again.

Spectral transform method (Bourke 1972; Hack and Jakob 1992, NCAR/TN-343): vorticity, divergence and g·depth as coefficients,
products on the grid, at a truncation that leaves them free of aliasing. Leapfrog in time, gravity waves semi-implicit (Robert
1969), filtered after Williams (2009). The global mean of the depth has no tendency at all: mass is conserved to the last bit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from credit_ray.grid.harmonics import SphericalHarmonics
from credit_ray.grid.latlon import LatLonGrid

GRAVITY = 9.80665  # m s⁻²
ROTATION = 7.292115e-5  # s⁻¹
DAY = 86_400.0
YEAR = 365.2425 * DAY
OUTPUT_SECONDS = 21_600
NODES = 73  # of a year, between which the seasons are interpolated

VORTICITY, DIVERGENCE, DEPTH, TRACER = range(4)  # rows of a state's coefficients


@dataclass(frozen=True, kw_only=True)
class Climate:
    """What drives the flow, and how strongly; the defaults make lively mid-latitudes at T21.

    Parameters
    ----------
    mean_depth : float
        Of the fluid, m.
    winter_jet, summer_jet : float
        Speed of the jet streams that the flow is pulled towards, m s⁻¹.
    jet_latitude, jet_shift, jet_width : float
        Degrees; in winter the jets are nearer to the equator by `jet_shift`, in summer farther.
    trade_wind : float
        Easterlies at the equator, m s⁻¹.
    zonal_days, eddy_days, divergence_days : float
        Times in which the zonal mean of the flow, its eddies, and its divergence are pulled back.
    stirring : float
        Random vorticity tendency where it is strongest, s⁻².
    stirring_days : float
        Its memory.
    tracer_days : float
        Life time of the tracer.
    diffusion_days, tracer_diffusion_days : float
        e-folding times of the smallest scale: of the flow by a diffusion of eighth order, of the tracer by one of fourth.
    """

    mean_depth: float = 6000.0
    winter_jet: float = 71.0
    summer_jet: float = 61.0
    jet_latitude: float = 46.0
    jet_shift: float = 4.0
    jet_width: float = 8.0
    trade_wind: float = 8.0
    zonal_days: float = 2.0
    eddy_days: float = 40.0
    divergence_days: float = 2.0
    stirring: float = 5e-11
    stirring_days: float = 2.0
    tracer_days: float = 4.0
    diffusion_days: float = 1.0
    tracer_diffusion_days: float = 0.15


@dataclass(frozen=True)
class Weather:
    """A state of the model: two adjacent steps, as a leapfrog needs, and the stirring of the moment.

    Parameters
    ----------
    seconds : int
        Since 1970-01-01.
    previous, current : Tensor [4, l, m]
        Coefficients of vorticity, divergence, g·depth and the logarithm of the tracer, complex128.
    stirring : Tensor [l, m]
        Vorticity tendency, s⁻².
    """

    seconds: int
    previous: Tensor
    current: Tensor
    stirring: Tensor


class ShallowWater:
    """The model: what does not change in a run.

    Parameters
    ----------
    grid : LatLonGrid
        Gaussian; the truncation follows from it (T21 for 32×64).
    ground : array [lat, lon]
        Height of the ground, m; `orography` is what is left of it after truncation and smoothing.
    ocean : array [lat, lon]
        How much of the tracer comes from there: 1 over open sea.
    climate : Climate
        What drives the flow.
    step_seconds : float
        Time step; divides six hours.
    """

    def __init__(
        self,
        grid: LatLonGrid,
        ground: NDArray[np.float64],
        ocean: NDArray[np.float64],
        climate: Climate = Climate(),
        step_seconds: float = 2400.0,
    ) -> None:
        self.climate = climate
        self.step_seconds = step_seconds
        truncation = (grid.shape[1] - 1) // 3
        self.harmonics = harmonics = SphericalHarmonics(grid, truncation, torch.float64)
        self._latitude = torch.tensor(grid.latitude)[:, None].expand(grid.shape)
        self._coriolis = 2 * ROTATION * torch.sin(torch.deg2rad(self._latitude))
        self._mean = GRAVITY * climate.mean_depth

        degree, order = torch.arange(truncation + 1.0)[:, None], torch.arange(truncation + 1.0)
        smooth = torch.exp(-3 * degree * (degree + 1) / truncation**2)  # a bell-shaped kernel: mountains don't ring
        self._ground = GRAVITY * smooth * harmonics.analysis(torch.from_numpy(ground))
        self.orography = harmonics.synthesis(self._ground) / GRAVITY
        self._ocean = harmonics.synthesis(smooth * harmonics.analysis(torch.from_numpy(ocean))).clamp(0, 1)

        eigenvalues = harmonics.eigenvalues
        self._implicit = 1 / (1 - step_seconds**2 * self._mean * eigenvalues)
        scale = eigenvalues / eigenvalues[-1]
        rate = scale**4 / climate.diffusion_days
        rates = torch.stack([rate, rate, rate, scale**2 / climate.tracer_diffusion_days]) / DAY
        self._damping = 1 / (1 + 2 * step_seconds * rates)  # [4, l, 1]
        # the scales of weather systems, and the latitudes of storms
        self._stirred = ((degree >= 4) & (degree <= 11) & (order >= 3) & (order <= degree)).double()
        self._storm_tracks = torch.exp(-(((self._latitude.abs() - 45) / 14) ** 2))

        pull = (
            torch.where(order == 0, 1 / climate.zonal_days, 1 / climate.eddy_days).expand(truncation + 1, -1).double()
        )
        none = torch.zeros_like(pull)
        self._pull = torch.stack([pull, none + 1 / climate.divergence_days, pull, none]) / DAY  # [4, l, m]
        self._pull[DEPTH, 0, 0] = 0  # mass comes from nowhere
        self._jets = torch.stack([self._balanced_jets(node / NODES) for node in range(NODES)])  # [node, 4, l, m]

    def start(self, seconds: int, rng: np.random.Generator) -> Weather:
        """The jets of a date in balance, and a little noise; it takes weeks to become weather."""
        current = self._jets_at(seconds)
        current[VORTICITY] += 1e-6 * self._noise(rng)
        current[DEPTH, 0, 0] = self._mean * math.sqrt(4 * math.pi)
        current[TRACER] = self.harmonics.analysis(self._tracer_source(seconds).log())
        return Weather(seconds, current, current, torch.zeros_like(current[VORTICITY]))

    @torch.inference_mode()
    def advance(self, weather: Weather, rng: np.random.Generator) -> Weather:
        """The weather six hours later."""
        middle = weather.seconds + OUTPUT_SECONDS // 2
        memory = math.exp(-OUTPUT_SECONDS / (self.climate.stirring_days * DAY))
        fresh = self._storm_tracks * self.harmonics.synthesis(self._noise(rng)) * self.climate.stirring
        stirring = memory * weather.stirring + math.sqrt(1 - memory**2) * self.harmonics.analysis(fresh)
        forcing = self._pull * self._jets_at(middle)
        forcing[VORTICITY] += stirring
        source = self._tracer_source(middle)
        previous, current = weather.previous, weather.current
        for _ in range(round(OUTPUT_SECONDS / self.step_seconds)):
            previous, current = self._leap(previous, current, forcing, source)
        return Weather(weather.seconds + OUTPUT_SECONDS, previous, current, stirring)

    @torch.inference_mode()
    def fields(self, state: Tensor) -> dict[str, Tensor]:
        """Fields [..., lat, lon] of states [..., 4, l, m], in SI units; z is the geopotential of the fluid's surface."""
        vorticity, divergence, depth, tracer = state.unbind(-3)
        u, v = self.harmonics.wind(vorticity, divergence)
        z, vo, logarithm = self.harmonics.synthesis(torch.stack([depth + self._ground, vorticity, tracer]))
        return {"u": u, "v": v, "z": z, "vo": vo, "tracer": logarithm.exp()}

    def _leap(self, previous: Tensor, current: Tensor, forcing: Tensor, source: Tensor) -> tuple[Tensor, Tensor]:
        """One leapfrog step, in which the linear terms of gravity waves are the mean of those at both ends."""
        dt, eigenvalues = self.step_seconds, self.harmonics.eigenvalues
        explicit = previous + 2 * dt * (self._tendency(current, source) + forcing - self._pull * previous)
        depth = explicit[DEPTH] - dt * self._mean * previous[DIVERGENCE]
        divergence = explicit[DIVERGENCE] - dt * eigenvalues * (previous[DEPTH] + depth)
        divergence = self._implicit * divergence
        depth = depth - dt * self._mean * divergence
        following = torch.stack([explicit[VORTICITY], divergence, depth, explicit[TRACER]]) * self._damping
        displacement = 0.05 * (previous - 2 * current + following)
        return current + 0.53 * displacement, following - 0.47 * displacement

    def _tendency(self, state: Tensor, source: Tensor) -> Tensor:
        """∂/∂t of a state by advection, without gravity waves on the mean depth, forcing and diffusion: [4, l, m]."""
        harmonics = self.harmonics
        vorticity, divergence, depth, tracer = state
        # the tracer's gradient is the wind whose velocity potential it is: one transform for both
        u, v = harmonics.wind(
            torch.stack([vorticity, torch.zeros_like(vorticity)]),
            torch.stack([divergence, harmonics.laplacian(tracer)]),
        )
        vorticity, depth, tracer = harmonics.synthesis(torch.stack([vorticity, depth, tracer]))
        carried = torch.stack([vorticity + self._coriolis, depth - self._mean])
        curl, outflow = harmonics.vorticity_divergence(carried * u[0], carried * v[0])
        growth = (source * torch.exp(-tracer) - 1) / (self.climate.tracer_days * DAY)
        kinetic, tracer = harmonics.analysis(
            torch.stack([(u[0].square() + v[0].square()) / 2, growth - u[0] * u[1] - v[0] * v[1]])
        )
        return torch.stack([-outflow[0], curl[0] - harmonics.laplacian(kinetic + self._ground), -outflow[1], tracer])

    def _noise(self, rng: np.random.Generator) -> Tensor:
        """Random coefficients of the stirred scales, with unit variance on the grid: [l, m]."""
        parts = torch.from_numpy(rng.standard_normal((*self._stirred.shape, 2)))
        return torch.view_as_complex(parts) * self._stirred / math.sqrt(float(self._stirred.sum()) / math.pi)

    def _tracer_source(self, seconds: int) -> Tensor:
        """What the tracer would be if nothing carried it: much over warm oceans, little on land and near the poles."""
        warmest = 8 * math.cos(2 * math.pi * (_season(seconds) - 0.55))  # degrees north, in late July
        zonal = 0.0005 + 0.018 * torch.exp(-(((self._latitude - warmest) / 30) ** 2))
        return zonal * (0.4 + 0.6 * self._ocean)

    def _jets_at(self, seconds: int) -> Tensor:
        position = _season(seconds) * NODES
        node, between = int(position), position % 1
        return (1 - between) * self._jets[node] + between * self._jets[(node + 1) % NODES]

    def _balanced_jets(self, season: float) -> Tensor:
        """Jet streams at a time of the year, and the depth that balances them: [4, l, m], global mean zero."""
        climate, harmonics = self.climate, self.harmonics
        u = -climate.trade_wind * torch.exp(-((self._latitude / 15) ** 2))
        for side in (1, -1):
            winter = side * math.cos(2 * math.pi * (season - 0.05))  # 1 in the middle of January in the north
            speed = (climate.winter_jet + climate.summer_jet + winter * (climate.winter_jet - climate.summer_jet)) / 2
            axis = side * (climate.jet_latitude - climate.jet_shift * winter)
            u = u + speed * torch.exp(-(((self._latitude - axis) / climate.jet_width) ** 2))
        vorticity, nothing = harmonics.vorticity_divergence(u, torch.zeros_like(u))
        u, v = harmonics.wind(vorticity, nothing)  # as far as the truncation goes
        absolute = harmonics.synthesis(vorticity) + self._coriolis
        curl, _ = harmonics.vorticity_divergence(absolute * u, absolute * v)
        # no tendency of divergence: ∇²(surface + kinetic energy) = k·∇×(ηV)
        surface = harmonics.inverse_laplacian(curl) - harmonics.analysis(u.square() / 2)
        jets = torch.zeros(4, *surface.shape, dtype=surface.dtype)
        jets[VORTICITY] = vorticity
        jets[DEPTH] = surface - self._ground
        return jets


def _season(seconds: int) -> float:
    """Part of the year that has passed since it began in 2000: in [0, 1)."""
    return (seconds - 946_684_800) / YEAR % 1
