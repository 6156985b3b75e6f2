"""A richer sample: moist weather on eight levels, with the fluxes that budgets of water and energy need, as Zarr.

Written day by day beside its place; one that is interrupted goes on where it stopped.
"""

from __future__ import annotations

import json
import logging
import shutil
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from credit_ray import __version__
from credit_ray.data.sample import MARK, SampleResult, is_there, move_into_place
from credit_ray.data.speedy_model import FIRST_DAY, PRESSURE_SCALE, STEPS_A_DAY, Planet, Speedy
from credit_ray.errors import ConfigError, DataError
from credit_ray.grid.latlon import LatLonGrid
from credit_ray.variables import lookup

if TYPE_CHECKING:
    import zarr

log = logging.getLogger(__name__)

SPIN_UP_DAYS = 90
STATES_A_DAY = 4
TRUNCATIONS = (21, 31, 42)
_STEPS = STEPS_A_DAY // STATES_A_DAY
_SECONDS = 86400 // STATES_A_DAY
_GRAMS = 1e-3

# ours → the model's name and factor, at the end of six hours
STATES: dict[str, tuple[str, float]] = {
    "u": ("u_wind", 1.0),
    "v": ("v_wind", 1.0),
    "t": ("temperature", 1.0),
    "q": ("specific_humidity", 1.0),
    "z": ("geopotential", 1.0),
    "sp": ("normalized_surface_pressure", PRESSURE_SCALE),
    "skt": ("surface_flux.tskin", 1.0),
}
# ours → the model's names and factors, accumulated over six hours; downward is positive, as in ECMWF's data
FLUXES: dict[str, tuple[tuple[str, float], ...]] = {
    "tp": (("condensation.precls", _GRAMS), ("convection.precnv", _GRAMS)),
    "e": (("surface_flux.evap", -_GRAMS),),
    "tisr": (("shortwave_rad.fsol", 1.0),),
    "tsr": (("shortwave_rad.ftop", 1.0),),
    "ttr": (("longwave_rad.ftop", -1.0),),
    "ssr": (("shortwave_rad.rsns", 1.0),),
    "ssrd": (("shortwave_rad.rsds", 1.0),),
    "str": (("surface_flux.rlns", -1.0),),
    "strd": (("surface_flux.rlds", 1.0),),
    "sshf": (("surface_flux.shf", -1.0),),
    "slhf": (("surface_exchange.latent_heat_flux", -1.0),),
}


class Simulation(Protocol):
    """The seam: what makes the weather."""

    @property
    def version(self) -> str:
        """Of the model."""
        ...

    def planet(self) -> Planet:
        """Grid and ground."""
        ...

    def day(self) -> Mapping[str, NDArray[np.float32]]:
        """The next day, after each step."""
        ...

    def save(self, path: Path) -> None:
        """Keep what it needs to go on."""
        ...

    def restore(self, path: Path) -> None:
        """Go on from what was kept."""
        ...


def write_speedy_sample(
    directory: str | Path,
    *,
    truncation: int = 21,
    states: int = 1500,
    progress: Callable[[int, int], None] | None = None,
    simulation: Callable[[int], Simulation] = Speedy,
) -> SampleResult:
    """Simulate the moist atmosphere and write it as a Zarr store.

    A store that is complete and of the same recipe is left as it is; one that was interrupted is continued.

    Parameters
    ----------
    directory : str or Path
        The store to be.
    truncation : {21, 31, 42}
        Grids of 32×64, 48×96 and 64×128.
    states : int
        How many, six hours apart, from 2000-03-31 06:00, after three months of spin-up; a whole number of days.
    progress : callable, optional
        Called as `progress(done, total)` after each day, in days.
    simulation : callable
        Makes the simulation of a truncation.

    Raises
    ------
    ConfigError
        Where jcm is not installed, something else is at that path, or states are no whole number of days.
    DataError
        Where the disk does not take it.
    """
    if truncation not in TRUNCATIONS:
        raise ConfigError(f"There is no truncation {truncation}: {', '.join(map(str, TRUNCATIONS))} are possible.")
    if states < STATES_A_DAY or states % STATES_A_DAY:
        raise ConfigError(f"states is {states}: a whole number of days has {STATES_A_DAY} each.")
    started, store = time.monotonic(), Path(directory)
    names = (*STATES, *FLUXES, "orography", "lsm")
    recipe = f"speedy truncation={truncation} states={states}"
    if is_there(store, recipe):
        log.info("%s holds this sample already (%s): left as it is", store, recipe)
        grid = LatLonGrid.gaussian({21: 32, 31: 48, 42: 64}[truncation])
    else:
        try:
            grid = _continue(store, recipe, simulation(truncation), states, progress)
        except OSError as error:
            raise DataError(
                f"{store} can't be written ({error}). Make room and say the same again: it goes on."
            ) from error
    return SampleResult(store, states, grid, names, time.monotonic() - started)


