"""`forecast:` and `verification:` from initial times to a store, and from stores to scores."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from credit_ray.config.section import Section


class InitRange(Section):
    """Evenly spaced initial times."""

    start: str
    """First."""
    end: str
    """Last, if it falls on one."""
    every: str
    """`6h`, `1D`, `1MS`."""


class ForecastOutput(Section):
    """The forecast store."""

    store: str | None = None
    """URL of the Zarr store to write; default: forecast.zarr beside the run's other results."""
    variables: list[str] | None = None
    """Variables to keep; default: all that the model predicts."""
    levels: list[float] | None = None
    """Levels to keep; default: all."""
    every: int = Field(default=1, ge=1)
    """Keep each so-many-th step."""
    initial: bool = False
    """Write the initial state too, at lead 0."""


class ForecastConfig(Section):
    """A set of forecasts."""

    model: str | None = None
    """`models:/name@alias`, `models:/name/3`, `runs:/…` or a package's folder; default: the experiment's own registered model."""
    inits: list[str] | InitRange | Literal["validation", "test"] = "test"
    """Initial times: a list, a range, or all of a split from which the whole lead has truth."""
    max_inits: int | None = Field(default=None, ge=1)
    """Of a split or range, take so many, evenly spread."""
    lead: str = "5d"
    """How far: `10d`, `12mo`, `40steps`."""
    batch_size: int = Field(default=16, ge=1)
    """Initial times that are rolled out together."""
    output: ForecastOutput = ForecastOutput()
    """What is written, and where."""


Metric = Literal["rmse", "bias", "acc"]
Baseline = Literal["persistence", "climatology"]


class VerificationConfig(Section):
    """Scores of a forecast store against the data."""

    forecast: str | None = None
    """The forecast store; default: forecast.output.store."""
    metrics: list[Metric] = Field(default=["rmse", "bias", "acc"], min_length=1)
    """Area-weighted scores by lead time."""
    baselines: list[Baseline] = ["persistence", "climatology"]
    """What a model must beat, scored on the same times."""
    budgets: bool = False
    """Measure what the forecasts hold of air, water, energy and tracers by lead time, too; `constraints` say what names of channels do not."""
    output: str | None = None
    """Folder for the tables, plots and page; default: `NAME.verification` beside the store `NAME.zarr`."""

    @model_validator(mode="after")
    def _no_repetition(self) -> Self:
        for name in ("metrics", "baselines"):
            if len(set(getattr(self, name))) < len(getattr(self, name)):
                raise ValueError(f"{name} names something twice")
        return self
