"""`run_forecast`: an experiment's forecasts, from a registered model to a store; in this process, or by Ray tasks."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

import credit_ray
from credit_ray.cluster import has_gpus, ray_session
from credit_ray.config.experiment import Experiment
from credit_ray.data.dataset import Dataset, open_dataset
from credit_ray.forecasting.fill import fill, forecast_layout
from credit_ray.forecasting.layout import kept_channels
from credit_ray.forecasting.request import kept_leads, refuse_uncovered, requested_inits
from credit_ray.forecasting.writer import ForecastStore, create_store
from credit_ray.package import load_package
from credit_ray.progress import shown_progress
from credit_ray.times import Times, format_time
from credit_ray.tracking.client import tracking_uri
from credit_ray.tracking.fetching import FetchedModel, fetch_model
from credit_ray.verification.leads import lead_argument, lead_text

if TYPE_CHECKING:
    from credit_ray.stepper import Stepper

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ForecastResult:
    """What was made.

    Parameters
    ----------
    store : str
        URL of the forecast store.
    model, version : str
        What made it.
    inits : tuple of str
        Initial times.
    lead, lead_argument : str
        How far, for people and for commands: `5 d`, `5d`.
    steps : int
        Of the model, in each forecast.
    resumed : int
        Forecasts that were there already.
    seconds : float
        Of computing and writing.
    run_id : str
        In MLflow.
    channel : str
        One that the store holds, for the command that plots it.
    """

    store: str
    model: str
    version: str | None
    inits: tuple[str, ...]
    lead: str
    lead_argument: str
    steps: int
    resumed: int
    seconds: float
    run_id: str
    channel: str

    def __str__(self) -> str:
        count, made = len(self.inits), len(self.inits) - self.resumed
        version = f" version {self.version}" if self.version else ""
        span = self.inits[0] if count == 1 else f"{self.inits[0]} … {self.inits[-1]}"
        speed = (
            f"{made * self.steps / self.seconds:.0f} steps/s" if made and self.seconds > 0 else "nothing was left to do"
        )
        kept = f", {self.resumed} of them were there already" if self.resumed else ""
        return (
            f"{count} forecast{'s' * (count != 1)} over {self.lead} with {self.model}{version}, from {span}{kept}: "
            f"{self.seconds:.1f} s, {speed}.\n"
            f"  store    {self.store}\n"
            f"  read     python -c \"import xarray; print(xarray.open_zarr('{self.store}'))\"\n"
            f"  verify   credit-ray verify {self.store} --data CONFIG\n"
            f"  plot     credit-ray plot {self.store} --variable {self.channel} --lead {self.lead_argument} --out {self.channel}.png"
        )


def run_forecast(experiment: Experiment) -> ForecastResult:
    """Make the forecasts that `forecast:` asks for.

    A store that was left unfinished by the same model, data and request is gone on with: what is whole is kept.

    Raises
    ------
    CreditRayError
        For what is wrong with model, data, times or the place of the store, before anything starts.
    """
    from credit_ray.tracking.runs import start_run

    config = experiment.forecast
    fetched = fetch_model(
        config.model or f"models:/{experiment.model_name}@{experiment.registry.alias}", tracking_uri(experiment)
    )
    stepper, dataset = _opened(experiment, fetched)
    spec = stepper.spec
    steps = spec.step.count_in(config.lead)
    inits = requested_inits(config, dataset, steps)
    refuse_uncovered(dataset, inits, steps)
    channels = kept_channels(spec.outputs, config.output.variables, config.output.levels)
    leads = kept_leads(steps, config.output.every, config.output.initial)
    tags = {"model": fetched.uri, "model_digest": fetched.digest}
    with start_run(experiment, stage="forecast", dataset=dataset, tags=tags) as run:
        url = config.output.store or run.path("forecast.zarr")
        run.set_tags(forecast=url)
        layout = forecast_layout(stepper, channels, inits, leads)
        store = create_store(url, layout, _lineage(fetched, run.lineage, inits, experiment))
        todo = _unfinished(store, _batches(range(len(inits)), config.batch_size))
        count = sum(map(len, todo))
        started = time.monotonic()
        try:
            with shown_progress("forecasting", "lead times") as show:
                if min(experiment.resources.most_workers, len(todo)) > 1:
                    made = _by_ray(experiment, fetched, store, todo)
                else:
                    made = (
                        len(batch) for batch in todo for step in fill(stepper, dataset, store, batch) if step in leads
                    )
                for done in accumulate(made):
                    show(done, count * len(leads))
        except BaseException:
            log.warning("%s is not complete; the same with forecast.output.store=%s goes on with it", url, url)
            raise
        store.finish()
        seconds = time.monotonic() - started
        run.log_metrics({"forecast/seconds": seconds, "forecast/steps_per_second": count * steps / max(seconds, 1e-9)})
    return ForecastResult(
        store=url,
        model=fetched.name or str(fetched.directory),
        version=fetched.version,
        inits=tuple(format_time(t, spec.calendar) for t in inits),
        lead=lead_text(steps, spec.step),
        lead_argument=lead_argument(leads[-1], spec.step),
        steps=steps,
        resumed=len(inits) - count,
        seconds=seconds,
        run_id=run.run_id,
        channel=channels[0].name,
    )


def _opened(experiment: Experiment, fetched: FetchedModel) -> tuple[Stepper, Dataset]:
    stepper = load_package(fetched.directory, digest=fetched.digest).stepper
    return stepper, open_dataset(experiment.data).for_model(stepper.spec)


def _batches(inits: Sequence[int], size: int) -> list[list[int]]:
    """Always the same ones, so that a forecast shares its batch with the same others whether or not it was interrupted."""
    return [list(inits[i : i + size]) for i in range(0, len(inits), size)]


def _unfinished(store: ForecastStore, batches: Sequence[Sequence[int]]) -> list[Sequence[int]]:
    missing = set(store.unfinished())
    return [batch for batch in batches if not missing.isdisjoint(batch)]


def _by_ray(
    experiment: Experiment, fetched: FetchedModel, store: ForecastStore, batches: Sequence[Sequence[int]]
) -> Iterator[int]:
    """The same by Ray tasks, each of which opens model and data itself and writes its own chunks; yields lead times as they are written."""
    resources = experiment.resources
    workers = min(resources.most_workers, len(batches))
    with ray_session(resources):
        import ray

        gpus = (1.0 if has_gpus() else 0.0) if resources.gpus_per_worker == "auto" else resources.gpus_per_worker
        cpus = 1.0 if resources.cpus_per_worker == "auto" else resources.cpus_per_worker
        task = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=3)(_fill_all)
        waiting = [task.remote(experiment, fetched, store, batches[k::workers], cpus) for k in range(workers)]
        written = int(store.steps_written().sum())
        while waiting:
            finished, waiting = ray.wait(waiting, timeout=1.0)
            ray.get(finished)
            now = int(store.steps_written().sum())
            yield max(now - written, 0)
            written = max(now, written)


def _fill_all(
    experiment: Experiment,
    fetched: FetchedModel,
    store: ForecastStore,
    batches: Sequence[Sequence[int]],
    cpus: float,
) -> None:
    """One task. If its process dies, it is begun again elsewhere, and keeps what is whole."""
    import torch

    torch.set_num_threads(max(int(cpus), 1))
    if not Path(fetched.directory).exists():  # another machine than the driver's
        fetched = fetch_model(fetched.uri, tracking_uri(experiment))
    stepper, dataset = _opened(experiment, fetched)
    for batch in _unfinished(store, batches):
        for _ in fill(stepper, dataset, store, batch):
            pass


def _lineage(fetched: FetchedModel, run: Mapping[str, Any], inits: Times, experiment: Experiment) -> dict[str, Any]:
    """Attributes of the store."""
    attribution = "; ".join(
        f"{name}: {', '.join(map(str, said.values()))}" for name, said in run["attribution"].items()
    )
    return {
        "title": f"Forecasts of {experiment.name}",
        **fetched.lineage(),
        **{key: run[key] for key in ("data_digest", "code_revision", "config_digest")},
        "forecast_run_id": run["run_id"],
        "attribution": attribution or None,
        "software": f"credit_ray {credit_ray.__version__}",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
