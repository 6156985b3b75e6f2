"""What the networks cost: WXFormer and FuXi beside miles-credit's own with the same weights, and every registered network by itself.

    python tests/benchmarks/bench_networks.py [--quick]

* Forward, and forward, backward and step of AdamW, of CREDIT's classes and of ours, which is given their weights; in turns, two threads. The
  outputs must agree to 1e-5 of the largest; the peak memory of each is that of a process of its own.
* Parameters, floating-point operations, samples per second, peak memory and the share of the machine's matrix-multiply peak of each
  network with its own defaults, at 32×64, and (not with --quick) at 181×360; operations of one forward at 721×1440, counted on the meta device.
"""

from __future__ import annotations

import argparse
import importlib.abc
import importlib.machinery
import json
import logging
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from credit_ray.errors import CreditRayError
from credit_ray.interchange.architecture import read_architecture
from credit_ray.interchange.credit import fill_network
from credit_ray.models.arguments import NetworkShape
from credit_ray.models.conformance import global_shape
from credit_ray.models.network import build_network
from credit_ray.registry import networks

COUNTS = {
    "channels": 5,
    "levels": 13,
    "surface_channels": 2,
    "input_only_channels": 3,
    "output_only_channels": 0,
    "frames": 1,
}
TINY = {**COUNTS, "image_height": 32, "image_width": 64}
DEGREE = {**COUNTS, "image_height": 181, "image_width": 360}
KERNELS = [[4, 8, 16, 32], [2, 4], [2, 4], [2, 4]]
ENCODER = {
    "dim": [32, 64, 128, 256],
    "dim_head": 32,
    "cross_embed_kernel_sizes": KERNELS,
    "cross_embed_strides": [2] * 4,
}


def _earth(lat: list[int], lon: list[int]) -> dict[str, Any]:
    return {"padding_conf": {"activate": True, "mode": "earth", "pad_lat": lat, "pad_lon": lon}}


CASES: dict[str, dict[str, Any]] = {
    "wxformer": {
        **TINY,
        **ENCODER,
        "type": "wxformer",
        "depth": [2, 2, 2, 2],
        "global_window_size": [4, 4, 2, 1],
        "local_window_size": 2,
    },
    "fuxi": {
        **TINY,
        "type": "fuxi",
        "patch_height": 4,
        "patch_width": 4,
        "frame_patch_size": 1,
        "dim": 128,
        "num_groups": 8,
        "num_heads": 4,
        "window_size": 4,
        "depth": 4,
    },
    "wxformer_1deg": {
        **DEGREE,
        **ENCODER,
        **_earth([37, 38], [12, 12]),
        "type": "wxformer",
        "depth": [2, 2, 8, 2],
        "global_window_size": [8, 4, 2, 1],
        "local_window_size": 4,
    },
    "fuxi_1deg": {
        **DEGREE,
        **_earth([5, 6], [4, 4]),
        "type": "fuxi",
        "patch_height": 4,
        "patch_width": 4,
        "frame_patch_size": 1,
        "dim": 256,
        "num_groups": 32,
        "num_heads": 8,
        "window_size": 7,
        "depth": 8,
    },
}


class _StandIn(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """For torchvision, which is bound to one build of torch: miles-credit imports it, and its networks use nothing of it."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        return (
            importlib.machinery.ModuleSpec(name, self, is_package=True) if name.split(".")[0] == "torchvision" else None
        )

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        class Anything(type):
            def __getattr__(cls, name: str) -> str:
                if name.startswith("__"):
                    raise AttributeError(name)
                return name

        class Module(ModuleType):
            __path__: Any = ()

            def __getattr__(self, name: str) -> Any:
                if name.startswith("__"):
                    raise AttributeError(name)
                return Anything(name, (), {"__init__": lambda self, *given, **named: None})

        return Module(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Nothing to run."""


def theirs(section: dict[str, Any]) -> nn.Module:
    """miles-credit's network; ImportError where it is not installed."""
    logging.disable(logging.WARNING)
    try:
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError):
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        sys.meta_path.insert(0, _StandIn())
    given = {key: value for key, value in section.items() if key != "type"}
    torch.manual_seed(0)
    if section["type"] == "fuxi":
        from credit.models.fuxi import Fuxi

        return Fuxi(**given)
    from credit.models.wxformer.crossformer import CrossFormer

    return CrossFormer(**given)


