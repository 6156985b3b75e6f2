"""The whole chain of constraints beside the training step that it is part of, at one degree.

    python tests/benchmarks/bench_physics.py [--quick]

Five variables on 13 pressure levels and the surface, 181×360, batch 1: `positive`, dry air, water and energy, forward and backward, in
float64 sums on float32 fields. The training step is that of our WXFormer of some 10 million weights (forward, backward, AdamW), on the same
device. No peer has a chain to compare with: CREDIT's fixers are measured by the share that they may take.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from credit_ray.grid.latlon import LatLonGrid
from credit_ray.models.arguments import NetworkShape
from credit_ray.models.network import build_network
from credit_ray.physics.chain import build_chain
from credit_ray.state import Channel, Channels, Fields, State, StateSpec
from credit_ray.times import Step

LEVELS = (50, 100, 150, 200, 250, 300, 400, 500, 600, 700, 850, 925, 1000)
GRID = LatLonGrid(np.linspace(90, -90, 181), np.arange(360.0))
FLUXES = {"tsr": 240.0, "ttr": -240.0, "ssr": 165.0, "str": -55.0, "sshf": -20.0, "slhf": -85.0}
CHAIN: tuple[dict[str, Any], ...] = (
    {"kind": "positive", "variables": ["q", "tp"]},
    {"kind": "dry_air_mass"},
    {"kind": "water"},
    {"kind": "energy"},
)
NETWORK = {
    "width": 32,
    "depth": [2, 2, 8, 2],
    "strides": [2, 2, 2, 2],
    "kernels": [[4, 8, 16, 32], [2, 4], [2, 4], [2, 4]],
    "global_window": [8, 4, 2, 1],
    "local_window": 4,
    "head_width": 32,
}


def spec() -> StateSpec:
    units = {"u": "m s-1", "v": "m s-1", "t": "K", "q": "kg kg-1", "z": "m2 s-2"}
    levels = [Channel(variable=v, units=units[v], level=p, vertical="pressure") for v in units for p in LEVELS]
    return StateSpec(
        prognostic=Channels([*levels, Channel(variable="sp", units="Pa"), Channel(variable="t2m", units="K")]),
        diagnostic=Channels(
            [
                Channel(variable="tp", units="kg m-2", kind="accumulated"),
                Channel(variable="evspsbl", units="kg m-2 s-1", kind="mean"),
                *(Channel(variable=name, units="J m-2", kind="accumulated") for name in FLUXES),
            ]
        ),
        static=Channels([Channel(variable="orography", units="m")]),
        grid=GRID,
        step=Step.parse("6h"),
    )


def random_fields(of: StateSpec, device: torch.device) -> Fields:
    usual = {"u": 8.0, "v": 2.0, "t": 260.0, "q": 0.004, "z": 5e4, "sp": 1e5, "t2m": 287.0, "tp": 0.7, "evspsbl": 3e-5}
    mean = torch.tensor([usual.get(c.variable, FLUXES.get(c.variable, 0.0) * 21600) for c in of.outputs])
    noise = 1 + 0.05 * torch.randn(1, len(of.outputs), *GRID.shape, generator=torch.Generator().manual_seed(1))
    return Fields((mean[:, None, None] * noise).to(device), of.outputs)


def seconds(call: Callable[[], object], repeats: int, device: torch.device) -> float:
    """Fastest of several, once warm."""
    best = float("inf")
    for repeat in range(repeats + 1):
        began = time.perf_counter()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize()
        if repeat:
            best = min(best, time.perf_counter() - began)
    return best


def constrained(device: torch.device) -> Callable[[bool], None]:
    """The chain on one step's fields, with or without gradients."""
    of = spec()
    chain = build_chain(CHAIN, of, torch.zeros(1, *GRID.shape))
    after = random_fields(of, device)
    before = Fields(after.data[:, : len(of.prognostic)], of.prognostic)
    empty = after.data.new_empty((1, 0, *GRID.shape))
    carries = chain.start(State(fields=before.data[:, None], forcing=empty[:, None], valid_time=np.zeros(1, np.int64)))

    def run(gradients: bool) -> None:
        fields = Fields(after.data.clone().requires_grad_(gradients), of.outputs)
        changed, _, _ = chain.change(before, fields, Fields(empty, of.forcing), carries)
        out = fields | changed
        if gradients:
            out.data.sum().backward()

    return run


def trained(device: torch.device) -> Callable[[], None]:
    """One training step of the network."""
    of = spec()
    count = len(of.outputs)
    shape = NetworkShape(
        history=1,
        in_channels=len(of.inputs),
        out_channels=count,
        grid=GRID.shape,
        periodic=True,
        poles=True,
        pole_points=True,
        pole_sign=(1.0,) * len(of.inputs),
        pole_offset=(0.0,) * len(of.inputs),
    )
    network = build_network("wxformer", NETWORK, shape).to(device)
    optimizer = torch.optim.AdamW(network.parameters())
    x = torch.randn(1, 1, len(of.inputs), *GRID.shape, device=device)

    def run() -> None:
        optimizer.zero_grad()
        (network(x) ** 2).mean().backward()
        optimizer.step()

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    repeats = 2 if parser.parse_args().quick else 6
    ratios = {}
    for device in [torch.device("cpu"), *([torch.device("cuda")] if torch.cuda.is_available() else [])]:
        chain, train = constrained(device), trained(device)
        report = {
            "chain, forward": seconds(partial(chain, False), 3 * repeats, device),
            "chain, forward and backward": seconds(partial(chain, True), 3 * repeats, device),
            "training step": seconds(train, repeats, device),
        }
        for what, taken in report.items():
            print(json.dumps({"what": what, "device": device.type, "seconds": round(taken, 5)}))
        share = report["chain, forward and backward"] / report["training step"]
        ratios[f"chain / WXFormer 1° training step, {device.type}"] = round(share, 4)
    print(json.dumps({"bench": "physics", "ratios": ratios, "peers": {"miles-credit": "absent"}}))


if __name__ == "__main__":
    main()
