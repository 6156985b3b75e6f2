"""Stores that are not what they should be: each a clear error, and never a number that nobody wrote."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
import zarr.codecs
from hypothesis import given, settings
from hypothesis import strategies as st
from numcodecs import Blosc  # type: ignore[import-untyped]

from credit_ray.config.data import SourceConfig
from credit_ray.data.arrays import by_slices
from credit_ray.data.source import StoreSource, open_source
from credit_ray.data.store import open_store
from credit_ray.errors import DataError
from tests.unit.data.conftest import Make

Save = Callable[..., str]

BY_TWO: dict[str, dict[str, Any]] = {"t": {"chunks": (2, 3, 6, 8)}, "sp": {"chunks": (2, 6, 8)}}


def opened(store: str, **config: Any) -> StoreSource:
    return open_source("weather", SourceConfig(store=store, **({"prognostic": ["t", "sp"]} | config)))


def chunk_file(store: str, array: str, number: int) -> Path:
    """The file of the chunk with that number along time."""
    node = zarr.open_group(store, mode="r")[array]
    assert isinstance(node, zarr.Array)
    return Path(store) / array / node.metadata.encode_chunk_key((number, *[0] * (node.ndim - 1)))


def each(**how: Any) -> dict[str, dict[str, Any]]:
    return {name: chunks | how for name, chunks in BY_TWO.items()}


FORMS: dict[str, dict[str, Any]] = {
    "v2": {"zarr_format": 2, "encoding": BY_TWO},
    "v2, big-endian": {"zarr_format": 2, "encoding": each(dtype=">f4")},
    "v2, Blosc": {"zarr_format": 2, "encoding": each(compressors=[Blosc(cname="lz4")])},
    "v3": {"encoding": BY_TWO},
    "v3, Blosc": {"encoding": each(compressors=[zarr.codecs.BloscCodec(cname="zstd")])},
    "v3, shards": {
        "encoding": {
            "t": {"chunks": (1, 3, 6, 8), "shards": (2, 3, 6, 8)},
            "sp": {"chunks": (1, 6, 8), "shards": (2, 6, 8)},
        }
    },
    "v3, not compressed": {"encoding": each(compressors=None)},
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("left", [0.0, 0.5, 0.99])
@pytest.mark.parametrize("protocol", ["", "file://"])  # each has a decoder of its own
def test_a_truncated_chunk_is_an_error_that_names_store_array_and_times(
    make: Make, save: Save, form: str, left: float, protocol: str
) -> None:
    store = save(make(), **FORMS[form])
    file = chunk_file(store, "t", 2)
    content = file.read_bytes()
    file.write_bytes(content[: int(left * len(content))])
    source = opened(protocol + store)
    assert source.times is not None
    at = "2000-01-02T00:00" if "shards" in form else "2000-01-02T00:00, 2000-01-02T06:00"
    with pytest.raises(DataError, match=rf"store\.zarr: 't' at {at} can't be read") as caught:
        source.read(["sp", "t"], source.times)
    assert caught.value.__cause__ is not None
    assert np.isfinite(source.read(["t"], source.times[6:])["t"]).all()  # what is whole is read


@pytest.mark.parametrize("form", ["v2", "v3", "v3, shards"])
def test_a_chunk_without_a_file_is_an_error_not_a_fill_value(make: Make, save: Save, form: str) -> None:
    store = save(make(), **FORMS[form])
    for array in ("t", "sp"):
        node = zarr.open_group(store, mode="r+")[array]
        metadata = Path(store) / array / ("zarr.json" if node.metadata.zarr_format == 3 else ".zarray")
        metadata.write_text(metadata.read_text().replace("NaN", "0.0"))
        if node.metadata.zarr_format == 2:
            shutil.rmtree(Path(store) / ".zmetadata", ignore_errors=True)
            (Path(store) / ".zmetadata").unlink(missing_ok=True)
    if form != "v2":  # xarray's consolidated copy
        path = Path(store) / "zarr.json"
        path.write_text(path.read_text().replace('"fill_value": "NaN"', '"fill_value": 0.0'))
    file = chunk_file(store, "t", 1)
    file.unlink()
    source = opened(store)
    assert source.times is not None
    with pytest.raises(
        DataError,
        match=rf"the chunk t/{file.relative_to(Path(store) / 't')} of 't' at .* is absent.* 'absent_chunks: fill'",
    ):
        source.read(["t"], source.times[2:5])
    assert (source.read(["t"], source.times[4:8])["t"] != 0).any()
    filled = opened(store, absent_chunks="fill")
    assert (filled.read(["t"], source.times[2:4])["t"] == 0).all()


def test_a_chunk_of_nothing_but_the_fill_value_is_no_error_where_its_file_is_there(make: Make, save: Save) -> None:
    dataset = make()
    dataset["sp"].values[2:4] = 0.0
    store = save(dataset, encoding=BY_TWO)
    source = opened(store)
    assert source.times is not None
    assert (source.read(["sp"], source.times)["sp"][2:4] == 0).all()


def test_an_absent_chunk_that_the_config_allows_is_still_missing_where_its_fill_value_is_nan(
    make: Make, save: Save
) -> None:
    store = save(make(), encoding=BY_TWO)
    chunk_file(store, "sp", 1).unlink()
    source = opened(store)
    assert source.times is not None
    with pytest.raises(DataError, match="the chunk sp/c/1/0/0 of 'sp' at .* is absent"):
        source.read(["sp"], source.times)
    with pytest.raises(DataError, match=r"'sp' has 96 missing values at 2000-01-01T12:00, 2000-01-01T18:00"):
        opened(store, absent_chunks="fill").read(["sp"], source.times)
    with pytest.raises(DataError, match=r"'sp' is missing everywhere at 2000-01-01T12:00, 2000-01-01T18:00"):
        opened(store, absent_chunks="fill", missing="mask").read(["sp"], source.times)


def test_a_store_that_is_not_there_is_answered_with_its_neighbour(make: Make, save: Save, tmp_path: Path) -> None:
    save(make(2), "era5.zarr")
    with pytest.raises(DataError, match=r"There is no .*era.zarr\. Did you mean 'era5\.zarr'"):
        open_store(str(tmp_path / "era.zarr"))
    with pytest.raises(DataError, match=r"Nor is there a folder .*nowhere"):
        open_store(str(tmp_path / "nowhere" / "era5.zarr"))
    with pytest.raises(DataError, match=r"There is no .*era5\.nc"):
        open_store(str(tmp_path / "era5.nc"))
    with pytest.raises(DataError, match=r"No file matches .*\*\.nc"):
        open_store(str(tmp_path / "*.nc"))


def test_a_folder_that_is_no_store_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty.zarr").mkdir()
    with pytest.raises(DataError, match=r"empty\.zarr can't be opened as a Zarr store"):
        open_store(str(tmp_path / "empty.zarr"))


def test_a_store_of_groups_says_which_it_has(make: Make, tmp_path: Path) -> None:
    for group in ("surface", "levels"):
        make(2).to_zarr(tmp_path / "tree.zarr", group=group, zarr_format=3, consolidated=False, mode="a")
    with pytest.raises(DataError, match="without arrays. It has the groups levels, surface: add the one"):
        open_store(str(tmp_path / "tree.zarr"))
    assert "t" in open_store(str(tmp_path / "tree.zarr" / "levels")).arrays()


def test_metadata_that_are_no_json_are_an_error(make: Make, save: Save) -> None:
    store = save(make(2), consolidated=False)
    (Path(store) / "t" / "zarr.json").write_text('{"zarr_format": 3, "node_type": "arr')
    with pytest.raises(DataError, match=r"store\.zarr"):
        opened(store)


@pytest.mark.parametrize("content", [b"", b"no NetCDF", b"\x89HDF\r\n\x1a\n" + bytes(100)])
def test_a_broken_netcdf_is_an_error_that_names_the_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.nc"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"broken\.nc can't be read as NetCDF"):
        open_store(str(path))


def test_a_netcdf_that_breaks_off_is_an_error_that_names_the_file(make: Make, tmp_path: Path) -> None:
    path = tmp_path / "cut.nc"
    make(40).to_netcdf(path, engine="h5netcdf", encoding={"t": {"chunksizes": (2, 3, 6, 8), "zlib": True}})
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    def read_all() -> None:
        source = opened(str(path))
        assert source.times is not None
        source.read(["t"], source.times)

    with pytest.raises(DataError, match=r"cut\.nc"):
        read_all()


def test_a_file_is_netcdf_whatever_its_name(make: Make, tmp_path: Path) -> None:
    make(3).to_netcdf(tmp_path / "analysis.h5", engine="h5netcdf")
    assert open_store(str(tmp_path / "analysis.h5")).arrays()["t"].shape == (3, 3, 6, 8)


def test_a_store_behind_a_url_is_read_the_same(make: Make, save: Save) -> None:
    store = save(make(), encoding=BY_TWO)
    local, remote = opened(store), opened("file://" + store)
    assert local.times is not None
    for name, fields in local.read(["t", "sp"], local.times).items():
        np.testing.assert_array_equal(remote.read([name], local.times)[name], fields)
    chunk_file(store, "t", 1).write_bytes(b"")
    with pytest.raises(DataError, match=r"'t' at 2000-01-01T12:00, 2000-01-01T18:00 can't be read .*truncated"):
        remote.read(["t"], local.times)


def test_a_zipped_store_is_read_the_same(make: Make, save: Save, tmp_path: Path) -> None:
    store = save(make(), encoding=BY_TWO)
    archive = shutil.make_archive(str(tmp_path / "zipped.zarr"), "zip", store)
    plain, zipped = opened(store), opened(archive)
    assert plain.times is not None
    np.testing.assert_array_equal(zipped.read(["t"], plain.times)["t"], plain.read(["t"], plain.times)["t"])


def test_a_store_is_opened_anew_with_each_source(make: Make, save: Save) -> None:
    before = opened(save(make(4)))
    after = opened(save(make(8)))
    assert before.times is not None
    assert after.times is not None
    assert (len(before.times), len(after.times)) == (4, 8)
    assert after.read(["t"], after.times)["t"].shape[0] == 8


def test_the_fingerprint_changes_when_a_store_is_written_to_and_not_when_it_is_read(
    make: Make, save: Save, tmp_path: Path
) -> None:
    store = save(make(), encoding=BY_TWO)
    fingerprint = open_store(store).fingerprint()
    source = opened(store)
    assert source.times is not None
    source.read(["t"], source.times)
    assert open_store(store).fingerprint() == fingerprint
    file = chunk_file(store, "t", 1)
    status = file.stat()
    file.write_bytes(file.read_bytes())
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert open_store(store).fingerprint() != fingerprint
    path = tmp_path / "a.nc"
    make(2).to_netcdf(path)
    first = open_store(str(path)).fingerprint()
    path.touch()
    assert open_store(str(path)).fingerprint() != first


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_positions_are_read_by_slices_and_no_chunk_twice(data: st.DataObject) -> None:
    chunks = data.draw(st.tuples(st.integers(1, 7), st.integers(1, 4)))
    values = np.arange(240).reshape(20, 12)
    rows = data.draw(st.lists(st.integers(0, 19), min_size=1, max_size=12))
    columns = data.draw(st.lists(st.integers(0, 11), min_size=1, max_size=5) | st.just(slice(2, 9)))
    decoded: list[tuple[int, int]] = []

    def read(slices: tuple[slice, ...]) -> Any:
        assert all(s.step in (None, 1) for s in slices)
        touched = [range(s.start // c, (s.stop - 1) // c + 1) for s, c in zip(slices, chunks, strict=True)]
        decoded.extend((i, j) for i in touched[0] for j in touched[1])
        return values[slices]

    picked = np.arange(12)[columns] if isinstance(columns, slice) else np.array(columns)
    index = (np.array(rows), columns if isinstance(columns, slice) else picked)
    np.testing.assert_array_equal(by_slices(read, index, chunks), values[np.array(rows)][:, picked])
    assert len(decoded) == len(set(decoded))
    assert set(decoded) == {(r // chunks[0], c // chunks[1]) for r in rows for c in picked.tolist()}
