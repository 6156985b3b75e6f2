"""What is saved, and how it comes back: the trainer's state and, beside it, the package that its averaged weights make.

A checkpoint is written to a folder of its own; Ray Train moves it into the run's storage in the background and records it only once it is
whole. It holds the digest of the state, and is compared with it before it is used: where the newest is damaged, the one before it serves.
States are read with `weights_only`: tensors and plain values, nothing that runs.
"""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from credit_ray.training.trainer import Trainer

log = logging.getLogger(__name__)

_STATE = "trainer.pt"
_DIGEST = "trainer.sha256"
PACKAGE = "package"
RAY_RUN = "checkpoints"
"""Name of the Ray Train run inside a run's folder."""


@dataclass(frozen=True)
class SavedCheckpoint:
    """A checkpoint that is whole.

    Parameters
    ----------
    folder : Path
        Where it is.
    step : int
        Global step to go on with.
    """

    folder: Path
    step: int


def write_checkpoint(trainer: Trainer) -> Path | None:
    """Save the trainer's state, whole, into a new temporary folder: all workers call it together, and rank 0 writes."""
    import torch

    from credit_ray.training.sharding import gathered

    state = gathered(trainer.state_dict(), keep=trainer.workers.rank == 0)
    if trainer.workers.rank != 0:
        return None
    folder = Path(tempfile.mkdtemp(prefix="checkpoint-"))
    torch.save(state, folder / _STATE)
    (folder / _DIGEST).write_text(_sha256(folder / _STATE))
    return folder


def restore(trainer: Trainer, run_directory: str) -> int:
    """Go on from the newest whole checkpoint of this run, if there is one.

    Returns
    -------
    int
        The global step to go on with.
    """
    import torch

    newest = newest_checkpoint(run_directory)
    if newest is None:
        return 0
    trainer.load_state_dict(torch.load(newest.folder / _STATE, map_location=trainer.workers.device, weights_only=True))
    return trainer.step


def newest_checkpoint(run_directory: str) -> SavedCheckpoint | None:
    """The newest checkpoint of a run that is what it was when it was written.

    Asked by the controller each time it starts workers, and by the workers, so that readers start where the weights do.
    """
    root = Path(run_directory) / RAY_RUN
    snapshot = root / "checkpoint_manager_snapshot.json"
    if not snapshot.exists():
        return None
    known = json.loads(snapshot.read_text()).get("checkpoint_results") or []
    saved = [SavedCheckpoint(root / c["checkpoint_dir_name"], int(c["metrics"]["global_step"])) for c in known]
    for checkpoint in sorted(saved, key=lambda c: c.step, reverse=True):
        if damage := _damage(checkpoint.folder):
            log.warning("Checkpoint %s is damaged (%s): going on from the one before it", checkpoint.folder, damage)
        else:
            return checkpoint
    return None


def _damage(folder: Path) -> str | None:
    try:
        whole = _sha256(folder / _STATE) == (folder / _DIGEST).read_text()
    except OSError as error:
        return error.strerror or type(error).__name__
    return None if whole else f"{_STATE} is not what was written"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
