"""Validation in a task of its own, so that the workers never wait for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from credit_ray.config.experiment import Experiment
from credit_ray.data.dataset import Dataset
from credit_ray.errors import ClusterError
from credit_ray.times import Times

if TYPE_CHECKING:
    from ray.train import Checkpoint


@dataclass(frozen=True, kw_only=True)
class ValidationTask:
    """Called by Ray Train with each checkpoint that is to be validated, one at a time; what it gives joins the checkpoint's metrics.

    Parameters
    ----------
    dataset : Dataset
        What is compared with.
    init_times : Times
        To roll out from.
    lead_steps, batch_size : int
        How far; trajectories at a time.
    run_id, run_directory, tracking_uri : str
        Where scores go.
    """

    dataset: Dataset
    init_times: Times
    lead_steps: int
    batch_size: int
    run_id: str
    run_directory: str
    tracking_uri: str

    def __call__(self, checkpoint: Checkpoint, **kwargs: Any) -> dict[str, float]:
        step: int = kwargs["step"]
        import os
        from pathlib import Path

        import torch

        from credit_ray.package import load_package
        from credit_ray.tracking.spool import MetricSpool
        from credit_ray.training.checkpoint import PACKAGE
        from credit_ray.training.parallel import Workers
        from credit_ray.training.validation import validate

        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))  # it has one CPU
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        with checkpoint.as_directory() as folder:
            stepper = load_package(Path(folder) / PACKAGE).stepper.to(device)
        alone = Workers(0, 1, device)
        scores = validate(stepper, self.dataset, self.init_times, self.lead_steps, alone, self.batch_size).metrics()
        spool = MetricSpool(
            self.run_directory, run_id=self.run_id, tracking_uri=self.tracking_uri, name=f"validation-{step:08d}"
        )
        spool.log(scores, step=step)
        spool.close()
        return scores


def validation_config(experiment: Experiment, task: ValidationTask, gpus: float) -> Any:
    """For Ray Train: which task, with which resources; None where the workers validate themselves.

    Raises
    ------
    ClusterError
        Where no CPU is left for it: training would wait for it at its end, for ever.
    """
    import ray
    from ray.train import ValidationConfig

    if not experiment.training.validation.beside or not len(task.init_times):
        return None
    asked, resources = experiment.resources.cpus_per_worker, experiment.resources
    free = ray.cluster_resources().get("CPU", 0) - resources.most_workers * (1.0 if asked == "auto" else asked)
    if free < 2:
        raise ClusterError(
            f"training.validation.beside needs a CPU besides those of {resources.most_workers} workers and of a reader, and there are {free:g}. "
            "Lower resources.cpus_per_worker or resources.workers, or set it to false."
        )
    return ValidationConfig(fn=task, ray_remote_kwargs={"num_cpus": 1, "num_gpus": gpus})
