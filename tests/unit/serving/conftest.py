"""A tiny model, data that are a function of time, and the API over both in this process: no Ray, no registry."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from starlette.testclient import TestClient
from torch import Tensor

from credit_ray.config.serving import Limits
from credit_ray.forecasting.layout import ForecastLayout
from credit_ray.forecasting.rollout import forecast
from credit_ray.forecasting.writer import create_store
from credit_ray.grid.latlon import LatLonGrid
from credit_ray.normalizer import Normalizer
from credit_ray.serving.app import create_app
from credit_ray.serving.auth import Tokens
from credit_ray.serving.engine import Engine, Loaded
from credit_ray.serving.jobs import JobTable, Progress
from credit_ray.serving.metrics import EngineNumbers
from credit_ray.serving.served import ServedModel
from credit_ray.serving.service import ForecastService
from credit_ray.state import Channel, Channels, State, StateSpec
from credit_ray.stepper import Recipe, Stepper
from credit_ray.times import Step, Times, parse_time

GRID = LatLonGrid.gaussian(8)
START = parse_time("2000-01-01")
STEP = Step(seconds=6 * 3600)
SPEC = StateSpec(
    prognostic=Channels(
        [
            Channel(variable="z", units="m2 s-2", level=500, vertical="pressure"),
            Channel(variable="z", units="m2 s-2", level=850, vertical="pressure"),
            Channel(variable="t2m", units="K"),
        ]
    ),
    diagnostic=Channels([Channel(variable="tp", units="m", kind="accumulated")]),
    forcing=Channels([Channel(variable="sst", units="K")]),
    history=2,
    step=STEP,
    grid=GRID,
)


def tiny_stepper(seed: int = 0) -> Stepper:
    """A U-Net of a few weights, which moves the fields but keeps them finite."""
    inputs, outputs = len(SPEC.inputs), len(SPEC.outputs)
    normalizer = Normalizer(
        SPEC,
        input_mean=torch.zeros(inputs),
        input_std=torch.ones(inputs),
        output_mean=torch.zeros(outputs),
        output_std=torch.full((outputs,), 0.1),
        residual=True,
    )
    recipe = Recipe(
        spec=SPEC, network="unet", arguments={"width": 4, "multipliers": (1, 1), "blocks": (1, 1)}, residual=True
    )
    stepper = Stepper(recipe, normalizer, torch.zeros((0, *GRID.shape)))
    draw = torch.Generator().manual_seed(seed)
    for weight in stepper.network.parameters():  # as built, it would change nothing
        torch.nn.init.normal_(weight, std=0.1, generator=draw)
    return stepper


@dataclass
class TinyData:
    """Fields that follow from their time alone; `gate` holds the rollout back until a test lets it go."""

    gate: threading.Semaphore | None = None

    def initial_state(self, init_times: Times) -> State:
        fields = np.stack(
            [[self._field(t + k * STEP.seconds, len(SPEC.prognostic)) for k in (-1, 0)] for t in init_times]
        )
        forcing = np.stack([[self._field(t, len(SPEC.forcing))] for t in init_times])
        return State(
            fields=torch.from_numpy(fields), forcing=torch.from_numpy(forcing), valid_time=np.asarray(init_times)
        )

    def forcings(self, init_times: Times, steps: int) -> Iterator[Tensor]:
        for step in range(1, steps + 1):
            if self.gate:
                self.gate.acquire()
            yield torch.from_numpy(
                np.stack([self._field(t + step * STEP.seconds, len(SPEC.forcing)) for t in init_times])
            )

    def _field(self, time: int, channels: int) -> np.ndarray:
        return np.random.default_rng(time).standard_normal((channels, *GRID.shape)).astype(np.float32)


def loaded(version: str = "3", seed: int = 0, data: TinyData | None = None) -> Loaded:
    """A version of the model `tiny`, with a year of initial times that has a gap, and a forcing that ends with it."""
    times = np.array([START + k * STEP.seconds for k in range(400) if not 100 <= k < 120], np.int64)
    served = ServedModel(
        name="tiny",
        alias="champion",
        version=version,
        digest=f"digest-{version}",
        run_id="run",
        card="# tiny",
        spec=SPEC,
        lineage={"data_digest": "data"},
        init_times=times,
        forcing_times=np.array([START + k * STEP.seconds for k in range(460)], np.int64),
    )
    return Loaded(
        served=served,
        stepper=tiny_stepper(seed),
        data=data or TinyData(),
        lineage={
            "model": f"models:/tiny/{version}",
            "model_version": version,
            "model_digest": f"digest-{version}",
            "data_digest": "data",
        },
    )


@dataclass
class Shelf:
    """A source of models whose newest one a test can change."""

    model: Loaded

    def load(self, current: Loaded | None) -> Loaded | None:
        return None if current is self.model else self.model


@dataclass
class LocalLink:
    """An engine in this process; `away` while a test has it so."""

    engine: Engine
    away: bool = False

    async def describe(self, known: str | None) -> ServedModel | None:
        self._answer()
        return self.engine.describe(known)

    async def wake(self) -> None:
        self._answer()
        self.engine.wake()

    async def numbers(self) -> EngineNumbers:
        self._answer()
        return self.engine.numbers()

    def _answer(self) -> None:
        if self.away:
            raise ConnectionError("pid 12345 is dead")


@dataclass
class House:
    """The whole service in this process."""

    client: TestClient
    service: ForecastService
    table: JobTable
    link: LocalLink
    gate: threading.Semaphore
    gated: bool
    engines: list[Engine] = field(default_factory=list)
    made: str = ""

    def ask(self, **changes: Any) -> dict[str, Any]:
        """A request that makes sense, but for the changes; None leaves a field out."""
        body = {"model": "tiny", "init_time": "2000-01-02T06:00", "lead": "1d"} | changes
        return {key: value for key, value in body.items() if value is not None}

    def begin(self, **changes: Any) -> str:
        """Ask for a forecast; its id."""
        answer = self.client.post("/v1/forecasts", json=self.ask(**changes))
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def let_go(self, steps: int = 100_000) -> None:
        """Let the engine make so many steps."""
        self.gate.release(steps)

    def until(self, id: str, state: str = "done", steps: int = 0) -> dict[str, Any]:
        """Wait until a forecast is in a state, and has so many steps; what the API says of it then."""
        for _ in range(600):
            status: dict[str, Any] = self.client.get(f"/v1/forecasts/{id}").json()
            if status["state"] == state and status["steps_done"] >= steps:
                return status
            threading.Event().wait(0.02)
        raise AssertionError(f"not {state} with {steps} steps: {status}")

    # what a test may do to the service

    def batch_forecast(self, store: Path, init_time: str, steps: int) -> Path:
        """The same forecast, by the loop and the writer of batch forecasts."""
        init_times = np.array([parse_time(init_time)], np.int64)
        layout = ForecastLayout(
            channels=SPEC.outputs,
            grid=GRID,
            step=STEP,
            calendar="standard",
            init_times=init_times,
            leads=tuple(range(1, steps + 1)),
        )
        target = create_store(str(store), layout, {"model_digest": "batch"})
        with target.writer([0]) as writer:
            for step in forecast(tiny_stepper(), TinyData(), init_times, steps, device="cpu"):
                writer.write(step.outputs.numpy())
        target.finish()
        return store

    def next_engine(self, version: str = "3", seed: int = 0) -> None:
        """Another engine on the same table, as after a death."""
        engine = Engine(
            "tiny", self.table, Shelf(loaded(version, seed, TinyData(self.gate if self.gated else None))), device="cpu"
        )
        self.engines.append(engine)
        self.link.engine = engine
        engine.start()

    @contextmanager
    def next_service(self) -> Iterator[TestClient]:
        """Another API on the same table, as after a restart."""
        service = ForecastService(
            table=JobTable(self.table.root), engines=self.service.engines, limits=self.service.limits
        )
        with TestClient(create_app(service)) as client:
            yield client

    def close_gate(self) -> None:
        """Make the engine wait again."""
        while self.gate.acquire(blocking=False):
            pass

    def cancel_soon(self, id: str) -> None:
        """Cancel, once a stream of events has been silent for a while."""

        def cancel() -> None:
            self.table.cancel(id)
            self.let_go()

        threading.Timer(0.5, cancel).start()

    def poison(self) -> None:
        """The model's next forecast is not finite."""
        with torch.no_grad():
            self.engines[0]._loaded.stepper.normalizer.output_std[0] = float("nan")

    def put_on_shelf(self, version: str, seed: int) -> None:
        """Move the alias."""
        source = self.engines[0].source
        assert isinstance(source, Shelf)
        source.model = loaded(version, seed)

    def until_version(self, version: str) -> None:
        """Wait until the API knows a version."""
        for _ in range(600):
            if self.client.get("/v1/models/tiny").json()["version"] == version:
                return
            threading.Event().wait(0.02)
        raise AssertionError(f"version {version} is not served")

    def until_attempt(self, id: str, attempts: int) -> None:
        """Wait until an engine has begun a forecast."""
        for _ in range(600):
            if self.table.progress(id).attempts == attempts:
                return
            threading.Event().wait(0.02)
        raise AssertionError(f"{id} was not begun")

    def accept_for(self, model: str) -> str:
        """A forecast of a model that is not served here."""
        (first, *_) = self.table.ids()
        job = self.table.accepted(first)
        assert job is not None
        other = replace(job, model=model, id=self.table.new_id(job.created))
        self.table.add(other)
        return other.id

    @staticmethod
    def age(progress: Progress, hours: float) -> Progress:
        """As if it had ended so long ago."""
        assert progress.finished is not None
        return replace(progress, finished=progress.finished - hours * 3600)


