"""`training:` and `resources:` how long, how fast, and on what."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from credit_ray.config.section import Section


class Optimizer(Section):
    """AdamW."""

    lr: float = Field(default=1e-3, gt=0)
    """Peak learning rate."""
    weight_decay: float = Field(default=1e-2, ge=0)
    """Decoupled weight decay, on matrices and kernels only."""
    betas: tuple[float, float] = (0.9, 0.95)
    """Decay of the first and second moments."""


class Schedule(Section):
    """Linear warm-up, then half a cosine to `final` × lr at the last step."""

    warmup: float = Field(default=0.05, ge=0, lt=1)
    """Part of all steps."""
    final: float = Field(default=0.0, ge=0, le=1)
    """Learning rate at the end, relative to the peak."""


class Stage(Section):
    """From this epoch on, windows have this many steps."""

    epoch: int = Field(ge=0)
    """First epoch of the stage, from 0."""
    steps: int = Field(ge=1)
    """Steps that the model is rolled out, and back-propagated through."""


class CheckpointConfig(Section):
    """When the training state is saved, and how much of it is kept."""

    every_minutes: float = Field(default=10.0, gt=0)
    """Longest time between two checkpoints; there is one at the end of each epoch as well."""
    keep: int = Field(default=2, ge=1)
    """Checkpoints kept: the newest, and the best by validation among them."""


class ValidationConfig(Section):
    """Rollouts from the validation period, by the weights that will be packaged."""

    lead: str | None = None
    """How far; default: the longest stage of the curriculum, and at least one step."""
    inits: int = Field(default=24, ge=1)
    """Initial times, evenly spread over the period."""
    every_epochs: int = Field(default=1, ge=1)
    """How often."""


class TrainingConfig(Section):
    """The train loop."""

    batch_size: int = Field(default=16, ge=1)
    """Windows of one optimiser step, over all workers."""
    max_epochs: int | None = Field(default=None, ge=1)
    """Passes through the training period. Give this or max_steps; default 10 epochs."""
    max_steps: int | None = Field(default=None, ge=1)
    """Optimiser steps."""
    optimizer: Optimizer = Optimizer()
    """AdamW."""
    schedule: Schedule = Schedule()
    """Learning rate by step."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the network's arithmetic; `auto`: bfloat16 autocast on a GPU, float32 on a CPU."""
    ema: float | None = Field(default=0.999, gt=0, lt=1)
    """Decay of the exponential moving average of the weights, which is validated and packaged; null for none."""
    clip: float | None = Field(default=1.0, gt=0)
    """Largest gradient norm; null for none."""
    curriculum: list[Stage] = Field(default=[Stage(epoch=0, steps=1)], min_length=1)
    """Length of the rollout by epoch."""
    checkpoint: CheckpointConfig = CheckpointConfig()
    """Saving."""
    validation: ValidationConfig = ValidationConfig()
    """Scoring while it trains."""
    max_failures: int = Field(default=3, ge=0)
    """How often training resumes by itself after a worker has died."""

    @model_validator(mode="after")
    def _ends_once_and_starts_at_zero(self) -> Self:
        if self.max_epochs is not None and self.max_steps is not None:
            raise ValueError("has both max_epochs and max_steps: give one")
        starts = [stage.epoch for stage in self.curriculum]
        if starts[0] != 0 or starts != sorted(set(starts)):
            raise ValueError(f"curriculum stages begin at epochs {starts}: the first must be 0, and they must ascend")
        return self

    def rollout_steps(self, epoch: int) -> int:
        """Steps of the windows of that epoch."""
        return [stage.steps for stage in self.curriculum if stage.epoch <= epoch][-1]


class Resources(Section):
    """What the work runs on; never changes its result."""

    workers: int = Field(default=1, ge=1)
    """Training processes, or forecast tasks."""
    gpus_per_worker: Literal["auto"] | float = Field(default="auto")
    """`auto`: one where the cluster has GPUs."""
    cpus_per_worker: Literal["auto"] | float = Field(default="auto")
    """CPUs reserved for each worker; `auto`: one."""
    readers: Literal["auto"] | int = Field(default="auto")
    """Reading tasks at a time; `auto`: what the workers leave free."""
    threads: Literal["auto"] | int = Field(default="auto")
    """Threads of a worker's arithmetic on the CPU; `auto`: this machine's cores shared among its workers."""
    address: str | None = None
    """Address of the Ray cluster; default: RAY_ADDRESS, else a local one."""
