"""Stores behind a URL: read the same by every engine, asked again where they fail in passing, and one error where they fail for good."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from credit_ray.config.data import SourceConfig
from credit_ray.data.access import Access
from credit_ray.data.source import StoreSource, open_source
from credit_ray.data.store import open_store
from credit_ray.data.transport import open_transport
from credit_ray.data.zarr_store import ZarrStore
from credit_ray.errors import DataError
from tests.unit.data.conftest import Make
from tests.unit.data.store_server import Fault, StoreServer, serve

Save = Callable[..., str]

BY_TWO: dict[str, dict[str, Any]] = {"t": {"chunks": (2, 3, 6, 8)}, "sp": {"chunks": (2, 6, 8)}}
CHUNK = r"store\.zarr/t/c/1/0/0/0"
ENGINES = ["obstore", "fsspec"]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[StoreServer]:
    with serve(tmp_path) as running:
        yield running


def opened(store: str, **config: Any) -> StoreSource:
    return open_source("weather", SourceConfig(store=store, **({"prognostic": ["t", "sp"]} | config)))


def all_of(source: StoreSource) -> dict[str, Any]:
    assert source.times is not None
    return source.read(["t", "sp"], source.times)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "form",
    [
        {"zarr_format": 2, "encoding": BY_TWO},
        {"encoding": BY_TWO},
        {"encoding": {"t": {"chunks": (1, 3, 6, 8), "shards": (4, 3, 6, 8)}, "sp": {"chunks": (2, 6, 8)}}},
    ],
    ids=["v2", "v3", "shards"],
)
def test_a_url_gives_what_the_folder_gives_by_each_engine(
    make: Make, save: Save, server: StoreServer, engine: str, form: dict[str, Any]
) -> None:
    store = save(make(), **form)
    expected = all_of(opened(store))
    for name, fields in all_of(opened(f"{server.url}/store.zarr", engine=engine)).items():
        np.testing.assert_array_equal(fields, expected[name])


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("status", [429, 500, 503, 0, -1])
def test_what_fails_in_passing_is_asked_again_and_read_whole(
    make: Make, save: Save, server: StoreServer, engine: str, status: int
) -> None:
    store = save(make(), encoding=BY_TWO)
    source = opened(f"{server.url}/store.zarr", engine=engine, request_seconds=0.5, retry_seconds=20)
    server.faults = [Fault(CHUNK, status, times=2, seconds=0.0 if status else 3.0)]
    np.testing.assert_array_equal(all_of(source)["t"], all_of(opened(store))["t"])
    assert isinstance(source.store, ZarrStore)
    assert source.store.traffic.retries >= 2
    assert source.store.traffic.requests >= sum(n for path, n in server.asked.items() if "/c/" in path)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("status", "said"), [(503, "Service Unavailable|503"), (0, "no answer within 0.3 s|imed out|error sending request")]
)
def test_patience_has_an_end_in_one_error_that_names_store_array_chunk_and_time(
    make: Make, save: Save, server: StoreServer, engine: str, status: int, said: str
) -> None:
    save(make(), encoding=BY_TWO)
    source = opened(f"{server.url}/store.zarr", engine=engine, request_seconds=0.3, retry_seconds=0.6)
    server.faults = [Fault(CHUNK, status, seconds=0.0 if status else 2.0)]
    with pytest.raises(
        DataError,
        match=rf"store\.zarr: 't' at 2000-01-01T12:00, 2000-01-01T18:00 can't be read \(t/c/1/0/0/0: .*({said})",
    ) as caught:
        all_of(source)
    assert "times within" in str(caught.value)
    assert "'retry_seconds' (now 0.6)" in str(caught.value)
    assert "damaged" not in str(caught.value)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("status", [401, 403])
def test_an_expired_credential_fails_at_once_and_says_what_to_renew(
    make: Make, save: Save, server: StoreServer, engine: str, status: int
) -> None:
    save(make(), encoding=BY_TWO)
    source = opened(f"{server.url}/store.zarr", engine=engine)
    server.faults = [Fault(CHUNK, status)]
    with pytest.raises(
        DataError, match=r"'t' at 2000-01-01T12:00, .* \(t/c/1/0/0/0: .*credentials are missing, wrong or expired"
    ):
        all_of(source)
    assert server.asked["store.zarr/t/c/1/0/0/0"] == 1


@pytest.mark.parametrize("engine", ENGINES)
def test_a_chunk_that_the_server_lacks_is_an_error_not_a_fill_value(
    make: Make, save: Save, server: StoreServer, engine: str
) -> None:
    save(make(), encoding=BY_TWO)
    source = opened(f"{server.url}/store.zarr", engine=engine)
    server.faults = [Fault(CHUNK, 404)]
    with pytest.raises(DataError, match=r"the chunk t/c/1/0/0/0 of 't' at .* is absent"):
        all_of(source)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_store_that_is_not_there_is_an_error_that_names_the_url(server: StoreServer, engine: str) -> None:
    with pytest.raises(DataError, match=r"/nowhere\.zarr can't be opened as a Zarr store"):
        opened(f"{server.url}/nowhere.zarr", engine=engine)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_bucket_behind_an_endpoint_of_ones_own_is_read_without_credentials(
    make: Make, save: Save, server: StoreServer, engine: str
) -> None:
    store = save(make(), "bucket/store.zarr", encoding=BY_TWO)
    options = {"anon": True, "endpoint_url": server.url}
    source = opened("s3://bucket/store.zarr", engine=engine, storage_options=options)
    np.testing.assert_array_equal(all_of(source)["t"], all_of(opened(store))["t"])
    assert not any("authorization" in headers for headers in server.headers)


def test_metadata_that_come_late_are_waited_for(make: Make, save: Save, server: StoreServer) -> None:
    save(make(), encoding=BY_TWO)
    server.faults = [Fault(r"zarr\.json", 503, times=3)]
    assert opened(f"{server.url}/store.zarr").times is not None


def test_a_store_without_consolidated_metadata_says_why_it_can_not_be_listed(
    make: Make, save: Save, server: StoreServer
) -> None:
    save(make(), encoding=BY_TWO, consolidated=False)
    with pytest.raises(DataError, match="no consolidated metadata, and folders can't be listed by HTTP"):
        opened(f"{server.url}/store.zarr", engine="obstore")


def test_requests_are_made_together(make: Make, save: Save, server: StoreServer) -> None:
    save(make(), encoding=BY_TWO)
    source = opened(f"{server.url}/store.zarr")
    server.together = 12  # all chunks: one after the other, none would ever be answered
    all_of(source)
    assert sum("/c/" in path for path in server.asked) >= 12


def test_headers_reach_the_server_and_no_message(
    make: Make, save: Save, server: StoreServer, caplog: pytest.LogCaptureFixture
) -> None:
    save(make(), encoding=BY_TWO)
    caplog.set_level(logging.DEBUG)
    options = {"headers": {"Authorization": "Bearer open-sesame"}}
    for engine in ENGINES:
        source = opened(f"{server.url}/store.zarr", engine=engine, storage_options=options, retry_seconds=0.2)
        assert server.headers[-1]["authorization"] == "Bearer open-sesame"
        server.faults = [Fault(CHUNK, 503)]
        with pytest.raises(DataError) as caught:
            all_of(source)
        server.faults = []
        whole = "".join(traceback.format_exception(caught.value))
        assert "sesame" not in whole
    assert "sesame" not in caplog.text
    assert "sesame" not in repr(source)


@pytest.mark.parametrize(
    "store",
    [
        "https://user:open-sesame@host/a.zarr",
        "s3://key:open-sesame@bucket/a.zarr",
        "https://host/a.nc?X-Amz-Signature=open-sesame",
    ],
)
def test_credentials_in_a_url_are_refused_before_anything_is_logged(store: str) -> None:
    with pytest.raises(ValidationError, match="storage_options") as caught:
        SourceConfig(store=store, prognostic=["t"])
    assert "storage_options" in caught.value.errors()[0]["msg"]


def test_an_error_of_a_library_loses_its_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "from the environment")
    access = Access(
        options={"key": "AKIA123", "client_kwargs": {"aws_session_token": "tok-tok", "endpoint_url": "http://here"}}
    )
    error = OSError(
        "AKIA123 tok-tok from the environment http://here/a?sig=x https://me:pw@host/ <?xml ?><Error><Code>NoSuchKey</Code>"
    )
    said = access.said(error)
    assert said == "OSError: … … … http://here/a?… https://…@host/ (NoSuchKey)"


@pytest.mark.parametrize(
    ("url", "options", "engine", "why"),
    [
        ("s3://bucket/a.zarr", {"anon": True}, "obstore", ""),
        ("s3://bucket/a.zarr", {"key": "k", "secret": "s", "endpoint_url": "http://127.0.0.1:1"}, "obstore", ""),
        ("s3://bucket/a.zarr", {"anon": True, "client_kwargs": {"region_name": "eu-west-1"}}, "obstore", ""),
        (
            "s3://bucket/a.zarr",
            {"anon": True, "default_fill_cache": False},
            "fsspec",
            "no word for the option default_fill_cache",
        ),
        ("gs://bucket/a.zarr", {"token": "anon"}, "obstore", ""),
        ("https://host/a.zarr", {}, "obstore", ""),
        ("memory://a.zarr", {}, "fsspec", "knows no memory://"),
        ("/some/a.zarr", {}, "files", ""),
    ],
)
def test_the_engine_is_the_fastest_that_can_do_it_and_the_reason_is_given(
    url: str, options: dict[str, Any], engine: str, why: str
) -> None:
    transport = open_transport(url, Access(options=options))
    assert transport.engine == engine
    assert why in transport.why


def test_credentials_from_a_profile_are_left_to_the_engine_that_reads_profiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "mine")
    transport = open_transport("s3://bucket/a.zarr", Access())
    assert (transport.engine, "AWS_PROFILE" in transport.why) == ("fsspec", True)
    with pytest.raises(DataError, match="AWS_PROFILE.* Leave out 'engine: obstore'"):
        open_transport("s3://bucket/a.zarr", Access(engine="obstore"))


def test_the_log_says_who_reads_and_who_decodes_and_why(
    make: Make, save: Save, server: StoreServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    store = save(make(), encoding=BY_TWO)
    open_store(store)
    open_store(f"{server.url}/store.zarr")
    big_endian = save(make(), "big.zarr", zarr_format=2, encoding={"t": {"dtype": ">f4"}})
    open_store(big_endian)
    said = [record.getMessage() for record in caplog.records if record.name.startswith("credit_ray")]
    assert said[0].endswith("store.zarr: files, decoded by zarrs.")
    assert "read by obstore; decoded by zarr-python, not zarrs: it makes its own requests" in said[1]
    assert "big.zarr: read by files; decoded by zarr-python, not zarrs: it reads no foreign byte order (t)" in said[2]


def test_a_store_in_memory_is_read_too(make: Make) -> None:
    from zarr.storage import FsspecStore

    target = FsspecStore.from_url("memory://here/store.zarr")
    make().to_zarr(target, zarr_format=3, consolidated=True)
    assert all_of(opened("memory://here/store.zarr"))["t"].shape == (12, 3, 6, 8)


def test_remote_netcdf_is_read_asked_again_and_given_up(make: Make, tmp_path: Path, server: StoreServer) -> None:
    make().to_netcdf(tmp_path / "store.nc", engine="h5netcdf")
    url, local = f"{server.url}/store.nc", opened(str(tmp_path / "store.nc"))
    server.faults = [Fault(r"store\.nc", 503, times=2)]
    np.testing.assert_array_equal(all_of(opened(url))["t"], all_of(local)["t"])
    server.faults = [Fault(r"store\.nc", 503)]
    with pytest.raises(DataError, match=r"store\.nc can't be read .*503"):
        opened(url, retry_seconds=0.3)
