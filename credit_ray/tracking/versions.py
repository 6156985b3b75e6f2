"""Registered models by name, version and alias: finding the one that is meant, or saying what there is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from credit_ray.errors import ConfigError, ModelNotFoundError, did_you_mean

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

_PAGE = 100
USUAL_ALIASES = ("champion", "candidate")


@dataclass(frozen=True, kw_only=True)
class ModelVersion:
    """One version of a registered model.

    Parameters
    ----------
    name, version : str
        In the registry.
    aliases : tuple of str
        That mean this version.
    run_id : str, optional
        That made it.
    source : str
        Where its package is.
    created_ms : int
        When it was registered, ms since 1970.
    tags : dict
        What its page shows; of ours, among others, `package_digest`.
    """

    name: str
    version: str
    aliases: tuple[str, ...]
    run_id: str | None
    source: str
    created_ms: int
    tags: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        aliases = (
            f", also known as {', '.join(f'{self.name}@{alias}' for alias in self.aliases)}" if self.aliases else ""
        )
        return f"{self.name} version {self.version}{aliases}\n  model card      credit-ray models card {self.name}/{self.version}"

    @property
    def uri(self) -> str:
        """Means this version for ever."""
        return f"models:/{self.name}/{self.version}"

    @property
    def digest(self) -> str | None:
        """Of its package."""
        return self.tags.get("package_digest")


@dataclass(frozen=True)
class ModelName:
    """What `name`, `name@alias`, `name/3` and `models:/…` say."""

    name: str
    alias: str | None = None
    version: str | None = None

    @classmethod
    def parse(cls, text: str) -> ModelName:
        """Raises ConfigError where the text has another form."""
        match = re.fullmatch(r"(?:models:/)?([^/@:]+)(?:@([\w-]+)|/(\d+))?", text)
        if not match:
            raise ConfigError(f"'{text}' names no registered model: write models:/NAME@ALIAS or models:/NAME/VERSION.")
        return cls(*match.groups())


def find_version(client: MlflowClient, model: str) -> ModelVersion:
    """The version that is meant; of a bare name, the champion, else the candidate, else the newest.

    Raises
    ------
    ModelNotFoundError
        For an unknown name, version or alias; lists those that exist.
    """
    asked = ModelName.parse(model)
    aliases = aliases_of(client, asked.name)
    if asked.alias is not None and asked.alias not in aliases:
        raise ModelNotFoundError(
            f"The model '{asked.name}' has no alias '{asked.alias}'.{did_you_mean(asked.alias, aliases)} Versions: {_numbers(client, asked.name)}."
        )
    wanted = (
        asked.version
        or aliases.get(asked.alias or "")
        or next((aliases[a] for a in USUAL_ALIASES if a in aliases), None)
    )
    found = versions_of(client, asked.name, aliases)
    if wanted is None and found:
        return found[0]
    for version in found:
        if version.version == wanted:
            return version
    what = f"no version {wanted}" if wanted else "no version"
    raise ModelNotFoundError(
        f"The model '{asked.name}' has {what}. Versions: {_numbers(client, asked.name)}; aliases: {', '.join(sorted(aliases)) or 'none'}."
    )


def aliases_of(client: MlflowClient, name: str) -> dict[str, str]:
    """Alias → version.

    Raises
    ------
    ModelNotFoundError
        Where there is no model of that name.
    """
    from mlflow.exceptions import MlflowException

    try:
        found = client.get_registered_model(name).aliases
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        raise ModelNotFoundError(f"There is no registered model '{name}'.{did_you_mean(name, names(client))}") from None
    return {alias: str(version) for alias, version in found.items()}


def names(client: MlflowClient) -> list[str]:
    """Of all registered models."""
    return [model.name for model in _pages(client.search_registered_models)]


def versions_of(client: MlflowClient, name: str, aliases: dict[str, str] | None = None) -> list[ModelVersion]:
    """All versions of a model, newest first."""
    aliases = aliases_of(client, name) if aliases is None else aliases
    found = _pages(client.search_model_versions, filter_string=f"name = '{name}'")
    return sorted((_version(v, aliases) for v in found), key=lambda v: int(v.version), reverse=True)


def with_digest(client: MlflowClient, digest: str) -> list[ModelVersion]:
    """All versions whose package has that digest, newest first; usually one."""
    return _search(client, f"tags.package_digest = '{digest}'")


def of_run(client: MlflowClient, run_id: str) -> list[ModelVersion]:
    """All versions that a run made, newest first."""
    return _search(client, f"run_id = '{run_id}'")


def _search(client: MlflowClient, query: str) -> list[ModelVersion]:
    found = sorted(_pages(client.search_model_versions, filter_string=query), key=_created, reverse=True)
    return [_version(each, aliases_of(client, each.name)) for each in found]


def _created(found: Any) -> int:
    return int(found.creation_timestamp)


def _version(found: Any, aliases: dict[str, str]) -> ModelVersion:
    version = str(found.version)
    return ModelVersion(
        name=found.name,
        version=version,
        aliases=tuple(sorted(alias for alias, meant in aliases.items() if meant == version)),
        run_id=found.run_id or None,
        source=found.source,
        created_ms=int(found.creation_timestamp),
        tags=dict(found.tags),
    )


def _numbers(client: MlflowClient, name: str) -> str:
    return ", ".join(v.version for v in versions_of(client, name)) or "none"


def _pages(search: Any, **query: Any) -> Iterator[Any]:
    """All results of one of MLflow's searches, which come in pages."""
    token = None
    while True:
        page = search(max_results=_PAGE, page_token=token, **query)
        yield from page
        token = page.token
        if not token:
            return
