"""Looking at the registry from a terminal: what there is, what one is, how two differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from credit_ray.config.dump import flatten
from credit_ray.package import PackageInfo, inspect_package
from credit_ray.tracking.card import render_card
from credit_ray.tracking.client import open_registry
from credit_ray.tracking.fetching import fetch_model, local_package
from credit_ray.tracking.scores import Score, from_tag, leads, over_persistence
from credit_ray.tracking.tables import pairs, table
from credit_ray.tracking.versions import ModelVersion, find_version, names, versions_of

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient


@dataclass(frozen=True)
class ModelList:
    """All registered versions, by name, newest first."""

    versions: tuple[ModelVersion, ...]

    def __str__(self) -> str:
        if not self.versions:
            return "No model is registered yet. Train one: credit-ray train CONFIG"
        header = ("name", "version", "aliases", "grid", "step", "RMSE/persistence", "registered")
        rows = [
            (
                v.name,
                v.version,
                ", ".join(v.aliases),
                v.tags.get("grid"),
                v.tags.get("step"),
                v.tags.get("rmse_over_persistence"),
                _when(v),
            )
            for v in self.versions
        ]
        return table(header, rows)


@dataclass(frozen=True)
class ModelDetails:
    """One version, and what its package says.

    Parameters
    ----------
    version : ModelVersion
        In the registry.
    package : PackageInfo
        Its package.
    """

    version: ModelVersion
    package: PackageInfo

    @property
    def scores(self) -> list[Score]:
        """Of verified forecasts, as far as they are recorded."""
        text = self.version.tags.get("scores")
        return from_tag(text) if text else []

    def __str__(self) -> str:
        v, info, spec = self.version, self.package, self.package.spec
        rows: list[tuple[str, Any]] = [
            ("model", v.uri),
            ("aliases", ", ".join(v.aliases)),
            ("registered", _when(v)),
            ("network", f"{info.recipe['network']}, {info.parameters:,} parameters, {info.bytes / 1e6:.1f} MB"),
            ("predicts", ", ".join(spec.outputs.names)),
            ("needs", spec.describe()),
            ("RMSE/persistence", v.tags.get("rmse_over_persistence")),
            ("scored on", v.tags.get("score_period")),
            ("run", v.run_id),
            ("data", info.lineage.get("data_digest")),
            ("code", info.lineage.get("code_revision")),
            ("package", f"{info.directory} ({info.digest[:12]}…)"),
        ]
        return pairs(rows) + (f"\n\n{_score_table(self.scores)}" if self.scores else "")


@dataclass(frozen=True)
class ModelComparison:
    """Two versions and where they differ.

    Parameters
    ----------
    left, right : ModelDetails
        The versions.
    differences : tuple of (str, str, str)
        What, left, right: of the packages, their configs and their training's metrics; absent is empty.
    scores : tuple of (str, str, float, float)
        Channel, lead, RMSE of left and right, where both have it.
    """

    left: ModelDetails
    right: ModelDetails
    differences: tuple[tuple[str, str, str], ...]
    scores: tuple[tuple[str, str, float, float], ...]

    def __str__(self) -> str:
        a, b = (f"{d.version.name} {d.version.version}" for d in (self.left, self.right))
        parts = [
            table(("", a, b), [(what, _cut(x), _cut(y)) for what, x, y in self.differences])
            if self.differences
            else f"{a} and {b} are the same."
        ]
        if self.scores:
            rows = [
                (channel, lead, f"{x:.4g}", f"{y:.4g}", f"{100 * (y / x - 1):+.1f} %")
                for channel, lead, x, y in self.scores
            ]
            parts.append(table(("RMSE", "lead", a, b, "change"), rows))
        return "\n\n".join(parts)


def list_models(*, tracking_uri: str | None = None) -> ModelList:
    """All registered versions."""
    client = open_registry(tracking_uri)
    return ModelList(tuple(version for name in names(client) for version in versions_of(client, name)))


def show_model(model: str, *, tracking_uri: str | None = None) -> ModelDetails:
    """One version: `name`, `name@alias`, `name/3` or `models:/…`.

    Raises
    ------
    ModelNotFoundError
        For an unknown name, version or alias; lists those that exist.
    """
    return _details(open_registry(tracking_uri), model)


def model_card(model: str, *, tracking_uri: str | None = None) -> str:
    """The card in Markdown, with what is known now; of a version, or of a package's folder or URL."""
    if _is_place(model):
        directory = fetch_model(model, tracking_uri).directory
        info = inspect_package(directory)
        return info.card or render_card(info, name=directory.name)
    details = show_model(model, tracking_uri=tracking_uri)
    return render_card(
        details.package, name=details.version.name, version=details.version.version, scores=details.scores
    )


