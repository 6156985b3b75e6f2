"""What diagnostics are computed from: fields by name, levels from the top down, with the pressure at each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from credit_ray.errors import ConfigError, did_you_mean
from credit_ray.grid.harmonics import SphericalHarmonics
from credit_ray.grid.latlon import LatLonGrid
from credit_ray.grid.vertical import VerticalCoordinate
from credit_ray.physics.constants import GRAVITY
from credit_ray.physics.spectral import harmonics_like
from credit_ray.state import Fields


@dataclass(frozen=True)
class Atmosphere:
    """Fields of any number of times or trajectories.

    Parameters
    ----------
    fields : mapping of str to Tensor
        By canonical name, in the vocabulary's units: on levels [..., level, *grid] from the top down, at the surface [..., *grid].
    grid : LatLonGrid
        The horizontal grid.
    vertical : VerticalCoordinate, optional
        Of the levels; needed for whatever depends on pressure.
    """

    fields: Mapping[str, Tensor]
    grid: LatLonGrid
    vertical: VerticalCoordinate | None = field(default=None)

    @classmethod
    def of(
        cls,
        state: Fields,
        grid: LatLonGrid,
        vertical: VerticalCoordinate | None = None,
        statics: Mapping[str, Tensor] | None = None,
    ) -> Atmosphere:
        """The fields of a rollout's step.

        Parameters
        ----------
        state : Fields
            [trajectory, channel, *grid], physical units; levels in any order, those of `vertical`.
        vertical : VerticalCoordinate, optional
            Of the variables on levels; those on other levels are left out.
        statics : mapping of str to Tensor, optional
            [*grid] each: `z_sfc` (m² s⁻²) or `orography` (m).
        """
        fields = dict(statics or {})
        for variable in state.channels.variables:
            channels = {state.channels[i].level: state.channels[i].name for i in state.channels.of(variable)}
            if None in channels:
                fields[variable] = state[channels[None]]
            elif vertical is not None and set(channels) == set(vertical.levels.tolist()):
                ordered = vertical.levels[vertical.from_top].tolist()
                fields[variable] = torch.stack([state[channels[level]] for level in ordered], -3)
        return cls(fields, grid, vertical)

    def __getitem__(self, name: str) -> Tensor:
        """A field by name.

        Raises
        ------
        ConfigError
            For one that there is not.
        """
        if name not in self.fields:
            raise ConfigError(
                f"Diagnostics need '{name}', which is not among the fields.{did_you_mean(name, self.fields)}"
            )
        return self.fields[name]

    def __contains__(self, name: str) -> bool:
        return name in self.fields

    @cached_property
    def surface_geopotential(self) -> Tensor:
        """[..., *grid], m² s⁻²; from the orography, where only that is known."""
        return self["z_sfc"] if "z_sfc" in self or "orography" not in self else GRAVITY * self["orography"]

    @cached_property
    def pressure(self) -> Tensor:
        """At the levels, Pa: [..., level, *grid], or [level, 1, 1] where it does not depend on that at the surface."""
        coordinate = self._coordinate()
        order = coordinate.from_top.tolist()
        if coordinate.depends_on_pressure:
            return coordinate.at_levels(self["sp"])[..., order, :, :]
        return self._like(coordinate.at_levels()[order])[:, None, None]

    @cached_property
    def interfaces(self) -> Tensor:
        """Between the layers that the levels stand for, Pa, [..., level + 1, *grid] (or …, 1, 1), from the top down.

        Layers of pressure levels end at the ground where the surface pressure is known: what lies under it has no mass, and the lowest
        one above reaches down to it.
        """
        coordinate = self._coordinate()
        if coordinate.depends_on_pressure:
            return coordinate.at_interfaces(self["sp"])
        fixed = self._like(coordinate.at_interfaces())[:, None, None]
        if "sp" not in self:
            return fixed
        surface = self["sp"].unsqueeze(-3)
        return torch.cat([torch.minimum(fixed[:-1], surface), surface], -3)

    @cached_property
    def mass(self) -> Tensor:
        """Of the air that each level stands for, kg m⁻²: [..., level, *grid] (or …, 1, 1)."""
        return self.interfaces.diff(dim=-3) / GRAVITY

    @property
    def whole_column(self) -> bool:
        """Whether each level is the layer between two half levels of its model: where some are left out, the layers are only a guess."""
        coordinate = self._coordinate()
        if coordinate.coordinate != "hybrid" or coordinate.integral != "layers":
            return False
        middles = ((half[:-1] + half[1:]) / 2 for half in (coordinate.a_half, coordinate.b_half))
        fulls = (full[coordinate.from_top] for full in (coordinate.a_full, coordinate.b_full))
        return all(np.allclose(full, middle) for full, middle in zip(fulls, middles, strict=True))

    @property
    def follows_ground(self) -> bool:
        """Whether the levels follow the ground, as those of models do; pressure levels lie in it in places."""
        return self._coordinate().depends_on_pressure

    @property
    def harmonics(self) -> SphericalHarmonics:
        """Transforms on the grid, in the fields' precision."""
        return harmonics_like(self.grid, next(iter(self.fields.values())))

    def _coordinate(self) -> VerticalCoordinate:
        if self.vertical is None or self.vertical.units != "Pa":
            raise ConfigError(
                "Diagnostics that depend on pressure need the vertical coordinate of the levels: pressure, sigma, or hybrid with its coefficients."
            )
        return self.vertical

    def _like(self, values: object) -> Tensor:
        return next(iter(self.fields.values())).new_tensor(values)
