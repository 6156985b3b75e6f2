"""The connection to Ray: a cluster that is there, or a small one of our own for as long as the work lasts."""

from __future__ import annotations

import logging
import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from credit_ray.config.training import Resources
from credit_ray.errors import ClusterError, CreditRayError

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
            cpus = max(os.cpu_count() or 1, resources.most_workers + 2)
            # "local": one of our own, although another may have been started on this machine, perhaps by somebody else.
            ray.init(
                address="local",
                num_cpus=cpus,
                include_dashboard=dashboard,
                log_to_driver=_debug(),
                logging_level=logging.WARNING,
            )
    except Exception as error:  # Ray raises a bare one where a node of its own does not come up
        where = f"the cluster at {address}" if address else "a local cluster"
        raise ClusterError(
            f"Ray: {where} does not answer ({(str(error).strip() or type(error).__name__).splitlines()[0]}). "
            "Is it up, of the same Ray version, and is RAY_AUTH_MODE here what it is there?"
        ) from error
    log.info("Ray %s: %s", ray.__version__, address or "local")
    try:
        yield
    finally:
        ray.shutdown()


def own_error(error: BaseException) -> BaseException:
    """The error of ours that a Ray task ended with, in its own words; another error as it is."""
    from ray.exceptions import RayTaskError

    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, CreditRayError) and not isinstance(cause, RayTaskError):
            words, _, _ = str(cause).partition("\nFailed to apply UDF transform")  # what Ray Data adds
            return type(cause)(words)
        cause = getattr(cause, "cause", None) or cause.__cause__
    return error


def has_gpus() -> bool:
    """Whether the connected cluster has GPUs."""
    import ray

    return ray.cluster_resources().get("GPU", 0) > 0


def _refuse_unreachable(address: str) -> None:
    """One question to the cluster: Ray itself would try for twenty seconds and more, then say little."""
    if address in ("auto", "local"):
        return
    where = urlsplit(address if "://" in address else f"//{address}")
    try:
        host, port = where.hostname or "", where.port or 6379
        socket.create_connection((host, port), timeout=5).close()
    except (OSError, ValueError) as error:
        raise ClusterError(
            f"Ray: nothing answers at {address} ({error}). Start it with 'ray start --head', or unset RAY_ADDRESS."
        ) from None
    if where.scheme or os.environ.get("RAY_USE_TLS") == "1":
        return  # a Ray client's proxy, or a cluster that talks by certificates
    import grpc

    token = _token()
    with grpc.insecure_channel(f"{host}:{port}") as channel:
        alive = channel.unary_unary("/ray.rpc.NodeInfoGcsService/CheckAlive")
        try:
            alive(b"", timeout=10, metadata=[("authorization", f"Bearer {token}")] if token else [])
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.UNAUTHENTICATED:
                raise ClusterError(_refused(address, token)) from None
            if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                raise ClusterError(
                    f"Ray: what listens at {address} is no Ray cluster, or hangs. The address is the one that 'ray start --head' printed "
                    "(port 6379 unless --port says otherwise), not the dashboard's."
                ) from None
            log.debug("Ray at %s: %s", address, error)  # another version than ours: Ray will say which


def _token() -> str | None:
    """The token that Ray will send; None where it sends none."""
    if os.environ.get("RAY_AUTH_MODE", "").lower() != "token":
        return None
    if token := os.environ.get("RAY_AUTH_TOKEN"):
        return token
    try:
        return Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token").read_text().strip()
    except OSError:
        return None


def _refused(address: str, token: str | None) -> str:
    if token:
        return (
            f"Ray: the cluster at {address} refuses this token. RAY_AUTH_TOKEN, or the file that RAY_AUTH_TOKEN_PATH names, must be "
            "the same as where the cluster was started."
        )
    return (
        f"Ray: the cluster at {address} wants a token, and none was given. Set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or "
        "RAY_AUTH_TOKEN_PATH as where the cluster was started."
    )


def _debug() -> bool:
    return bool(os.environ.get("CREDIT_RAY_DEBUG"))
