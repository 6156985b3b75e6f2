"""One worker's life: from a checkpoint, or from nothing, to the last step."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch

from credit_ray.config.experiment import Experiment
from credit_ray.data.dataset import Dataset
from credit_ray.data.ingest import WindowLoader, local_slabs, received_slabs
from credit_ray.data.plan import Plan
from credit_ray.data.plan_report import training_plan, training_steps
from credit_ray.data.statistics import Statistics
from credit_ray.losses.pointwise import Loss
from credit_ray.losses.weights import loss_weights
from credit_ray.models.network import ClosedForm
from credit_ray.package import save_package
from credit_ray.registry import losses
from credit_ray.state import StateSpec, Window
from credit_ray.stepper import Stepper, build_stepper
from credit_ray.times import Times
from credit_ray.tracking.spool import MetricSpool
from credit_ray.training.checkpoint import PACKAGE, restore, write_checkpoint
from credit_ray.training.parallel import Workers
from credit_ray.training.progress import BoardWriter
from credit_ray.training.trainer import StepReport, Trainer
from credit_ray.training.validation import Scores, validate


@dataclass(frozen=True, kw_only=True)
class Job:
    """What the driver hands to every worker.

    Parameters
    ----------
    experiment : Experiment
        The config.
    dataset, statistics : Dataset, Statistics
        Opened and computed by the driver.
    reader : {"ray", "local"}
        Who reads.
    validation_inits : Times
        Initial times to validate from; may be empty.
    validation_lead : int
        Steps.
    run_id, run_directory, tracking_uri : str
        Where metrics go.
    lineage : mapping
        Of the packages that it makes.
    board : actor
        Where progress is shown.
    """

    experiment: Experiment
    dataset: Dataset
    statistics: Statistics
    reader: str
    validation_inits: Times
    validation_lead: int
    run_id: str
    run_directory: str
    tracking_uri: str
    lineage: dict[str, Any]
    board: Any


def train_worker(job: Job) -> None:
    """Run by Ray Train on every worker."""
    training, threads = job.experiment.training, job.experiment.resources.threads
    workers = Workers.here(None if threads == "auto" else threads)
    stepper = new_stepper(job.experiment, job.dataset, job.statistics).to(workers.device)
    plan = training_plan(job.experiment, job.dataset)
    total = training_steps(job.experiment, plan)
    trainer = Trainer(stepper, build_loss(job.experiment, stepper), training, total, job.experiment.seed, workers)
    start = restore(trainer)
    log = _Log(job, workers, plan, total, start)
    if isinstance(stepper.network, ClosedForm):
        _solve(stepper, stepper.network, _loader(job, plan, workers, 0, plan.steps(0)), workers)
        trainer.step = total
        _end_epoch(job, trainer, plan.locate(total - 1)[0], log)
    else:
        loader = _loader(job, plan, workers, start, total)
        for window in loader:
            epoch, step = plan.locate(trainer.step)
            window = window.to(workers.device)
            report = trainer.update(window, training.stage(epoch))
            log.step(trainer, report, loader.statistics.metrics(), window)
            if step + 1 == plan.steps(epoch) or trainer.step == total:
                _end_epoch(job, trainer, epoch, log)
            elif workers.any(log.minutes_since_checkpoint > training.checkpoint.every_minutes):
                _checkpoint(job, trainer, epoch, None, log)
    log.close()


def new_stepper(experiment: Experiment, dataset: Dataset, statistics: Statistics) -> Stepper:
    """The stepper that this experiment trains, with fresh weights."""
    return build_stepper(experiment, dataset.spec, statistics, torch.tensor(dataset.statics()))


def build_loss(experiment: Experiment, stepper: Stepper) -> Loss:
    """The loss of the config, with its weights by place and channel, on the stepper's device."""
    spec, weights = stepper.spec, experiment.loss.weights
    area = torch.from_numpy(spec.grid.area_weights()).float() if weights.latitude else None
    mask = stepper.normalizer.output_mask
    field = loss_weights(
        area=area,
        channels=channel_weights(weights.variables, spec),
        mask=None if mask is None else mask.cpu(),
        grid=spec.grid.shape,
    )
    return losses.target(experiment.loss.kind)(experiment.loss.arguments, field.to(stepper.statics.device))


def channel_weights(by_name: dict[str, float], spec: StateSpec) -> list[float]:
    """Weight of each output: by channel name, else by variable, else 1."""
    return [by_name.get(channel.name, by_name.get(channel.variable, 1.0)) for channel in spec.outputs]


def _loader(job: Job, plan: Plan, workers: Workers, start: int, total: int) -> WindowLoader:
    """This worker's part of every global step from `start` on."""
    epochs = plan.locate(total - 1)[0] + 1
    if job.reader == "ray":
        import ray.train

        shard = ray.train.get_dataset_shard("train")
        slabs = received_slabs(iter(shard.iter_batches(batch_size=None, batch_format="numpy", prefetch_batches=1)))
    else:
        slabs = local_slabs(job.dataset, plan, rank=workers.rank, of=workers.world, from_step=start, to_epoch=epochs)
    return WindowLoader(
        job.dataset,
        plan,
        slabs,
        rank=workers.rank,
        of=workers.world,
        from_step=start,
        to_step=total,
        prefetch=job.experiment.data.ingest.prefetch,
        pin=workers.device.type == "cuda",
    )


