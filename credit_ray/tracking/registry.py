"""The model registry: registering a package, moving aliases, recording scores.

A version's source is a plain folder, the package itself, among its run's artifacts: no MLflow flavour, so nothing that could be executed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from credit_ray.errors import ClusterError
from credit_ray.package import CARD, PackageInfo, inspect_package
from credit_ray.tracking.card import render_card, summary
from credit_ray.tracking.client import absolute_uri, connect, open_registry, reason
from credit_ray.tracking.fetching import ARTIFACT, local_package
from credit_ray.tracking.fetching import FetchedModel as FetchedModel
from credit_ray.tracking.fetching import fetch_model as fetch_model
from credit_ray.tracking.places import join
from credit_ray.tracking.scores import Score, headline, to_tag
from credit_ray.tracking.versions import ModelVersion, aliases_of, find_version, of_run, versions_of

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

_ABOUT = "An Earth-system model of credit_ray. Each version's description and tags say what it is and how good."
_LONGEST = 5000  # of tags and descriptions, in the databases that bound them


def register_model(
    package: str | os.PathLike[str],
    *,
    run_id: str,
    name: str,
    alias: str | None = None,
    metrics: Mapping[str, float] | None = None,
    scores: Sequence[Score] = (),
    tracking_uri: str | None = None,
) -> ModelVersion:
    """Store a package among its run's artifacts, and register it as the next version of a model.

    A package that is registered under that name already gets the alias, and no second version: a restarted driver may ask again.

    Parameters
    ----------
    package : path
        Folder of the package; its card is written here.
    run_id : str
        The run that made it.
    name, alias : str
        In the registry.
    metrics, scores : optional
        For the card and the tags.

    Raises
    ------
    PackageError
        Where there is no sound package.
    ClusterError
        Where MLflow does not take it.
    """
    from mlflow.exceptions import MlflowException

    info = inspect_package(package)
    info.verify()
    client = connect(absolute_uri(tracking_uri), create=True) if tracking_uri else open_registry()
    try:
        _ensure_model(client, name)
        version = next((v for v in versions_of(client, name) if v.digest == info.digest and v.run_id == run_id), None)
        if version is None:
            version = _new_version(client, info, run_id, name, metrics or {}, scores)
        if alias is not None:
            client.set_registered_model_alias(name, alias, version.version)
    except MlflowException as error:
        raise ClusterError(
            f"The package {package} could not be registered as '{name}': {reason(error)}. Register it again when MLflow answers."
        ) from error
    return find_version(client, version.uri)


def record_scores(model: str, scores: Sequence[Score], *, period: str, tracking_uri: str | None = None) -> ModelVersion:
    """Put the scores of verified forecasts on a version: its tags, its card, its description.

    Parameters
    ----------
    model : str
        `models:/name/version` or another name of it.
    scores : sequence of Score
        By channel and lead, leads ascending.
    period : str
        What they are of: `test 2026-02-11 to 2026-02-28`.
    """
    client = open_registry(tracking_uri)
    version = find_version(client, model)
    info = inspect_package(local_package(client, version.source), digest=version.digest)
    tags = _score_tags(scores, {}) | {"score_period": period}
    for key, text in tags.items():
        client.set_model_version_tag(version.name, version.version, key, text)
    client.update_model_version(version.name, version.version, _description(info, {}, scores))
    if version.run_id:
        card = render_card(info, name=version.name, version=version.version, scores=scores)
        folder = version.source.rstrip("/").rpartition("/")[2]
        client.log_text(version.run_id, card, f"{folder}/{CARD}")
    return find_version(client, version.uri)


def promote_model(
    name: str, version: str | int | None = None, alias: str = "champion", *, tracking_uri: str | None = None
) -> ModelVersion:
    """Move an alias to a version; what was champion keeps the alias `previous`.

    Parameters
    ----------
    name : str
        Registered model, or one of its versions (`name/3`, `name@candidate`).
    version : str or int, optional
        Default: the one that `name` says, else the candidate, else the newest.
    """
    client = open_registry(tracking_uri)
    if version is not None:
        name = f"{name}/{version}"
    elif "@" not in name and "/" not in name and "candidate" in aliases_of(client, name):
        name = f"{name}@candidate"
    found = find_version(client, name)
    before = aliases_of(client, found.name).get(alias)
    if alias == "champion" and before is not None and before != found.version:
        client.set_registered_model_alias(found.name, "previous", before)
    client.set_registered_model_alias(found.name, alias, found.version)
    return find_version(client, found.uri)


def _ensure_model(client: MlflowClient, name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name, description=_ABOUT)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _new_version(
    client: MlflowClient,
    info: PackageInfo,
    run_id: str,
    name: str,
    metrics: Mapping[str, float],
    scores: Sequence[Score],
) -> ModelVersion:
    """Card, artifact, version; in this order, so that a version is never without its package."""
    card = info.directory / CARD
    card.write_text(render_card(info, name=name, metrics=metrics, scores=scores), encoding="utf-8")
    folder = _artifact_folder(client, info, run_id)
    client.log_artifacts(run_id, str(info.directory), folder)
    source = join(client.get_run(run_id).info.artifact_uri, folder)
    tags = _score_tags(scores, metrics) | _tags(info)  # pages show them in this order
    made = client.create_model_version(
        name,
        source,
        run_id=run_id,
        tags={key: text[:_LONGEST] for key, text in tags.items()},
        description=_description(info, metrics, scores),
    )
    return find_version(client, f"models:/{name}/{made.version}")


def _artifact_folder(client: MlflowClient, info: PackageInfo, run_id: str) -> str:
    """`package`; a further package of the same run gets a folder of its own, so that no version's files are replaced."""
    taken = of_run(client, run_id)
    return f"{ARTIFACT}-{info.digest[:8]}" if taken else ARTIFACT


def _tags(info: PackageInfo) -> dict[str, str]:
    """What answers "what is this, on what was it trained, what does it cost" where versions are listed."""
    spec, data_digest = info.spec, info.lineage.get("data_digest")
    return {
        "grid": spec.grid.describe(),
        "step": str(spec.step),
        "variables": ", ".join(spec.outputs.variables),
        "network": info.recipe["network"],
        "parameters": str(info.parameters),
        "package_digest": info.digest,
        **({"data_digest": data_digest} if data_digest else {}),
    }


def _score_tags(scores: Sequence[Score], metrics: Mapping[str, float]) -> dict[str, str]:
    tags = {"rmse_over_persistence": headline(scores, metrics)}
    if scores:
        tags["scores"] = to_tag(scores, _LONGEST)
    return {key: text for key, text in tags.items() if text}


def _description(info: PackageInfo, metrics: Mapping[str, float], scores: Sequence[Score]) -> str:
    return (
        summary(info, metrics, scores)
        + f"\n\nThe whole card is `{CARD}`, beside the package among the artifacts of its run."
    )[:_LONGEST]
