"""The whole path in minutes, with nothing but this package: simulated weather → model → forecast → scores."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from credit_ray.errors import ConfigError

if TYPE_CHECKING:
    from credit_ray.config.experiment import Experiment
    from credit_ray.training import TrainResult


@dataclass(frozen=True)
class QuickstartResult:
    """Where everything is.

    Parameters
    ----------
    scores : str
        The table.
    model, forecast, report, plot, tracking_uri : str
        What was made, and the database that knows of it.
    directory, config : str
        Where everything is, and the experiment that ran.
    seconds : float
        In all.
    """

    scores: str
    model: str
    forecast: str
    report: str
    plot: str
    tracking_uri: str
    directory: str
    config: str
    seconds: float

    def __str__(self) -> str:
        environment = " ".join(f"{name}={value}" for name, value in _environment(Path(self.directory)).items())
        return f"""
{self.scores}

All of it in {self.seconds:.0f} s. What there is to see{_once_activated()}:
  scores and plots   {self.report}
  one field          {self.plot}
  the forecast       python -c "import xarray; print(xarray.open_zarr('{self.forecast}'))"
  the model          credit-ray models list --tracking-uri {self.tracking_uri}
  all runs           mlflow ui --backend-store-uri {self.tracking_uri}
  serve it           {environment} credit-ray serve {self.config} --set serving.models='[{{name: sample, alias: candidate}}]'"""


def _once_activated() -> str:
    """How to make the commands known to the shell, where they are not."""
    commands = Path(sys.executable).parent
    if shutil.which("credit-ray") == str(commands / "credit-ray"):
        return ""
    return f" (after `source {os.path.relpath(commands / 'activate')}`)"


def sample_config() -> Path:
    """The experiment on the sample data: in the source tree, or in an installed package."""
    here = Path(__file__).parent
    for candidate in (here.parent / "configs/experiments/sample.yaml", here / "experiments/sample.yaml"):
        if candidate.exists():
            return candidate
    raise ConfigError("The sample experiment is missing from this installation: reinstall credit-ray.")


def run_quickstart(
    directory: str | Path, *, serve: bool = False, states: int = 1500, overrides: tuple[str, ...] = ()
) -> QuickstartResult:
    """Sample data → check → statistics → train → register → forecast → verify, all under one folder.

    Parameters
    ----------
    directory : path
        Made if it isn't there. What a first run left is used again where it still fits.
    serve : bool
        Serve the model at the end, until interrupted.
    states : int
        Six-hourly states of the sample.
    overrides : tuple of str
        `key=value` for the sample's config.
    """
    from credit_ray.cluster import ray_session
    from credit_ray.config.loader import load_experiment
    from credit_ray.config.paths import absolute_paths

    began = time.monotonic()
    directory = Path(directory)
    with _set(_environment(directory)):
        experiment = absolute_paths(load_experiment(sample_config(), list(overrides)), Path.cwd())
    with ray_session(experiment.resources):
        result = _whole_path(experiment, directory, states, began)
    if serve:
        from credit_ray.serving import run_serving

        print(result)
        run_serving(experiment)
    return result


def _whole_path(experiment: Experiment, directory: Path, states: int, began: float) -> QuickstartResult:
    from credit_ray.check import run_check
    from credit_ray.data.sample import write_sample
    from credit_ray.data.statistics import run_statistics
    from credit_ray.forecasting import run_forecast
    from credit_ray.verification import run_verification
    from credit_ray.verification.plot import plot_field

    _say(1, "simulating weather on the sphere")
    write_sample(directory / "sample.zarr", seed=experiment.seed, states=states)
    _say(2, "checking the experiment on real batches")
    print(run_check(experiment), file=sys.stderr)
    _say(3, "statistics of the training period")
    run_statistics(experiment)
    trained = _trained(experiment, directory)
    _say(5, f"forecasting with {trained.name} version {trained.version}")
    store = str(directory / "forecast.zarr")
    forecast_config = experiment.forecast.model_copy(
        update={
            "model": f"models:/{trained.name}/{trained.version}",
            "output": experiment.forecast.output.model_copy(update={"store": store}),
        }
    )
    verification_config = experiment.verification.model_copy(update={"output": str(directory / "verification")})
    experiment = experiment.model_copy(update={"forecast": forecast_config, "verification": verification_config})
    made = run_forecast(experiment)
    _say(6, "verifying against persistence and climatology")
    verified = run_verification(experiment)
    plot = directory / "forecast.png"
    step = experiment.data.step
    plot_field(made.store, "z", f"{min(step.count_in('3d'), step.count_in(experiment.forecast.lead))}steps", out=plot)
    return QuickstartResult(
        scores=verified.table,
        model=trained.package,
        forecast=made.store,
        report=verified.report,
        plot=str(plot),
        tracking_uri=trained.tracking_uri,
        directory=str(directory),
        config=os.path.relpath(sample_config()),
        seconds=time.monotonic() - began,
    )


def _trained(experiment: Experiment, directory: Path) -> TrainResult:
    """Train; or the model that an earlier quickstart trained here, if it is still what this config asks for."""
    from credit_ray.config.dump import science_digest
    from credit_ray.training import TrainResult, run_training

    record = directory / "trained.json"
    if record.exists():
        earlier = json.loads(record.read_text())
        if earlier["science"] == science_digest(experiment, "train") and Path(earlier["result"]["package"]).exists():
            _say(4, "training was done by an earlier quickstart")
            return TrainResult(**earlier["result"])
    _say(4, "training")
    trained = run_training(experiment)
    for outdated in ("forecast.zarr", "verification"):  # of another model, made by an earlier quickstart
        shutil.rmtree(directory / outdated, ignore_errors=True)
    record.write_text(json.dumps({"science": science_digest(experiment, "train"), "result": asdict(trained)}, indent=1))
    return trained


def _environment(directory: Path) -> dict[str, str]:
    """What the sample's config takes from the environment."""
    return {"CREDIT_RAY_SAMPLE": str(directory / "sample.zarr"), "CREDIT_RAY_OUTPUT": str(directory / "runs")}


@contextmanager
def _set(values: dict[str, str]) -> Iterator[None]:
    """These environment variables, for the length of a block."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _say(step: int, what: str) -> None:
    print(f"[{step}/6] {what}", file=sys.stderr, flush=True)
