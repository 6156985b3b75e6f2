"""The sample data set: a year of simulated weather on a small planet much like ours, made on the spot.

Enough to try everything on, small enough to be made in seconds, and physical: what a model learns from it is dynamics. The
continents are ellipses and the mountains bells; nothing in it was observed.
"""

from __future__ import annotations

import json
import logging
import shutil
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from credit_ray import __version__
from credit_ray.errors import ConfigError, DataError
from credit_ray.grid.latlon import LatLonGrid

if TYPE_CHECKING:
    import xarray as xr

log = logging.getLogger(__name__)

SIMULATION = 1  # goes up when the same seed would give other weather
MARK = "credit_ray_sample"  # the attribute that says from which recipe a store was made
FIRST_TIME = 946_684_800  # 2000-01-01 00:00
SPIN_UP_STATES = 200
TIMES_PER_CHUNK = 20

# latitude, longitude, and half axes, in degrees
CONTINENTS = (
    (52, 258, 20, 34), (30, 262, 12, 14), (74, 318, 9, 16),  # North America, Mexico, Greenland
    (-4, 298, 13, 18), (-28, 294, 26, 10),  # South America
    (16, 10, 17, 28), (-14, 26, 21, 15),  # Africa
    (55, 78, 19, 70), (34, 88, 15, 32), (20, 98, 14, 10),  # Eurasia
    (-25, 134, 12, 20), (-90, 0, 20, 400),  # Australia, Antarctica
)  # fmt: skip
# Latitude, longitude, height in metres, and widths in degrees. Low, because one layer stands for the whole depth of an
# atmosphere and feels all of a mountain: with heights like ours the waves would stand still behind them.
MOUNTAINS = (
    (45, 248, 350, 14, 10), (73, 318, 350, 9, 16), (-24, 291, 450, 20, 8),
    (34, 90, 650, 10, 20), (-90, 0, 400, 18, 400), (4, 35, 200, 16, 11), (46, 12, 150, 9, 12),
)  # fmt: skip

ATTRIBUTES: dict[str, dict[str, str]] = {
    "u": {"standard_name": "eastward_wind", "long_name": "eastward wind", "units": "m s-1"},
    "v": {"standard_name": "northward_wind", "long_name": "northward wind", "units": "m s-1"},
    "z": {"standard_name": "geopotential", "long_name": "geopotential of the fluid's surface", "units": "m2 s-2"},
    "vo": {"standard_name": "atmosphere_relative_vorticity", "long_name": "relative vorticity", "units": "s-1"},
    "tracer": {"long_name": "mixing ratio of a tracer that comes from warm oceans", "units": "kg kg-1"},
    "orography": {"standard_name": "surface_altitude", "long_name": "height of the ground", "units": "m"},
    "land_sea_mask": {"standard_name": "land_binary_mask", "long_name": "land (1) and sea (0)", "units": "1"},
}


@dataclass(frozen=True)
class SampleResult:
    """What `write_sample` made, or found made.

    Parameters
    ----------
    store : Path
        The Zarr store.
    states : int
        Number of times, six hours apart.
    grid : LatLonGrid
        Where the fields are.
    variables : tuple of str
        Names in the store, those without time last.
    seconds : float
        What it took.
    """

    store: Path
    states: int
    grid: LatLonGrid
    variables: tuple[str, ...]
    seconds: float

    def __str__(self) -> str:
        return (
            f"{self.states} states of simulated weather, 6 h apart, on a {self.grid.describe()}: {self.store} "
            f"({self.seconds:.0f} s)\nLook at it: credit-ray data info {self.store}"
        )


def write_sample(
    directory: str | Path,
    *,
    seed: int = 0,
    states: int = 1500,
    progress: Callable[[int, int], None] | None = None,
) -> SampleResult:
    """Simulate weather and write it as a Zarr store.

    A store that is complete and was made of the same seed, number of states and version of the simulation is left as it is.
    A new one is written beside its place and moved there when it is complete, so that nobody meets half of one.

    Parameters
    ----------
    directory : str or Path
        The store to be; its parents are made.
    seed : int
        Another seed gives other weather in the same climate; the same gives the same, bit for bit on one machine.
    states : int
        How many, six hours apart, from 2000-01-01 00:00.
    progress : callable, optional
        Called as `progress(done, total)` about a hundred times, in states, spin-up included.

    Raises
    ------
    ConfigError
        Where something else is at that path, the path is a URL, or there is not one state to write.
    DataError
        Where the disk does not take it.
    """
    if states < 1:
        raise ConfigError(f"states is {states}: a sample has at least one.")
    if "://" in str(directory):
        raise ConfigError(f"{directory}: sample data go to a local directory. Write them there and copy the store.")
    started = time.monotonic()
    store = Path(directory)
    recipe = f"seed={seed} states={states} simulation={SIMULATION}"
    grid = LatLonGrid.gaussian(32)
    if is_there(store, recipe):
        log.info("%s holds this sample already (%s): left as it is", store, recipe)
    else:
        partial = store.with_name(f".{store.name}.partial-{uuid4().hex[:8]}")
        try:
            store.parent.mkdir(parents=True, exist_ok=True)
            dataset = simulate(grid, seed=seed, states=states, progress=progress)
            _write(dataset.assign_attrs({MARK: recipe}), partial)
            move_into_place(partial, store, recipe)
        except OSError as error:
            raise DataError(
                f"{store} can't be written ({error}). Nothing is left there; choose another place."
            ) from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return SampleResult(store, states, grid, tuple(ATTRIBUTES), time.monotonic() - started)