def _solve(stepper: Stepper, network: ClosedForm, windows: Iterable[Window], workers: Workers) -> None:
    """Fit a network that has a closed form: one pass over the training period, a sum over workers, a solution."""
    area = torch.from_numpy(stepper.spec.grid.area_weights()).float().to(workers.device)
    with torch.no_grad():
        for window in windows:
            if not len(window):
                continue
            window = window.to(workers.device)
            state, forcing = window.initial(), window.forcing(0)
            inputs = stepper.normalizer.pack(
                state.fields, torch.cat([state.forcing, forcing[:, None]], 1), stepper.statics
            )
            network.accumulate(inputs, stepper.normalizer.network_target(window.target(0), state.fields[:, -1]), area)
        for partial in network.partials():
            workers.sum_(partial)
        network.solve()


def _end_epoch(job: Job, trainer: Trainer, epoch: int, log: _Log) -> None:
    """Validate if it is due, and save."""
    scores = None
    due = (epoch + 1) % job.experiment.training.validation.every_epochs == 0 or trainer.step == trainer.total_steps
    if due and len(job.validation_inits):
        with trainer.averaged() as stepper:
            scores = validate(
                stepper,
                job.dataset,
                job.validation_inits,
                job.validation_lead,
                trainer.workers,
                job.experiment.training.batch_size,
            )
    _checkpoint(job, trainer, epoch, scores, log)


def _checkpoint(job: Job, trainer: Trainer, epoch: int, scores: Scores | None, log: _Log) -> None:
    """Save the trainer and the package that its averaged weights make; the upload goes on beside the next steps."""
    import ray.train
    from ray.train import Checkpoint, CheckpointUploadMode

    metrics: dict[str, Any] = {"global_step": trainer.step, "epoch": epoch, "epochs": log.epochs}
    if scores is not None:
        metrics |= scores.metrics()
        log.scores(trainer.step, scores)
    checkpoint = None
    if trainer.workers.rank == 0:
        folder = write_checkpoint(trainer)
        with trainer.averaged() as stepper:
            summary = {"steps": trainer.step, "epochs": epoch + 1, "skipped_steps": trainer.guard.left_out} | (
                scores.metrics() if scores else {}
            )
            save_package(stepper, folder / PACKAGE, summary=summary, lineage=job.lineage)
        checkpoint = Checkpoint.from_directory(str(folder))
    ray.train.report(
        metrics,
        checkpoint=checkpoint,
        checkpoint_dir_name=f"step-{trainer.step:08d}",
        checkpoint_upload_mode=CheckpointUploadMode.ASYNC,
        delete_local_checkpoint_after_upload=True,
    )
    log.checkpointed()


class _Log:
    """Rank 0's words: metrics to the spool, progress to the board. On other ranks it only keeps time."""

    def __init__(self, job: Job, workers: Workers, plan: Plan, total: int, start: int) -> None:
        self.plan, self.total, self.epochs = plan, total, plan.locate(total - 1)[0] + 1
        self.batch_size = job.experiment.training.batch_size
        self.spool = self.board = None
        if workers.rank == 0:
            self.spool = MetricSpool(job.run_directory, run_id=job.run_id, tracking_uri=job.tracking_uri)
            self.board = BoardWriter(job.board)
        self._saved = self._begun = time.monotonic()
        self._start = start

    @property
    def minutes_since_checkpoint(self) -> float:
        return (time.monotonic() - self._saved) / 60

    def checkpointed(self) -> None:
        self._saved = time.monotonic()

    def step(self, trainer: Trainer, report: StepReport, reading: dict[str, float]) -> None:
        if self.spool is None or self.board is None:
            return
        rate = (trainer.step - self._start) * self.batch_size / (time.monotonic() - self._begun)
        metrics = {
            "train/loss": report.loss,
            "train/gradient_norm": report.gradient_norm,
            "train/learning_rate": report.learning_rate,
            "train/windows_per_second": rate,
            "train/skipped_steps": float(trainer.guard.left_out),
        }
        self.spool.log(metrics | reading, step=trainer.step)
        epoch, _ = self.plan.locate(trainer.step - 1)
        self.board.post(step=trainer.step, epoch=epoch, epochs=self.epochs, loss=report.loss, samples_per_second=rate)

    def scores(self, step: int, scores: Scores) -> None:
        if self.spool is None or self.board is None:
            return
        self.spool.log(scores.metrics(), step=step)
        self.board.post(score=scores.score)

    def close(self) -> None:
        if self.spool is not None:
            self.spool.close()
