"""The plan of an experiment, and what it says before anything is read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from credit_ray.config.experiment import Experiment
from credit_ray.data.dataset import Dataset, open_dataset
from credit_ray.data.plan import Plan, total_steps
from credit_ray.data.runs import Segments
from credit_ray.errors import ConfigError


def training_plan(experiment: Experiment, dataset: Dataset, detours: tuple[int, ...] = ()) -> Plan:
    """The order in which an experiment trains on its data; another one from the epochs in `detours` on.

    Raises
    ------
    DataError
        Where the training period has no window.
    ConfigError
        Where a window does not fit into a slab.
    """
    start, stop = dataset.span(dataset.period("train"))
    times, ingest = dataset.times[start:stop], experiment.data.ingest
    adjacent = dataset.spec.step.between(times[:-1], times[1:], dataset.spec.calendar) == 1
    slab_states = ingest.slab_bytes // dataset.state_bytes
    if slab_states < 2:
        raise ConfigError(
            f"data.ingest.slab_bytes is {ingest.slab_bytes:,}, but two states take {2 * dataset.state_bytes:,}."
        )
    plan = Plan(
        segments=Segments.of(start, adjacent),
        batch_size=experiment.training.batch_size,
        lanes=experiment.lanes,
        stages=tuple((stage.epoch, dataset.spec.history + stage.steps) for stage in experiment.training.curriculum),
        slab_states=slab_states,
        seed=experiment.seed,
        chunk=dataset.time_chunk,
        shuffle_slabs=ingest.shuffle_slabs,
        detours=detours,
    )
    for epoch, _ in plan.stages:
        plan.steps(epoch)  # raises where there is no window
    return plan


def training_steps(experiment: Experiment, plan: Plan) -> int:
    """Global steps of the whole training."""
    return total_steps(plan, experiment.training.max_epochs, experiment.training.max_steps)


@dataclass(frozen=True)
class PlanReport:
    """What a training will read, in numbers."""

    times: int
    gaps: int
    windows_per_epoch: int
    steps_per_epoch: int
    total_steps: int
    slabs_per_epoch: int
    slab_states: int
    slab_megabytes: float
    open_slabs_megabytes: float
    megabytes_per_epoch: float
    read_amplification: float
    lanes: int
    bands: int = 1
    band_decodes: float = 1.0

    def __str__(self) -> str:
        return (
            f"{self.times} times in {self.gaps + 1} stretch{'es' * (self.gaps > 0)} → {self.windows_per_epoch} windows an epoch, "
            f"{self.steps_per_epoch} steps; {self.total_steps} steps in all.\n"
            f"{self.slabs_per_epoch} slabs of up to {self.slab_states} states ({self.slab_megabytes:.1f} MB) on {self.lanes} lanes; "
            f"about {self.open_slabs_megabytes:.0f} MB of slabs open at a time.\n"
            f"{self.megabytes_per_epoch:.0f} MB an epoch, each time decoded {self.read_amplification:.2f}×."
            + f"\n{self.bands} bands of latitude, read apart: each chunk is decoded about {self.band_decodes:.2f}×."
            * (self.bands > 1)
        )


def run_plan(experiment: Experiment) -> PlanReport:
    """Plan without reading fields."""
    dataset = open_dataset(experiment.data)
    plan = training_plan(experiment, dataset)
    slabs = [slab for lane in plan.order(0) for slab in lane.slabs]
    largest = max(slab.states for slab in slabs)
    megabyte = dataset.state_bytes / 1e6
    bands = experiment.resources.parallel.domain
    bounds = np.linspace(0, dataset.spec.grid.shape[0], bands + 1).round().astype(int).tolist()
    return PlanReport(
        times=int((plan.segments.stop - plan.segments.start).sum()),
        gaps=len(plan.segments.start) - 1,
        windows_per_epoch=plan.segments.windows(plan.length(0)),
        steps_per_epoch=plan.steps(0),
        total_steps=training_steps(experiment, plan),
        slabs_per_epoch=len(slabs),
        slab_states=largest,
        slab_megabytes=largest * megabyte,
        open_slabs_megabytes=largest * megabyte * min(plan.lanes * (plan.shuffle_slabs + 1), len(slabs)),
        megabytes_per_epoch=float(np.sum([slab.states for slab in slabs])) * dataset.read_bytes / 1e6,
        read_amplification=plan.read_amplification(0),
        bands=bands,
        band_decodes=dataset.decodes(bounds),
        lanes=plan.lanes,
    )