def _continue(
    store: Path,
    recipe: str,
    simulation: Simulation,
    states: int,
    progress: Callable[[int, int], None] | None,
) -> LatLonGrid:
    """Simulate what is not there yet, and move the store to its place."""
    import zarr

    partial = store.with_name(f".{store.name}.partial")
    kept, log_file = partial / "simulation.npz", partial / "progress.json"
    planet = simulation.planet()
    grid, flip = _grid(planet)
    days = SPIN_UP_DAYS + states // STATES_A_DAY
    done = _days_done(log_file, recipe, simulation.version)
    if done is None:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        _create(partial / "store", grid, planet, flip, states, recipe, simulation.version)
        done = 0
    else:
        log.info("%s goes on after %d of %d days", store, done, days)
        simulation.restore(kept)
    root = zarr.open_group(partial / "store", mode="r+")
    for day in range(done, days):
        raw = simulation.day()
        if day >= SPIN_UP_DAYS:
            rows = slice((day - SPIN_UP_DAYS) * STATES_A_DAY, (day - SPIN_UP_DAYS + 1) * STATES_A_DAY)
            for name, values in fields_of(raw, flip).items():
                if not np.isfinite(values).all():
                    raise DataError(f"The simulation blew up: '{name}' is not finite on day {day - SPIN_UP_DAYS}.")
                array = root[name]
                assert isinstance(array, zarr.Array)
                array[rows] = values
        simulation.save(kept)
        # a day that was written, but not yet noted, is simulated and written once more
        _note(log_file, {"recipe": recipe, "version": simulation.version, "days": day + 1})
        if progress:
            progress(day + 1, days)
    with warnings.catch_warnings():
        # readers that do not know consolidated metadata ignore it; the others open the store in one read
        warnings.filterwarnings("ignore", message="Consolidated metadata is currently not part")
        zarr.consolidate_metadata(partial / "store")
    move_into_place(partial / "store", store, recipe)
    shutil.rmtree(partial, ignore_errors=True)
    return grid


def fields_of(raw: Mapping[str, NDArray[np.float32]], flip: bool) -> dict[str, NDArray[np.float32]]:
    """States and accumulations of one day, [4, (level,) latitude, longitude], of what the model gave after each step."""
    found = {name: raw[source][_STEPS - 1 :: _STEPS] * np.float32(factor) for name, (source, factor) in STATES.items()}
    for name, parts in FLUXES.items():
        rate = sum(raw[source].astype(np.float64) * factor for source, factor in parts)
        rate = np.asarray(rate)
        found[name] = rate.reshape(STATES_A_DAY, _STEPS, *rate.shape[1:]).mean(1) * _SECONDS
    return {name: _ours(values, flip) for name, values in found.items()}


def _ours(values: NDArray[Any], flip: bool) -> NDArray[np.float32]:
    """[…, longitude, latitude] → [..., latitude, longitude], north to south."""
    turned = np.swapaxes(values, -1, -2)
    return np.ascontiguousarray(turned[..., ::-1, :] if flip else turned, np.float32)


def _grid(planet: Planet) -> tuple[LatLonGrid, bool]:
    """The grid, and whether the model's rows go from south to north."""
    flip = bool(planet.latitude[0] < planet.latitude[-1])
    return LatLonGrid(planet.latitude[::-1] if flip else planet.latitude, planet.longitude), flip


