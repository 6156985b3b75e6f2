"""The connection to Ray: a cluster that is there, or a small one of our own for as long as the work lasts."""

from __future__ import annotations

import logging
import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlparse

from credit_ray.config.training import Resources
from credit_ray.errors import ClusterError

log = logging.getLogger(__name__)


@contextmanager
def ray_session(resources: Resources, *, dashboard: bool = False) -> Iterator[None]:
    """Connect to Ray for the length of a `with` block.

    An existing connection is used as it is. Else the cluster at `resources.address` or RAY_ADDRESS; else a local one is started, and stopped
    at the end.

    Parameters
    ----------
    resources : Resources
        What the work will ask for; a local cluster offers at least that, even on a small machine.
    dashboard : bool
        Whether a local cluster needs Ray's dashboard (Ray Tune asks it which trials ended).

    Raises
    ------
    ClusterError
        If the cluster can't be reached, with its address.
    """
    # Ray would otherwise rebuild the environment of `uv run` for every worker, and send usage statistics.
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_DATA_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("RAY_worker_niceness", "0")  # at Ray's default of 15, readers starve beside a busy trainer
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.5")  # how soon a dead worker is noticed
    address = resources.address or os.environ.get("RAY_ADDRESS")
    if not address and "RAY_AUTH_MODE" not in os.environ:
        # A cluster of our own: a token that lives only in this process and its children, rather than one in the home directory.
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    import ray

    if ray.is_initialized():
        yield
        return
    if address:
        _refuse_unreachable(address)
    try:
        if address:
            ray.init(address=address, log_to_driver=_debug(), logging_level=logging.WARNING)
        else:
            cpus = max(os.cpu_count() or 1, resources.workers + 2)
            ray.init(num_cpus=cpus, include_dashboard=dashboard, log_to_driver=_debug(), logging_level=logging.WARNING)
    except (ConnectionError, RuntimeError, ValueError) as error:
        where = f"the cluster at {address}" if address else "a local cluster"
        raise ClusterError(
            f"Ray: {where} does not answer ({str(error).splitlines()[0]}). Is it up, and is RAY_AUTH_TOKEN its token?"
        ) from error
    log.info("Ray %s: %s", ray.__version__, address or "local")
    try:
        yield
    finally:
        ray.shutdown()


def has_gpus() -> bool:
    """Whether the connected cluster has GPUs."""
    import ray

    return ray.cluster_resources().get("GPU", 0) > 0


def _refuse_unreachable(address: str) -> None:
    """Ray itself would try for twenty seconds and more, then say little."""
    if address in ("auto", "local"):
        return
    where = urlparse(address if "://" in address else f"ray://{address}")
    try:
        socket.create_connection((where.hostname or "", where.port or 6379), timeout=5).close()
    except OSError as error:
        raise ClusterError(
            f"Ray: nothing answers at {address} ({error}). Start it with 'ray start --head', or unset RAY_ADDRESS."
        ) from None


def _debug() -> bool:
    return bool(os.environ.get("CREDIT_RAY_DEBUG"))