def shape_of(rows: int, columns: int, inputs: int, outputs: int) -> NetworkShape:
    """A global grid."""
    return global_shape(
        rows,
        columns,
        kind="points" if rows % 2 else "cells",
        history=1,
        in_channels=inputs,
        out_channels=outputs,
        prognostic=outputs,
        change=(),
        pole_sign=(1.0,) * inputs,
        pole_offset=(0.0,) * inputs,
    )


def ours(section: dict[str, Any], weights: dict[str, Tensor] | None = None) -> nn.Module:
    """Our network of the same arguments, with those weights."""
    model = read_architecture(section, (weights or dict.fromkeys(["up_block1.sharp.bias"])).keys(), "benchmark")
    network = build_network(
        model.network, model.arguments, shape_of(*model.grid, model.in_channels, model.out_channels)
    )
    if weights:
        fill_network(network, weights, model, list(range(model.in_channels)), "benchmark")
    return network


def work_on(network: nn.Module, x: Tensor, kind: str) -> Callable[[], object]:
    """One forward in evaluation, or one step of training."""
    if kind == "forward":
        network.eval()

        def forward() -> object:
            with torch.no_grad():
                return network(x)

        return forward
    network.train()
    optimizer = torch.optim.AdamW(network.parameters(), 1e-4)

    def step() -> None:
        optimizer.zero_grad()
        network(x).square().mean().backward()
        optimizer.step()

    return step


def in_turns(works: Sequence[Callable[[], object]], repeats: int) -> list[float]:
    """The least time of each, measured one after another so that what disturbs the machine disturbs all."""
    for work in works:
        work()
        work()
    found = [float("inf")] * len(works)
    for _ in range(repeats):
        for n, work in enumerate(works):
            began = time.perf_counter()
            work()
            found[n] = min(found[n], time.perf_counter() - began)
    return found


