"""The forecast store: what is written is what is read, from the first moment on, and never something else's."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from credit_ray.errors import DataError
from credit_ray.forecasting import chunks as chunks_module
from credit_ray.forecasting import writer as writer_module
from credit_ray.forecasting.layout import ForecastLayout
from credit_ray.forecasting.writer import ForecastStore, create_store
from credit_ray.grid.latlon import LatLonGrid
from credit_ray.state import Channel, Channels
from credit_ray.times import Step

MakeLayout = Callable[..., ForecastLayout]
LINEAGE = {"model_digest": "m1", "data_digest": "d1", "model_name": "test", "model_version": None}


def some_fields(layout: ForecastLayout, seed: int = 0) -> NDArray[np.float32]:
    """[init, lead, channel, *grid]."""
    shape = (*layout.valid_times.shape, len(layout.channels), *layout.grid.shape)
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def fill(store: ForecastStore, fields: NDArray[np.float32], inits: list[int], leads: int | None = None) -> None:
    with store.writer(inits) as writer:
        for lead in range(leads or fields.shape[1]):
            writer.write(fields[inits, lead])


def read(url: str, layout: ForecastLayout) -> NDArray[np.float32]:
    dataset = xr.open_zarr(url)
    out = np.empty((*layout.valid_times.shape, len(layout.channels), *layout.grid.shape), np.float32)
    for variable in layout.variables:
        values = dataset[variable.name].values
        out[:, :, list(variable.positions)] = values if variable.level_dim else values[:, :, None]
    return out


@pytest.mark.parametrize("scheme", ["path", "memory"])
def test_what_is_written_is_read_by_plain_xarray(make_layout: MakeLayout, tmp_path: Path, scheme: str) -> None:
    layout = make_layout()
    url = str(tmp_path / "f.zarr") if scheme == "path" else f"memory://{tmp_path.name}/f.zarr"
    store, fields = create_store(url, layout, LINEAGE), some_fields(layout)
    fill(store, fields, [0, 1])
    fill(store, fields, [2, 3])
    store.finish()
    np.testing.assert_array_equal(read(url, layout), fields)
    dataset = xr.open_zarr(url)
    assert dataset.attrs["complete"] == 1
    assert dataset.attrs["Conventions"] == "CF-1.11"
    assert dataset["lead_time"].values.tolist() == [h * 3600 * 10**9 for h in (6, 12, 18, 24, 30)]
    assert (dataset["valid_time"] == dataset["init_time"] + dataset["lead_time"]).all()
    assert dataset["z"].dims == ("init_time", "lead_time", "level", "latitude", "longitude")
    assert (dataset["z"].attrs["standard_name"], dataset["z"].attrs["units"]) == ("geopotential", "m2 s-2")
    assert dataset["tp"].attrs["cell_methods"] == "time: sum"


@pytest.mark.parametrize("calendar", ["noleap", "360_day", "standard"])
def test_times_of_any_calendar_come_back(make_layout: MakeLayout, tmp_path: Path, calendar: str) -> None:
    layout = make_layout(calendar=calendar, step=Step(months=1))
    create_store(str(tmp_path / "f.zarr"), layout, LINEAGE)
    dataset = xr.open_zarr(tmp_path / "f.zarr")
    assert dataset["lead_time"].values.tolist() == [1, 2, 3, 4, 5]
    assert dataset["lead_time"].attrs["units"] == "months"
    first = dataset["valid_time"].values[0, 0]
    assert str(first)[:10] == "1970-02-01"


def test_a_store_can_be_read_while_it_grows(make_layout: MakeLayout, tmp_path: Path) -> None:
    layout = make_layout()
    url, fields = str(tmp_path / "f.zarr"), some_fields(layout)
    store = create_store(url, layout, LINEAGE, leads_per_chunk=1)
    told: list[int] = []
    with store.writer([0], told.append) as writer:
        for lead in range(3):
            writer.write(fields[[0], lead])
            writer._pending[-1].result()  # written now
            found = read(url, layout)
            np.testing.assert_array_equal(found[0, : lead + 1], fields[0, : lead + 1])
            assert np.isnan(found[0, lead + 1 :]).all()
            assert xr.open_zarr(url)["steps_written"].values.tolist() == [lead + 1, 0, 0, 0]
    assert told == [1, 2, 3]
    assert xr.open_zarr(url).attrs["complete"] == 0
    with pytest.raises(DataError, match="lacks 4 of its 4"):
        store.finish()


def test_a_store_has_its_whole_shape_and_consolidated_metadata_from_the_start(
    make_layout: MakeLayout, tmp_path: Path
) -> None:
    layout = make_layout()
    create_store(str(tmp_path / "f.zarr"), layout, LINEAGE)
    group = zarr.open_group(tmp_path / "f.zarr", mode="r")
    assert group.metadata.consolidated_metadata is not None
    assert zarr.open_array(tmp_path / "f.zarr" / "z", mode="r").shape == (4, 5, 2, *layout.grid.shape)
    assert not list((tmp_path / "f.zarr" / "z").glob("c/**/*"))  # what is not written takes no place


def test_going_on_keeps_what_is_whole_and_the_rest_comes_out_the_same(make_layout: MakeLayout, tmp_path: Path) -> None:
    layout = make_layout()
    url, fields = str(tmp_path / "f.zarr"), some_fields(layout)
    first = create_store(url, layout, LINEAGE, leads_per_chunk=2)
    fill(first, fields, [0, 1])
    fill(first, fields, [2, 3], leads=2)
    again = create_store(url, layout, LINEAGE)
    assert again.unfinished() == [2, 3]
    assert again.leads_per_chunk == 2
    fill(again, fields, again.unfinished())
    again.finish()
    np.testing.assert_array_equal(read(url, layout), fields)


def test_a_layout_that_was_interrupted_is_laid_out_again(
    make_layout: MakeLayout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout, url = make_layout(), str(tmp_path / "f.zarr")

    def killed() -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(writer_module, "compressor", killed)
    with pytest.raises(KeyboardInterrupt):
        create_store(url, layout, LINEAGE)
    monkeypatch.undo()
    store, fields = create_store(url, layout, LINEAGE), some_fields(layout)
    fill(store, fields, [0, 1, 2, 3])
    store.finish()
    np.testing.assert_array_equal(read(url, layout), fields)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"model_digest": "m2"}, "model"),
        ({"data_digest": "d2"}, "data"),
        ({"leads": (1, 2)}, "lead times"),
        ({"init_times": np.array([0])}, "initial times"),
    ],
)
def test_forecasts_of_another_lineage_are_never_overwritten(
    make_layout: MakeLayout, tmp_path: Path, changed: dict[str, Any], said: str
) -> None:
    url, layout = str(tmp_path / "f.zarr"), make_layout()
    fill(create_store(url, layout, LINEAGE), some_fields(layout), [0, 1, 2, 3])
    of_layout = {key: value for key, value in changed.items() if key not in LINEAGE}
    lineage = {**LINEAGE, **{key: value for key, value in changed.items() if key in LINEAGE}}
    with pytest.raises(DataError, match=f"differ in {said}"):
        create_store(url, make_layout(**of_layout), lineage)
    np.testing.assert_array_equal(read(url, layout), some_fields(layout))


def test_a_folder_or_store_of_something_else_is_left_alone(make_layout: MakeLayout, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match="no forecast store"):
        create_store(str(tmp_path), make_layout(), LINEAGE)
    xr.Dataset({"t": ("x", [1.0])}).to_zarr(tmp_path / "other.zarr", consolidated=False)
    with pytest.raises(DataError, match="no forecast store of ours"):
        create_store(str(tmp_path / "other.zarr"), make_layout(), LINEAGE)
    assert xr.open_zarr(tmp_path / "other.zarr", consolidated=False)["t"].values.tolist() == [1.0]


def test_masked_places_are_missing(make_layout: MakeLayout, tmp_path: Path) -> None:
    mask = np.ones((4, *make_layout().grid.shape), bool)
    mask[2, :2] = False
    layout = make_layout(mask=mask)
    store = create_store(str(tmp_path / "f.zarr"), layout, LINEAGE)
    fill(store, some_fields(layout), [0, 1, 2, 3])
    found = read(str(tmp_path / "f.zarr"), layout)
    np.testing.assert_array_equal(np.isnan(found), np.broadcast_to(~mask, found.shape))


def test_maps_that_help_to_read_the_fields_are_coordinates(make_layout: MakeLayout, tmp_path: Path) -> None:
    land = np.full(make_layout().grid.shape, 0.25, np.float32)
    create_store(str(tmp_path / "f.zarr"), make_layout(maps={"lsm": land}), LINEAGE)
    dataset = xr.open_zarr(tmp_path / "f.zarr")
    assert set(dataset.data_vars) == {"z", "sst", "tp"}
    np.testing.assert_array_equal(dataset["lsm"].values, land)
    assert dataset["lsm"].attrs["standard_name"] == "land_binary_mask"


def test_a_failing_disk_is_reported_by_the_next_write_or_the_end(
    make_layout: MakeLayout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = make_layout()
    store, fields = create_store(str(tmp_path / "f.zarr"), layout, LINEAGE, leads_per_chunk=1), some_fields(layout)

    def full(*_: Any) -> None:
        raise OSError("no space left on device")

    writer = store.writer([0])
    monkeypatch.setattr(writer, "_write_block", full)
    writer.write(fields[[0], 0])
    with pytest.raises(OSError, match="no space left"):
        writer.close()
    assert store.unfinished() == [0, 1, 2, 3]


def test_fields_of_another_shape_or_one_lead_time_too_many_are_refused(make_layout: MakeLayout, tmp_path: Path) -> None:
    layout = make_layout(leads=(1,))
    store, fields = create_store(str(tmp_path / "f.zarr"), layout, LINEAGE), some_fields(layout)
    with store.writer([0, 1]) as writer:
        with pytest.raises(ValueError, match="shape"):
            writer.write(fields[[0], 0])
        writer.write(fields[[0, 1], 0])
        with pytest.raises(ValueError, match="one more"):
            writer.write(fields[[0, 1], 0])


@given(
    levels=st.integers(1, 40),
    rows=st.integers(2, 800),
    leads=st.integers(1, 60),
)
def test_chunks_are_small_belong_to_one_initial_time_and_cover_whole_fields(levels: int, rows: int, leads: int) -> None:
    channels = Channels([Channel(variable="t", units="K", level=float(k), vertical="model") for k in range(levels)])
    grid = LatLonGrid(np.linspace(80, -80, rows), np.arange(2 * rows) * (360.0 / (2 * rows)))
    layout = ForecastLayout(
        channels=channels,
        grid=grid,
        step=Step(seconds=3600),
        calendar="standard",
        init_times=np.arange(3, dtype=np.int64),
        leads=tuple(range(1, leads + 1)),
    )
    block = chunks_module.default_leads_per_chunk(layout)
    chunks, shards = chunks_module.chunks_and_shards(layout, levels, block)
    assert 1 <= block <= leads
    assert chunks[0] == 1
    assert chunks[-2:] == grid.shape
    assert 4 * math.prod(chunks) <= max(chunks_module.CHUNK_BYTES, 4 * math.prod(grid.shape))
    if shards:
        assert shards[1] == chunks[1]  # no shard spans more lead times than are written at once
        assert shards[2] % chunks[2] == 0
        assert shards[2] >= levels


def test_shards_hold_all_levels_of_a_lead_time(
    make_layout: MakeLayout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = make_layout()
    monkeypatch.setattr(chunks_module, "CHUNK_BYTES", 4 * int(np.prod(layout.grid.shape)))
    url, fields = str(tmp_path / "f.zarr"), some_fields(layout)
    fill(create_store(url, layout, LINEAGE), fields, [0, 1, 2, 3])
    np.testing.assert_array_equal(read(url, layout), fields)
    array = zarr.open_array(f"{url}/z", mode="r")
    assert (array.chunks, array.shards) == ((1, 1, 1, *layout.grid.shape), (1, 1, 2, *layout.grid.shape))
