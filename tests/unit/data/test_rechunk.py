"""A store written anew: the same values in another layout, whatever stops the work on the way."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import given
from hypothesis import strategies as st

from credit_ray.config.data import SourceConfig
from credit_ray.data import rechunk as module
from credit_ray.data import rechunk_layout
from credit_ray.data.arrays import ArrayInfo
from credit_ray.data.axes import Axes
from credit_ray.data.rechunk import rechunk, run_rechunk
from credit_ray.data.rechunk_layout import layout_of
from credit_ray.data.source import open_source
from credit_ray.data.store import open_store
from credit_ray.errors import ConfigError, DataError
from tests.unit.data.conftest import Make

Save = Callable[..., str]


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five times of `t` a file, one level a chunk."""
    monkeypatch.setattr(rechunk_layout, "SHARD_BYTES", 5 * 3 * 6 * 8 * 4)
    monkeypatch.setattr(rechunk_layout, "INNER_BYTES", 6 * 8 * 4)


def same(one: str, other: str, first: int = 0) -> None:
    config: dict[str, Any] = {"prognostic": ["t", "sp"], "static": ["orography"]}
    a, b = (open_source("s", SourceConfig(store=store, **config)) for store in (one, other))
    assert a.times is not None
    assert b.times is not None
    np.testing.assert_array_equal(b.times, a.times[first : first + len(b.times)])
    assert a.grid.to_json() == b.grid.to_json()
    for name in ("t", "sp", "orography"):
        np.testing.assert_array_equal(a.read([name], b.times)[name], b.read([name], b.times)[name])


@pytest.mark.parametrize("how", [{"zarr_format": 2}, {"zarr_format": 3}, "netcdf"], ids=["v2", "v3", "NetCDF"])
def test_the_values_are_the_same_and_the_layout_is_for_training(
    make: Make, save: Save, tmp_path: Path, how: Any
) -> None:
    dataset = make(13, dims=("longitude", "latitude", "level", "time"))
    if how == "netcdf":
        source = str(tmp_path / "store.nc")
        dataset.to_netcdf(source, engine="h5netcdf")
    else:
        source = save(dataset, **how)
    target = str(tmp_path / "fast.zarr")
    result = rechunk(source, target, workers=0)
    same(source, target)
    array = zarr.open_group(target, mode="r")["t"]
    assert isinstance(array, zarr.Array)
    assert array.metadata.dimension_names == ("time", "level", "latitude", "longitude")  # type: ignore[union-attr]
    assert (array.chunks, array.shards) == ((1, 1, 6, 8), (5, 3, 6, 8))
    assert result.times_as_fast is not None
    assert result.times_as_fast > 0
    assert not (Path(target) / ".rechunk").exists()
    assert set(xr.open_zarr(target).data_vars) == {"t", "sp", "tp", "orography"}


