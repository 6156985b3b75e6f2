"""Which checkpoint is gone on with: the newest that is what was written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from credit_ray.config.training import TrainingConfig
from credit_ray.losses.arguments import PointwiseArguments
from credit_ray.losses.pointwise import MeanSquaredError
from credit_ray.state import StateSpec
from credit_ray.stepper import Stepper
from credit_ray.training.checkpoint import RAY_RUN, newest_checkpoint, restore, write_checkpoint
from credit_ray.training.parallel import Workers
from credit_ray.training.trainer import Trainer

MakeTrainer = Callable[[], Trainer]


@pytest.fixture
def make_trainer(spec: StateSpec, alone: Workers, make_stepper: Callable[..., Stepper]) -> MakeTrainer:
    def make() -> Trainer:
        loss = MeanSquaredError(PointwiseArguments(), torch.ones(2, *spec.grid.shape))
        return Trainer(make_stepper(), loss, TrainingConfig(), 20, 3, alone)

    return make


@pytest.fixture
def run(tmp_path: Path, make_trainer: MakeTrainer) -> Path:
    """A run's folder with checkpoints of steps 5 and 9, recorded as Ray Train does it."""
    root, recorded = tmp_path / RAY_RUN, []
    for step in (5, 9):
        trainer = make_trainer()
        trainer.step = step
        root.mkdir(exist_ok=True)
        written = write_checkpoint(trainer)
        assert written is not None
        shutil.move(written, root / f"step-{step}")
        recorded.append({"checkpoint_dir_name": f"step-{step}", "metrics": {"global_step": step}})
    (root / "checkpoint_manager_snapshot.json").write_text(json.dumps({"checkpoint_results": recorded[::-1]}))
    return tmp_path


def test_without_checkpoints_training_starts_at_the_beginning(tmp_path: Path, make_trainer: MakeTrainer) -> None:
    assert newest_checkpoint(str(tmp_path)) is None
    assert restore(make_trainer(), str(tmp_path)) == 0


def test_the_newest_is_gone_on_with(run: Path, make_trainer: MakeTrainer) -> None:
    assert restore(make_trainer(), str(run)) == 9


@pytest.mark.parametrize("harm", ["a changed byte", "cut short", "no file", "no digest"])
def test_a_damaged_one_is_passed_over_and_said(
    run: Path, make_trainer: MakeTrainer, harm: str, caplog: pytest.LogCaptureFixture
) -> None:
    state = run / RAY_RUN / "step-9" / "trainer.pt"
    if harm == "a changed byte":
        data = bytearray(state.read_bytes())
        data[len(data) // 2] ^= 1
        state.write_bytes(data)
    elif harm == "cut short":
        state.write_bytes(state.read_bytes()[:-100])
    else:
        (state if harm == "no file" else state.with_name("trainer.sha256")).unlink()
    assert restore(make_trainer(), str(run)) == 5
    assert "step-9 is damaged" in caplog.text
