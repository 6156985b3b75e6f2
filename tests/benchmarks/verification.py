"""Scoring a forecast store: our pass, the plain numpy that one would write, and reading alone, side by side.

    python tests/benchmarks/verification.py [--quick]

Forecasts of 5 variables on 13 levels over 40 lead times on a 32×64 grid. Numpy gets forecast and truth as whole arrays in memory,
and computes in float32; ours reads the store, keeps a window of the truth, and scores persistence and climatology as well.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from credit_ray.forecasting.layout import ForecastLayout
from credit_ray.forecasting.writer import create_store
from credit_ray.grid.latlon import LatLonGrid
from credit_ray.state import Channel, Channels
from credit_ray.times import Step, Times
from credit_ray.verification.baselines import Climatology
from credit_ray.verification.forecasts import Forecasts, open_forecast
from credit_ray.verification.metrics import METRICS
from credit_ray.verification.scoring import score_forecasts

LEADS, LEVELS, VARIABLES = 40, 13, "uvtqz"
GRID = LatLonGrid.gaussian(32)
CHANNELS = Channels(
    Channel(variable=v, units="1", level=float(k + 1), vertical="model") for v in VARIABLES for k in range(LEVELS)
)
STEP = Step(seconds=21600)


class Truth:
    """In memory, as numpy has it."""

    def __init__(self, fields: NDArray[np.float32]) -> None:
        self.all = fields

    def has(self, times: Times) -> NDArray[np.bool_]:
        return np.ones(np.shape(times), bool)

    def fields(self, times: Times, channels: Channels) -> NDArray[np.float32]:
        first = CHANNELS.index(channels[0].name)
        return self.all[np.asarray(times) // STEP.seconds, first : first + len(channels)]


def plain_numpy(forecast: NDArray[Any], truth: NDArray[Any], mean: NDArray[Any], acc: bool) -> Any:
    """[init, lead, channel, lat, lon] each."""
    weights = (GRID.area_weights() / GRID.area_weights().sum()).astype(np.float32)
    rmse = np.sqrt(np.einsum("ilchw,hw->ilc", (forecast - truth) ** 2, weights).mean(0))
    if not acc:
        return rmse
    f, t = forecast - mean, truth - mean
    both, ff, tt = (np.einsum("ilchw,hw->ilc", product, weights).mean(0) for product in (f * t, f * f, t * t))
    return rmse, both / np.sqrt(ff * tt)


def seconds(works: dict[str, Callable[[], Any]], times: int = 3) -> dict[str, float]:
    """The best of some turns, taken in rotation, so that a machine that slows down slows all of them."""
    best = dict.fromkeys(works, np.inf)
    for _ in range(times):
        for what, work in works.items():
            began = time.perf_counter()
            work()
            best[what] = min(best[what], time.perf_counter() - began)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="ten forecasts instead of fifty")
    inits = 10 if parser.parse_args().quick else 50
    draw = np.random.default_rng(0)
    shape = (len(CHANNELS), *GRID.shape)
    truth = draw.standard_normal((inits + LEADS + 1, *shape), dtype=np.float32)
    mean = draw.standard_normal(shape, dtype=np.float32)
    folder = Path(tempfile.mkdtemp())
    layout = ForecastLayout(
        channels=CHANNELS,
        grid=GRID,
        step=STEP,
        calendar="standard",
        init_times=np.arange(inits, dtype=np.int64) * STEP.seconds,
        leads=tuple(range(1, LEADS + 1)),
    )
    forecast = np.empty((inits, LEADS, *shape), np.float32)
    for init in range(inits):
        forecast[init] = (
            truth[init + 1 : init + 1 + LEADS] + draw.standard_normal((LEADS, *shape), dtype=np.float32) / 3
        )
    try:
        store = create_store(str(folder / "f.zarr"), layout, {"model_digest": "m", "data_digest": "d"})
        began = time.perf_counter()
        for init in range(0, inits, 10):
            with store.writer(range(init, init + 10)) as writer:
                for lead in range(LEADS):
                    writer.write(forecast[init : init + 10, lead])
        store.finish()
        report = {"write": time.perf_counter() - began}
        forecasts = Forecasts(open_forecast(store.url), store.url)
        verifying = np.stack([truth[i + 1 : i + 1 + LEADS] for i in range(inits)])
        climatology = Climatology(mean[None], "mean", "standard")

        def ours(metrics: list[str], baselines: list[str]) -> Any:
            return score_forecasts(
                forecasts, Truth(truth), metrics=metrics, baselines=baselines, climatology=climatology
            )

        report |= seconds(
            {
                "numpy rmse": lambda: plain_numpy(forecast, verifying, mean, acc=False),
                "ours rmse": lambda: ours(["rmse"], []),
                "numpy rmse, acc": lambda: plain_numpy(forecast, verifying, mean, acc=True),
                "ours rmse, bias, acc, two baselines": lambda: ours([*METRICS], ["persistence", "climatology"]),
                "read the store": lambda: [forecasts.read(v, slice(None), slice(None)) for v in VARIABLES],
            }
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for what, taken in report.items():
        print(json.dumps({"what": what, "seconds": round(taken, 3), "GB/s": round(forecast.nbytes / taken / 1e9, 2)}))
    ratios = {
        "rmse from the store / numpy rmse in memory": report["ours rmse"] / report["numpy rmse"],
        "all scores and baselines from the store / numpy rmse and acc in memory": report[
            "ours rmse, bias, acc, two baselines"
        ]
        / report["numpy rmse, acc"],
    }
    print(
        json.dumps(
            {
                "bench": "verification",
                "ratios": {what: round(ratio, 2) for what, ratio in ratios.items()},
                "peers": {"numpy": np.__version__, "weatherbench-x": "absent", "xskillscore": "absent"},
            }
        )
    )


if __name__ == "__main__":
    main()
