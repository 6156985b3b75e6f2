"""Run in several processes by test_parallel.py: each computes its part, and rank 0 keeps what comes out.

The same steps are computed by one worker alone, in the same process: what is compared differs by nothing but the layout.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from credit_ray.config.training import Parallel, Stage, TrainingConfig
from credit_ray.errors import CreditRayError
from credit_ray.grid.latlon import LatLonGrid
from credit_ray.losses.arguments import PointwiseArguments
from credit_ray.losses.learnable import LearnableWeights
from credit_ray.losses.loss import Loss
from credit_ray.losses.pointwise import MeanSquaredError
from credit_ray.models.arguments import SamudraArguments, SFNOArguments, UNetArguments, WXFormerArguments
from credit_ray.normalizer import Normalizer
from credit_ray.registry import networks
from credit_ray.state import Channel, Channels, State, StateSpec, Window
from credit_ray.stepper import Recipe, Stepper
from credit_ray.times import Step
from credit_ray.training.layout import Layout, parallelize
from credit_ray.training.parallel import AXES, Workers, device_mesh
from credit_ray.training.rollout import rollout_loss
from credit_ray.training.sharding import gathered
from credit_ray.training.trainer import Trainer
from credit_ray.training.validation import validate

CPU = torch.device("cpu")
LAYOUTS = {
    2: [(2, 1, 1), (1, 2, 1), (1, 1, 2)],
    4: [(4, 1, 1), (2, 2, 1), (1, 4, 1), (1, 1, 4), (2, 1, 2), (1, 2, 2)],
}
NETWORKS: dict[str, Any] = {
    "unet": UNetArguments(width=6, multipliers=(1, 2), blocks=(1, 1)),
    "wxformer": WXFormerArguments(
        width=8,
        depth=(1, 1),
        strides=(2, 2),
        kernels=((2, 4), (2, 4)),
        local_window=2,
        global_window=(2, 2),
        head_width=4,
    ),
    "sfno": SFNOArguments(width=6, depth=2, coarsening=2),
    "samudra": SamudraArguments(widths=(4, 6), dilations=(1, 2)),
}
"""Small ones; the last is shared out by the rule of the first."""

GRIDS = {
    "gaussian": LatLonGrid.gaussian(32),
    # Rows on the poles; neither strides nor windows divide it.
    "poles": LatLonGrid(np.linspace(90, -90, 29), np.arange(36) * 10.0),
}


SCALES = {  # mean and deviation
    "u": (0.0, 10.0),
    "q": (8e-3, 4e-3),
    "sp": (1e5, 500.0),
    "tp": (0.5, 0.4),
    "evspsbl": (3e-5, 1e-5),
    "tisr": (1e6, 5e5),
    "lsm": (0.5, 0.5),
}


def specification(grid: LatLonGrid) -> StateSpec:
    """Wind, moisture, pressure, rain and evaporation, sunshine, and the land."""
    moisture = [Channel(variable="q", units="kg kg-1", level=p, vertical="pressure") for p in (500.0, 850.0)]
    return StateSpec(
        prognostic=Channels([Channel(variable="u", units="m s-1"), *moisture, Channel(variable="sp", units="Pa")]),
        diagnostic=Channels(
            [
                Channel(variable="tp", units="kg m-2", kind="accumulated"),
                Channel(variable="evspsbl", units="kg m-2 s-1", kind="mean"),
            ]
        ),
        forcing=Channels([Channel(variable="tisr", units="J m-2")]),
        static=Channels([Channel(variable="lsm", units="1")]),
        grid=grid,
        step=Step.parse("6h"),
        history=2,
    )


def noise(channels: Channels, draw: Tensor) -> Tensor:
    """Fields [..., channel, lat, lon] on the channels' scales, from normal ones; what can't be negative is not."""
    mean, deviation = (torch.tensor([SCALES[c.variable][k] for c in channels])[:, None, None] for k in (0, 1))
    return (mean + deviation * draw).where(mean == 0, (mean + deviation * draw).abs())


def normalizer_of(spec: StateSpec) -> Normalizer:
    """Of the channels' scales."""
    inputs = torch.tensor([SCALES[c.variable] for c in spec.inputs])
    outputs = torch.tensor([SCALES[c.variable] for c in spec.outputs])
    outputs[: len(spec.prognostic)] *= torch.tensor([0.0, 0.1])  # changes
    return Normalizer(
        spec,
        input_mean=inputs[:, 0],
        input_std=inputs[:, 1],
        output_mean=outputs[:, 0],
        output_std=outputs[:, 1],
        residual=True,
    )


