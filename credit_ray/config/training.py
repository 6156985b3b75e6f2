"""`training:` and `resources:` how long, how fast, and on what."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from credit_ray.config.section import Section


class Optimizer(Section):
    """How a gradient becomes a step."""

    kind: Literal["adamw", "muon"] = "adamw"
    """`muon` orthogonalises the steps of matrices (dense layers, attention) and leaves all else to AdamW, at the same `lr`."""
    lr: float = Field(default=1e-3, gt=0)
    """Peak learning rate."""
    weight_decay: float = Field(default=1e-2, ge=0)
    """Decoupled weight decay, on matrices and kernels only."""
    betas: tuple[float, float] = (0.9, 0.95)
    """Decay of the first and second moments."""


class Schedule(Section):
    """The learning rate by step: a linear warm-up, then as `kind` says."""

    kind: Literal["cosine", "restarts", "constant", "plateau"] = "cosine"
    """Half a cosine to the end; the same in `cycles`; no change; or a `factor` less whenever validation has not improved for `patience`."""
    warmup: float = Field(default=0.05, ge=0, lt=1)
    """Part of all steps."""
    final: float = Field(default=0.0, ge=0, le=1)
    """`cosine`, `restarts`: learning rate at the end of a cosine. `plateau`: the least. Relative to the peak."""
    cycles: int = Field(default=4, ge=1)
    """`restarts`: cosines of equal length after the warm-up."""
    cycle_decay: float = Field(default=1.0, gt=0, le=1)
    """`restarts`: peak of each cosine relative to the one before."""
    patience: int = Field(default=3, ge=1)
    """`plateau`: validations without a better score before the rate falls."""
    factor: float = Field(default=0.3, gt=0, lt=1)
    """`plateau`: by how much it falls."""


class Stage(Section):
    """From this epoch on, windows have this many steps."""

    epoch: int = Field(ge=0)
    """First epoch of the stage, from 0."""
    steps: int = Field(ge=1)
    """Steps that the model is rolled out."""
    draw: Literal["fixed", "uniform"] = "fixed"
    """`uniform`: each optimiser step rolls out 1 to `steps` steps, drawn from the seed and its number."""


class Rollout(Section):
    """What a rollout of several steps teaches."""

    gradient: Literal["through", "detach"] = "through"
    """Back-propagation through the whole rollout, or through each step by itself, from the state that the model had come to."""
    loss: Literal["all", "last"] = "all"
    """The mean over all steps counts, or the last step alone; `detach` with `last` is the push-forward trick."""
    weights: list[float] = []
    """Of the steps, relative; further steps weigh as the last one given. Default: all the same."""
    recompute: bool = False
    """Keep only the states between the steps, and compute each step again for its gradient: a forward more, and the memory of one step."""
    noise: float = Field(default=0.0, ge=0)
    """Standard deviation of Gaussian noise on the first state's prognostic fields, in units of their one-step change's σ (their own, unless
    `model.residual`)."""

    @model_validator(mode="after")
    def _weights_count(self) -> Self:
        if self.weights and (min(self.weights) < 0 or not self.weights[-1] > 0):
            raise ValueError(f"weights are {self.weights}: none can be negative, and the last must be positive")
        if self.weights and self.loss == "last":
            raise ValueError("has weights, but only the last step counts: remove them, or set loss: all")
        return self


class Guard(Section):
    """What happens to steps that would ruin the weights: they are left out, and too many of them in a row end the training."""

    spike: float | None = Field(default=20.0, gt=1)
    """A loss so many times the median of the last hundred is a spike, whose step is left out; null: only what is not finite is."""
    patience: int = Field(default=20, ge=1)
    """Steps left out in a row before training goes back to the newest checkpoint and on with another order of the data."""
    rollbacks: int = Field(default=1, ge=0)
    """How often it goes back before it ends."""


class CheckpointConfig(Section):
    """When the training state is saved, and how much of it is kept."""

    every_minutes: float = Field(default=10.0, gt=0)
    """Longest time between two checkpoints; there is one at the end of each epoch as well."""
    every_steps: int | None = Field(default=None, ge=1)
    """One after so many steps, too."""
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
    beside: bool = False
    """In a Ray task of its own, on one more CPU (and GPU, where workers have one), while the workers train on."""


class TrainingConfig(Section):
    """The train loop."""

    batch_size: int = Field(default=16, ge=1)
    """Windows of one optimiser step, over all workers."""
    max_epochs: int | None = Field(default=None, ge=1)
    """Passes through the training period. Give this or max_steps; default 10 epochs."""
    max_steps: int | None = Field(default=None, ge=1)
    """Optimiser steps."""
    start_from: str | None = None
    """A trained model whose weights, and scales, training starts with: `models:/NAME@ALIAS`, or a package's folder. Channels may be added."""
    freeze: list[str] = []
    """Patterns of the network's parameters that are not trained, such as `encoder.*`."""
    accumulate: int = Field(default=1, ge=1)
    """Pieces in which a worker computes its part of a batch, one after another: less memory, the same gradient."""
    optimizer: Optimizer = Optimizer()
    """AdamW or Muon."""
    schedule: Schedule = Schedule()
    """Learning rate by step."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the network's arithmetic; `auto`: bfloat16 autocast on a GPU, float32 on a CPU."""
    compile: bool = False
    """Compile the network with torch.compile: slow to begin with, faster afterwards."""
    ema: float | None = Field(default=0.999, gt=0, lt=1)
    """Decay of the exponential moving average of the weights, which is validated and packaged; null for none."""
    clip: float | None = Field(default=1.0, gt=0)
    """Largest gradient norm; null for none."""
    curriculum: list[Stage] = Field(default=[Stage(epoch=0, steps=1)], min_length=1)
    """Length of the rollout by epoch."""
    rollout: Rollout = Rollout()
    """What counts in it, and what is differentiated."""
    guard: Guard = Guard()
    """Against steps that are not finite, and spikes."""
    checkpoint: CheckpointConfig = CheckpointConfig()
    """Saving."""
    validation: ValidationConfig = ValidationConfig()
    """Scoring while it trains."""
    max_failures: int = Field(default=3, ge=0)
    """How often training resumes by itself after a worker has died."""
    walltime: str | None = None
    """Time after which training saves itself and ends with exit code 75, to be gone on with: `11h30m`, counted from the start of the command."""

    @model_validator(mode="after")
    def _ends_once_and_starts_at_zero(self) -> Self:
        if self.max_epochs is not None and self.max_steps is not None:
            raise ValueError("has both max_epochs and max_steps: give one")
        if self.walltime is not None:
            self.walltime_seconds  # noqa: B018  raises where it can't be read
        if self.validation.beside and self.schedule.kind == "plateau":
            raise ValueError(
                "schedule.kind is plateau, which waits for each score, and validation.beside gives them later: choose one"
            )
        starts = [stage.epoch for stage in self.curriculum]
        if starts[0] != 0 or starts != sorted(set(starts)):
            raise ValueError(f"curriculum stages begin at epochs {starts}: the first must be 0, and they must ascend")
        return self

    @property
    def walltime_seconds(self) -> float | None:
        """Seconds of `walltime`."""
        if self.walltime is None:
            return None
        parts = re.fullmatch(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", self.walltime)
        if not parts or not any(parts.groups()):
            raise ValueError(f"walltime is '{self.walltime}': write it as 11h30m, 45m or 1d2h")
        days, hours, minutes, seconds = (int(n or 0) for n in parts.groups())
        return float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)

    def stage(self, epoch: int) -> Stage:
        """Of the curriculum, in that epoch."""
        return [stage for stage in self.curriculum if stage.epoch <= epoch][-1]


