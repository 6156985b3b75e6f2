"""What losses and spherical harmonics cost, beside the plain way to compute the same numbers.

    python tests/benchmarks/bench_losses.py [--quick]

* The CRPS of an ensemble by sorting, forward and backward, against the sum over all pairs of members: time, and what is kept for the gradient.
* Each registered loss against the mean square error: forward and backward of one batch.
* A scalar transform and its inverse against one matrix of all harmonics in all places, and against torch-harmonics where it is installed;
  and how exactly analysis undoes synthesis, in float32 and float64, on grids of every kind.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import torch
from torch import Tensor

from credit_ray.grid.harmonics import SphericalHarmonics
from credit_ray.grid.latlon import LatLonGrid
from credit_ray.registry import losses

LOSSES: dict[str, tuple[str, dict[str, Any]]] = {
    "mae": ("mae", {}),
    "huber": ("huber", {}),
    "log_cosh": ("log_cosh", {}),
    "crps": ("crps", {}),
    "energy_score": ("energy_score", {}),
    "spectral": ("spectral", {}),
    "spectral_zonal": ("spectral", {"transform": "zonal"}),
    "power_spectrum": ("power_spectrum", {}),
    "power_spectrum_zonal": ("power_spectrum", {"transform": "zonal"}),
    "adjusted_mse": ("adjusted_mse", {}),
}


def seconds(work: Callable[[], object], repeats: int) -> float:
    """The least of several runs, after one to warm up: the one that the rest of the machine disturbed least."""
    work()
    found = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        found.append(time.perf_counter() - began)
    return min(found)


def crps_of_pairs(prediction: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """The fair score as it is defined: every member with every other."""
    members = prediction.shape[1]
    spread = (prediction[:, :, None] - prediction[:, None]).abs().sum((1, 2)) / (2 * members * (members - 1))
    score = (prediction - target[:, None]).abs().mean(1) - spread
    return (score * weights).sum((1, 2, 3)) / weights.sum()


def with_gradient(score: Callable[[Tensor], Tensor], prediction: Tensor) -> Callable[[], object]:
    return lambda: torch.autograd.grad(score(prediction).sum(), prediction)


def kept_bytes(score: Callable[[Tensor], Tensor], prediction: Tensor) -> int:
    """What the forward pass keeps for the gradient; each storage once."""
    storages: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        result = score(prediction)
    del result
    return sum(storages.values())


def bench_crps(members: int, channels: int, grid: LatLonGrid, repeats: int) -> dict[str, float]:
    prediction = torch.randn(1, members, channels, *grid.shape, requires_grad=True)
    target = torch.randn(1, channels, *grid.shape)
    weights = torch.from_numpy(grid.area_weights()).float().expand(channels, *grid.shape)
    loss = losses.target("crps")(losses.arguments("crps")(), weights, grid)

    def by_sorting(x: Tensor) -> Tensor:
        return loss(x, target, 1)

    def by_pairs(x: Tensor) -> Tensor:
        return crps_of_pairs(x, target, weights)

    torch.testing.assert_close(by_sorting(prediction), by_pairs(prediction), rtol=1e-4, atol=0)
    times = [seconds(with_gradient(score, prediction), repeats) for score in (by_sorting, by_pairs)]
    kept = [kept_bytes(score, prediction) for score in (by_sorting, by_pairs)]
    line = {"crps_members": members, "seconds": times[0], "pairs_seconds": times[1], "kept_mb": kept[0] / 1e6}
    print(json.dumps(line | {"pairs_kept_mb": kept[1] / 1e6}))
    return {
        f"crps_{members}_members_speed_vs_pairs": times[1] / times[0],
        f"crps_{members}_kept_vs_pairs": kept[0] / kept[1],
    }


def bench_losses(grid: LatLonGrid, channels: int, members: int, repeats: int) -> dict[str, float]:
    prediction = torch.randn(2, members, channels, *grid.shape, requires_grad=True)
    target = torch.randn(2, channels, *grid.shape)
    weights = torch.from_numpy(grid.area_weights()).float().expand(channels, *grid.shape)

    def cost(kind: str, arguments: dict[str, Any]) -> float:
        loss = losses.target(kind)(losses.arguments(kind)(**arguments), weights, grid)
        return seconds(with_gradient(lambda x: loss(x, target, 1), prediction), repeats)

    square = cost("mse", {})
    found = {name: cost(kind, arguments) / square for name, (kind, arguments) in LOSSES.items()}
    print(json.dumps({"grid": grid.shape, "members": members, "mse_seconds": square, "times_mse": found}))
    return {
        f"{name}_cost_vs_mse": value for name, value in found.items() if name in ("crps", "spectral", "adjusted_mse")
    }


def all_harmonics(harmonics: SphericalHarmonics) -> tuple[Tensor, Tensor]:
    """Matrices of the inverse and of the transform: [place, coefficient] and [coefficient, place], each order as cosine and sine."""
    size = harmonics.lmax + 1
    columns, weights = [], []
    for part in (1, 1j):
        unit = torch.zeros(size * size, size, size, dtype=torch.complex64)
        unit.view(size * size, -1).fill_diagonal_(part)
        kept = unit.tril().flatten(1).abs().sum(1) > 0
        columns.append(harmonics.synthesis(unit[kept]).flatten(1))
        order = torch.arange(size).repeat(size)[kept]
        weights.append(torch.where(order > 0, 0.5, 1.0 if part == 1 else 0.0))
    functions = torch.cat(columns)  # [coefficient, place]
    area = (harmonics.quadrature_weights / harmonics.grid.shape[1]).expand(harmonics.grid.shape).flatten()
    return functions.T.contiguous(), functions * area * torch.cat(weights)[:, None]


def bench_transform(grid: LatLonGrid, channels: int, repeats: int) -> dict[str, float]:
    harmonics = SphericalHarmonics(grid, vector=False)
    field = torch.randn(channels, *grid.shape)
    inverse, forward = all_harmonics(harmonics)

    def ours() -> Tensor:
        return harmonics.synthesis(harmonics.analysis(field))

    def matrix() -> Tensor:
        return ((field.flatten(1) @ forward.T) @ inverse.T).view_as(field)

    torch.testing.assert_close(ours(), matrix(), rtol=0, atol=1e-3)
    times = [seconds(work, repeats) for work in (ours, matrix)]
    ratios = {"transform_speed_vs_matrix": times[1] / times[0]}
    line = {"transform": grid.describe(), "channels": channels, "seconds": times[0], "matrix_seconds": times[1]}
    if (peer := torch_harmonics(grid, harmonics.lmax)) is not None:
        peer_seconds = seconds(lambda: peer(field), repeats)
        line["torch_harmonics_seconds"] = peer_seconds
        ratios["transform_speed_vs_torch_harmonics"] = peer_seconds / times[0]
    print(json.dumps(line))
    return ratios


def torch_harmonics(grid: LatLonGrid, lmax: int) -> Callable[[Tensor], Tensor] | None:
    """The same round trip by torch-harmonics; None where it is not installed."""
    try:
        peer = import_module("torch_harmonics")
    except ImportError:
        return None
    size: dict[str, Any] = {"lmax": lmax + 1, "mmax": lmax + 1, "grid": "legendre-gauss"}
    there, back = peer.RealSHT(*grid.shape, **size), peer.InverseRealSHT(*grid.shape, **size)
    return lambda field: back(there(field))


def round_trip(grid: LatLonGrid) -> dict[str, float]:
    """Largest error of coefficients after synthesis and analysis, relative to the largest coefficient."""
    found = {}
    for dtype in (torch.float32, torch.float64):
        began = time.perf_counter()
        harmonics = SphericalHarmonics(grid, dtype=dtype, vector=False)
        setup = time.perf_counter() - began
        size = harmonics.lmax + 1
        coefficients = torch.randn(2, size, size, dtype=dtype.to_complex()).tril()
        coefficients[..., 0].imag.zero_()
        error = harmonics.analysis(harmonics.synthesis(coefficients)) - coefficients
        found[str(dtype).removeprefix("torch.")] = float(error.abs().max() / coefficients.abs().max())
        found |= {"lmax": harmonics.lmax, "setup_seconds": setup}
    print(json.dumps({"round_trip": grid.describe()} | found))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes: under a minute")
    quick = parser.parse_args().quick
    torch.manual_seed(0)
    repeats = 3 if quick else 7
    ratios: dict[str, float] = {}
    for members in (8, 32) if quick else (8, 32, 64):
        ratios |= bench_crps(members, channels=2, grid=LatLonGrid.gaussian(64), repeats=repeats)
    ratios |= bench_losses(LatLonGrid.gaussian(32 if quick else 64), channels=4, members=4, repeats=repeats)
    ratios |= bench_transform(LatLonGrid.gaussian(32 if quick else 48), channels=64, repeats=repeats)
    degrees = 2.0 if quick else 1.0
    rows, columns = round(180 / degrees), round(360 / degrees)
    longitude = np.arange(columns) * degrees
    grids = [
        LatLonGrid.gaussian(64 if quick else 128),
        LatLonGrid(np.linspace(90, -90, rows + 1), longitude),
        LatLonGrid(np.linspace(90 - degrees / 2, -90 + degrees / 2, rows), longitude),
    ]
    trips = [round_trip(grid) for grid in grids]
    # Of what is allowed: 1e-5 in float32, 1e-12 in float64.
    ratios |= {
        "round_trip_float32_of_1e-5": max(trip["float32"] for trip in trips) / 1e-5,
        "round_trip_float64_of_1e-12": max(trip["float64"] for trip in trips) / 1e-12,
    }
    try:
        peer = version("torch-harmonics")
    except PackageNotFoundError:
        peer = "absent"
    peers = {"torch": torch.__version__, "torch-harmonics": peer}
    print(json.dumps({"bench": "losses", "ratios": {k: round(v, 4) for k, v in ratios.items()}, "peers": peers}))


if __name__ == "__main__":
    main()