def compare_models(left: str, right: str, *, tracking_uri: str | None = None) -> ModelComparison:
    """Where two versions differ: architecture, data, config, code, training's metrics, scores."""
    client = open_registry(tracking_uri)
    a, b = _details(client, left), _details(client, right)
    mine, theirs = _facts(a), _facts(b)
    differing = [key for key in dict.fromkeys([*mine, *theirs]) if mine.get(key) != theirs.get(key)]
    others = {(s.channel, s.lead): s.rmse for s in b.scores}
    return ModelComparison(
        a,
        b,
        tuple((key, mine.get(key, ""), theirs.get(key, "")) for key in differing),
        tuple(
            (s.channel, s.lead, s.rmse, others[s.channel, s.lead]) for s in a.scores if (s.channel, s.lead) in others
        ),
    )


def _details(client: MlflowClient, model: str) -> ModelDetails:
    version = find_version(client, model)
    return ModelDetails(version, inspect_package(local_package(client, version.source), digest=version.digest))


def _facts(details: ModelDetails) -> dict[str, str]:
    """All that two models can differ in, as text."""
    info, tags, lineage = details.package, details.version.tags, details.package.lineage
    facts: dict[str, Any] = {
        "RMSE/persistence": tags.get("rmse_over_persistence"),
        "scored on": tags.get("score_period"),
        "parameters": f"{info.parameters:,}",
        "outputs": ", ".join(info.spec.outputs.names),
        "inputs": ", ".join(info.spec.inputs.names),
        "grid": info.spec.grid.describe(),
        "data": _cut(lineage.get("data_digest") or "", 13),
        "data content": _cut(lineage.get("data_content") or "", 13),
        "code": lineage.get("code_revision"),
        **flatten(lineage.get("config", {})),
        **flatten({"network": info.recipe["arguments"]} if not lineage.get("config") else {}),
        **{key: f"{value:.5g}" if isinstance(value, float) else value for key, value in _plain(info.summary).items()},
        **{f"versions.{name}": text for name, text in lineage.get("versions", {}).items()},
    }
    return {key: str(value) for key, value in facts.items() if value not in (None, "")}


def _plain(summary: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in summary.items() if not isinstance(value, Mapping | list)}


def _score_table(scores: list[Score]) -> str:
    rows = [
        (s.channel, s.lead, *(None if v is None else f"{v:.4g}" for v in (s.rmse, s.persistence, s.climatology)))
        for s in scores
    ]
    ratios = [(lead, ratio) for lead in leads(scores) if (ratio := over_persistence(scores, lead)) is not None]
    text = table(("channel", "lead", "RMSE", "persistence", "climatology"), rows)
    return text + (
        "\nRMSE/persistence, mean over channels: " + ", ".join(f"{lead} {ratio:.3f}" for lead, ratio in ratios)
        if ratios
        else ""
    )


def _is_place(model: str) -> bool:
    return model.startswith("runs:/") or (not model.startswith("models:/") and ("://" in model or Path(model).is_dir()))


def _when(version: ModelVersion) -> str:
    return datetime.fromtimestamp(version.created_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _cut(text: str, longest: int = 48) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"
