"""Real files, as they come: what is known of them must come out, and what they lack must be said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray

from credit_ray.config.data import DataConfig, SourceConfig
from credit_ray.config.experiment import Experiment
from credit_ray.data.dataset import Dataset, open_dataset
from credit_ray.data.info import describe_store
from credit_ray.data.ingest import WindowLoader, local_slabs
from credit_ray.data.plan_report import training_plan
from credit_ray.data.source import open_source
from credit_ray.data.statistics import compute_statistics
from credit_ray.errors import DataError
from credit_ray.state import Channels
from credit_ray.times import format_time

ERA5, SST, SPEEDY = "era5_djf2025_6h_2p5deg.zarr", "sst_cobe2_monthly_1950_2009_2deg.zarr", "speedy_t21l8_6h.zarr"
LEVELS = [0.095, 0.2, 0.34, 0.51, 0.685, 0.835, 0.95]


def data(
    timestep: str, splits: dict[str, tuple[str, str]], history: int = 1, climatology: str = "mean", **sources: Any
) -> DataConfig:
    return DataConfig.model_validate(
        {"timestep": timestep, "history": history, "climatology": climatology, "sources": sources, "splits": splits}
    )


@pytest.fixture(scope="module")
def era5(real_data: Path) -> Dataset:
    return open_dataset(
        data(
            "6h",
            {"train": ("2025-12-01", "2026-02-10T18"), "test": ("2026-02-11", "2026-02-28")},
            history=2,
            reanalysis={"store": str(real_data / ERA5), "prognostic": ["msl"]},
            surface={"store": str(real_data / "static_2p5deg.nc"), "static": ["orography", "lsm"]},
        )
    )


@pytest.fixture(scope="module")
def speedy_config(real_data: Path) -> DataConfig:
    atmosphere = {
        "store": str(real_data / SPEEDY),
        "levels": LEVELS,
        "prognostic": ["u", "v", "t", "q", "z", "sp"],
        "forcing": ["rsdt"],
        "static": ["orography", "lsm"],
        "rename": {"rsdt": "toa_incident_solar_radiation"},
    }
    return data("6h", {"train": ("2000-03-31", "2001-05-30")}, history=2, atmosphere=atmosphere)


@pytest.fixture(scope="module")
def speedy(speedy_config: DataConfig) -> Dataset:
    return open_dataset(speedy_config)


def rmse(dataset: Dataset, difference: NDArray[np.float64]) -> float:
    """Area-weighted, of [time, *grid]; where nothing is missing."""
    weights = np.broadcast_to(dataset.spec.grid.area_weights(), difference.shape)
    there = np.isfinite(difference)
    return float(np.sqrt((difference[there] ** 2 * weights[there]).sum() / weights[there].sum()))


def of(dataset: Dataset, times: NDArray[np.int64], name: str) -> NDArray[np.float64]:
    channel = dataset.spec.outputs[dataset.spec.outputs.index(name)]
    return dataset.fields(times, Channels([channel]))[:, 0].astype(np.float64)


def persistence(dataset: Dataset, name: str, period: tuple[str, str], steps: int) -> float:
    inits = dataset.inits(period, steps)
    later = dataset.spec.step.add(inits, steps, dataset.spec.calendar)
    return rmse(dataset, of(dataset, later, name) - of(dataset, inits, name))


@pytest.mark.parametrize(("steps", "known"), [(1, 267), (2, 401), (4, 624), (8, 851), (12, 944), (20, 954)])
def test_persistence_of_era5_pressure_errs_as_is_known(era5: Dataset, steps: int, known: float) -> None:
    assert persistence(era5, "msl", ("2026-02-11", "2026-02-28"), steps) == pytest.approx(known, rel=0.02)


def test_the_climatology_of_era5_pressure_errs_as_is_known(era5: Dataset) -> None:
    found = compute_statistics(era5, slab_bytes=10_000_000, reader="local")
    start, stop = era5.span(("2026-02-11", "2026-02-28"))
    assert (start, stop) == (288, 360)
    truth = of(era5, era5.times[start:stop], "msl")
    assert rmse(era5, truth - found.climatology[0, 0]) == pytest.approx(785, rel=0.01)
    assert 99_000 < found.mean["msl"] < 102_000
    assert found.std["lsm"] > 0


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("z_s0.51", {1: 100, 2: 196, 4: 360, 12: 607, 20: 623}),
        ("t_s0.835", {1: 0.50, 4: 1.78}),
        ("u_s0.51", {1: 0.85, 4: 3.06}),
        ("sp", {1: 102, 4: 357}),
    ],
)
def test_persistence_of_the_simulation_errs_as_is_known(speedy: Dataset, name: str, known: dict[int, float]) -> None:
    for steps, value in known.items():
        assert persistence(speedy, name, ("2001-03-31", "2001-05-30"), steps) == pytest.approx(value, rel=0.02)


def test_what_is_read_is_what_the_store_has(speedy: Dataset, real_data: Path) -> None:
    raw = xr.open_zarr(real_data / SPEEDY).isel(time=[3, 500, 969])
    times = speedy.times[[3, 500, 969]]
    np.testing.assert_array_equal(speedy.times, raw_times(real_data))
    np.testing.assert_array_equal(
        speedy.fields(times, speedy.spec.prognostic)[:, :7], raw["u_component_of_wind"].values[:, 1:]
    )
    np.testing.assert_array_equal(
        speedy.fields(times, speedy.spec.forcing)[:, 0], raw["toa_incident_solar_radiation"].values
    )


def raw_times(real_data: Path) -> NDArray[np.int64]:
    decoded = xr.open_zarr(real_data / SPEEDY)["time"].values
    return decoded.astype("datetime64[s]").astype(np.int64)


def test_the_gap_in_the_simulation_is_never_crossed(speedy_config: DataConfig, speedy: Dataset, tmp_path: Path) -> None:
    gap = int(np.argmax(np.diff(speedy.times)))
    assert format_time(speedy.times[gap]) == "2000-09-29T12:00"
    experiment = Experiment.model_validate(
        {
            "name": "gap",
            "output": str(tmp_path),
            "data": speedy_config.model_dump() | {"ingest": {"slab_bytes": 20_000_000}},
            "training": {"batch_size": 8, "curriculum": [{"epoch": 0, "steps": 1}, {"epoch": 1, "steps": 4}]},
        }
    )
    plan = training_plan(experiment, speedy)
    assert plan.segments.start.tolist() == [0, 730]
    for epoch, windows in ((0, 730 - 2 + 240 - 2), (1, 730 - 5 + 240 - 5)):
        starts = np.concatenate([plan.windows(plan.first_step(epoch) + step) for step in range(plan.steps(epoch))])
        assert len(set(starts.tolist())) == len(starts) == windows
        last = starts + plan.length(epoch) - 1
        assert not ((starts <= gap) & (last > gap)).any()
    inits = speedy.inits(("2000-03-31", "2001-05-30"), 4)
    assert not ((inits > speedy.times[gap] - 4 * 21600) & (inits <= speedy.times[gap + 1])).any()
    loader = WindowLoader(
        speedy,
        plan,
        local_slabs(speedy, plan, rank=0, of=1, from_step=0, to_epoch=1),
        rank=0,
        of=1,
        from_step=0,
        to_step=4,
        prefetch=1,
    )
    for window in loader:
        assert (np.diff(window.times, axis=1) == 21600).all()


def test_the_ocean_goes_by_months_and_has_land(real_data: Path) -> None:
    sea = {"store": str(real_data / SST), "prognostic": ["sst"], "missing": "mask"}
    splits = {"train": ("1950-01", "1999-12"), "test": ("2000-01", "2009-12")}
    ocean = open_dataset(data("1MS", splits, climatology="monthly", ocean=sea))
    assert len(ocean.times) == 720
    assert (ocean.spec.step.between(ocean.times[:-1], ocean.times[1:], "standard") == 1).all()
    assert len(ocean.inits(splits["test"], 6)) == 114
    found = compute_statistics(ocean, slab_bytes=20_000_000, reader="local")
    assert 270 < found.mean["sst"] < 300  # kelvin, from degrees Celsius
    truth = of(ocean, ocean.times[600:], "sst")
    month = np.arange(600, 720) % 12
    assert rmse(ocean, truth - found.climatology[month, 0]) == pytest.approx(0.583, rel=0.02)
    anomaly = truth - found.climatology[month, 0]
    for months, known in ((1, 0.316), (3, 0.529), (6, 0.618)):
        assert rmse(ocean, anomaly[months:] - anomaly[:-months]) == pytest.approx(known, rel=0.02)
    mask = found.mask_of(ocean.spec.prognostic)[0]
    with pytest.raises(DataError, match=r"'sst' has \d+ missing values at .*'missing: mask' in data\.sources\.ocean"):
        open_dataset(data("1MS", splits, ocean=sea | {"missing": "error"})).fields(
            ocean.times[:1], ocean.spec.prognostic
        )
    stored = xr.open_zarr(real_data / SST)["ocean_mask"].values
    assert (mask == (stored > 0)).mean() > 0.99


def test_one_analysis_on_pressure_levels_is_read_once_it_is_said_what_they_are(real_data: Path) -> None:
    file = str(real_data / "era5_3d_tl31_1959010200.nc")
    with pytest.raises(DataError, match=r"'level' do not say what its levels \(1 … 1000\) are"):
        open_source("analysis", SourceConfig(store=file, static=["t"]))
    source = open_source(
        "analysis",
        SourceConfig(store=file, static=["t", "sst"], vertical="pressure", levels=[850, 500]),
    )
    assert source.channels["static"].names == ("t_850", "t_500", "sst")
    assert source.grid.kind == "gaussian"
    fields = source.read(["t", "sst"], np.zeros(1, np.int64))
    assert fields["t"].shape == (2, 32, 64)
    assert 270 < fields["t"][0].mean() < 285
    assert 240 < fields["t"][1].mean() < 265
    assert 270 < fields["sst"].min() < fields["sst"].max() < 310


def test_files_that_hold_no_fields_say_so(real_data: Path) -> None:
    for name in ("hybrid_levels.nc", "tsi_cmip6_annual.nc"):
        assert "no variable with latitude and longitude" in describe_store(str(real_data / name)).problems[0]
        with pytest.raises(DataError, match="has no variable 't'"):
            open_source("x", SourceConfig(store=str(real_data / name), prognostic=["t"]))


def test_units_that_a_file_lacks_are_asked_for(real_data: Path) -> None:
    file = str(real_data / "static_T21_gaussian.nc")
    with pytest.raises(DataError, match=r"'orography' has no units; expected m\. Say 'units: \{orography: …\}'"):
        open_source("static", SourceConfig(store=file, static=["orography"]))
    source = open_source("static", SourceConfig(store=file, static=["orography", "lsm"], units={"orography": "m"}))
    assert source.read(["lsm"], np.zeros(1, np.int64))["lsm"].max() == pytest.approx(1.0)


def test_grids_that_differ_are_refused(real_data: Path) -> None:
    sources: dict[str, Any] = {
        "reanalysis": {"store": str(real_data / ERA5), "prognostic": ["msl"]},
        "surface": {"store": str(real_data / "static_1deg.nc"), "static": ["orography"]},
    }
    with pytest.raises(DataError, match=r"surface is on a 181×360 .*1°, data\.sources\.reanalysis on a 73×144"):
        open_dataset(data("6h", {"train": ("2025-12-01", "2026-01-31")}, **sources))


def test_a_store_is_told_as_it_is(real_data: Path) -> None:
    found = describe_store(str(real_data / SPEEDY))
    assert (found.times, found.step, found.format) == (970, "6h", "Zarr v3")
    assert found.gaps == (("2000-09-29T12:00", "2001-03-31T06:00"),)
    assert found.levels["level"].startswith("8 of sigma: 0.025, 0.095")
    assert describe_store(str(real_data / SST)).step == "1MS"