def stepper(name: str, grid: LatLonGrid, arguments: Any = None) -> Stepper:
    """In float64, with budgets that close, and nothing in it that is zero."""
    spec = specification(grid)
    random = torch.Generator().manual_seed(5)
    recipe = Recipe(
        spec=spec,
        network=name,
        arguments=asdict(NETWORKS[name]) if arguments is None else arguments,
        residual=True,
        constraints=(
            {"kind": "polar_filter", "variables": ["q"]},
            {"kind": "positive", "variables": ["q", "tp"]},
            {"kind": "dry_air_mass"},
            {"kind": "water"},
        ),
    )
    torch.manual_seed(11)
    made = Stepper(recipe, normalizer_of(spec), noise(spec.static, torch.randn(1, *grid.shape, generator=random)))
    for parameter in made.network.parameters():
        nn.init.normal_(parameter, std=0.2, generator=random)
    return made.double()


def mean_square(spec: StateSpec, learnt: bool = False) -> Loss:
    """Weighted by area and by channel; or by weights that are learnt, of which a band has no share by itself."""
    area = torch.from_numpy(spec.grid.area_weights()).expand(len(spec.outputs), *spec.grid.shape)
    weights = area * torch.linspace(0.5, 2, len(spec.outputs))[:, None, None]
    loss = MeanSquaredError(PointwiseArguments(), weights)
    return LearnableWeights(loss, weights) if learnt else loss


def batch(spec: StateSpec, size: int, steps: int, seed: int) -> Window:
    """A global batch."""
    random = torch.Generator().manual_seed(seed)
    shape = (size, spec.history + steps, len(spec.windowed), *spec.grid.shape)
    fields = noise(spec.windowed, torch.randn(shape, generator=random, dtype=torch.float64))
    times = np.arange(spec.history + steps)[None] * 21600 + np.arange(size)[:, None] * 86400
    return Window(fields=fields, times=times, spec=spec)


