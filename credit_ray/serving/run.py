"""`run_serving`: from a config to a service that answers."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import socket
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from credit_ray.cluster import has_gpus, ray_session
from credit_ray.config.serving import ServedModel
from credit_ray.errors import ClusterError, ConfigError
from credit_ray.serving.auth import Tokens, refuse_open_door
from credit_ray.tracking.places import is_url, output_root

if TYPE_CHECKING:
    from credit_ray.config.experiment import Experiment

log = logging.getLogger(__name__)

APPLICATION = "credit-ray"
WATCH_SECONDS = 10.0
MOST_MISSED = 6


@dataclass(frozen=True, kw_only=True)
class ServingResult:
    """A service that answers.

    Parameters
    ----------
    url : str
        Where.
    models : dict
        Served models by name: the URI of each version.
    init_time : str
        One that the first model can start from.
    results : str
        Folder of the forecasts.
    tokens_env : str or None
        Environment variable that holds the accepted tokens.
    running : bool
        Whether it still answers.
    """

    url: str
    models: dict[str, str]
    init_time: str
    results: str
    tokens_env: str | None
    running: bool = True

    def __str__(self) -> str:
        if not self.running:
            return f"No longer serving at {self.url}. Forecasts are kept in {self.results}; those that are not done go on at the next start."
        name = next(iter(self.models))
        token = ' -H "Authorization: Bearer $TOKEN"' if self.tokens_env else ""
        opened = f"'{self.url}/v1/forecasts/ID/data.zarr'"
        if self.tokens_env:
            opened += ", storage_options={'headers': {'Authorization': 'Bearer …'}}"
        body = f'{{"model": "{name}", "init_time": "{self.init_time}", "lead": "8steps"}}'
        return "\n".join(
            [
                f"Serving {', '.join(self.models.values())} at {self.url}; forecasts are kept in {self.results}.",
                f"  what it can start from  curl{token} {self.url}/v1/models/{name}/initial-times",
                f"  ask for a forecast      curl{token} --json '{body}' {self.url}/v1/forecasts",
                f"  read it, as it grows    xarray.open_zarr({opened})",
                f"  all requests            {self.url}/docs",
            ]
        )


def run_serving(experiment: Experiment, *, block: bool = True) -> ServingResult:
    """Serve the experiment's models until this process gets SIGINT or SIGTERM.

    Parameters
    ----------
    experiment : Experiment
        Its section `serving`, the data that forecasts start from, and where its models are registered.
    block : bool
        False: return once it answers; `stop_serving` ends it.

    Raises
    ------
    ConfigError, ModelNotFoundError, PackageError, DataError, SpecMismatchError
        For what is wrong with config, models or data, before anything is started.
    ClusterError
        For a port that is taken, or a cluster that can't run the service.
    """
    if not block:
        return _open.enter_context(running_service(experiment))
    with running_service(experiment) as result:
        print(result, flush=True)
        _wait(result.url)
    return replace(result, running=False)


def stop_serving() -> None:
    """End what `run_serving(…, block=False)` started; forecasts that are not done go on when the service is started again."""
    _open.close()


_open = ExitStack()


@contextmanager
def running_service(experiment: Experiment) -> Iterator[ServingResult]:
    """The service, for the length of a `with` block."""
    from credit_ray.serving.loading import RegistrySource

    config = experiment.serving
    tokens = Tokens.from_env(config.auth.tokens_env)
    refuse_open_door(config.host, tokens)
    results = _results_folder(experiment)
    _refuse_taken_port(config.host, config.port)
    models = config.models or [ServedModel(name=experiment.model_name, alias=experiment.registry.alias)]
    sources = {model.name: RegistrySource(experiment, model.name, model.alias) for model in models}
    if len(sources) < len(models):
        raise ConfigError("serving.models names a model twice: its name is its URL, which can mean one version only.")
    checked = {name: source.check() for name, source in sources.items()}

    with ExitStack() as stack:
        mark = stack.enter_context(_marked(results))
        stack.enter_context(ray_session(experiment.resources))
        from ray import serve

        from credit_ray.serving.deployment import application

        if serve.status().proxies:
            raise ClusterError(
                "Ray Serve runs on this cluster already, and can listen in one place only. End it with 'serve shutdown', or take another cluster."
            )
        options, threads = _engine_options(experiment, len(sources))
        app = application(
            sources,
            results=results,
            mark=mark,
            limits=config.limits,
            tokens=tokens,
            engine_options=options,
            threads=threads,
        )
        logging.getLogger("ray.serve").setLevel(logging.WARNING)
        stack.callback(serve.shutdown)
        try:
            serve.start(proxy_location="HeadOnly", http_options={"host": config.host, "port": config.port})
            serve.run(app, name=APPLICATION, route_prefix="/")
        except RuntimeError as error:
            last = (str(error).strip() or "no details").splitlines()[-1]
            raise ClusterError(
                f"Ray Serve could not start the service: {last} Its logs are in /tmp/ray/session_latest/logs/serve."
            ) from error
        url = f"http://{_shown(config.host)}:{config.port}"
        if not _answers(url):
            raise ClusterError(
                f"The service was started, but does not answer at {url}. Its logs are in /tmp/ray/session_latest/logs/serve."
            )
        yield ServingResult(
            url=url,
            models={name: found.uri for name, found in checked.items()},
            init_time=next(iter(checked.values())).last_initial_time,
            results=str(results),
            tokens_env=config.auth.tokens_env,
        )


def _results_folder(experiment: Experiment) -> Path:
    """Absolute: the replicas have other working directories."""
    given = experiment.serving.results or f"{output_root(experiment.output)}/{experiment.name}/served"
    if is_url(given):
        raise ConfigError(
            f"serving.results: {given} is a URL; the service keeps its forecasts in a folder of a file system. Give one."
        )
    folder = Path(given).expanduser().absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"serving.results: {folder} can't be made: {error.strerror}.") from None
    return folder


@contextmanager
def _marked(folder: Path) -> Iterator[str]:
    """A file in the folder, by which other processes tell whether they see the same one."""
    mark = folder / f".service-{secrets.token_hex(4)}"
    mark.touch()
    try:
        yield mark.name
    finally:
        mark.unlink(missing_ok=True)


def _refuse_taken_port(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError as error:
            raise ClusterError(
                f"serving.port: {host}:{port} can't be listened on ({error.strerror}). Give another: --set serving.port={port + 1}."
            ) from None


def _engine_options(experiment: Experiment, engines: int) -> tuple[dict[str, Any], int | None]:
    """What Ray reserves for each engine, and the threads of its arithmetic (None: as torch has it, on a GPU)."""
    import ray

    resources = experiment.resources
    cpus = 1.0 if resources.cpus_per_worker == "auto" else resources.cpus_per_worker
    have = ray.cluster_resources()
    if engines * cpus + 0.1 > have.get("CPU", 0):
        raise ClusterError(
            f"{engines} engines of {cpus:g} CPUs do not fit on a cluster of {have.get('CPU', 0):g}: lower resources.cpus_per_worker."
        )
    auto = min(1.0, have.get("GPU", 0) / engines) if has_gpus() else 0.0
    gpus = auto if resources.gpus_per_worker == "auto" else resources.gpus_per_worker
    # a core is left to the API: threads that wait for each other on a crowded core are far slower than fewer threads
    shared = max((os.cpu_count() or 1) - 1, 1)
    threads = max(shared // engines, 1) if resources.threads == "auto" else resources.threads
    return {"num_cpus": cpus, "num_gpus": gpus}, threads if not gpus else None


def _shown(host: str) -> str:
    if host in ("0.0.0.0", "::"):
        return socket.gethostname()
    return f"[{host}]" if ":" in host else host


def _answers(url: str) -> bool:
    direct = urllib.request.build_opener(
        urllib.request.ProxyHandler({})
    )  # a site's web proxy does not know this machine
    try:
        with direct.open(f"{url}/healthz", timeout=10) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def _wait(url: str) -> None:
    """Until a signal, or until the service is gone."""
    stop = threading.Event()
    before = {s: signal.signal(s, lambda *_: stop.set()) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        missed = 0
        while not stop.wait(WATCH_SECONDS):
            missed = 0 if _answers(url) else missed + 1
            if missed == MOST_MISSED:
                raise ClusterError(
                    f"The service at {url} has not answered for {WATCH_SECONDS * MOST_MISSED:g} s: its cluster may be gone."
                )
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
