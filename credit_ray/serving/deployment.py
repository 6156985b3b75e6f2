"""The service on Ray: one replica that answers HTTP, and for each model one that steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray import serve

from credit_ray.errors import ClusterError
from credit_ray.serving.app import create_app
from credit_ray.serving.auth import Tokens
from credit_ray.serving.engine import Engine
from credit_ray.serving.jobs import JobTable
from credit_ray.serving.loading import RegistrySource
from credit_ray.serving.metrics import EngineNumbers
from credit_ray.serving.served import ServedModel
from credit_ray.serving.service import ForecastService

if TYPE_CHECKING:
    from fastapi import FastAPI
    from ray.serve.handle import DeploymentHandle

    from credit_ray.config.serving import Limits

STREAMS = 1000  # requests that the API answers at a time: streams of events last as long as their forecasts


class EngineDeployment:
    """One served model.

    Parameters
    ----------
    source : RegistrySource
        Which.
    results : str
        Folder of the table; `mark` is a file in it, by which the engine knows that it sees the same folder as the API.
    threads : int, optional
        Of the arithmetic on the CPU.
    """

    def __init__(self, source: RegistrySource, results: str, mark: str, threads: int | None) -> None:
        if not (Path(results) / mark).exists():
            raise ClusterError(
                f"serving.results: {results} is not the same folder on all nodes. Choose one on a file system that they share."
            )
        if threads:
            import torch

            torch.set_num_threads(threads)
        self._engine = Engine(source.name, JobTable(Path(results)), source)
        self._engine.start()

    async def describe(self, known: str | None) -> ServedModel | None:
        return self._engine.describe(known)

    async def wake(self) -> None:
        self._engine.wake()

    async def numbers(self) -> EngineNumbers:
        return self._engine.numbers()

    def check_health(self) -> None:
        self._engine.check_health()

    def __del__(self) -> None:
        if engine := getattr(self, "_engine", None):
            engine.stop()


@dataclass(frozen=True)
class HandleLink:
    """An engine, as the API reaches it."""

    handle: DeploymentHandle

    async def describe(self, known: str | None) -> ServedModel | None:
        found: ServedModel | None = await self.handle.describe.remote(known)
        return found

    async def wake(self) -> None:
        await self.handle.wake.remote()

    async def numbers(self) -> EngineNumbers:
        found: EngineNumbers = await self.handle.numbers.remote()
        return found


class ApiDeployment:
    """The routes; one replica, since it alone accepts forecasts and knows the idempotency keys."""

    def __init__(self, engines: Mapping[str, DeploymentHandle], results: str, limits: Limits, tokens: Tokens) -> None:
        links = {name: HandleLink(handle) for name, handle in engines.items()}
        self._service = ForecastService(table=JobTable(Path(results)), engines=links, limits=limits, tokens=tokens)

    def __serve_build_asgi_app__(self) -> FastAPI:
        return create_app(self._service)


def application(
    sources: Mapping[str, RegistrySource],
    *,
    results: Path,
    mark: str,
    limits: Limits,
    tokens: Tokens,
    engine_options: Mapping[str, Any],
    threads: int | None,
) -> Any:
    """What `serve.run` runs."""
    engine = serve.deployment(
        ray_actor_options=dict(engine_options),
        max_ongoing_requests=100,
        health_check_period_s=1,
        graceful_shutdown_wait_loop_s=0.2,
        max_constructor_retry_count=3,
    )(EngineDeployment)
    api = serve.deployment(
        name="api",
        ray_actor_options={"num_cpus": 0.1},
        max_ongoing_requests=STREAMS,
        graceful_shutdown_wait_loop_s=0.2,
        graceful_shutdown_timeout_s=3,
    )(serve.ingress()(ApiDeployment))
    engines = {
        name: engine.options(name=f"engine-{name}").bind(source, str(results), mark, threads)
        for name, source in sources.items()
    }
    return api.bind(engines, str(results), limits, tokens)
