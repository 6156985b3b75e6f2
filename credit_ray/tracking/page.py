"""What a run's page in MLflow shows: experiment, names and source, parameters, tags, and the data set that it read."""

from __future__ import annotations

import getpass
import hashlib
import json
import logging
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from credit_ray.errors import ConfigError
from credit_ray.tracking.places import join, output_root, redact, without_secrets
from credit_ray.tracking.revision import code_revision

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

    from credit_ray.config.experiment import Experiment
    from credit_ray.data.dataset import Dataset

log = logging.getLogger(__name__)

PREFIX = "credit_ray."
"""Of a run's tags that are ours."""

_LONGEST_PARAM = 6000
_PER_CALL = 100
_KIND = {"mlflow.experimentKind": "custom_model_development"}  # not language models; where pages go by it
_ORIGIN = ("title", "license", "attribution", "institution", "source", "references")


def experiment_id(client: MlflowClient, experiment: Experiment, uri: str) -> str:
    """The MLflow experiment of that name, made if there is none; its artifacts lie in `output`, unless a server decides.

    Raises
    ------
    ConfigError
        Where it was deleted.
    """
    from mlflow.exceptions import MlflowException

    name = experiment.tracking.experiment or experiment.name
    root = None if uri.startswith(("http", "databricks")) else join(output_root(experiment.output), "mlartifacts")
    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name, artifact_location=root, tags=_KIND))
        except MlflowException:
            found = client.get_experiment_by_name(name)  # another driver was faster
            if found is None:
                raise
    if found.lifecycle_stage != "active":
        raise ConfigError(
            f"tracking.experiment: '{name}' was deleted in MLflow. Restore it there, or choose another name."
        )
    return str(found.experiment_id)


def exists(client: MlflowClient, run_id: str) -> bool:
    """Whether there is a run of that id, not deleted."""
    from mlflow.exceptions import MlflowException

    try:
        return bool(client.get_run(run_id).info.lifecycle_stage == "active")
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return False
        raise


def mlflow_tags(name: str, stage: str, parent: str | None) -> dict[str, str]:
    """Those that MLflow's pages know."""
    tags = {"mlflow.runName": name, "mlflow.source.name": f"credit-ray {stage}", "mlflow.source.type": "LOCAL"}
    try:
        tags["mlflow.user"] = getpass.getuser()
    except (KeyError, OSError) as error:  # in a container a user may have no name
        log.debug("No user name: %s", error)
    if commit := code_revision().commit:
        tags["mlflow.source.git.commit"] = commit
    return tags | ({"mlflow.parentRunId": parent} if parent else {})


def set_tags(client: MlflowClient, run_id: str, tags: Mapping[str, str]) -> None:
    """Set or replace tags."""
    from mlflow.entities import RunTag

    client.log_batch(run_id, tags=[RunTag(name, text) for name, text in tags.items()], synchronous=True)


def log_params(client: MlflowClient, run_id: str, params: Mapping[str, str]) -> None:
    """Record parameters; a text that MLflow finds too long ends in a digest of the whole."""
    from mlflow.entities import Param

    entries = [Param(re.sub(r"[^/\w.\- ]", "_", key)[:250], _short(text)) for key, text in params.items()]
    for start in range(0, len(entries), _PER_CALL):
        client.log_batch(run_id, params=entries[start : start + _PER_CALL], synchronous=True)


def log_dataset(client: MlflowClient, run_id: str, experiment: Experiment, dataset: Dataset) -> None:
    """Record the data as the run's input: where they are, which variables, which periods."""
    from mlflow.entities import Dataset as Entity
    from mlflow.entities import DatasetInput, InputTag

    sources = {name: redact(source.store) for name, source in experiment.data.sources.items()}
    schema = [{"name": name, "type": "float", "required": True} for name in dataset.spec.windowed.names]
    profile = {
        "num_rows": len(dataset.times),
        "splits": experiment.data.splits.model_dump(mode="json"),
        "grid": dataset.spec.grid.describe(),
        "data_digest": dataset.data_id,
    }
    entity = Entity(
        name=" + ".join(sources)[:500],
        digest=dataset.data_id[:36],  # MLflow's longest
        source_type="zarr",
        source=json.dumps({"uri": next(iter(sources.values())), "sources": sources}),
        schema=json.dumps({"mlflow_colspec": schema}),
        profile=json.dumps(profile),
    )
    client.log_inputs(run_id, [DatasetInput(entity, [InputTag("mlflow.data.context", "training")])])


def attribution(dataset: Dataset) -> dict[str, dict[str, str]]:
    """What the stores say of title, licence and origin, by source; sources that say nothing are left out."""
    said: dict[str, dict[str, str]] = {}
    for source in dataset.sources:
        if source.stored is not None:
            attributes = source.stored.store.attributes()
            if texts := {key: str(attributes[key])[:500] for key in _ORIGIN if attributes.get(key)}:
                said[source.name] = texts
    return said


def without_secrets_in(tree: Any) -> Any:
    """Plain values, without users, passwords and queries in the URLs among them."""
    if isinstance(tree, Mapping):
        return {key: without_secrets_in(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [without_secrets_in(value) for value in tree]
    return without_secrets(tree) if isinstance(tree, str) else tree


def _short(text: str) -> str:
    if len(text) <= _LONGEST_PARAM:
        return text
    return f"{text[: _LONGEST_PARAM - 40]}… sha256 {hashlib.sha256(text.encode()).hexdigest()[:16]}"
