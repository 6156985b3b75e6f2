"""Rank 0's words: metrics to the spool, progress to the board. On other ranks it only keeps time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from credit_ray.data.plan import Plan
from credit_ray.tracking.spool import MetricSpool
from credit_ray.training.parallel import Workers
from credit_ray.training.progress import BoardWriter
from credit_ray.training.trainer import StepReport, Trainer
from credit_ray.training.validation import Scores

if TYPE_CHECKING:
    from credit_ray.training.loop import Job

DETAIL_EVERY = 50
"""Optimiser steps between two looks at each variable's own loss, which cost a step forward."""


class TrainLog:
    """What a training tells while it runs.

    Parameters
    ----------
    job : Job
        Where to.
    total, start : int
        Steps in all, and the one that it goes on with.
    """

    def __init__(self, job: Job, workers: Workers, plan: Plan, total: int, start: int) -> None:
        self.plan, self.total, self.epochs = plan, total, plan.locate(total - 1)[0] + 1
        self.batch_size = job.experiment.training.batch_size
        self._saving = job.experiment.training.checkpoint
        self.spool = self.board = None
        if workers.rank == 0:
            self.spool = MetricSpool(job.run_directory, run_id=job.run_id, tracking_uri=job.tracking_uri)
            self.board = BoardWriter(job.board)
        self._saved = self._begun = time.monotonic()
        self._start = self._saved_step = start

    def checkpoint_is_due(self, step: int) -> bool:
        """By minutes, or by steps."""
        every = self._saving.every_steps
        late = (time.monotonic() - self._saved) / 60 > self._saving.every_minutes
        return late or (every is not None and step - self._saved_step >= every)

    def checkpointed(self, step: int) -> None:
        """From here on it is counted anew."""
        self._saved, self._saved_step = time.monotonic(), step

    def step(self, trainer: Trainer, report: StepReport, reading: dict[str, float]) -> None:
        """One optimiser step."""
        if self.spool is None or self.board is None:
            return
        rate = (trainer.step - self._start) * self.batch_size / (time.monotonic() - self._begun)
        metrics = {
            "train/loss": report.loss,
            "train/gradient_norm": report.gradient_norm,
            "train/learning_rate": report.learning_rate,
            "train/rollout_steps": float(report.rollout_steps),
            "train/windows_per_second": rate,
            "train/skipped_steps": float(trainer.guard.left_out),
        }
        for name, (correction, residual) in report.budgets.items():
            metrics |= {f"train/budget/{name}/correction": correction, f"train/budget/{name}/residual": residual}
        parts = {f"time/{name}_seconds": seconds for name, seconds in trainer.timer.seconds().items()}
        self.spool.log(metrics | parts | reading, step=trainer.step)
        epoch, _ = self.plan.locate(trainer.step - 1)
        self.board.post(
            step=trainer.step,
            epoch=epoch,
            epochs=self.epochs,
            loss=report.loss,
            samples_per_second=rate,
            waiting=reading["data/wait_fraction"],
        )

    def losses(self, step: int, by_variable: dict[str, float]) -> None:
        """The loss of each variable."""
        if self.spool is not None:
            self.spool.log({f"train/loss/{name}": value for name, value in by_variable.items()}, step=step)

    def scores(self, step: int, scores: Scores) -> None:
        """A validation."""
        if self.spool is None or self.board is None:
            return
        self.spool.log(scores.metrics(), step=step)
        self.board.post(score=scores.score)

    def close(self) -> None:
        """Send what is left."""
        if self.spool is not None:
            self.spool.close()