def part(window: Window, rank: int, of: int, rows: slice) -> Window:
    """Uneven parts, the last one perhaps empty."""
    bounds = [min(-(-len(window) * k // of) + (0 < k < of), len(window)) for k in range(of + 1)]
    mine = slice(bounds[rank], bounds[rank + 1])
    times = window.times[mine]
    return replace(window, fields=window.fields[mine][..., rows, :], times=times, share=len(times) / len(window))


def flat(tensors: list[Tensor]) -> Tensor:
    return torch.cat([tensor.flatten().double() for tensor in tensors])


def distance(mine: Tensor, other: Tensor) -> float:
    return float((mine - other).norm() / other.norm())


def gradient(workers: Workers, laid: Layout, loss: Loss, window: Window) -> tuple[float, Tensor]:
    """Loss and gradient over all workers."""
    trainer = Trainer(laid.stepper, loss, TrainingConfig(precision="float32", clip=None), 10, 0, workers)
    share = torch.zeros((), dtype=torch.float64)
    for piece in trainer._pieces(window):
        value = rollout_loss(laid.stepper, piece, loss) * piece.share
        value.backward()
        share += value.detach()
    workers.sum_gradients(trainer.parameters)
    return float(workers.sum_(share)), flat(gathered([p.grad for p in trainer.parameters]))


def one_gradient(workers: Workers, name: str, grid: str, size: int) -> dict[str, float]:
    """Of a rollout of two steps, laid out and alone."""
    window = batch(specification(GRIDS[grid]), size, 2, seed=1)
    alone = Workers(0, 1, CPU)
    plain, learnt = stepper(name, GRIDS[grid]), grid == "poles"
    expected = gradient(alone, Layout(plain), mean_square(plain.spec, learnt), window)
    laid = parallelize(stepper(name, GRIDS[grid]), workers.mesh)
    mine = part(window, workers.batch_rank, workers.batch_world, laid.rows)
    loss, found = gradient(workers, laid, laid.loss(mean_square(plain.spec, learnt)), mine)
    return {"loss": abs(loss - expected[0]) / abs(expected[0]), "gradient": distance(found, expected[1])}


def train(workers: Workers, laid: Layout, loss: Loss, precision: str, steps: range, state: Any = None) -> Trainer:
    config = TrainingConfig.model_validate(
        {"precision": precision, "clip": 0.01, "ema": 0.9, "accumulate": 2, "optimizer": {"lr": 1e-2}}
    )
    trainer = Trainer(laid.stepper, loss, config, 10, 0, workers)
    if state is not None:
        trainer.load_state_dict(deepcopy(state))
    for step in steps:
        if step % 2:  # a forecast with other weights in between, which must leave no trace
            with trainer.averaged() as averaged:
                validate(averaged, Truth(averaged.spec), np.arange(3) * 86400, 2, workers, 2)  # type: ignore[arg-type]
        window = part(batch(laid.stepper.spec, 3, 1, seed=step), workers.batch_rank, workers.batch_world, laid.rows)
        window = replace(window, fields=window.fields.to(laid.stepper.statics.dtype))
        trainer.update(window, Stage(epoch=0, steps=1))
    return trainer


def some_steps(workers: Workers, name: str, precision: str) -> dict[str, float]:
    """Weights and their average after training, with a stop in between at which all is saved and loaded in another layout."""

    def made() -> Stepper:
        new = stepper(name, GRIDS["gaussian"])
        return new if precision == "float32" else new.float()  # autocast leaves float64 as it is

    alone = Workers(0, 1, CPU)
    plain = Layout(made())
    expected = train(alone, plain, mean_square(plain.stepper.spec), precision, range(4))
    weights = flat(list(expected.state_dict()["network"].values()))
    first = parallelize(made(), workers.mesh)
    stopped = train(workers, first, first.loss(mean_square(plain.stepper.spec)), precision, range(2))
    state = gathered(stopped.state_dict())
    again = parallelize(made(), workers.mesh)
    went_on = train(workers, again, again.loss(mean_square(plain.stepper.spec)), precision, range(2, 4), state)
    single = Layout(made())
    finished = train(alone, single, mean_square(plain.stepper.spec), precision, range(2, 4), state)
    found = {
        "weights": distance(flat(list(gathered(went_on.state_dict())["network"].values())), weights),
        "gone on alone": distance(flat(list(finished.state_dict()["network"].values())), weights),
    }
    with expected.averaged() as stepper_, went_on.averaged():
        packaged = again.whole()
        assert (packaged is None) == (workers.rank > 0)
        if packaged is not None:
            averages = flat(list(stepper_.network.state_dict().values()))
            found["packaged"] = distance(flat(list(packaged.network.state_dict().values())), averages)
            found["statics"] = distance(packaged.statics, plain.stepper.statics)
    return found


class Truth:
    """Stands in for a data set: noise, drawn anew for each time."""

    def __init__(self, spec: StateSpec) -> None:
        self.spec = spec

    def fields(self, times: Any, channels: Channels) -> Any:
        drawn = [np.random.default_rng(int(t)).normal(size=(len(channels), *self.spec.grid.shape)) for t in times]
        return noise(channels, torch.tensor(np.stack(drawn))).float().numpy()

    def initial_state(self, times: Any) -> State:
        fields = torch.from_numpy(self.fields(times, self.spec.prognostic))
        forcing = torch.from_numpy(self.fields(times, self.spec.forcing))[:, None]
        return State(fields=torch.stack([fields, fields], 1), forcing=forcing, valid_time=times)

    def forcings(self, times: Any, steps: int) -> Iterator[Tensor]:
        for step in range(steps):
            yield torch.from_numpy(self.fields(times + step, self.spec.forcing))


def scores(workers: Workers, name: str) -> dict[str, float]:
    """Of forecasts from three initial times, laid out and alone."""
    grid, times = GRIDS["poles"], np.arange(3) * 86400
    plain = stepper(name, grid).float().eval()
    laid = parallelize(stepper(name, grid).float().eval(), workers.mesh)
    for _ in range(2):  # again with other weights: nothing of the first ones may be left
        with torch.no_grad():
            for parameter in [*plain.network.parameters(), *laid.stepper.network.parameters()]:
                parameter.mul_(0.9)
        expected = validate(plain, Truth(plain.spec), times, 2, Workers(0, 1, CPU), 2)  # type: ignore[arg-type]
        found = validate(laid.stepper, Truth(plain.spec), times, 2, workers, 2)  # type: ignore[arg-type]
    return {"rmse": distance(found.rmse, expected.rmse), "persistence": abs(found.score / expected.score - 1)}


def every_network(workers: Workers) -> dict[str, str]:
    """What becomes of each registered network that is cut into bands."""
    found = {}
    for name in sorted(networks.builtin):
        if name not in NETWORKS:
            try:
                laid = parallelize(stepper(name, GRIDS["gaussian"], {}), workers.mesh)
                found[name] = f"shared out: {laid.rows}"
            except CreditRayError as error:
                found[name] = str(error)
    return found


def cases(world: int) -> Iterator[tuple[str, tuple[int, int, int], Callable[[Workers], Any]]]:
    for axes in LAYOUTS[world]:
        for name in NETWORKS if axes[1] == 1 else ["unet", "wxformer", "sfno"]:
            for grid in GRIDS if axes[1:] != (1, 1) else ["gaussian"]:
                yield f"{name} {grid}", axes, lambda w, n=name, g=grid: one_gradient(w, n, g, size=4)  # type: ignore[misc]
        if axes[1] > 1 or axes[2] > 1:
            for precision in ("float32", "bfloat16"):
                if not (precision == "bfloat16" and axes[2] > 1):
                    yield f"training {precision}", axes, lambda w, p=precision: some_steps(w, "unet", p)  # type: ignore[misc]
        if axes[1:] != (1, 1):
            yield "scores", axes, lambda w, n=("wxformer" if axes[1] > 1 else "unet"): scores(w, n)  # type: ignore[misc]
        if axes == (1, 1, 2):
            yield "every network", axes, every_network


def main(rank: int, world: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=world)
    found: dict[str, Any] = {}
    for name, axes, case in cases(world):
        data, shard, domain = axes
        mesh = device_mesh(Parallel(data=data, shard=shard, domain=domain), world, CPU)
        assert mesh.mesh_dim_names == AXES
        key = f"{name} on {data}x{shard}x{domain}"
        try:
            found[key] = case(Workers(rank, world, CPU, mesh))
        except Exception as error:  # kept for the test that asks for it
            found[key] = traceback.format_exc()
            print(key, found[key], file=sys.stderr, flush=True)
            if not isinstance(error, CreditRayError):
                break  # others may be waiting for this one
        if rank == 0:
            print(key, found[key], file=sys.stderr, flush=True)
    if rank == 0:
        torch.save(found, Path(folder) / "found.pt")
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(RANK, WORLD, FOLDER)  # type: ignore[name-defined]  # noqa: F821  given by who runs it
