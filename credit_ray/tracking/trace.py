"""Where a number comes from: forecast → model version → run → data → code → config."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from credit_ray.config.dump import flatten
from credit_ray.errors import DataError
from credit_ray.package import MANIFEST, PackageInfo, inspect_package
from credit_ray.tracking import page
from credit_ray.tracking.client import open_registry
from credit_ray.tracking.fetching import local_package
from credit_ray.tracking.places import is_url, join, read_text, redact
from credit_ray.tracking.tables import pairs
from credit_ray.tracking.versions import ModelVersion, find_version, with_digest

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

_TRAINING = ("seed", "model", "constraints", "loss", "training")
"""Sections that a model comes from; its data are shown on their own."""


@dataclass(frozen=True, kw_only=True)
class Trace:
    """One chain; what is not known is None.

    Parameters
    ----------
    asked : str
        The store, package or model.
    forecast : mapping
        The lineage among a forecast store's attributes; empty for a package or a model.
    model : ModelVersion, optional
        The registered version of the package.
    model_digest : str
        Of the package.
    run : mapping
        Id, name, status, user and page's tags of the run that made it.
    lineage : mapping
        Of the package: data, code, config.
    """

    asked: str
    forecast: Mapping[str, Any]
    model: ModelVersion | None
    model_digest: str | None
    run: Mapping[str, str]
    lineage: Mapping[str, Any]

    def __str__(self) -> str:
        blocks = [
            (
                self.asked,
                [(key.replace("_", " "), value) for key, value in self.forecast.items() if not key.startswith("model")],
            )
        ]
        what = self.model.uri if self.model else "a package that is not in this registry"
        about = (
            [
                ("aliases", ", ".join(self.model.aliases)),
                ("RMSE/persistence", self.model.tags.get("rmse_over_persistence")),
            ]
            if self.model
            else []
        )
        blocks.append((f"model {what}", [*about, ("package digest", self.model_digest)]))
        if self.run:
            blocks.append(
                (f"run {self.run['run_id']}", [(key, value) for key, value in self.run.items() if key != "run_id"])
            )
        known = self.lineage
        config = known.get("config", {})
        sources = {name: source["store"] for name, source in config.get("data", {}).get("sources", {}).items()}
        blocks.append(
            (f"data {known.get('data_digest', 'unknown')}", [("content", known.get("data_content")), *sources.items()])
        )
        blocks.append((f"code {known.get('code_revision', 'unknown')}", list(known.get("versions", {}).items())))
        blocks.append(
            (
                f"config {known.get('config_digest', 'unknown')}",
                [(k, v) for k, v in flatten({k: config[k] for k in _TRAINING if k in config}).items() if v is not None],
            )
        )
        return "\n".join(
            f"{'→ ' if i else ''}{title}" + ("\n" + text if (text := pairs(rows, "    ")) else "")
            for i, (title, rows) in enumerate(blocks)
        )


def trace(what: str, *, tracking_uri: str | None = None) -> Trace:
    """The chain behind a forecast store, a model package, or a registered model.

    Parameters
    ----------
    what : str
        Folder or URL of a forecast store or package, or `models:/…`, `name@alias`, `name/3`.
    tracking_uri : str, optional
        Of the registry; default: MLFLOW_TRACKING_URI, else the database in a folder `runs` here.

    Raises
    ------
    DataError
        Where there is neither a forecast store nor a package nor a model of that name.
    """
    client = open_registry(tracking_uri)
    attributes = _forecast_attributes(what)
    if attributes is not None:
        digest = attributes.get("model_digest")
        if not digest:
            raise DataError(
                f"{redact(what)} does not say which model made it: it has no attribute 'model_digest'. "
                "Was it written by credit-ray forecast?"
            )
        model = next(iter(with_digest(client, digest)), None)
        lineage = _package(client, model).lineage if model else {}
    elif not what.startswith("models:/") and read_text(join(what, MANIFEST)) is not None:
        package = inspect_package(local_package(None, what))
        digest, lineage = package.digest, package.lineage
        model = next(iter(with_digest(client, digest)), None)
    elif what.startswith("models:/") or not (is_url(what) or Path(what).exists()):
        model = find_version(client, what)
        package = _package(client, model)
        digest, lineage = package.digest, package.lineage
    else:
        raise DataError(f"{redact(what)} is neither a forecast store nor a model package.")
    return Trace(
        asked=redact(what),
        forecast=_shown(attributes or {}),
        model=model,
        model_digest=digest,
        run=_run(client, model.run_id if model else lineage.get("run_id")),
        lineage=lineage,
    )


def _package(client: MlflowClient, model: ModelVersion) -> PackageInfo:
    return inspect_package(local_package(client, model.source), digest=model.digest)


def _shown(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The lineage among a store's attributes."""
    ours = {key: value for key, value in attributes.items() if isinstance(value, str | int | float)}
    return {key: value for key, value in ours.items() if key != "Conventions" and not key.startswith("credit_ray_")}


def _run(client: MlflowClient, run_id: str | None) -> dict[str, str]:
    if not run_id or not page.exists(client, run_id):
        return {}
    run = client.get_run(run_id)
    tags = {key.removeprefix(page.PREFIX): text for key, text in run.data.tags.items() if key.startswith(page.PREFIX)}
    user = run.data.tags.get("mlflow.user")
    return {
        "run_id": run_id,
        "name": run.info.run_name,
        "status": run.info.status,
        **({"user": user} if user else {}),
        **tags,
    }


def _forecast_attributes(url: str) -> dict[str, Any] | None:
    """Of a Zarr v3 store's root; None where there is none."""
    if url.startswith("models:/"):
        return None
    text = read_text(join(url, "zarr.json"))
    return dict(json.loads(text).get("attributes", {})) if text else None
