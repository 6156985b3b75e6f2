"""Shapes of small data for the networks."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from credit_ray.models.arguments import NetworkShape

MakeShape = Callable[..., NetworkShape]


@pytest.fixture(scope="session")
def make_shape() -> MakeShape:
    """Two input times of three channels, two channels out, on a global grid; keywords change it."""

    def make(rows: int = 16, columns: int = 32, **changed: object) -> NetworkShape:
        values: dict[str, object] = {
            "history": 2,
            "in_channels": 3,
            "out_channels": 2,
            "grid": (rows, columns),
            "periodic": True,
            "poles": True,
            "pole_points": False,
            "pole_sign": (1.0, -1.0, 1.0),
            "pole_offset": (0.0, 0.4, 0.0),
        }
        return NetworkShape(**{**values, **changed})  # type: ignore[arg-type]

    return make
