"""The moist sample: what is made of the model's output, and that an interrupted one goes on. The model itself is played here."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

from credit_ray.config.data import SourceConfig
from credit_ray.data import speedy
from credit_ray.data.info import describe_store
from credit_ray.data.source import open_source
from credit_ray.data.speedy import FLUXES, STATES, fields_of, write_speedy_sample
from credit_ray.data.speedy_model import Planet, Speedy
from credit_ray.errors import ConfigError, DataError
from credit_ray.grid.latlon import LatLonGrid
from credit_ray.times import Step, format_time
from credit_ray.variables import lookup

GRID = LatLonGrid.gaussian(8)
SOUTH_TO_NORTH = GRID.latitude[::-1]
ON_LEVELS = {"u_wind", "v_wind", "temperature", "specific_humidity", "geopotential"}


class Play:
    """A model whose every value is the number of its step, plus latitude in thousandths; killed on some day."""

    version = "3.0.0"

    def __init__(self, truncation: int, *, dies_on: int | None = None) -> None:
        self.days, self.dies_on, self.calls = 0, dies_on, 0

    def planet(self) -> Planet:
        columns = np.broadcast_to(SOUTH_TO_NORTH, (16, 8))
        return Planet(
            latitude=SOUTH_TO_NORTH,
            longitude=GRID.longitude,
            sigma=np.array([0.1, 0.9]),
            interfaces=np.array([0.0, 0.2, 1.0]),
            orography=columns + 100.0,
            land=(columns > 0).astype(float),
        )

    def day(self) -> Mapping[str, NDArray[np.float32]]:
        if self.days == self.dies_on:
            raise KeyboardInterrupt
        self.calls += 1
        steps = (self.days * 48 + np.arange(1, 49)).astype(np.float32)
        plane = steps[:, None, None] + np.broadcast_to(SOUTH_TO_NORTH / 1000, (16, 8)).astype(np.float32)
        names = {source for source, _ in STATES.values()} | {name for parts in FLUXES.values() for name, _ in parts}
        self.days += 1
        return {name: np.repeat(plane[:, None], 2, 1) if name in ON_LEVELS else plane for name in names}

    def save(self, path: Path) -> None:
        np.savez(path, days=self.days)

    def restore(self, path: Path) -> None:
        self.days = int(np.load(path)["days"])


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speedy, "SPIN_UP_DAYS", 2)


def write(folder: Path, simulation: Callable[[int], Any] = Play, **how: Any) -> str:
    return str(write_speedy_sample(folder / "moist.zarr", states=12, simulation=simulation, **how).store)


def test_states_are_of_the_end_of_six_hours_and_fluxes_are_summed_over_them() -> None:
    fields = fields_of(Play(21).day(), flip=True)
    north = GRID.latitude[:, None] / 1000
    ends = np.array([12, 24, 36, 48])[:, None, None]
    assert_allclose(fields["u"][:, 1], np.broadcast_to(ends + north, (4, 8, 16)), rtol=1e-6)
    assert_allclose(fields["sp"], 1e5 * np.broadcast_to(ends + north, (4, 8, 16)), rtol=1e-6)
    means = np.array([6.5, 18.5, 30.5, 42.5])[:, None, None] + north
    assert_allclose(fields["tisr"], np.broadcast_to(21600 * means, (4, 8, 16)), rtol=1e-6)
    assert_allclose(fields["slhf"], -fields["tisr"], rtol=1e-6)  # upward in the model
    assert_allclose(fields["tp"], 2e-3 * fields["tisr"], rtol=1e-6)  # two kinds of rain, in grams
    assert_allclose(fields["e"], -1e-3 * fields["tisr"], rtol=1e-6)
    assert all(values.dtype == np.float32 for values in fields.values())


def test_everything_is_known_to_the_vocabulary() -> None:
    for name in (*STATES, *FLUXES):
        known = lookup(name)
        assert known is not None
        assert (known.kind == "accumulated") == (name in FLUXES)


def test_the_store_is_understood_without_a_word(tmp_path: Path) -> None:
    store = write(tmp_path)
    found = describe_store(store)
    assert found.problems == ()
    assert (found.times, found.first, found.step) == (12, "2000-01-03T06:00", "6h")
    assert {v.name for v in found.variables} == {*STATES, *FLUXES, "orography", "lsm"}
    assert {v.role for v in found.variables if v.name in FLUXES} == {"diagnostic"}
    config = SourceConfig(
        store=store, prognostic=["t", "sp"], diagnostic=["tp", "e"], forcing=["tisr"], static=["orography", "lsm"]
    )
    source = open_source("moist", config, Step.parse("6h"))
    assert [c.name for c in source.channels["prognostic"]] == ["t_s0.1", "t_s0.9", "sp"]
    assert source.grid == GRID
    assert source.times is not None
    assert format_time(source.times[-1]) == "2000-01-06T00:00"
    read = source.read(["t", "orography"], source.times[[0, 11]])
    assert_allclose(read["t"][:, 0, 0, 0], 12 * np.array([9, 20]) + GRID.latitude[0] / 1000, rtol=1e-6)
    assert_allclose(read["orography"], np.broadcast_to(GRID.latitude[:, None] + 100, (8, 16)), rtol=1e-6)
    data = xr.open_zarr(store)
    assert "nothing in it was observed" in data.attrs["source"]
    assert data["tp"].attrs["cell_methods"] == "time: sum"
    assert data["slhf"].attrs["positive"] == "down"


@pytest.mark.parametrize("dies_on", [1, 2, 4])
def test_an_interrupted_simulation_goes_on_and_ends_the_same(tmp_path: Path, dies_on: int) -> None:
    whole = xr.open_zarr(write(tmp_path / "whole")).load()
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path, lambda truncation: Play(truncation, dies_on=dies_on))
    assert not (tmp_path / "moist.zarr").exists()
    again = Play(21)
    resumed = xr.open_zarr(write(tmp_path, lambda truncation: again)).load()
    assert again.calls == 5 - dies_on
    xr.testing.assert_identical(resumed, whole)
    assert [entry.name for entry in tmp_path.iterdir() if entry.name.startswith(".")] == []


def test_another_recipe_begins_anew(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path, lambda truncation: Play(truncation, dies_on=3))
    fresh = Play(21)
    write_speedy_sample(tmp_path / "moist.zarr", states=8, simulation=lambda truncation: fresh)
    assert fresh.calls == 4


def test_a_complete_one_is_left_as_it_is_and_another_is_refused(tmp_path: Path) -> None:
    store = write(tmp_path)
    first = Path(store, "zarr.json").read_bytes()
    untouched = Play(21)
    write(tmp_path, lambda truncation: untouched)
    assert untouched.calls == 0
    assert Path(store, "zarr.json").read_bytes() == first
    with pytest.raises(ConfigError, match="holds another sample"):
        write_speedy_sample(store, states=8, simulation=Play)


def test_progress_is_told_by_the_day(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    write(tmp_path, progress=lambda done, total: told.append((done, total)))
    assert_array_equal(told, [(day, 5) for day in range(1, 6)])


def test_weather_that_blows_up_is_refused_by_name(tmp_path: Path) -> None:
    class Unstable(Play):
        def day(self) -> Mapping[str, NDArray[np.float32]]:
            raw = dict(super().day())
            raw["temperature"] = raw["temperature"] * np.float32(np.nan if self.days > 3 else 1)
            return raw

    with pytest.raises(DataError, match="blew up: 't' is not finite on day 1"):
        write(tmp_path, Unstable)


@pytest.mark.parametrize(
    ("how", "message"), [({"truncation": 30}, "21, 31, 42"), ({"states": 10}, "whole number of days")]
)
def test_what_can_not_be_made_is_refused(tmp_path: Path, how: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        write_speedy_sample(tmp_path / "x.zarr", simulation=Play, **how)


def test_a_missing_package_is_named_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jcm", None)
    with pytest.raises(ConfigError, match=r"pip install 'credit-ray\[speedy\]'"):
        Speedy(21)
