"""`tuning:` a search over any dotted keys of the config."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from credit_ray.config.section import Section


class Dimension(Section):
    """The values of one key: exactly one of these."""

    choice: list[Any] | None = Field(default=None, min_length=1)
    """One of these."""
    uniform: tuple[float, float] | None = None
    """Between, evenly."""
    loguniform: tuple[float, float] | None = None
    """Between, evenly in the logarithm."""
    randint: tuple[int, int] | None = None
    """Between, the upper end excluded."""

    @model_validator(mode="after")
    def _has_one_kind(self) -> Self:
        given = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"needs exactly one of choice, uniform, loguniform, randint; it has {given or 'none'}")
        if given[0] != "choice":
            low, high = getattr(self, given[0])
            if not low < high or (given[0] == "loguniform" and low <= 0):
                raise ValueError(
                    f"{given[0]}: [{low}, {high}] is empty" + (" or not positive" if given[0] == "loguniform" else "")
                )
        return self


class Scheduler(Section):
    """Which trials go on."""

    kind: Literal["asha", "none"] = "asha"
    """Asynchronous successive halving, or every trial to its end."""
    grace: int = Field(default=1, ge=1)
    """Validations that each trial gets."""
    reduction: int = Field(default=3, ge=2)
    """One in so many goes on at each rung."""


class TuningConfig(Section):
    """The search."""

    space: dict[str, Dimension] = Field(min_length=1)
    """Dotted key → its values."""
    metric: str = "validation/score"
    """What is compared: a metric of training's validation."""
    mode: Literal["min", "max"] = "min"
    """Better is lower, or higher."""
    trials: int = Field(default=10, ge=1)
    """How many."""
    concurrent: int | None = Field(default=None, ge=1)
    """Trials at a time; default: as many as the cluster has room for."""
    scheduler: Scheduler = Scheduler()
    """Early stopping."""
