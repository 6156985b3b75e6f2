"""What a training asks of the cluster, and who reads."""

from __future__ import annotations

import logging
from typing import Any

from credit_ray.cluster import has_gpus
from credit_ray.config.experiment import Experiment
from credit_ray.data.dataset import Dataset
from credit_ray.data.plan import Plan
from credit_ray.errors import ClusterError

log = logging.getLogger(__name__)

_LARGEST_RAY_SLAB = 500_000_000


def scaling_config(experiment: Experiment) -> Any:
    """Ray Train's scaling config: so many workers, or as many as there is room for between two numbers, with their CPUs and GPUs."""
    import ray.train

    resources = experiment.resources
    gpus = (1.0 if has_gpus() else 0.0) if resources.gpus_per_worker == "auto" else resources.gpus_per_worker
    return ray.train.ScalingConfig(
        num_workers=resources.workers,  # type: ignore[arg-type]  # a range is missing from its annotation
        use_gpu=gpus > 0,
        resources_per_worker={"CPU": _cpus(experiment)} | ({"GPU": gpus} if gpus else {}),
    )


def choose_reader(experiment: Experiment, dataset: Dataset, plan: Plan) -> str:
    """Who reads: as configured, else Ray, unless slabs are too large for the object store, no CPU is left, or the number of workers may change.

    Raises
    ------
    ClusterError
        Where Ray is to read and could not: training would wait for ever.
    """
    asked, resources = experiment.data.ingest.reader, experiment.resources
    largest = max(slab.states for lane in plan.order(0) for slab in lane.slabs) * dataset.state_bytes
    free = _cpus_in_all() - resources.most_workers * _cpus(experiment)
    if asked == "ray" and resources.is_elastic:
        raise ClusterError(
            f"data.ingest.reader is 'ray', which deals slabs to a fixed number of workers, and resources.workers is {list(resources.workers)}. "  # type: ignore[arg-type]
            "Say data.ingest.reader: local, or one number of workers."
        )
    if asked == "ray" and free < 1:
        raise ClusterError(
            f"data.ingest.reader is 'ray', but {resources.most_workers} workers with {_cpus(experiment):g} CPUs each leave {free:g} to read with: "
            f"training would wait for ever. Lower resources.cpus_per_worker, or say data.ingest.reader: local."
        )
    if asked != "auto":
        return asked
    why = None
    if resources.is_elastic:
        why = "the number of workers may change"
    elif largest > _LARGEST_RAY_SLAB:
        why = f"slabs of {largest / 1e6:.0f} MB are large for the object store"
    elif free < 1:
        why = "the workers leave no CPU to read with"
    if why:
        log.info("Reading in the training processes: %s.", why)
    return "local" if why else "ray"


def _cpus(experiment: Experiment) -> float:
    asked = experiment.resources.cpus_per_worker
    return 1.0 if asked == "auto" else asked


def _cpus_in_all() -> float:
    import ray

    return ray.cluster_resources().get("CPU", 0)
