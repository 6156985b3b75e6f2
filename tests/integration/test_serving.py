"""The service on Ray, over real HTTP: a registered package, a Zarr store to start from, xarray at the other end."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray

from credit_ray.config.experiment import Experiment
from credit_ray.data.dataset import open_dataset
from credit_ray.errors import ClusterError, ConfigError, ModelNotFoundError, SpecMismatchError
from credit_ray.forecasting.layout import ForecastLayout
from credit_ray.forecasting.rollout import forecast
from credit_ray.forecasting.writer import create_store
from credit_ray.normalizer import Normalizer
from credit_ray.package import load_package, save_package
from credit_ray.serving import ServingResult, run_serving, running_service
from credit_ray.serving.loading import RegistrySource
from credit_ray.stepper import Recipe, Stepper
from credit_ray.times import parse_time
from credit_ray.tracking.client import connect, tracking_uri
from credit_ray.tracking.fetching import fetch_model
from credit_ray.tracking.registry import register_model

pytestmark = pytest.mark.timeout(240)

LONG_STEPS = 400
LONG = f"{LONG_STEPS}steps"  # takes seconds, so that what happens meanwhile can be looked at


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def write_weather(path: Path) -> None:
    """Two variables, one with levels, on a Gaussian grid: a hundred states."""
    from credit_ray.grid.latlon import LatLonGrid

    grid, draw = LatLonGrid.gaussian(16), np.random.default_rng(0)
    time_axis = np.datetime64("2000-01-01", "ns") + np.arange(100) * np.timedelta64(6, "h")
    fields = {
        "z": (
            ("time", "level", "latitude", "longitude"),
            draw.standard_normal((100, 2, *grid.shape), np.float32),
            {"units": "m2 s-2"},
        ),
        "t2m": (
            ("time", "latitude", "longitude"),
            draw.standard_normal((100, *grid.shape), np.float32),
            {"units": "K"},
        ),
    }
    coordinates = {
        "time": time_axis,
        "level": ("level", [500.0, 850.0], {"units": "hPa", "standard_name": "air_pressure"}),
        "latitude": ("latitude", grid.latitude, {"units": "degrees_north"}),
        "longitude": ("longitude", grid.longitude, {"units": "degrees_east"}),
    }
    xarray.Dataset(fields, coordinates).to_zarr(path, zarr_format=3, consolidated=False)


def register(experiment: Experiment, folder: Path, *, seed: int, alias: str) -> None:
    """A model of a few weights, untrained, in the registry."""
    spec = open_dataset(experiment.data).spec
    count = len(spec.outputs)
    normalizer = Normalizer(
        spec,
        input_mean=torch.zeros(len(spec.inputs)),
        input_std=torch.ones(len(spec.inputs)),
        output_mean=torch.zeros(count),
        output_std=torch.full((count,), 0.05),
        residual=True,
    )
    recipe = Recipe(
        spec=spec, network="unet", arguments={"width": 16, "multipliers": [1, 1], "blocks": [1, 1]}, residual=True
    )
    stepper = Stepper(recipe, normalizer, torch.from_numpy(open_dataset(experiment.data).statics()))
    draw = torch.Generator().manual_seed(seed)
    for weight in stepper.network.parameters():
        torch.nn.init.normal_(weight, std=0.05, generator=draw)
    package = save_package(
        stepper, folder, summary={}, lineage={"data_digest": "none", "run_id": "none", "code_revision": "none"}
    )
    uri = tracking_uri(experiment)
    client = connect(uri, create=True)
    found = client.get_experiment_by_name("tiny")
    run = client.create_run(
        found.experiment_id
        if found
        else client.create_experiment("tiny", artifact_location=str(folder.parent / "artifacts"))
    )
    register_model(package.directory, run_id=run.info.run_id, name="tiny", alias=alias, tracking_uri=uri)


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    """Data, a registered model, and a config that serves it from a free port."""
    root = tmp_path_factory.mktemp("serving")
    write_weather(root / "weather.zarr")
    made = Experiment.model_validate(
        {
            "name": "tiny",
            "output": str(root / "runs"),
            "data": {
                "timestep": "6h",
                "history": 2,
                "sources": {
                    "weather": {
                        "store": str(root / "weather.zarr"),
                        "prognostic": ["z", "t2m"],
                        "vertical": "pressure",
                    },
                    "sun": {"store": "derived", "forcing": ["rsdt"]},
                },
                "splits": {"train": ["2000-01-01", "2000-01-20"]},
            },
            "serving": {"port": free_port(), "limits": {"queue": 3}, "models": [{"name": "tiny", "alias": "champion"}]},
        }
    )
    register(made, root / "package", seed=0, alias="champion")
    return made


@dataclass
class Client:
    """HTTP, plainly."""

    url: str

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
        data = None if body is None else json.dumps(body).encode()
        given = {"Content-Type": "application/json"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        request = urllib.request.Request(self.url + path, data, given, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, dict(answer.headers), answer.read()
        except urllib.error.HTTPError as refusal:
            return refusal.code, dict(refusal.headers), refusal.read()

    def json(self, path: str) -> Any:
        status, _, body = self.call("GET", path)
        assert status == 200, body
        return json.loads(body)

    def ask(self, lead: str = "1d", init_time: str = "2000-01-03") -> tuple[int, dict[str, str], bytes]:
        return self.call("POST", "/v1/forecasts", {"model": "tiny", "init_time": init_time, "lead": lead})

    def begin(self, lead: str = "1d") -> str:
        status, _, body = self.ask(lead)
        assert status == 202, body
        return str(json.loads(body)["id"])

    def until(self, id: str, what: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        for _ in range(1200):
            status: dict[str, Any] = self.json(f"/v1/forecasts/{id}")
            if what(status):
                return status
            time.sleep(0.05)
        raise AssertionError(f"in vain: {status}")

    def done(self, id: str) -> dict[str, Any]:
        ended = self.until(id, lambda status: status["state"] not in ("queued", "running"))
        assert ended["state"] == "done", ended
        return ended

    def until_it_answers(self) -> None:
        """A replica that was killed may take the first request with it."""
        for _ in range(600):
            try:
                if self.call("GET", "/healthz")[0] == 200:
                    return
            except OSError:
                pass
            time.sleep(0.1)
        raise AssertionError(f"{self.url} does not answer")

    def zarr(self, id: str) -> xarray.Dataset:
        return xarray.open_zarr(f"{self.url}/v1/forecasts/{id}/data.zarr", chunks=None)


@pytest.fixture(scope="module")
def service(experiment: Experiment, ray_cluster: None) -> Iterator[ServingResult]:
    """The service, for all tests here."""
    with running_service(experiment) as result:
        yield result


@pytest.fixture
def client(service: ServingResult) -> Iterator[Client]:
    """Leaves nothing that runs or waits."""
    client = Client(service.url)
    yield client
    for each in client.json("/v1/forecasts")["forecasts"]:
        client.call("DELETE", f"/v1/forecasts/{each['id']}")
        client.until(each["id"], lambda s: s["state"] not in ("queued", "running")) if each["state"] in (
            "queued",
            "running",
        ) else None


def batch(experiment: Experiment, store: Path, steps: int) -> xarray.Dataset:
    """The same forecast, by the loop and the writer of batch forecasts."""
    package = load_package(fetch_model("models:/tiny@champion", tracking_uri(experiment)).directory)
    data = open_dataset(experiment.data).for_model(package.stepper.spec)
    spec, init_times = data.spec, np.array([parse_time("2000-01-03")], np.int64)
    layout = ForecastLayout(
        channels=spec.outputs,
        grid=spec.grid,
        step=spec.step,
        calendar=spec.calendar,
        init_times=init_times,
        leads=tuple(range(1, steps + 1)),
    )
    target = create_store(str(store), layout, {})
    with target.writer([0]) as writer:
        for step in forecast(package.stepper, data, init_times, steps, device="cpu"):
            writer.write(step.outputs.numpy())
    return xarray.open_zarr(store, chunks=None)


def test_a_served_forecast_is_the_batch_forecast(client: Client, experiment: Experiment, tmp_path: Path) -> None:
    id = client.begin("5d")
    lineage = client.done(id)["lineage"]
    served = client.zarr(id).load()
    assert lineage["model"] == "models:/tiny/1"
    assert lineage.items() <= served.attrs.items()
    truth = batch(experiment, tmp_path / "batch.zarr", 20)
    for name in ("z", "t2m"):
        np.testing.assert_allclose(served[name].values, truth[name].values, rtol=0, atol=1e-5)


def test_a_store_is_read_over_http_while_it_grows_and_after(client: Client) -> None:
    id = client.begin(LONG)
    client.until(id, lambda status: status["steps_done"] >= 3)
    growing = client.zarr(id)
    assert growing.sizes["lead_time"] == LONG_STEPS
    early = growing["t2m"].isel(init_time=0, lead_time=slice(0, 3)).values
    assert np.isfinite(early).all()
    assert int(growing["steps_written"][0]) >= 3
    assert int(growing["steps_written"][0]) < LONG_STEPS
    client.done(id)
    whole = client.zarr(id)
    assert int(whole["steps_written"][0]) == LONG_STEPS
    np.testing.assert_array_equal(whole["t2m"].isel(init_time=0, lead_time=slice(0, 3)).values, early)
    assert np.isfinite(whole["z"].values).all()


def test_events_come_while_it_runs(client: Client) -> None:
    id = client.begin(LONG)
    names: list[str] = []
    with urllib.request.urlopen(f"{client.url}/v1/forecasts/{id}/events", timeout=60) as stream:
        for line in stream:
            if line.startswith(b"event:"):
                names.append(line.split()[1].decode())
                if len(names) == 1:
                    assert client.json(f"/v1/forecasts/{id}")["state"] == "running"
    assert names == ["step"] * LONG_STEPS + ["done"]


def test_more_than_may_wait_are_refused_and_the_accepted_are_all_made(client: Client) -> None:
    first = client.begin(LONG)
    client.until(first, lambda status: status["state"] == "running")
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: client.ask("6h"), range(12)))
    accepted = [json.loads(body)["id"] for status, _, body in answers if status == 202]
    refused = [(status, headers) for status, headers, _ in answers if status != 202]
    assert len(accepted) == len(set(accepted)) == 3
    assert {status for status, _ in refused} == {429}
    assert all(int(headers["retry-after"]) > 0 for _, headers in refused)
    for id in (first, *accepted):
        client.done(id)


def test_problems_ranges_and_pictures_pass_through_ray(client: Client) -> None:
    id = client.begin("6h")
    client.done(id)
    chunk = f"/v1/forecasts/{id}/data.zarr/t2m/c/0/0/0/0"
    _, _, whole = client.call("GET", chunk)
    status, headers, part = client.call("GET", chunk, Range="bytes=-8")
    assert (status, part) == (206, whole[-8:])
    assert headers["content-range"].endswith(f"/{len(whole)}")
    status, headers, body = client.call("HEAD", chunk)
    assert (status, int(headers["content-length"]), body) == (200, len(whole), b"")
    status, _, body = client.call("GET", f"/v1/forecasts/{id}/fields/z?lead=6h&level=500", Accept="image/png")
    assert (status, body[:4]) == (200, b"\x89PNG")
    for method, path, expected in (
        ("GET", "/nothing", 404),
        ("PUT", "/v1/models", 405),
        ("GET", chunk.replace("c/0/0", "c/0/9"), 404),
    ):
        status, headers, _ = client.call(method, path)
        assert (status, headers["content-type"]) == (expected, "application/problem+json")
    status, headers, _ = client.call("POST", "/v1/forecasts", {"model": "x" * 100_000})
    assert (status, headers["content-type"]) == (413, "application/problem+json")
    assert client.json("/readyz") == {"status": "ready"}
    assert 'credit_ray_model_info{model="tiny",version="1"' in client.call("GET", "/metrics")[2].decode()


def replica(name: bytes) -> int:
    """The process of our own cluster that holds a replica: it descends from this one."""
    processes = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    found = [p for p in processes if name in _read(Path(f"/proc/{p}/cmdline")) and os.getpid() in _ancestors(p)]
    (pid,) = found
    return pid


def _ancestors(pid: int) -> Iterator[int]:
    while pid > 1:
        stat = _read(Path(f"/proc/{pid}/stat")).decode()
        pid = int(stat.rpartition(")")[2].split()[1]) if stat else 0
        yield pid


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


@pytest.mark.slow
def test_a_killed_engine_loses_no_forecast(client: Client, experiment: Experiment, tmp_path: Path) -> None:
    id, waiting = client.begin(LONG), client.begin("6h")
    before = client.until(id, lambda status: status["steps_done"] >= 5)
    assert before["state"] == "running"
    victim = replica(b"engine-tiny")
    os.kill(victim, signal.SIGKILL)
    accepted_meanwhile = client.begin("6h")
    ended = client.done(id)
    assert ended["started"] == before["started"]
    for other in (waiting, accepted_meanwhile):
        client.done(other)
    assert replica(b"engine-tiny") != victim
    np.testing.assert_allclose(
        client.zarr(id)["z"].values,
        batch(experiment, tmp_path / "batch.zarr", LONG_STEPS)["z"].values,
        rtol=0,
        atol=1e-4,
    )


@pytest.mark.slow
def test_a_killed_api_still_knows_what_it_accepted(client: Client) -> None:
    body = {"model": "tiny", "init_time": "2000-01-03", "lead": LONG}
    _, _, first = client.call("POST", "/v1/forecasts", body, Idempotency_Key="k")
    id = str(json.loads(first)["id"])
    client.until(id, lambda status: status["steps_done"] >= 3)
    os.kill(replica(b"credit-ray:api"), signal.SIGKILL)
    client.until_it_answers()
    assert [each["id"] for each in client.json("/v1/forecasts")["forecasts"]][:1] == [id]
    status, _, again = client.call("POST", "/v1/forecasts", body, Idempotency_Key="k")
    assert (status, json.loads(again)["id"]) == (202, id)
    client.done(id)


def test_an_engine_refuses_a_folder_that_the_api_does_not_see(experiment: Experiment, tmp_path: Path) -> None:
    from credit_ray.serving.deployment import EngineDeployment

    source = RegistrySource(experiment, "tiny", "champion")
    with pytest.raises(ClusterError, match="not the same folder"):
        EngineDeployment(source, str(tmp_path), "mark", None)


def test_the_registry_is_asked_for_what_the_alias_means_now(experiment: Experiment, tmp_path: Path) -> None:
    register(experiment, tmp_path / "old", seed=5, alias="staging")
    source = RegistrySource(experiment, "tiny", "staging")
    old = source.load(None)
    assert old is not None
    assert source.load(old) is None
    register(experiment, tmp_path / "new", seed=6, alias="staging")
    new = source.load(old)
    assert new is not None
    assert new.served.identity != old.served.identity
    assert new.lineage["model"] == source.check().uri == f"models:/tiny/{new.served.version}"
    assert new.served.card
    assert (new.served.forcing_times, len(new.served.init_times)) == (None, 99)


def test_a_second_service_says_that_the_port_is_taken(service: ServingResult, experiment: Experiment) -> None:
    with pytest.raises(ClusterError, match=str(experiment.serving.port)):
        run_serving(experiment)


def changed(experiment: Experiment, **serving: Any) -> Experiment:
    return experiment.model_copy(
        update={"serving": experiment.serving.model_copy(update={"port": free_port()} | serving)}
    )


def test_what_is_wrong_is_told_before_anything_starts(experiment: Experiment, tmp_path: Path) -> None:
    served = experiment.serving.models[0]
    with pytest.raises(ModelNotFoundError, match="tiny"):
        run_serving(changed(experiment, models=[served.model_copy(update={"name": "tinny"})]))
    with pytest.raises(ModelNotFoundError, match="champion"):
        run_serving(changed(experiment, models=[served.model_copy(update={"alias": "canary"})]))
    with pytest.raises(ConfigError, match="tokens_env"):
        run_serving(changed(experiment, host="0.0.0.0"))
    with pytest.raises(ConfigError, match="twice"):
        run_serving(changed(experiment, models=[served, served]))
    with pytest.raises(ConfigError, match=r"serving\.results"):
        run_serving(changed(experiment, results="s3://bucket/served"))
    with pytest.raises(SpecMismatchError, match="12h"):
        run_serving(
            experiment.model_copy(
                update={
                    "data": experiment.data.model_copy(update={"timestep": "12h"}),
                    "serving": changed(experiment).serving,
                }
            )
        )
