"""The SPEEDY model of the atmosphere (Molteni 2003), as the package `jcm` has it in JAX: half-hourly steps of one day at a time.

A spectral core on eight sigma levels with moist convection, clouds, radiation, and observed orography and sea-surface temperature.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from credit_ray.errors import ConfigError

STEPS_A_DAY = 48
FIRST_DAY = "2000-01-01"
PRESSURE_SCALE = 1e5  # Pa, of the model's normalised surface pressure

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Planet:
    """What does not change.

    Parameters
    ----------
    latitude, longitude : array
        Degrees, as the model has them.
    sigma, interfaces : array [level], [level + 1]
        Pressure over surface pressure, from the top.
    orography, land : array [longitude, latitude]
        m; 1 for land.
    """

    latitude: NDArray[np.floating]
    longitude: NDArray[np.floating]
    sigma: NDArray[np.float64]
    interfaces: NDArray[np.float64]
    orography: NDArray[np.float64]
    land: NDArray[np.float64]


class Speedy:
    """One simulation, continued day by day.

    Parameters
    ----------
    truncation : int
        Of the spectral core: 21, 31 or 42.

    Raises
    ------
    ConfigError
        Where `jcm` is not installed.
    """

    def __init__(self, truncation: int) -> None:
        try:
            import jcm
            from jcm.forcing import ForcingData
            from jcm.model import Model
            from jcm.physics.speedy.speedy_coords import get_speedy_coords
            from jcm.terrain import TerrainData
        except ImportError as error:
            raise ConfigError(
                f"This sample is simulated by the package jcm, which can't be imported ({error}). Install it with "
                f"pip install 'credit-ray[speedy]', best into an environment of its own (it brings JAX, 1.6 GB), or leave out --model speedy."
            ) from None
        boundary = Path(jcm.__file__).parent / "data/bc/t30/clim"
        coords: Any = get_speedy_coords(spectral_truncation=truncation)
        self.terrain: Any = TerrainData.from_file(str(boundary / "terrain.nc"), coords)
        self.forcing: Any = ForcingData.from_file(str(boundary / "forcing.nc"), coords)
        self.coords = coords
        self.model: Any = Model(coords=coords, terrain=self.terrain, start_time=FIRST_DAY)
        if float(self.model.dt_si.m) * STEPS_A_DAY != 86400:
            raise ConfigError(f"jcm {self.version} has a time step of {self.model.dt_si}, not of half an hour.")
        self.model.bootstrap_state()

    @property
    def version(self) -> str:
        """Of jcm."""
        return version("jcm")

    def planet(self) -> Planet:
        """Grid and ground."""
        horizontal, vertical = self.coords.horizontal, self.coords.vertical
        return Planet(
            latitude=np.degrees(np.asarray(horizontal.latitudes, np.float64)),
            longitude=np.degrees(np.asarray(horizontal.longitudes, np.float64)),
            sigma=np.asarray(vertical.centers, np.float64),
            interfaces=np.asarray(vertical.boundaries, np.float64),
            orography=np.asarray(self.terrain.orog, np.float64),
            land=np.asarray(self.terrain.fmask, np.float64),
        )

    def day(self) -> Mapping[str, NDArray[np.float32]]:
        """The next day: by the model's own names, after each of its steps, [time, (level,) longitude, latitude]."""
        predictions = self.model.resume(forcing=self.forcing, save_interval=1 / STEPS_A_DAY, total_time=1)
        fields = predictions.to_xarray().sortby("level")  # which begins at the surface
        sigma = np.asarray(self.coords.vertical.centers)
        if not np.allclose(fields["level"].values, sigma, atol=1e-3):
            raise ConfigError(f"jcm {self.version} gives levels {fields['level'].values}, which are not its {sigma}.")
        return {str(name): fields[name].values for name in fields.data_vars if fields[name].dtype.kind == "f"}

    def save(self, path: Path) -> None:
        """Keep what the simulation needs to go on, all or nothing."""
        from jcm.checkpoint import save_checkpoint

        save_checkpoint(self.model, path)

    def restore(self, path: Path) -> None:
        """Go on from what was kept."""
        from jcm.checkpoint import load_checkpoint

        load_checkpoint(self.model, path)
