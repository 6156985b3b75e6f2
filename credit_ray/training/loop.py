"""One worker's life: from a checkpoint, or from nothing, to the last step."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from credit_ray.config.experiment import Experiment
from credit_ray.data.dataset import Dataset
from credit_ray.data.ingest import WindowLoader, local_slabs, received_slabs
from credit_ray.data.plan import Plan
from credit_ray.data.plan_report import training_plan, training_steps
from credit_ray.data.statistics import Statistics
from credit_ray.losses import build
from credit_ray.losses.loss import Loss
from credit_ray.models.network import ClosedForm
from credit_ray.package import load_package, save_package
from credit_ray.state import Window
from credit_ray.stepper import Stepper, build_stepper
from credit_ray.times import Times
from credit_ray.training.checkpoint import PACKAGE, restore, write_checkpoint
from credit_ray.training.detours import Detours
from credit_ray.training.fine_tuning import freeze, with_weights_of
from credit_ray.training.guard import DivergedError
from credit_ray.training.layout import Layout, parallelize
from credit_ray.training.log import DETAIL_EVERY, TrainLog
from credit_ray.training.parallel import Workers
from credit_ray.training.stopping import StopSign
from credit_ray.training.trainer import Trainer
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
        Where progress is shown, and whether to stop is asked.
    deadline : float, optional
        Seconds since 1970 at which to save and stop.
    start_from : str, optional
        Folder of the package whose weights training starts with.
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
    deadline: float | None = None
    start_from: str | None = None


def train_worker(job: Job) -> None:
    """Run by Ray Train on every worker."""
    training, threads = job.experiment.training, job.experiment.resources.threads
    workers = Workers.here(None if threads == "auto" else threads, job.experiment.resources.parallel)
    stepper = new_stepper(job.experiment, job.dataset, job.statistics, job.start_from).to(workers.device)
    detours = Detours(job.run_directory)
    detours.refuse_if_in_vain()
    plan = training_plan(job.experiment, job.dataset, detours.epochs())
    total = training_steps(job.experiment, plan)
    loss = build_loss(job.experiment, stepper, job.statistics)
    layout = parallelize(stepper, workers.mesh)
    trainer = Trainer(stepper, layout.loss(loss), training, total, job.experiment.seed, workers)
    start = restore(trainer, job.run_directory)
    log = TrainLog(job, workers, plan, total, start)
    stop = StopSign(job.board, job.deadline, workers)
    if isinstance(stepper.network, ClosedForm):
        weights = loss_field(job.experiment, stepper, job.statistics)
        _solve(stepper, stepper.network, _loader(job, job.dataset, plan, workers, 0, plan.steps(0)), weights, workers)
        trainer.step = total
        _end_epoch(job, trainer, layout, plan.locate(total - 1)[0], log)
    else:
        loader = _loader(job, layout.dataset(job.dataset), plan, workers, start, total)
        for window in loader:
            epoch, _ = plan.locate(trainer.step)
            window = window.to(workers.device)
            try:
                report = trainer.update(window, training.stage(epoch))
            except DivergedError as error:
                log.close()
                detours.take(epoch, training.guard.rollbacks, error, write=workers.rank == 0)
                raise
            log.step(trainer, report, loader.statistics.metrics())
            if trainer.step % DETAIL_EVERY == 0:
                log.losses(trainer.step, trainer.losses_by_variable(window))
            ended = trainer.step == total or plan.locate(trainer.step)[0] > epoch
            stopping, due = workers.any(stop.is_set(), log.checkpoint_is_due(trainer.step))
            early = stop.reason if stopping and trainer.step < total else None
            if ended:
                _end_epoch(job, trainer, layout, epoch, log, early)
            elif early or due:
                _checkpoint(job, trainer, layout, epoch, None, log, early)
            if early:
                break
    log.close()


def new_stepper(
    experiment: Experiment, dataset: Dataset, statistics: Statistics, start_from: str | None = None
) -> Stepper:
    """The stepper that this experiment trains, with fresh weights, or with those of the package in the folder `start_from`."""
    stepper = build_stepper(experiment, dataset.spec, statistics, torch.tensor(dataset.statics()))
    if start_from is not None:
        stepper = with_weights_of(load_package(start_from).stepper, stepper)
    freeze(stepper.network, experiment.training.freeze)
    return stepper


def build_loss(experiment: Experiment, stepper: Stepper, statistics: Statistics) -> Loss:
    """The loss of the config, with its weights by place and channel, on the stepper's device."""
    return build.build_loss(experiment.loss, loss_field(experiment, stepper, statistics), stepper.spec)