def open_house(
    root: Path, *, limits: Limits | None = None, tokens: Tokens | None = None, gated: bool = False
) -> Iterator[House]:
    """The service for the length of a test."""
    gate = threading.Semaphore(0)
    table = JobTable(root / "results")
    engine = Engine("tiny", table, Shelf(loaded(data=TinyData(gate if gated else None))), device="cpu")
    link = LocalLink(engine)
    service = ForecastService(
        table=table,
        engines={"tiny": link},
        limits=limits or Limits(lead_steps=80),
        tokens=tokens or Tokens(),
        heartbeat_seconds=0.2,
    )
    with TestClient(create_app(service), raise_server_exceptions=False) as client:
        engine.start()
        house = House(client, service, table, link, gate, gated, [engine])
        try:
            yield house
        finally:
            house.let_go()
            for each in house.engines:
                each.stop()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """The service, open to everyone."""
    yield from open_house(tmp_path)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """The service with one forecast of a day that is done, for tests that only ask; no test changes it."""
    for house in open_house(tmp_path_factory.mktemp("shared")):
        house.made = house.begin()
        house.until(house.made)
        yield house


@pytest.fixture
def slow_house(tmp_path: Path) -> Iterator[House]:
    """The service with a queue of two, whose engine steps only when it is let go."""
    yield from open_house(tmp_path, limits=Limits(queue=2, lead_steps=80, body_bytes=1000), gated=True)


@pytest.fixture
def closed_house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    """The service for the holders of two tokens, alpha and beta."""
    monkeypatch.setenv("TINY_TOKENS", "alpha,beta")
    yield from open_house(tmp_path, tokens=Tokens.from_env("TINY_TOKENS"))
