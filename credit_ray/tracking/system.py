"""What the driver's machine is doing while it works: CPU, memory, disk, network and GPUs, under the names that MLflow's pages know.

Read from Linux's own files, so that it needs no further library, and sent through the run's spool, so that it outlives the server.
"""

from __future__ import annotations

import logging
import shutil
import subprocess
import threading
import time
from pathlib import Path

from credit_ray.tracking.spool import MetricSpool

log = logging.getLogger(__name__)

_MB = 1e6


class SystemMetrics:
    """Samples of this machine, until stopped.

    Parameters
    ----------
    spool : MetricSpool
        Where they go.
    since : float
        Time (s since 1970) that steps count from: the start of the run, so that a restart goes on behind what is there.
    every_seconds : float
        Between two samples; also the unit of their steps.
    disk : str
        A folder on the disk whose filling is watched.
    """

    def __init__(self, spool: MetricSpool, *, since: float, every_seconds: float = 10, disk: str = "/") -> None:
        self._spool, self._since, self._every, self._disk = spool, since, every_seconds, disk
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="system-metrics", daemon=True)
        if Path("/proc/stat").exists():
            self._thread.start()
        else:
            log.info("No system metrics: this machine has no /proc")

    def stop(self) -> None:
        """Take no more samples."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(5)

    def _watch(self) -> None:
        before, network = _cpu_times(), _network_bytes()
        has_gpus = shutil.which("nvidia-smi") is not None
        while not self._stop.wait(self._every):
            after = _cpu_times()
            metrics = (
                _cpu(before, after) | _memory() | _disk(self._disk) | _network(network) | (_gpus() if has_gpus else {})
            )
            before = after
            step = int((time.time() - self._since) / self._every)
            self._spool.log({f"system/{name}": value for name, value in metrics.items()}, step=step)


def _cpu_times() -> tuple[int, int]:
    """Busy and all ticks of all CPUs since boot."""
    ticks = [int(n) for n in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    idle = ticks[3] + ticks[4]
    return sum(ticks) - idle, sum(ticks)


def _cpu(before: tuple[int, int], after: tuple[int, int]) -> dict[str, float]:
    busy, total = after[0] - before[0], after[1] - before[1]
    return {"cpu_utilization_percentage": 100 * busy / total} if total else {}


def _memory() -> dict[str, float]:
    lines = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
    kilobytes = {line[0].rstrip(":"): int(line[1]) for line in lines}
    used = kilobytes["MemTotal"] - kilobytes["MemAvailable"]
    return {
        "system_memory_usage_megabytes": used * 1024 / _MB,
        "system_memory_usage_percentage": 100 * used / kilobytes["MemTotal"],
    }


def _disk(folder: str) -> dict[str, float]:
    usage = shutil.disk_usage(folder)
    return {
        "disk_usage_megabytes": usage.used / _MB,
        "disk_usage_percentage": 100 * usage.used / usage.total,
        "disk_available_megabytes": usage.free / _MB,
    }


def _network_bytes() -> tuple[int, int]:
    """Received and transmitted by all interfaces but loopback, since boot."""
    received = transmitted = 0
    for line in Path("/proc/net/dev").read_text().splitlines()[2:]:
        name, _, counts = line.partition(":")
        if name.strip() != "lo":
            numbers = counts.split()
            received, transmitted = received + int(numbers[0]), transmitted + int(numbers[8])
    return received, transmitted


def _network(start: tuple[int, int]) -> dict[str, float]:
    now = _network_bytes()
    return {
        "network_receive_megabytes": (now[0] - start[0]) / _MB,
        "network_transmit_megabytes": (now[1] - start[1]) / _MB,
    }


def _gpus() -> dict[str, float]:
    query = [
        "nvidia-smi",
        "--query-gpu=utilization.gpu,memory.used,memory.total,power.draw",
        "--format=csv,noheader,nounits",
    ]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.TimeoutExpired) as error:
        log.debug("nvidia-smi gave nothing: %s", error)
        return {}
    return gpu_metrics(done.stdout)


def gpu_metrics(table: str) -> dict[str, float]:
    """Metrics by GPU, from lines `utilisation %, memory used MiB, memory total MiB, power W`; what a GPU does not report is left out."""
    metrics: dict[str, float] = {}
    for index, line in enumerate(table.strip().splitlines()):
        utilization, used, total, power = (
            float(v) if v.replace(".", "", 1).isdigit() else None for v in line.replace(" ", "").split(",")
        )
        values = {"utilization_percentage": utilization, "power_usage_watts": power}
        if used is not None and total:
            values |= {"memory_usage_megabytes": used * 2**20 / _MB, "memory_usage_percentage": 100 * used / total}
        metrics |= {f"gpu_{index}_{name}": value for name, value in values.items() if value is not None}
    return metrics