class Parallel(Section):
    """How training processes share the work: data × shard × domain of them, whose result is the same for any choice."""

    data: Literal["auto"] | int = "auto"
    """Replicas that compute other windows; `auto`: as many as `workers` gives."""
    shard: int = Field(default=1, ge=1)
    """Processes that compute other windows and keep a part of the weights, gradients and optimiser state each (FSDP2)."""
    domain: int = Field(default=1, ge=1)
    """Processes that share the same windows, a band of latitudes each."""


class Resources(Section):
    """What the work runs on; never changes its result."""

    workers: Annotated[int, Field(ge=1)] | tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] = 1
    """Training processes, or forecast tasks. `[2, 8]`: as many as there is room for, between the two; training goes on with more or fewer
    when nodes come and go."""
    parallel: Parallel = Parallel()
    """How training processes share the work."""
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

    @model_validator(mode="after")
    def _the_mesh_has_all_workers(self) -> Self:
        parallel, workers = self.parallel, self.workers
        group = parallel.shard * parallel.domain
        if isinstance(workers, tuple):
            if group > 1 or parallel.data != "auto":
                raise ValueError(
                    f"workers is {list(workers)}: their number can change only where each has the whole model (no resources.parallel)"
                )
            return self
        words = f"parallel.shard {parallel.shard} × parallel.domain {parallel.domain}"
        if parallel.data != "auto" and parallel.data * group != workers:
            raise ValueError(
                f"workers is {workers}, but parallel.data {parallel.data} × {words} are {parallel.data * group}"
            )
        if workers % group:
            raise ValueError(f"workers is {workers}, no multiple of {words}")
        return self

    @model_validator(mode="after")
    def _range_ascends(self) -> Self:
        if isinstance(self.workers, tuple) and self.workers[0] >= self.workers[1]:
            raise ValueError(f"workers is {list(self.workers)}: the first must be less than the second")
        return self

    @property
    def is_elastic(self) -> bool:
        """Whether the number of workers may change."""
        return isinstance(self.workers, tuple)

    @property
    def most_workers(self) -> int:
        """Their number, or the largest that it may be."""
        return self.workers[1] if isinstance(self.workers, tuple) else self.workers
