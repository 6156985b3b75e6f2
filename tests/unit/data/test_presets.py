"""Each preset against a small store that is laid out as its archive is: names, order of dimensions, chunks, types, attributes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from pydantic import ValidationError

from credit_ray.config.data import SourceConfig
from credit_ray.config.preset import list_presets, load_preset, preset_names
from credit_ray.data.dataset import open_dataset
from credit_ray.data.source import StoreSource, open_source
from credit_ray.times import parse_time
from credit_ray.variables import canonical_name

TIMES = 12
NAMES = preset_names()


def fields(names: int, level: Any, time: Any, latitude: Any, longitude: Any) -> Any:
    """A number that tells variable, level, time and place."""
    return 1e4 * names + 50.0 * level + time + latitude / 200 + longitude / 1000


def built(name: str, folder: Path) -> str:
    """A store in the layout of a preset, on a grid of fewer columns and rows; one for each of two years where the archive is yearly."""
    layout = load_preset(name).layout
    rows, columns = min(layout.grid[0], 13), 8
    first = 90.0 if layout.grid[0] % 2 else 90 - 180 / rows / 2
    latitude = np.linspace(first, -first, rows)[:: 1 if layout.latitude == "north to south" else -1]
    longitude = np.arange(columns) * 360.0 / columns
    since = int(layout.time_units.split("since ")[1][:4])
    days = 365 * 10 if layout.calendar == "noleap" else (np.datetime64("2000") - np.datetime64(str(since))).astype(int)
    days = days if layout.calendar == "standard" else 365 * (2000 - since)
    every = int(layout.step.removesuffix("h"))
    yearly = "one store a year" in layout.format
    vertical = layout.dims[1]
    paths = []
    for year in range(2 if yearly else 1):
        # The last times of a year, then the first of the next: no leap year between, so that both calendars agree.
        begin = (
            int(days) * 24 + (366 if layout.calendar == "standard" else 365) * 24 - TIMES * every + year * TIMES * every
        )
        hours = begin + np.arange(TIMES) * every
        time = np.arange(TIMES) + year * TIMES
        coordinates = {
            "time": (
                "time",
                hours.astype(np.int64),
                {"units": layout.time_units, "calendar": _stored(layout.calendar)},
            ),
            vertical: (vertical, np.array(layout.levels, np.int64), {}),
            "latitude": ("latitude", latitude.astype(np.float32), {}),
            "longitude": ("longitude", longitude.astype(np.float32), {}),
        }
        variables = {}
        for number, (variable, units) in enumerate((layout.upper | layout.surface | layout.static).items()):
            dims = [d for d in layout.dims if variable in layout.upper or d != vertical]
            dims = [d for d in dims if variable not in layout.static or d != "time"]
            axes = {"time": time, vertical: layout.levels, "latitude": latitude, "longitude": longitude}
            grids = dict(
                zip(dims, np.meshgrid(*(np.asarray(axes[d], float) for d in dims), indexing="ij"), strict=True)
            )
            values = fields(
                number, grids.get(vertical, 0.0), grids.get("time", 0.0), grids["latitude"], grids["longitude"]
            )
            variables[variable] = (dims, values.astype(np.float32), {"units": units} if units else {})
        dataset = xr.Dataset(variables, coordinates)
        sizes = {n: tuple(layout.chunks.get(str(d), dataset.sizes[d]) for d in dataset[n].dims) for n in variables}
        encoding: dict[str, Any] = {n: {"chunks": tuple(map(min, c, dataset[n].shape))} for n, c in sizes.items()}
        path = folder / (f"{name}_{2000 + year}.zarr" if yearly else f"{name}.zarr")
        dataset.to_zarr(path, zarr_format=2, consolidated=True, encoding=encoding)
        paths.append(path)
    return str(folder / f"{name}_%Y.zarr") if yearly else str(paths[0])


def _stored(calendar: str) -> str:
    return {"standard": "proleptic_gregorian"}.get(calendar, calendar)


def opened(name: str, folder: Path, **config: Any) -> StoreSource:
    return open_source("archive", SourceConfig.model_validate({"preset": name, "store": built(name, folder), **config}))


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_reads_the_layout_of_its_archive(name: str, tmp_path: Path) -> None:
    layout = load_preset(name).layout
    known = load_preset(name).source.get("units", {})
    asked: dict[str, Any] = {
        "prognostic": [
            v for v in (*layout.upper, *layout.surface) if layout.upper.get(v, layout.surface.get(v)) or v in known
        ],
        "static": list(layout.static),
        "levels": layout.levels[-3:],
        "units": _as_they_are(name),
    }
    source = opened(name, tmp_path, **asked)
    assert source.times is not None
    assert source.grid.latitude[0] > source.grid.latitude[-1]
    assert len(source.times) == TIMES * (2 if "year" in layout.format else 1)
    assert (np.diff(source.times) == int(layout.step.removesuffix("h")) * 3600).all()
    assert source.calendar == layout.calendar
    every = list(layout.upper | layout.surface | layout.static)
    latitude, longitude = np.meshgrid(source.grid.latitude, source.grid.longitude, indexing="ij")
    for variable in (*asked["prognostic"], *asked["static"]):
        inside = canonical_name(variable)
        time = np.arange(len(source.times))[:, None, None]
        found = source.read([inside], source.times)[inside]
        number = every.index(variable)
        if variable in layout.upper:
            levels = np.array(layout.levels[-3:])[None, :, None, None]
            expected = fields(number, levels, time[:, None], latitude, longitude)
        else:
            expected = fields(number, 0.0, time if variable in layout.surface else 0.0, latitude, longitude)
        np.testing.assert_allclose(found, np.broadcast_to(expected, found.shape), rtol=1e-5, err_msg=variable)


def _as_they_are(name: str) -> dict[str, str]:
    """Units in which the vocabulary leaves a variable as it is: what is tested here is the layout."""
    from credit_ray.variables import lookup

    layout = load_preset(name).layout
    every = (*layout.upper, *layout.surface, *layout.static)
    return {v: entry.units for v in every if (entry := lookup(v)) is not None}


@pytest.mark.parametrize("name", NAMES)
def test_the_units_that_an_archive_has_are_understood(name: str, tmp_path: Path) -> None:
    layout, known = load_preset(name).layout, load_preset(name).source.get("units", {})
    units = layout.upper | layout.surface | layout.static | known
    asked = [v for v in (*layout.upper, *layout.surface) if units[v]]
    source = opened(name, tmp_path, prognostic=asked, static=list(layout.static), levels=layout.levels[:1])
    assert {c.variable for c in source.channels["prognostic"]} == {canonical_name(v) for v in asked}


def test_a_series_of_years_is_one_time_axis_and_windows_cross_from_one_to_the_next(tmp_path: Path) -> None:
    from credit_ray.config.data import DataConfig

    store = built("credit-cam", tmp_path)
    dataset = open_dataset(
        DataConfig.model_validate(
            {
                "timestep": "6h",
                "sources": {"cam": {"preset": "credit-cam", "store": store, "prognostic": ["U", "PS"]}},
                "splits": {"train": ["2000-12-01", "2001-12-31"]},
            }
        )
    )
    assert len(dataset.times) == 2 * TIMES
    assert dataset.spec.calendar == "noleap"
    new_year = parse_time("2001-01-01", "noleap")
    assert new_year in dataset.times
    across = dataset.times[TIMES - 1 : TIMES + 1]
    read = dataset.columns(across, dataset.spec.windowed)["sp"]
    assert np.allclose((read[1] - read[0]), 1.0, atol=0.02)


def test_what_a_config_says_stands_over_its_preset() -> None:
    plain = SourceConfig.model_validate({"preset": "arco-era5", "prognostic": ["t"]})
    assert plain.store == load_preset("arco-era5").source["store"]
    assert plain.storage_options == {"token": "anon"}
    other = {"preset": "arco-era5", "prognostic": ["t"], "store": "s3://mirror/era5.zarr", "vertical": "model"}
    changed = SourceConfig.model_validate(other)
    assert (changed.store, changed.storage_options, changed.vertical) == ("s3://mirror/era5.zarr", {}, "model")
    cam = {"preset": "credit-cam", "store": "/x/%Y.zarr", "prognostic": ["U", "PRECT"], "units": {"PRECT": "m s-1"}}
    merged = SourceConfig.model_validate(cam)
    assert (merged.units["PRECT"], merged.units["U"]) == ("m s-1", "m s-1")


def test_a_preset_that_is_not_there_is_answered_with_the_nearest() -> None:
    with pytest.raises(ValidationError, match=r"no preset 'arco-era'\. Did you mean 'arco-era5'"):
        SourceConfig.model_validate({"preset": "arco-era", "prognostic": ["t"]})


def test_a_layout_without_a_place_of_its_own_asks_for_one() -> None:
    with pytest.raises(ValidationError, match=r"store\n  Field required"):
        SourceConfig.model_validate({"preset": "credit-cam", "prognostic": ["U"]})


def test_the_list_names_every_preset_with_its_place_and_variables() -> None:
    shown = str(list_presets())
    for name in NAMES:
        assert f"{name}: {load_preset(name).title}" in shown
    assert "gs://gcp-public-data-arco-era5/ar/full_37-1h-0p25deg-chunk-1.zarr-v3" in shown
