from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr

from credit_ray.config.data import SourceConfig
from credit_ray.data import sample
from credit_ray.data.sample import geography, write_sample
from credit_ray.data.shallow_water import ShallowWater
from credit_ray.data.source import open_source
from credit_ray.errors import ConfigError, DataError
from credit_ray.grid import LatLonGrid
from credit_ray.times import parse_time


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real sample weather, though little of it, after a month of spin-up."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sample, "SPIN_UP_STATES", 120)
        return write_sample(tmp_path_factory.mktemp("sample") / "weather.zarr", states=48).store


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weather that is hardly weather yet, where only its writing matters."""
    monkeypatch.setattr(sample, "SPIN_UP_STATES", 2)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_xarray_opens_it_as_cf_data_with_nothing_else_said(store: Path) -> None:
    data = xr.open_zarr(store)
    assert data.attrs["Conventions"] == "CF-1.11"
    assert {"title", "institution", "source", "history"} <= set(data.attrs)
    assert "seed 0" in data.attrs["history"]
    for name in ("u", "v", "z", "vo", "tracer"):
        assert data[name].dims == ("time", "latitude", "longitude")
        assert data[name].shape == (48, 32, 64)
    for name in ("orography", "land_sea_mask"):
        assert data[name].dims == ("latitude", "longitude")
    for name in sample.ATTRIBUTES:
        assert data[name].dtype == np.float32
        assert data[name].attrs["units"]
    assert [data[axis].attrs["axis"] for axis in ("time", "latitude", "longitude")] == ["T", "Y", "X"]
    assert LatLonGrid(data.latitude.values, data.longitude.values) == LatLonGrid.gaussian(32)
    assert data.time.values[0] == np.datetime64("2000-01-01T00:00")
    assert set(np.diff(data.time.values)) == {np.timedelta64(6, "h")}
    raw = xr.open_zarr(store, decode_times=False).time
    assert (raw.attrs["calendar"], raw.attrs["units"]) == ("proleptic_gregorian", "hours since 2000-01-01")


def test_it_is_zarr_3_with_consolidated_metadata_in_chunks_of_a_few_days(store: Path) -> None:
    metadata = json.loads((store / "zarr.json").read_text())
    assert metadata["zarr_format"] == 3
    assert "z" in metadata["consolidated_metadata"]["metadata"]
    array = zarr.open_array(store / "z", mode="r")
    assert array.chunks == (20, 32, 64)
    assert np.isnan(array.fill_value)  # a chunk that was lost is no weather


def test_the_weather_is_finite_lively_and_conserves_mass(store: Path) -> None:
    data = xr.open_zarr(store).load()
    for name in sample.ATTRIBUTES:
        assert np.isfinite(data[name]).all()
    weights = LatLonGrid.gaussian(32).area_weights()
    depth = ((data.z.astype("float64") / 9.80665 - data.orography) * weights).mean(("latitude", "longitude"))
    assert float(depth[0]) == pytest.approx(6000, rel=1e-6)
    assert float(np.ptp(depth.values)) < 1e-6 * 6000  # float32 on disk
    assert float(data.tracer.min()) > 0
    assert 40 < float(data.u.max()) < 150
    middle = data.v.sel(latitude=slice(65, 30))
    assert 5 < float(middle.std()) < 40
    for name in ("u", "v", "z", "vo", "tracer"):
        anomaly = data[name] - data[name].mean("time")
        spread = float(np.sqrt((anomaly**2 * weights).mean()))
        persistence = float(np.sqrt((data[name].diff("time") ** 2 * weights).mean()))
        assert 0.1 * spread < persistence < 0.6 * spread


def test_the_winds_and_the_vorticity_belong_together(store: Path) -> None:
    import torch

    from credit_ray.grid.harmonics import SphericalHarmonics

    data = xr.open_zarr(store).isel(time=[0, 47]).load()
    harmonics = SphericalHarmonics(LatLonGrid.gaussian(32), 21, torch.float64)
    u, v = torch.from_numpy(data.u.values), torch.from_numpy(data.v.values)
    vorticity = harmonics.synthesis(harmonics.vorticity_divergence(u, v)[0])
    assert np.abs(vorticity.numpy() - data.vo.values).max() < 1e-4 * float(data.vo.std())


def test_the_data_path_reads_it_without_a_hint(store: Path) -> None:
    config = SourceConfig(
        store=str(store), prognostic=["u", "v", "z", "vo", "tracer"], static=["orography", "land_sea_mask"]
    )
    source = open_source("weather", config)
    assert source.grid == LatLonGrid.gaussian(32)
    assert source.times is not None
    time = parse_time("2000-01-03T06:00")
    fields = source.read(["z"], np.array([time]))
    assert np.array_equal(fields["z"][0], xr.open_zarr(store).z.isel(time=9).values)


def test_land_is_higher_than_the_sea_and_less_than_half_of_the_planet() -> None:
    grid = LatLonGrid.gaussian(32)
    land, ground = geography(grid)
    share = (land * grid.area_weights()).mean()
    assert 0.2 < share < 0.5
    assert set(np.unique(land)) == {0, 1}
    assert ground[land == 1].mean() > 3 * ground[land == 0].mean()


@pytest.mark.usefixtures("quick")
def test_the_same_seed_writes_the_same_bytes_and_another_other_weather(tmp_path: Path) -> None:
    first, again, other = (
        write_sample(tmp_path / str(i), seed=seed, states=3).store for i, seed in enumerate((7, 7, 8))
    )
    assert contents(first) == contents(again)
    assert not np.array_equal(xr.open_zarr(first).vo.values, xr.open_zarr(other).vo.values)


@pytest.mark.usefixtures("quick")
def test_a_complete_sample_is_left_as_it_is(tmp_path: Path) -> None:
    first = write_sample(tmp_path / "a" / "weather.zarr", states=3)
    before = {path: path.stat().st_mtime_ns for path in first.store.rglob("*")}
    steps: list[tuple[int, int]] = []
    second = write_sample(first.store, states=3, progress=lambda done, total: steps.append((done, total)))
    assert {path: path.stat().st_mtime_ns for path in first.store.rglob("*")} == before
    assert steps == []
    assert (second.store, second.states, second.grid, second.variables) == (
        first.store, 3, LatLonGrid.gaussian(32), tuple(sample.ATTRIBUTES),
    )  # fmt: skip
    assert f"credit-ray data info {first.store}" in str(second).splitlines()[1]


@pytest.mark.usefixtures("quick")
def test_another_sample_or_anything_else_in_its_place_is_refused_and_kept(tmp_path: Path) -> None:
    store = write_sample(tmp_path / "weather.zarr", states=3).store
    before = contents(store)
    with pytest.raises(ConfigError, match="holds another sample .seed=0 states=3"):
        write_sample(store, states=4)
    with pytest.raises(ConfigError, match="holds another sample"):
        write_sample(store, states=3, seed=1)
    assert contents(store) == before
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "diary.txt").write_text("dear diary")
    (tmp_path / "file").write_text("")
    for place in ("notes", "file"):
        with pytest.raises(ConfigError, match="is not sample data"):
            write_sample(tmp_path / place, states=3)
    assert (tmp_path / "notes" / "diary.txt").read_text() == "dear diary"


@pytest.mark.usefixtures("quick")
def test_an_empty_folder_may_be_there_already(tmp_path: Path) -> None:
    assert write_sample(tmp_path, states=1).states == 1
    assert xr.open_zarr(tmp_path).sizes["time"] == 1


@pytest.mark.usefixtures("quick")
def test_what_is_interrupted_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_sample(tmp_path / "weather.zarr", states=3, progress=interrupt)
    assert os.listdir(tmp_path) == []

    def full_disk(dataset: xr.Dataset, where: Path) -> None:
        where.mkdir()
        (where / "half").write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sample, "_write", full_disk)
    with pytest.raises(DataError, match="No space left"):
        write_sample(tmp_path / "weather.zarr", states=3)
    assert os.listdir(tmp_path) == []


@pytest.mark.usefixtures("quick")
def test_of_two_processes_at_once_the_second_takes_what_the_first_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "weather.zarr"
    write = sample._write

    def overtaken(dataset: xr.Dataset, where: Path) -> None:
        write(dataset, where)
        if not store.exists():
            write(dataset, store)

    monkeypatch.setattr(sample, "_write", overtaken)
    assert write_sample(store, states=3).states == 3
    assert os.listdir(tmp_path) == ["weather.zarr"]


@pytest.mark.usefixtures("quick")
def test_progress_rises_to_the_end_in_about_a_hundred_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ShallowWater, "advance", lambda self, weather, rng: weather)
    steps: list[tuple[int, int]] = []
    write_sample(tmp_path / "weather.zarr", states=148, progress=lambda done, total: steps.append((done, total)))
    assert steps == sorted(set(steps))
    assert steps[-1] == (150, 150)
    assert 90 <= len(steps) <= 101


def test_arguments_that_make_no_sample_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at least one"):
        write_sample(tmp_path / "weather.zarr", states=0)
    with pytest.raises(ConfigError, match="local directory"):
        write_sample("s3://bucket/weather.zarr")
    assert os.listdir(tmp_path) == []
