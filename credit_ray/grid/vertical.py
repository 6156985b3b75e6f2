"""Vertical coordinates: where levels and the interfaces between them lie, and what each level weighs in a column integral.

Every coordinate here is affine in surface pressure: a + b · p_s, with b = 0 on pressure levels, heights and depths, and a = 0 for
sigma. So are the layers between interfaces, and with them every column integral, which is why a budget on any of these coordinates
closes without iteration. A trapezoid rule is a sum over layers as well: over those whose interfaces lie halfway between the levels,
and at the first and the last of them.

Numpy only; arrays of surface pressure may be tensors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from credit_ray.errors import ConfigError

Coordinate = Literal["pressure", "hybrid", "sigma", "height", "depth"]
Integral = Literal["layers", "trapezoid"]
Array = NDArray[np.float64]

_REFERENCE_PRESSURE = (
    101_325.0  # where levels are put in order; no coordinate in use changes its order with the weather
)


@dataclass(frozen=True, eq=False, kw_only=True)
class VerticalCoordinate:
    """Levels, and the layers that they stand for.

    Parameters
    ----------
    coordinate : {"pressure", "hybrid", "sigma", "height", "depth"}
        What it is; the first three measure pressure in Pa, the others metres.
    integral : {"layers", "trapezoid"}
        Whether values are means of layers, or points joined by straight lines.
    levels : array [level]
        As channels name them: hPa, number in the model, sigma, metres; in any order.
    a_full, b_full : array [level]
        A level is at a + b · p_s.
    a_half, b_half : array [level + 1]
        The interfaces, from the top down, whatever the order of the levels.
    from_top : array [level] of int
        Positions of the levels from the top down: `levels[from_top]` lie in the layers between consecutive interfaces.
    """

    coordinate: Coordinate
    integral: Integral
    levels: Array
    a_full: Array
    b_full: Array
    a_half: Array
    b_half: Array
    from_top: NDArray[np.int64]

    @property
    def units(self) -> str:
        """Of the coordinate: `Pa` or `m`."""
        return "m" if self.coordinate in ("height", "depth") else "Pa"

    @property
    def depends_on_pressure(self) -> bool:
        """Whether layers grow with surface pressure."""
        return bool(self.b_half.any())

    @property
    def weights(self) -> tuple[Array, Array]:
        """[level] each, in the levels' own order: ∫ x = Σ (fixed + per_pressure · p_s) x, in Pa or m, positive for each level."""
        fixed, per_pressure = np.empty_like(self.a_full), np.empty_like(self.b_full)
        sign = -1.0 if self.coordinate == "height" else 1.0
        fixed[self.from_top] = sign * np.diff(self.a_half)
        per_pressure[self.from_top] = np.diff(self.b_half)
        return fixed, per_pressure

    def at_levels(self, surface_pressure: Any = None) -> Any:
        """Pressure (or metres) at the levels, in their own order.

        Parameters
        ----------
        surface_pressure : array or tensor [..., lat, lon], optional
            Pa; needed where `depends_on_pressure`.

        Returns
        -------
        array or tensor
            [..., level, lat, lon]; [level] without surface pressure.
        """
        return self._affine(self.a_full, self.b_full, surface_pressure)

    def at_interfaces(self, surface_pressure: Any = None) -> Any:
        """The same at the interfaces, [..., level + 1, lat, lon], from the top down."""
        return self._affine(self.a_half, self.b_half, surface_pressure)

    def thickness(self, surface_pressure: Any = None) -> Any:
        """The same of the layers, positive, in the levels' own order: what each level weighs in a column integral."""
        return self._affine(*self.weights, surface_pressure)

    def integrate(self, values: Any, surface_pressure: Any = None) -> Any:
        """Column integral over the coordinate (divide by gravity for a mass): [..., level, lat, lon] → [..., lat, lon]."""
        thickness = self.thickness(surface_pressure)
        if surface_pressure is None:
            thickness = _like(values, thickness)[:, None, None]
        return (values * thickness).sum(-3)

    def describe(self) -> str:
        """One line for people."""
        return f"{len(self.levels)} {self.coordinate} levels, integrated by {'layer sums' if self.integral == 'layers' else 'trapezoids'}"

    def _affine(self, a: Array, b: Array, surface_pressure: Any) -> Any:
        if surface_pressure is None:
            if self.depends_on_pressure:
                raise ConfigError(f"{self.describe()}: they depend on surface pressure, and none was given.")
            return a
        a, b = (_like(surface_pressure, each)[:, None, None] for each in (a, b))
        return a + b * surface_pressure[..., None, :, :]


def _like(model: Any, values: Array) -> Any:
    """As a tensor of the model's device, in its precision, if that is one."""
    return model.new_tensor(values) if hasattr(model, "new_tensor") else values
