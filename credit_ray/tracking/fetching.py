"""From any name of a model to its package on this machine.

A package that this machine can see is used where it is. Others are brought once into a cache, by their digest, so that an alias that moves
costs one download and two processes never see half of one.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit
from uuid import uuid4

from credit_ray.errors import ModelNotFoundError, PackageError
from credit_ray.package import CARD, CONSTANTS, MANIFEST, WEIGHTS, inspect_package
from credit_ray.tracking import page
from credit_ray.tracking.client import open_registry, reason
from credit_ray.tracking.places import is_url, join, redact
from credit_ray.tracking.versions import find_version

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

ARTIFACT = "package"
"""Folder of the package among its run's artifacts."""

Copy = Callable[[str, Path], None]
"""Brings the file of that name into a folder; FileNotFoundError where there is none."""


@dataclass(frozen=True, kw_only=True)
class FetchedModel:
    """A model package on this machine.

    Parameters
    ----------
    directory : Path
        The package.
    digest : str
        Of the package; `load_package` compares it.
    uri : str
        `models:/name/version` where it is registered, so that it stays true when an alias moves; else what was asked for.
    name, version, alias, run_id : str, optional
        Where it was named by the registry.
    """

    directory: Path
    digest: str
    uri: str
    name: str | None = None
    version: str | None = None
    alias: str | None = None
    run_id: str | None = None

    def lineage(self) -> dict[str, str]:
        """What a forecast's attributes say of the model that made it."""
        known = {
            "model": self.uri,
            "model_name": self.name,
            "model_version": self.version,
            "model_digest": self.digest,
            "run_id": self.run_id,
        }
        return {key: value for key, value in known.items() if value is not None}


def fetch_model(uri: str, tracking_uri: str | None = None) -> FetchedModel:
    """Bring a package to this machine.

    Parameters
    ----------
    uri : str
        `models:/name@alias`, `models:/name/3`, `runs:/run_id[/folder]`, a folder, or a URL of one (fsspec).
    tracking_uri : str, optional
        Of the registry; default: MLFLOW_TRACKING_URI, else the database in a folder `runs` here.

    Raises
    ------
    ModelNotFoundError
        For an unknown name, version or alias; lists those that exist.
    PackageError
        Where what is there is no sound package, or not the one that was registered.
    """
    if uri.startswith("models:/"):
        client = open_registry(tracking_uri)
        found = find_version(client, uri)
        directory = local_package(client, found.source)
        return FetchedModel(
            directory=directory,
            digest=inspect_package(directory, digest=found.digest).digest,
            uri=found.uri,
            name=found.name,
            version=found.version,
            alias=uri.rpartition("@")[2] if "@" in uri else None,
            run_id=found.run_id,
        )
    if uri.startswith("runs:/"):
        run_id, _, folder = uri.removeprefix("runs:/").partition("/")
        client = open_registry(tracking_uri)
        if not page.exists(client, run_id):
            raise ModelNotFoundError(f"There is no run '{run_id}' in MLflow.")
        directory = local_package(client, join(client.get_run(run_id).info.artifact_uri, folder or ARTIFACT))
        return FetchedModel(directory=directory, digest=inspect_package(directory).digest, uri=uri, run_id=run_id)
    directory = local_package(None, uri)
    return FetchedModel(directory=directory, digest=inspect_package(directory).digest, uri=redact(uri))


def local_package(client: MlflowClient | None, source: str) -> Path:
    """The folder itself where it is on this machine, else a copy in the cache.

    Parameters
    ----------
    client : MlflowClient, optional
        Of the server whose artifact it is; without one, `source` is a path or an fsspec URL.
    source : str
        Where the package is.
    """
    if source.startswith("file:"):
        return Path(unquote(urlsplit(source).path))
    if not is_url(source) and not source.startswith("mlflow-artifacts:"):
        return Path(source)

    def copy(name: str, folder: Path) -> None:
        if client is None:
            _copy_url(join(source, name), folder / name)
        else:
            _copy_artifact(client, join(source, name), folder)

    return _cached(source, copy)


def cache_folder() -> Path:
    """Where packages from elsewhere are kept: XDG_CACHE_HOME, else ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "credit_ray" / "models"


def _cached(source: str, copy: Copy) -> Path:
    """A package in the cache, by the digest of its package.json, which is always asked for anew."""
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    arriving = cache / f".arriving-{uuid4().hex[:8]}"
    arriving.mkdir()
    try:
        copy(MANIFEST, arriving)
        kept = cache / hashlib.sha256((arriving / MANIFEST).read_bytes()).hexdigest()
        if not kept.exists():
            for name in (WEIGHTS, CONSTANTS):
                copy(name, arriving)
            inspect_package(arriving).verify()
            try:
                arriving.rename(kept)
            except OSError:  # another process has just brought the same
                if not kept.exists():
                    raise
        _refresh_card(copy, kept)
        return kept
    except FileNotFoundError as error:
        raise PackageError(f"{redact(source)} is no model package: {reason(error)}.") from None
    finally:
        shutil.rmtree(arriving, ignore_errors=True)


def _refresh_card(copy: Copy, kept: Path) -> None:
    """The card is outside the digest: it changes when scores arrive."""
    fresh = kept / f".{CARD}-{uuid4().hex[:8]}"
    fresh.mkdir()
    try:
        copy(CARD, fresh)
        (fresh / CARD).replace(kept / CARD)
    except FileNotFoundError:
        (kept / CARD).unlink(missing_ok=True)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _copy_url(url: str, to: Path) -> None:
    import fsspec

    with fsspec.open(url, "rb") as source, to.open("wb") as target:
        shutil.copyfileobj(source, target, 1 << 20)


def _copy_artifact(client: MlflowClient, uri: str, folder: Path) -> None:
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    try:
        download_artifacts(artifact_uri=uri, dst_path=str(folder), tracking_uri=client.tracking_uri)
    except (MlflowException, OSError) as error:
        raise FileNotFoundError(f"{redact(uri)}: {reason(error)}") from error