def simulate(
    grid: LatLonGrid, *, seed: int, states: int, progress: Callable[[int, int], None] | None = None
) -> xr.Dataset:
    """Weather on `grid` as a CF data set: float32 [time, latitude, longitude], 6 h apart from 2000-01-01 00:00."""
    from credit_ray.data.shallow_water import OUTPUT_SECONDS, ShallowWater

    land, ground = geography(grid)
    rng = np.random.default_rng(seed)
    total = SPIN_UP_STATES + states
    fields = {name: np.empty((states, *grid.shape), np.float32) for name in ("u", "v", "z", "vo", "tracer")}
    with _one_thread():
        model = ShallowWater(grid, ground, 1 - land)
        weather = model.start(FIRST_TIME - SPIN_UP_STATES * OUTPUT_SECONDS, rng)
        for done in range(total):
            if done >= SPIN_UP_STATES:
                for name, field in model.fields(weather.current).items():
                    fields[name][done - SPIN_UP_STATES] = field.numpy()
            weather = model.advance(weather, rng)
            if progress and (done + 1) * 100 // total > done * 100 // total:
                progress(done + 1, total)
    statics = {"orography": model.orography.numpy(), "land_sea_mask": land}
    return _dataset(grid, fields, statics, f"credit_ray {__version__}: simulated {states} states with seed {seed}")


def geography(grid: LatLonGrid) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Land (1) or sea (0), and the height of the ground in m: two [lat, lon]."""
    latitude, longitude = grid.latitude[:, None], grid.longitude[None, :]

    def distance(north: float, east: float, height: float, width: float) -> NDArray[np.float64]:
        around = (longitude - east + 180) % 360 - 180
        return ((latitude - north) / height) ** 2 + (around / width) ** 2

    land = np.max([distance(*place) <= 1 for place in CONTINENTS], axis=0).astype(np.float64)
    ground = 50 * land
    for north, east, metres, height, width in MOUNTAINS:
        ground += metres * np.exp(-distance(north, east, height, width))
    return land, ground


def _dataset(
    grid: LatLonGrid,
    fields: dict[str, NDArray[np.float32]],
    statics: dict[str, NDArray[np.float64]],
    history: str,
) -> xr.Dataset:
    import xarray as xr

    states = len(fields["z"])
    times = np.datetime64("2000-01-01", "ns") + np.arange(states) * np.timedelta64(6, "h")
    dataset = xr.Dataset(
        {name: (("time", *grid.dims), field, {"cell_methods": "time: point"}) for name, field in fields.items()}
        | {name: (grid.dims, field.astype(np.float32)) for name, field in statics.items()},
        coords={
            "time": ("time", times, {"standard_name": "time", "axis": "T"}),
            "latitude": (
                "latitude",
                grid.latitude,
                {"standard_name": "latitude", "units": "degrees_north", "axis": "Y"},
            ),
            "longitude": (
                "longitude",
                grid.longitude,
                {"standard_name": "longitude", "units": "degrees_east", "axis": "X"},
            ),
        },
        attrs={
            "Conventions": "CF-1.11",
            "title": "Simulated weather of a small planet: sample data of credit_ray",
            "institution": "none: made on the spot",
            "source": f"one-layer spectral shallow-water model on a {grid.describe()}; nothing in it was observed",
            "history": history,
        },
    )
    for name, attributes in ATTRIBUTES.items():
        dataset[name].attrs.update(attributes)
    return dataset


def _write(dataset: xr.Dataset, store: Path) -> None:
    """Zarr v3, consolidated, all of a chunk's places together."""
    from zarr.codecs import BloscCodec

    encoding: dict[str, dict[str, Any]] = {
        "time": {"units": "hours since 2000-01-01", "calendar": "proleptic_gregorian", "dtype": "int64"},
        "latitude": {"_FillValue": None},
        "longitude": {"_FillValue": None},
    }
    for name in ATTRIBUTES:
        shape = dataset[name].shape
        chunks = (min(TIMES_PER_CHUNK, shape[0]), *shape[1:]) if "time" in dataset[name].dims else shape
        encoding[name] = {"chunks": chunks, "compressors": (BloscCodec(cname="zstd", clevel=3, shuffle="shuffle"),)}
    with warnings.catch_warnings():
        # readers that do not know consolidated metadata ignore it; the others open the store in one read
        warnings.filterwarnings("ignore", message="Consolidated metadata is currently not part")
        dataset.to_zarr(store, mode="w-", zarr_format=3, consolidated=True, encoding=encoding)


def is_there(store: Path, recipe: str) -> bool:
    """Whether the store is complete; not whether anything is at its path, which is refused unless it is an empty folder."""
    if not store.exists() or (store.is_dir() and not any(store.iterdir())):
        return False
    try:
        found = json.loads((store / "zarr.json").read_text())["attributes"].get(MARK)
    except (OSError, ValueError, KeyError, AttributeError):
        found = None
    if found is None:
        raise ConfigError(f"{store} exists and is not sample data. Name another directory, or remove it.")
    if found != recipe:
        raise ConfigError(
            f"{store} holds another sample ({found}, not {recipe}). Name another directory, or remove it."
        )
    return True


def move_into_place(partial: Path, store: Path, recipe: str) -> None:
    """Make a complete store appear at its place at once; one that came to be there meanwhile stays, if it is of the same recipe."""
    try:
        partial.rename(store)  # atomic, and refused where something has come to be there
    except OSError:
        if not is_there(store, recipe):
            raise
        log.info("%s was written by another process meanwhile: left as it is", store)


@contextmanager
def _one_thread() -> Iterator[None]:
    """The same order of sums, and so the same bits, however many cores there are; such small fields gain nothing by more."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
