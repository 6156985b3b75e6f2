"""What equal training buys: our WXFormer and miles-credit's, from the same windows, in as many steps.

    python tests/benchmarks/bench_skill.py [--steps 400] [--seeds 3] [--threads 2]

Both learn from the first half year of the simulation in CREDIT_RAY_TEST_DATA (`configs/experiments/speedy.yaml`) with the same sizes and
nearly the same number of parameters, batches, learning rate and schedule, and are rolled out from the second year. Each is trained as its
users train it: miles-credit's network predicts the next normalised state, ours the change in units of the change's σ, with an average of
the weights. The last line has their RMSE at days 1 to 3 relative to persistence, the mean over channels and seeds, and the ratio of the two.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from bench_networks import COUNTS, ENCODER, theirs  # type: ignore[import-not-found]
from torch import Tensor, nn

from credit_ray.config.experiment import Experiment
from credit_ray.config.loader import resolve
from credit_ray.data.dataset import Dataset, open_dataset
from credit_ray.data.ingest import WindowLoader, local_slabs
from credit_ray.data.plan_report import training_plan
from credit_ray.data.statistics import Statistics, compute_statistics
from credit_ray.models.arguments import NetworkShape
from credit_ray.registry import networks
from credit_ray.training.loop import build_loss, new_stepper
from credit_ray.training.parallel import Workers
from credit_ray.training.trainer import Trainer
from credit_ray.training.validation import validate

CONFIG = Path(__file__).parents[2] / "configs" / "experiments" / "speedy.yaml"
DAYS = (1, 2, 3)
STEPS_A_DAY = 4
SHOWN = ("z_s0.51", "t_s0.835", "u_s0.51", "sp")
ALONE = Workers(0, 1, torch.device("cpu"))
WIDTHS = [16, 32, 64, 128]
OURS = {
    "network": "wxformer",
    "width": WIDTHS[0],
    "depth": [2, 2, 2, 2],
    "strides": [2, 2, 2, 2],
    "kernels": ENCODER["cross_embed_kernel_sizes"],
    "local_window": 2,
    "global_window": [4, 4, 2, 1],
    "head_width": 16,
}


@dataclass(frozen=True, kw_only=True)
class NoArguments:
    """All is fixed by the benchmark."""


@networks.register("credit_wxformer", arguments=NoArguments)
class CreditWXFormer(nn.Module):
    """miles-credit's network behind our seam: everything around it is the same for both."""

    def __init__(self, arguments: NoArguments, shape: NetworkShape) -> None:
        super().__init__()
        surface = shape.out_channels % COUNTS["channels"]
        section: dict[str, Any] = {
            **COUNTS,
            **ENCODER,
            "type": "wxformer",
            "image_height": shape.grid[0],
            "image_width": shape.grid[1],
            "levels": shape.out_channels // COUNTS["channels"],
            "surface_channels": surface,
            "input_only_channels": shape.history * shape.in_channels - shape.out_channels,
            "dim": WIDTHS,
            "dim_head": OURS["head_width"],
            "depth": OURS["depth"],
            "global_window_size": OURS["global_window"],
            "local_window_size": OURS["local_window"],
        }
        seed = torch.initial_seed()
        self.network = theirs(section)  # seeds torch itself
        torch.manual_seed(seed)
        for layer in self.network.modules():
            if hasattr(layer, "reset_parameters") and not hasattr(layer, "parametrizations"):
                layer.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x.flatten(1, 2)[:, :, None])[:, :, 0]


def experiment(who: str, steps: int, seed: int) -> Experiment:
    """What is trained: the config's data, and nothing else of it."""
    plain = resolve(CONFIG)
    splits = {"train": ["2000-03-31", "2000-09-29"], "test": ["2001-03-31", "2001-05-30"]}
    training = {"batch_size": 8, "max_steps": steps, "optimizer": {"lr": 1e-3}, "validation": {"lead": "3d"}}
    peer = {"network": "credit_wxformer", "residual": False}
    return Experiment.model_validate(
        {
            "name": f"skill-{who}",
            "seed": seed,
            "data": plain["data"] | {"splits": splits},
            "model": OURS if who == "ours" else peer,
            "training": training | ({} if who == "ours" else {"ema": None}),
        }
    )


def trained(config: Experiment, dataset: Dataset, statistics: Statistics) -> tuple[Trainer, float]:
    """After all steps, in this process; and its seconds per step."""
    torch.manual_seed(config.seed)
    stepper = new_stepper(config, dataset, statistics)
    plan, total = training_plan(config, dataset), config.training.max_steps or 0
    trainer = Trainer(stepper, build_loss(config, stepper, statistics), config.training, total, config.seed, ALONE)
    epochs = plan.locate(total - 1)[0] + 1
    slabs = local_slabs(dataset, plan, rank=0, of=1, from_step=0, to_epoch=epochs)
    loader = WindowLoader(dataset, plan, slabs, rank=0, of=1, from_step=0, to_step=total, prefetch=2)
    began = time.perf_counter()
    for window in loader:
        trainer.update(window)
    return trainer, (time.perf_counter() - began) / total


def scored(trainer: Trainer, dataset: Dataset, statistics: Statistics) -> dict[str, Any]:
    """RMSE by day: of some channels, and of all relative to persistence."""
    start, stop = dataset.span(dataset.period("test"))
    inits = dataset.times[start : stop - max(DAYS) * STEPS_A_DAY : STEPS_A_DAY]
    with trainer.averaged() as stepper:
        scores = validate(stepper, dataset, inits, max(DAYS) * STEPS_A_DAY, ALONE, 16)
    leads = [day * STEPS_A_DAY - 1 for day in DAYS]
    return {
        "rmse": {
            name: [round(float(scores.rmse[lead, scores.names.index(name)]), 4) for lead in leads] for name in SHOWN
        },
        "of_persistence": [float((scores.rmse[lead] / scores.persistence[lead]).mean()) for lead in leads],
    }


def main() -> None:
    """Train all, score all; the last line is for programs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=400, help="optimiser steps of each training")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each network")
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    first = experiment("ours", given.steps, 0)
    dataset = open_dataset(first.data)
    statistics = compute_statistics(dataset, slab_bytes=first.data.ingest.slab_bytes, reader="local")
    found: dict[str, list[list[float]]] = {}
    absent: dict[str, str] = {}
    for seed in range(given.seeds):
        for who in ("ours", "miles-credit"):
            try:
                trainer, seconds = trained(experiment(who, given.steps, seed), dataset, statistics)
            except ImportError as error:
                absent[who] = f"absent: {error}"
                continue
            scores = scored(trainer, dataset, statistics)
            found.setdefault(who, []).append(scores["of_persistence"])
            weights = sum(p.numel() for p in trainer.parameters)
            line = {"network": who, "seed": seed, "parameters": weights, "seconds_per_step": round(seconds, 3)}
            print(json.dumps(line | scores), flush=True)
    means = {who: [round(mean(day), 4) for day in zip(*runs, strict=True)] for who, runs in found.items()}
    ratios = {}
    if "miles-credit" in means:
        pairs = zip(DAYS, means["ours"], means["miles-credit"], strict=True)
        ratios = {f"rmse_day{day}_vs_credit": round(ours / its, 3) for day, ours, its in pairs}
    print(json.dumps({"bench": "skill", "ratios": ratios, "rmse_of_persistence": means, "peers": absent}))


if __name__ == "__main__":
    main()
