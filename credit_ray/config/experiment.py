"""The whole config: one section per part of the house."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from credit_ray.config.data import DataConfig
from credit_ray.config.forecast import ForecastConfig, VerificationConfig
from credit_ray.config.model import ConstraintConfig, LossConfig, ModelConfig
from credit_ray.config.section import Section
from credit_ray.config.serving import ServingConfig
from credit_ray.config.training import Resources, TrainingConfig
from credit_ray.config.tuning import TuningConfig


class Tracking(Section):
    """MLflow."""

    uri: str | None = None
    """Tracking server or database; default: MLFLOW_TRACKING_URI, else sqlite in `output`."""
    experiment: str | None = None
    """Name of the MLflow experiment; default: the config's name."""


class RegistryConfig(Section):
    """The model registry."""

    name: str | None = None
    """Registered model name; default: the config's name."""
    alias: str = "candidate"
    """Alias that a newly trained version gets."""


class Experiment(Section):
    """One experiment, from data to served forecasts."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=100)
    """Of runs, results and the registered model."""
    seed: int = Field(default=0, ge=0)
    """Of every random number."""
    output: str = "runs"
    """Folder or URL under which all results go."""
    data: DataConfig
    """What is read."""
    model: ModelConfig = Field(default_factory=ModelConfig)
    """What is trained."""
    constraints: list[ConstraintConfig] = []
    """What each step must obey, applied in this order."""
    loss: LossConfig = Field(default_factory=LossConfig)
    """What it is judged by."""
    training: TrainingConfig = Field(default_factory=TrainingConfig)
    """The train loop."""
    resources: Resources = Resources()
    """What it runs on."""
    tuning: TuningConfig | None = None
    """A search over keys."""
    forecast: ForecastConfig = ForecastConfig()
    """Forecasts."""
    verification: VerificationConfig = VerificationConfig()
    """Scores."""
    serving: ServingConfig = ServingConfig()
    """The HTTP service."""
    tracking: Tracking = Tracking()
    """MLflow."""
    registry: RegistryConfig = RegistryConfig()
    """The model registry."""

    @model_validator(mode="after")
    def _lanes_divide_the_batch(self) -> Self:
        lanes, batch, workers = self.lanes, self.training.batch_size, self.resources.most_workers
        domain = self.resources.parallel.domain  # its workers share their windows
        if batch % lanes:
            divisors = [n for n in range(1, batch + 1) if batch % n == 0]
            raise ValueError(
                f"data.ingest.lanes is {lanes}, which does not divide training.batch_size = {batch}; these do: {divisors}"
            )
        if workers // domain > lanes:
            raise ValueError(
                f"resources.workers is {workers}, but only {lanes} lanes feed them: raise data.ingest.lanes (a divisor of training.batch_size)"
            )
        return self

    @property
    def lanes(self) -> int:
        """Lanes of the reading plan."""
        batch = self.training.batch_size
        return self.data.ingest.lanes or max(n for n in range(1, 5) if batch % n == 0)

    @property
    def model_name(self) -> str:
        """Name in the registry."""
        return self.registry.name or self.name