def test_work_that_was_stopped_goes_on_and_does_nothing_twice(
    make: Make, save: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = save(make(13)), str(tmp_path / "fast.zarr")
    copy = module._copy
    copied: list[tuple[str, tuple[int, int]]] = []

    def failing(job: Any, layout: Any, part: Any) -> None:
        if len(copied) == 6:
            raise KeyboardInterrupt
        copy(job, layout, part)
        copied.append((layout.name, part))

    monkeypatch.setattr(module, "_copy", failing)
    with pytest.raises(KeyboardInterrupt):
        rechunk(source, target, workers=0)
    with pytest.raises(DataError, match="was begun from another source, or another choice of it"):
        rechunk(source, target, variables=("t",), workers=0)
    first, copied[:] = list(copied), []
    seen: list[tuple[int, int]] = []

    def noted(job: Any, layout: Any, part: Any) -> None:
        copy(job, layout, part)
        copied.append((layout.name, part))

    monkeypatch.setattr(module, "_copy", noted)
    result = rechunk(source, target, workers=0, progress=lambda done, total: seen.append((done, total)))
    assert not set(first) & set(copied)
    assert len(first) + len(copied) == result.parts
    assert result.already == 6
    assert seen[-1] == (result.parts, result.parts)
    same(source, target)
    again = rechunk(source, target, workers=0)
    assert again.already == again.parts


def test_a_part_that_was_torn_while_it_was_written_is_written_again(make: Make, save: Save, tmp_path: Path) -> None:
    source, target = save(make(13)), tmp_path / "fast.zarr"
    rechunk(source, str(target), workers=0)
    shutil.copytree(target, tmp_path / "whole.zarr")
    document = json.loads((target / "zarr.json").read_text())
    digest = document["attributes"].pop("rechunked_from")
    (target / "zarr.json").write_text(json.dumps(document))
    shard = target / "t" / "c" / "1" / "0" / "0" / "0"
    shard.write_bytes(shard.read_bytes()[:20])
    (target / ".rechunk").mkdir()
    (target / ".rechunk" / "plan").write_text(digest)
    rechunk(source, str(target), workers=0)
    same(source, str(target))


def test_what_does_not_read_back_as_it_was_written_is_an_error(
    make: Make, save: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sums = iter(str(n) for n in range(1000))
    monkeypatch.setattr(module, "_checksum", lambda values: next(sums))
    with pytest.raises(DataError, match=r"fast\.zarr: '\w+', 0 … \d+ along \w+, does not read back as it was written"):
        rechunk(save(make(13)), str(tmp_path / "fast.zarr"), workers=0)


def test_some_times_and_variables_are_taken_alone(make: Make, save: Save, tmp_path: Path) -> None:
    source, target = save(make(13)), str(tmp_path / "some.zarr")
    rechunk(source, target, times=("2000-01-02", "2000-01-03"), variables=("sp",), workers=0)
    assert open_store(target).arrays()["sp"].shape == (8, 6, 8)
    config = {"prognostic": ["sp"]}
    new, old = (open_source("s", SourceConfig.model_validate({"store": s, **config})) for s in (target, source))
    assert new.times is not None
    np.testing.assert_array_equal(new.read(["sp"], new.times)["sp"], old.read(["sp"], new.times)["sp"])
    with pytest.raises(DataError, match="no unbroken times in 1990-01-01 … 1990-02-01; it has 2000"):
        rechunk(source, str(tmp_path / "none.zarr"), times=("1990-01-01", "1990-02-01"), workers=0)
    with pytest.raises(DataError, match="has no variable 'spp'. Did you mean 'sp'"):
        rechunk(source, str(tmp_path / "none.zarr"), variables=("spp",), workers=0)


def test_nothing_is_written_over_what_is_there(make: Make, save: Save, tmp_path: Path) -> None:
    source, other = save(make(13)), save(make(4), "other.zarr")
    with pytest.raises(DataError, match=r"other\.zarr exists already"):
        rechunk(source, other, workers=0)
    with pytest.raises(ConfigError, match="would be written over itself"):
        rechunk(source, source + "/", workers=0)
    with pytest.raises(DataError, match="nothing can be written by HTTP"):
        rechunk(source, "https://host/a.zarr", workers=0)
    with pytest.raises(ConfigError, match="'credit-cam' is a layout without a place"):
        run_rechunk("credit-cam", str(tmp_path / "a.zarr"))


def test_a_chunk_that_the_source_lacks_is_an_error_unless_it_means_its_fill_value(
    make: Make, save: Save, tmp_path: Path
) -> None:
    source = save(make(12), encoding={"sp": {"chunks": (2, 6, 8)}})
    (Path(source) / "sp" / "c" / "1" / "0" / "0").unlink()
    with pytest.raises(DataError, match="the chunk sp/c/1/0/0 of 'sp' is absent.*--absent-chunks fill"):
        rechunk(source, str(tmp_path / "a.zarr"), workers=0)
    rechunk(source, str(tmp_path / "b.zarr"), fill=True, workers=0)
    assert np.isnan(open_store(str(tmp_path / "b.zarr")).read("sp", (slice(2, 4), slice(None), slice(None)))).all()


def test_packed_values_keep_their_packing_and_their_mark_for_what_is_missing(make: Make, tmp_path: Path) -> None:
    dataset = make(8)
    dataset["sp"].values[2, 3, 4] = np.nan
    source, target = str(tmp_path / "packed.nc"), str(tmp_path / "fast.zarr")
    packing = {"dtype": "int16", "scale_factor": 1.0, "add_offset": 500.0, "_FillValue": -32767}
    dataset[["sp", "t"]].to_netcdf(source, engine="h5netcdf", encoding={"sp": packing, "t": {"_FillValue": -9e3}})
    rechunk(source, target, workers=0)
    old, new = (xr.open_dataset(source), xr.open_zarr(target))
    for name in ("sp", "t"):
        np.testing.assert_array_equal(old[name].values, new[name].values)
    assert new["sp"].encoding["dtype"] == np.int16
    config = {"prognostic": ["sp"], "missing": "mask"}
    found = open_source("s", SourceConfig.model_validate({"store": target, **config}))
    assert found.times is not None
    assert np.isnan(found.read(["sp"], found.times)["sp"]).sum() == 1


@pytest.mark.usefixtures("ray_cluster")
def test_ray_tasks_write_what_one_process_writes(make: Make, save: Save, tmp_path: Path) -> None:
    source = save(make(13))
    for name, workers in (("one.zarr", 0), ("many.zarr", 2)):
        rechunk(source, str(tmp_path / name), workers=workers)
    same(str(tmp_path / "one.zarr"), str(tmp_path / "many.zarr"))
    (Path(source) / "t" / "c" / "0" / "0" / "0" / "0").write_bytes(b"broken")
    with pytest.raises(DataError, match=r"store\.zarr: 't', time 0 … .* can't be read"):
        rechunk(source, str(tmp_path / "broken.zarr"), workers=2)


class _Store:
    """A store of one array."""

    url, format, remote = "made.zarr", "made", False

    def __init__(self, info: ArrayInfo) -> None:
        self.info = info

    def arrays(self) -> dict[str, ArrayInfo]:
        return {"a": self.info}


@given(
    dims=st.permutations(["time", "level", "latitude", "longitude"]).flatmap(
        lambda d: st.integers(0, 1).map(lambda n: d if n else [x for x in d if x != "level"])
    ),
    sizes=st.dictionaries(st.sampled_from(["time", "level", "latitude", "longitude"]), st.integers(1, 40)),
    itemsize=st.sampled_from(["f4", "f8", "i2"]),
)
def test_parts_cover_every_time_once_and_chunks_fit_into_shards(
    dims: list[str], sizes: dict[str, int], itemsize: str
) -> None:
    shape = tuple(sizes.get(dim, 7) for dim in dims)
    info = ArrayInfo(tuple(dims), shape, shape, {})
    count = shape[dims.index("time")]
    layout = layout_of("a", info, Axes(_Store(info)), np.dtype(itemsize), (0, count))  # type: ignore[arg-type]
    covered = [time for start, stop in layout.parts for time in range(start, stop)]
    assert covered == list(range(count))
    assert layout.dims == tuple(d for d in ("time", "level", "latitude", "longitude") if d in dims)
    assert layout.chunks[0] == 1
    assert layout.shards is not None
    assert all(s % c == 0 for s, c in zip(layout.shards, layout.chunks, strict=True))
    assert layout.shards[0] == 1 or math.prod(layout.shards) * np.dtype(itemsize).itemsize <= rechunk_layout.SHARD_BYTES
    start, stop = layout.parts[-1]
    assert layout.index(start, stop)[dims.index("time")] == slice(start, stop)
