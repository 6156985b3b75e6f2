"""Stores that are written to while they are read, and stores whose metadata say anything: an error, or the right numbers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from credit_ray.config.data import SourceConfig
from credit_ray.data.source import StoreSource, open_source
from credit_ray.data.store import cached_store
from credit_ray.errors import CreditRayError, DataError
from tests.unit.data.conftest import Make

Save = Callable[..., str]

CHUNKS: dict[str, dict[str, Any]] = {"t": {"chunks": (2, 3, 6, 8)}, "sp": {"chunks": (2, 6, 8)}}


def opened(store: str) -> StoreSource:
    return open_source("weather", SourceConfig(store=store, prognostic=["t", "sp"]))


def rewritten(make: Make, store: str, times: int, chunks: int = 2) -> None:
    shutil.rmtree(store)
    encoding = {"t": {"chunks": (chunks, 3, 6, 8)}, "sp": {"chunks": (chunks, 6, 8)}}
    make(times).to_zarr(store, zarr_format=3, encoding=encoding)


@pytest.mark.parametrize(("times", "chunks"), [(8, 2), (12, 3)])
@pytest.mark.parametrize("elsewhere", [False, True], ids=["here", "in another process"])
def test_a_store_that_is_written_anew_while_it_is_read_is_an_error(
    make: Make, save: Save, times: int, chunks: int, elsewhere: bool
) -> None:
    store = save(make(12), encoding=CHUNKS)
    source = opened(store)
    assert source.times is not None
    source.read(["t"], source.times[:4])
    rewritten(make, store, times, chunks)
    if elsewhere:
        cached_store.cache_clear()
    with pytest.raises(DataError, match=r"store\.zarr: 't' .*the store was written to while it was being read"):
        source.read(["t"], source.times[4:6])


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_store_that_grows_is_read_as_it_was_found(make: Make, save: Save, elsewhere: bool) -> None:
    store = save(make(12), encoding=CHUNKS)
    source = opened(store)
    assert source.times is not None
    before = source.read(["t"], source.times)["t"]
    make(16).isel(time=slice(12, 16)).drop_vars("orography").to_zarr(store, append_dim="time")
    if elsewhere:
        cached_store.cache_clear()
    np.testing.assert_array_equal(source.read(["t"], source.times)["t"], before)
    grown = opened(store).times
    assert grown is not None
    assert len(grown) == 16


def test_a_store_that_is_removed_while_it_is_read_is_an_error(make: Make, save: Save) -> None:
    store = save(make(12), encoding=CHUNKS)
    source = opened(store)
    assert source.times is not None
    shutil.rmtree(store)
    with pytest.raises(DataError, match=r"store\.zarr: 't' is gone"):
        source.read(["t"], source.times)


ANYTHING = (
    st.none()
    | st.booleans()
    | st.integers(-3, 9)
    | st.floats()
    | st.text(max_size=3)
    | st.lists(st.integers(-2, 20), max_size=5)
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_whatever_the_metadata_say_the_end_is_an_error_of_ours_or_whole_fields(
    make: Make, save: Save, tmp_path: Path, zarr_format: int, data: st.DataObject
) -> None:
    whole, store = tmp_path / f"whole{zarr_format}.zarr", tmp_path / "store.zarr"
    if not whole.exists():
        save(make(6), whole.name, zarr_format=zarr_format, consolidated=False, encoding=CHUNKS)
    shutil.rmtree(store, ignore_errors=True)
    shutil.copytree(whole, store)
    names = ("zarr.json", ".zarray", ".zattrs", ".zgroup")
    file = data.draw(st.sampled_from(sorted(f for f in store.rglob("*") if f.name in names)))
    document = json.loads(file.read_text())
    spoil(document, data)
    file.write_text(json.dumps(document))
    with suppress(CreditRayError):  # anything else is a defect
        source = opened(str(store))
        assert source.times is not None
        found = source.read(["t", "sp"], source.times)
        shape = (len(source.times), *source.grid.shape)
        assert found["sp"].shape == shape
        assert found["t"].shape == (shape[0], len(source.channels["prognostic"]) - 1, *shape[1:])
        assert all(np.isfinite(values).all() for values in found.values())


def spoil(document: Any, data: st.DataObject) -> None:
    """Walk to some place in a document, and take it out, or put something else there."""
    while document:
        key = data.draw(st.sampled_from(sorted(document) if isinstance(document, dict) else range(len(document))))
        if isinstance(document[key], dict | list) and document[key] and data.draw(st.booleans()):
            document = document[key]
        elif isinstance(document, dict) and data.draw(st.booleans()):
            del document[key]
            return
        else:
            document[key] = data.draw(ANYTHING)
            return
    document["extra"] = data.draw(ANYTHING)


@pytest.mark.parametrize("coordinate", ["latitude", "time", "level"])
def test_a_coordinate_of_another_length_than_its_dimension_is_an_error(make: Make, save: Save, coordinate: str) -> None:
    store = save(make(6), consolidated=False, encoding=CHUNKS)
    file = Path(store) / coordinate / "zarr.json"
    document = json.loads(file.read_text())
    document["shape"] = [2]
    file.write_text(json.dumps(document))
    with pytest.raises(DataError, match=rf"has shape \(.*\), but its coordinate '{coordinate}' has \(2,\)"):
        opened(store)
