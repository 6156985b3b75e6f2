"""The way to MLflow: which server or database, quiet, initialised once, and quick to say that it does not answer.

MLflow is imported only here and in what is called after `connect`, so that importing this folder costs nothing.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from credit_ray.errors import ClusterError, ConfigError, ModelNotFoundError
from credit_ray.tracking.places import is_url, output_root, redact, without_secrets

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

    from credit_ray.config.experiment import Experiment

SQLITE = "sqlite:///"
PROBE_SECONDS = 5


def tracking_uri(experiment: Experiment | None = None) -> str:
    """Where runs are recorded: `tracking.uri` of the config, else MLFLOW_TRACKING_URI, else SQLite in `output`.

    Parameters
    ----------
    experiment : Experiment, optional
        Without one, the default `output`, a folder `runs` here, is meant.

    Returns
    -------
    str
        With an absolute path, so that it means the same in a worker's folder.

    Raises
    ------
    ConfigError
        Where `output` is a URL, on which no SQLite database can live, or for a file store, which MLflow no longer writes.
    """
    uri = (experiment and experiment.tracking.uri) or os.environ.get("MLFLOW_TRACKING_URI")
    if not uri:
        output = experiment.output if experiment else "runs"
        if is_url(output):
            raise ConfigError(
                f"tracking.uri: output is {redact(output)}, where MLflow's SQLite database can't live. "
                "Set tracking.uri, or MLFLOW_TRACKING_URI, to a tracking server."
            )
        uri = f"{SQLITE}{output_root(output)}/mlflow.db"
    return absolute_uri(uri)


def absolute_uri(uri: str) -> str:
    """A tracking URI that means the same in every working directory.

    Raises
    ------
    ConfigError
        For a file store, which MLflow no longer writes, or what is no URI.
    """
    if uri.startswith(SQLITE):
        return SQLITE + os.path.abspath(uri.removeprefix(SQLITE))
    if uri.startswith("file:") or not (is_url(uri) or uri.startswith("databricks")):
        folder = uri.removeprefix("file:").removeprefix("//")
        raise ConfigError(
            f"tracking.uri: '{uri}' is no tracking server or database (MLflow no longer writes plain folders). "
            f"Write http://HOST:PORT or {SQLITE}{folder}/mlflow.db."
        )
    return uri


def open_registry(uri: str | None = None) -> MlflowClient:
    """A client for reading; default: MLFLOW_TRACKING_URI, else the database in a folder `runs` here."""
    return connect(absolute_uri(uri) if uri else tracking_uri())


def connect(uri: str, *, create: bool = False) -> MlflowClient:
    """A client of a tracking server or database that answers.

    Parameters
    ----------
    uri : str
        As `tracking_uri` gives it.
    create : bool
        Whether an SQLite database that is not there is made. It is the driver's task, once: MLflow's own migrations do not bear company,
        so that a lock is held while they run.

    Raises
    ------
    ClusterError
        Where it does not answer within seconds, with its URI.
    ModelNotFoundError
        Where there is no database, and none was to be made.
    """
    if uri.startswith(SQLITE):
        path = Path(uri.removeprefix(SQLITE))
        _check_sqlite(path, create)
        with _locked(path) if create else nullcontext():
            return _probe(uri)
    return _probe(uri)


def quiet_mlflow() -> None:
    """Import MLflow without its telemetry, its notes about migrations, and the links that it prints."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    import mlflow.tracking  # noqa: F401  # before the levels are set: its import sets them too

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)


@contextmanager
def few_retries(seconds: int) -> Iterator[None]:
    """MLflow's HTTP calls in this block give up within seconds, not minutes."""
    names = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": str(seconds)}
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(names)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def reason(error: BaseException) -> str:
    """One line of an error of MLflow's, which may be a page, without secrets."""
    innermost: Any = error
    while innermost.__cause__ is not None:
        innermost = innermost.__cause__
    text = (str(error).strip() or type(innermost).__name__).splitlines()[0]
    return without_secrets(text)[:300]


def _probe(uri: str) -> MlflowClient:
    quiet_mlflow()
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    try:
        with few_retries(PROBE_SECONDS):
            client = MlflowClient(uri, registry_uri=uri)
            client.search_experiments(max_results=1)
    except (MlflowException, OSError) as error:
        raise ClusterError(
            f"MLflow does not answer at {redact(uri)}: {reason(error)}. Is the server up, and are tracking.uri or MLFLOW_TRACKING_URI right?"
        ) from error
    return client


def _check_sqlite(path: Path, create: bool) -> None:
    """What SQLAlchemy would find out only after a minute of retries."""
    if not path.exists():
        if not create:
            raise ModelNotFoundError(
                f"There is no MLflow database at {path}: nothing was trained here yet. Set MLFLOW_TRACKING_URI if it is elsewhere."
            )
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ClusterError(
                f"MLflow's database can't be made at {path}: {error.strerror}. Choose another output or tracking.uri."
            ) from error
    elif path.stat().st_size:
        with path.open("rb") as file:
            if file.read(15) != b"SQLite format 3":
                raise ClusterError(f"{path} is no SQLite database: set tracking.uri to another file.")
    if create and not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ClusterError(
            f"MLflow's database {path} can't be written: no permission. Choose another output or tracking.uri."
        )


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One process at a time makes or migrates a database."""
    with path.with_name(path.name + ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
