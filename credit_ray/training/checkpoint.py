"""What is saved, and how it comes back: the trainer's state and, beside it, the package that its averaged weights make.

A checkpoint is written to a folder of its own; Ray Train moves it into the run's storage in the background and records it only once it is
whole. It is read with `weights_only`: tensors and plain values, nothing that runs.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import torch

from credit_ray.training.trainer import Trainer

_STATE = "trainer.pt"
PACKAGE = "package"
RAY_RUN = "checkpoints"
"""Name of the Ray Train run inside a run's folder."""


def write_checkpoint(trainer: Trainer) -> Path:
    """Save the trainer's state into a new temporary folder."""
    folder = Path(tempfile.mkdtemp(prefix="checkpoint-"))
    torch.save(trainer.state_dict(), folder / _STATE)
    return folder


def restore(trainer: Trainer) -> int:
    """Go on from the newest checkpoint of this run, if there is one.

    Returns
    -------
    int
        The global step to go on with.
    """
    import ray.train

    checkpoint = ray.train.get_checkpoint()
    if checkpoint is None:
        return 0
    with checkpoint.as_directory() as folder:
        state = torch.load(Path(folder) / _STATE, map_location=trainer.workers.device, weights_only=True)
    trainer.load_state_dict(state)
    return trainer.step


def newest_step(run_directory: str) -> int:
    """Global step that the newest recorded checkpoint of a run goes on with; 0 without one.

    Read by the controller each time it starts workers, so that the readers start where the weights do.
    """
    snapshot = Path(run_directory) / RAY_RUN / "checkpoint_manager_snapshot.json"
    if not snapshot.exists():
        return 0
    newest: dict[str, Any] | None = json.loads(snapshot.read_text()).get("latest_checkpoint_result")
    return int(newest["metrics"]["global_step"]) if newest else 0
