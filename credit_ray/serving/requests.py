"""What a caller may ask for: the fields, and nothing else."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class ForecastRequest(BaseModel):
    """The body of `POST /v1/forecasts`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)

    model: str = Field(examples=["sample"])
    """Name of a served model."""
    init_time: str = Field(examples=["2000-03-31T06:00"])
    """What it starts from: one of the model's initial times, ISO 8601, UTC."""
    lead: str = Field(examples=["10d"])
    """How far: `10d`, `12mo`, `40steps`."""
    variables: list[str] | None = Field(default=None, min_length=1)
    """Variables to keep; default: all that the model predicts."""
    levels: list[float] | None = Field(default=None, min_length=1)
    """Levels to keep, of variables that have some; default: all."""
    every: int = Field(default=1, ge=1)
    """Keep each so-many-th step."""


FIELDS = tuple(ForecastRequest.model_fields)