def peak_mib(work: Callable[[], object]) -> float:
    """What the process grew by at most while it worked twice (Linux)."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the highest mark starts again from here
    before = _status("VmRSS")
    work()
    work()
    return (_status("VmHWM") - before) / 1024


def _status(key: str) -> float:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return float(next(line for line in lines if line.startswith(f"{key}:")).split()[1])


def beside_credit(case: str, repeats: int, memory_of: Sequence[str]) -> dict[str, Any]:
    """One case: seconds of both, peak memory of both, and how far their outputs differ."""
    section = CASES[case]
    its = theirs(section)
    x = torch.randn(1, COUNTS["channels"] * COUNTS["levels"] + 5, 1, section["image_height"], section["image_width"])
    with torch.no_grad():
        for _ in range(10):  # each is a step towards the largest singular values, by which the layers are divided
            its.train()(x)
    mine = ours(section, its.state_dict())
    y = x.transpose(1, 2).contiguous()
    with torch.no_grad():
        wanted, found = its.eval()(x)[:, :, 0], mine.eval()(y)
    line: dict[str, Any] = {"case": case, "difference": float((found - wanted).abs().max() / wanted.abs().max())}
    for kind in ("forward", "step"):
        pair = in_turns([work_on(its, x, kind), work_on(mine, y, kind)], repeats)
        line[kind] = {"seconds": dict(zip(("theirs", "ours"), pair, strict=True))}
        if kind in memory_of:
            line[kind]["peak_mib"] = {who: _peak_elsewhere(case, who, kind) for who in ("theirs", "ours")}
    return line


def _peak_elsewhere(case: str, who: str, kind: str) -> float:
    done = subprocess.run(
        [sys.executable, __file__, "--peak", case, who, kind], check=True, capture_output=True, text=True
    )
    return float(done.stdout.split()[-1])


def _peak(case: str, who: str, kind: str) -> float:
    section = CASES[case]
    network = theirs(section) if who == "theirs" else ours(section)
    x = torch.randn(1, 70, 1, section["image_height"], section["image_width"])
    return peak_mib(work_on(network, x if who == "theirs" else x.transpose(1, 2).contiguous(), kind))


def matmul_peak() -> float:
    """Floating-point operations per second of a large product."""
    a = torch.randn(1024, 1024)
    return 2 * 1024**3 / in_turns([lambda: a @ a], 10)[0]


def alone(name: str, grid: tuple[int, int], peak: float, repeats: int) -> dict[str, Any]:
    """One registered network with its defaults."""
    line: dict[str, Any] = {"network": name, "grid": list(grid)}
    try:
        network = build_network(name, {}, shape_of(*grid, 70, 67))
        x = torch.randn(1, 1, 70, *grid)
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            network.eval()(x)
    except CreditRayError as error:
        return line | {"refused": str(error)}
    flops = counter.get_total_flops()
    (forward,) = in_turns([work_on(network, x, "forward")], repeats)
    line |= {
        "parameters": sum(p.numel() for p in network.parameters()),
        "gflops": flops / 1e9,
        "samples_per_s": 1 / forward,
    }
    line |= {"share_of_matmul_peak": flops / forward / peak}
    if line["parameters"]:
        work = work_on(network, x, "step")
        line["peak_mib_of_a_step"] = peak_mib(work)
        line["steps_per_s"] = 1 / in_turns([work], repeats)[0]
    return line


def counted(name: str, grid: tuple[int, int]) -> dict[str, Any]:
    """Operations of one forward on a grid that takes no memory."""
    line: dict[str, Any] = {"network": name, "grid": list(grid), "device": "meta"}
    try:
        with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
            network = build_network(name, {}, shape_of(*grid, 70, 67))
            network.eval()(torch.empty(1, 1, 70, *grid))
    except (
        CreditRayError,
        NotImplementedError,
        RuntimeError,
    ) as error:  # not every operation is defined without values
        return line | {"refused": str(error).splitlines()[0]}
    return line | {
        "parameters": sum(p.numel() for p in network.parameters()),
        "gflops": counter.get_total_flops() / 1e9,
    }


def main() -> None:
    """Run all of it; the last line is for programs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small grids only, within a minute")
    parser.add_argument("--peak", nargs=3, metavar=("CASE", "WHO", "KIND"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    torch.set_num_threads(2)
    if given.peak:
        print(_peak(*given.peak))
        return
    ratios: dict[str, float] = {}
    peers = {"miles-credit": "absent"}
    try:
        for case in ("wxformer", "fuxi") if given.quick else CASES:
            line = beside_credit(case, 6 if given.quick else 10, ("step",) if given.quick else ("forward", "step"))
            print(json.dumps(line), flush=True)
            name, _, suffix = case.partition("_")
            for kind in ("forward", "step"):
                key = f"{name}_{kind}_vs_credit{'_' + suffix if suffix else ''}"
                seconds, memory = line[kind]["seconds"], line[kind].get("peak_mib")
                ratios[key] = round(seconds["theirs"] / seconds["ours"], 3)
                if memory:
                    ratios[f"{key}_memory"] = round(memory["ours"] / memory["theirs"], 3)
        peers["miles-credit"] = version("miles-credit")
    except (ImportError, PackageNotFoundError) as error:
        print(json.dumps({"miles-credit": f"absent: {error}"}), flush=True)
    peak = matmul_peak()
    print(json.dumps({"matmul_peak_gflops": peak / 1e9}), flush=True)
    for name in networks.names():
        print(json.dumps(alone(name, (32, 64), peak, 3)), flush=True)
        if not given.quick:
            print(json.dumps(alone(name, (181, 360), peak, 2)), flush=True)
            print(json.dumps(counted(name, (721, 1440))), flush=True)
    print(json.dumps({"bench": "networks", "ratios": ratios, "peers": peers}))


if __name__ == "__main__":
    main()