def loss_field(experiment: Experiment, stepper: Stepper, statistics: Statistics) -> Tensor:
    """What each output counts in each place: [outputs, *grid]."""
    scales = stepper.normalizer
    return build.weight_field(experiment.loss.weights, stepper.spec, scales.output_std, scales.output_mask, statistics)


def _loader(job: Job, dataset: Dataset, plan: Plan, workers: Workers, start: int, total: int) -> WindowLoader:
    """This worker's part of every global step from `start` on."""
    epochs = plan.locate(total - 1)[0] + 1
    if job.reader == "ray":
        import ray.train

        shard = ray.train.get_dataset_shard("train")
        slabs = received_slabs(iter(shard.iter_batches(batch_size=None, batch_format="numpy", prefetch_batches=1)))
    else:
        slabs = local_slabs(
            dataset, plan, rank=workers.batch_rank, of=workers.batch_world, from_step=start, to_epoch=epochs
        )
    return WindowLoader(
        dataset,
        plan,
        slabs,
        rank=workers.batch_rank,
        of=workers.batch_world,
        from_step=start,
        to_step=total,
        prefetch=job.experiment.data.ingest.prefetch,
        pin=workers.device.type == "cuda",
    )


def _solve(stepper: Stepper, network: ClosedForm, windows: Iterable[Window], weights: Tensor, workers: Workers) -> None:
    """Fit a network that has a closed form: one pass over the training period, a sum over workers, a solution.

    `weights` [outputs, *grid] are those of the loss.
    """
    with torch.no_grad():
        for window in windows:
            if not len(window):
                continue
            window = window.to(workers.device)
            state, forcing = window.initial(), window.forcing(0)
            inputs = stepper.normalizer.pack(
                state.fields, torch.cat([state.forcing, forcing[:, None]], 1), stepper.statics
            )
            network.accumulate(
                inputs, stepper.normalizer.network_target(window.target(0), state.fields[:, -1]), weights
            )
        for partial in network.partials():
            workers.sum_(partial)
        network.solve()


def _end_epoch(
    job: Job, trainer: Trainer, layout: Layout, epoch: int, log: TrainLog, stopped: str | None = None
) -> None:
    """Validate if it is due, and save."""
    scores = None
    due = (epoch + 1) % job.experiment.training.validation.every_epochs == 0 or trainer.step == trainer.total_steps
    due = due and len(job.validation_inits) > 0
    beside = job.experiment.training.validation.beside
    if due and not beside:
        with trainer.averaged() as stepper:
            scores = validate(
                stepper,
                job.dataset,
                job.validation_inits,
                job.validation_lead,
                trainer.workers,
                job.experiment.training.batch_size,
            )
        trainer.validated(scores.score)
    _checkpoint(job, trainer, layout, epoch, scores, log, stopped, validate_beside=due and beside)


def _checkpoint(
    job: Job,
    trainer: Trainer,
    layout: Layout,
    epoch: int,
    scores: Scores | None,
    log: TrainLog,
    stopped: str | None = None,
    validate_beside: bool = False,
) -> None:
    """Save the trainer and the package that its averaged weights make; the upload goes on beside the next steps, unless there are none."""
    import ray.train
    from ray.train import Checkpoint, CheckpointUploadMode, ValidationTaskConfig
    from ray.util import get_current_placement_group

    metrics: dict[str, Any] = {"global_step": trainer.step, "epoch": epoch, "epochs": log.epochs}
    if (group := get_current_placement_group()) is not None:
        metrics["placement_group"] = group.id.hex()  # a search that stops this training must free what it reserved
    if stopped is not None:
        metrics["stopped"] = stopped
    if scores is not None:
        metrics |= scores.metrics()
        log.scores(trainer.step, scores)
    checkpoint = None
    folder = write_checkpoint(trainer)
    with trainer.averaged():
        whole = layout.whole()
        if folder is not None and whole is not None:
            summary = {"steps": trainer.step, "epochs": epoch + 1, "skipped_steps": trainer.guard.left_out} | (
                scores.metrics() if scores else {}
            )
            save_package(whole, folder / PACKAGE, summary=summary, lineage=job.lineage)
            checkpoint = Checkpoint.from_directory(str(folder))
    ray.train.report(
        metrics,
        checkpoint=checkpoint,
        checkpoint_dir_name=f"step-{trainer.step:08d}",
        checkpoint_upload_mode=CheckpointUploadMode.SYNC if stopped else CheckpointUploadMode.ASYNC,
        delete_local_checkpoint_after_upload=True,
        validation=ValidationTaskConfig(fn_kwargs={"step": trainer.step}) if validate_beside else None,
    )
    log.checkpointed(trainer.step)
