"""Everything that can be found out before a cluster is asked for: config, data, one real optimiser step, and what the whole would cost."""

from __future__ import annotations

import resource
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from credit_ray.config.experiment import Experiment
from credit_ray.data.dataset import Dataset, open_dataset
from credit_ray.data.plan_report import PlanReport, run_plan, training_plan, training_steps
from credit_ray.data.statistics import Statistics, compute_statistics
from credit_ray.errors import ConfigError
from credit_ray.times import format_time

if TYPE_CHECKING:
    from credit_ray.state import Window
    from credit_ray.stepper import Stepper


@dataclass(frozen=True)
class CheckResult:
    """What a check found.

    Parameters
    ----------
    data : str
        What the data are.
    plan : PlanReport
        What training will read.
    network : str
        Its name.
    parameters : int
        Trainable weights.
    loss : float
        Of the first batch.
    step_seconds : float
        Of one optimiser step on this machine, in one process, with all of the global batch.
    training_hours : float
        All steps at that rate, shared among the workers.
    memory_gigabytes : float
        Most that this process held.
    """

    data: str
    plan: PlanReport
    network: str
    parameters: int
    loss: float
    step_seconds: float
    training_hours: float
    memory_gigabytes: float

    def __str__(self) -> str:
        return (
            f"data      {self.data}\n"
            f"plan      {str(self.plan).replace(chr(10), chr(10) + ' ' * 10)}\n"
            f"model     {self.network}, {self.parameters:,} parameters; loss of the first batch {self.loss:.4g}\n"
            f"cost      {self.step_seconds:.2f} s a step here, {self.memory_gigabytes:.1f} GB; about {self._duration()} in all on this kind of machine\n"
            f"All is well: credit-ray train will start."
        )

    def _duration(self) -> str:
        seconds = self.training_hours * 3600
        for limit, size, unit in ((120, 1, "seconds"), (7200, 60, "minutes")):
            if seconds < limit:
                return f"{seconds / size:.0f} {unit}"
        return f"{self.training_hours:.1f} hours"


def run_check(experiment: Experiment) -> CheckResult:
    """Open the data, take one optimiser step on one real batch, and change nothing.

    The batch is scaled by statistics of the first states only, so that a check of forty years is as quick as one of forty days.
    """
    import torch

    from credit_ray.data.ingest import WindowLoader, local_slabs
    from credit_ray.training.loop import build_loss, new_stepper
    from credit_ray.training.parallel import Workers
    from credit_ray.training.run import validation_inits
    from credit_ray.training.trainer import Trainer

    dataset = open_dataset(experiment.data)
    for split in ("train", "validation", "test"):
        if getattr(experiment.data.splits, split) is not None:
            dataset.span(dataset.period(split))
    plan = training_plan(experiment, dataset)
    validation_inits(experiment, dataset, plan)
    statistics = _quick_statistics(dataset, experiment.data.ingest.slab_bytes)
    stepper = new_stepper(experiment, dataset, statistics)
    workers = Workers(0, 1, torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    stepper.to(workers.device)
    total = training_steps(experiment, plan)
    loss = build_loss(experiment, stepper, statistics)
    trainer = Trainer(stepper, loss, experiment.training, total, experiment.seed, workers)
    slabs = local_slabs(dataset, plan, rank=0, of=1, from_step=0, to_epoch=1)
    loader = WindowLoader(dataset, plan, slabs, rank=0, of=1, from_step=0, to_step=min(2, total), prefetch=1)
    for window in loader:  # the second step, where there is one: the first also pays for warming up
        _refuse_implausible_budgets(stepper, window)
        began = time.perf_counter()
        report = trainer.update(window.to(workers.device))
        seconds = time.perf_counter() - began
    return CheckResult(
        data=dataset.describe(),
        plan=run_plan(experiment),
        network=experiment.model.network,
        parameters=sum(p.numel() for p in stepper.parameters() if p.requires_grad),
        loss=report.loss,
        step_seconds=seconds,
        training_hours=seconds * total / experiment.resources.most_workers / 3600,
        memory_gigabytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
    )


def _refuse_implausible_budgets(stepper: Stepper, window: Window) -> None:
    """What the constraints would count, counted in the data: a wrong sign shows here, not after a week."""
    if not len(window):
        return
    from credit_ray.state import Fields

    spec = stepper.spec
    window = window.to(stepper.statics.device)
    complaints = stepper.constraints.examine(
        Fields(window.target(0), spec.outputs),
        Fields(window.forcing(0), spec.forcing),
    )
    if complaints:
        raise ConfigError("constraints: " + " ".join(complaints))


def _quick_statistics(dataset: Dataset, slab_bytes: int, states: int = 64) -> Statistics:
    """Of the first states of the training period."""
    start, stop = dataset.span(dataset.period("train"))
    last = format_time(int(dataset.times[min(start + states, stop) - 1]), dataset.spec.calendar)
    splits = dataset.config.splits.model_copy(update={"train": (dataset.period("train")[0], last)})
    config = dataset.config.model_copy(update={"splits": splits})
    return compute_statistics(replace(dataset, config=config), slab_bytes=slab_bytes, reader="local")