def _days_done(log_file: Path, recipe: str, version: str) -> int | None:
    """How many days an interrupted simulation of this recipe has; None where there is none."""
    try:
        noted = json.loads(log_file.read_text())
    except (OSError, ValueError):
        return None
    return noted["days"] if (noted["recipe"], noted["version"]) == (recipe, version) else None


def _note(log_file: Path, what: dict[str, Any]) -> None:
    part = log_file.with_suffix(".part")
    part.write_text(json.dumps(what))
    part.replace(log_file)


def _create(store: Path, grid: LatLonGrid, planet: Planet, flip: bool, states: int, recipe: str, version: str) -> None:
    """The store with its final shape: coordinates and statics filled in, fields absent."""
    import zarr

    root = zarr.create_group(store, zarr_format=3)
    root.attrs.update(
        {
            "Conventions": "CF-1.11",
            "title": "Simulated moist weather: sample data of credit_ray",
            "institution": "none: made on the spot",
            "source": f"SPEEDY (jcm {version}) on a {grid.describe()} and {len(planet.sigma)} sigma levels; nothing in it was observed",
            "history": f"credit_ray {__version__}: simulated {states} states after {SPIN_UP_DAYS} days of spin-up",
            "comment": "sunlight is a daily mean, as the model has it; the topmost level drifts",
            MARK: recipe,
        }
    )
    hours = _SECONDS // 3600
    first = SPIN_UP_DAYS * 24 + hours
    sigma = {"standard_name": "atmosphere_sigma_coordinate", "units": "1", "positive": "down", "axis": "Z"}
    coordinates: dict[str, tuple[NDArray[Any], dict[str, Any]]] = {
        "time": (
            first + hours * np.arange(states, dtype=np.int64),
            {
                "standard_name": "time",
                "units": f"hours since {FIRST_DAY}",
                "calendar": "proleptic_gregorian",
                "axis": "T",
            },
        ),
        "level": (planet.sigma, {**sigma, "long_name": "sigma of the layer's middle"}),
        "half_level": (planet.interfaces, {**sigma, "long_name": "sigma between the layers"}),
        "latitude": (grid.latitude, {"standard_name": "latitude", "units": "degrees_north", "axis": "Y"}),
        "longitude": (grid.longitude, {"standard_name": "longitude", "units": "degrees_east", "axis": "X"}),
    }
    for name, (values, attributes) in coordinates.items():
        array = root.create_array(name, data=np.ascontiguousarray(values), dimension_names=(name,))
        array.attrs.update(attributes)
    for name, values in (("orography", planet.orography), ("lsm", planet.land)):
        array = root.create_array(name, data=_ours(values, flip), dimension_names=grid.dims)
        array.attrs.update(_attributes(name))
    for name in (*STATES, *FLUXES):
        _create_field(root, name, states, grid, len(planet.sigma))


def _create_field(root: zarr.Group, name: str, states: int, grid: LatLonGrid, levels: int) -> None:
    from zarr.codecs import BloscCodec

    on_levels = name in ("u", "v", "t", "q", "z")
    dims = ("time", "level", *grid.dims) if on_levels else ("time", *grid.dims)
    shape = (states, levels, *grid.shape) if on_levels else (states, *grid.shape)
    array = root.create_array(
        name,
        shape=shape,
        chunks=(STATES_A_DAY, *shape[1:]),
        dtype="float32",
        fill_value=float("nan"),
        dimension_names=dims,
        compressors=(BloscCodec(cname="zstd", clevel=3, shuffle="shuffle"),),
    )
    array.attrs.update(_attributes(name))


def _attributes(name: str) -> dict[str, str]:
    known = lookup(name)
    assert known is not None, name
    methods = {"accumulated": "time: sum", "instantaneous": "time: point", "mean": "time: mean"}[known.kind]
    attributes = {"standard_name": known.standard_name, "units": known.units}
    if name not in ("orography", "lsm"):
        attributes["cell_methods"] = methods
    return attributes | ({"positive": known.positive} if known.positive else {})
