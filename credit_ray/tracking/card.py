"""The model card: what a model is, what it was trained on, how good it is, what it is for, and what made it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from credit_ray.config.dump import flatten
from credit_ray.package import PackageInfo
from credit_ray.state import ROLES, Channels
from credit_ray.tracking.scores import Score, headline, leads, over_persistence
from credit_ray.tracking.tables import markdown

_LEVEL_UNITS = {"pressure": "hPa", "model": "model level", "sigma": "σ", "depth": "m"}


def render_card(
    info: PackageInfo,
    *,
    name: str,
    version: str | None = None,
    metrics: Mapping[str, float] | None = None,
    scores: Sequence[Score] = (),
) -> str:
    """A model card in Markdown.

    Parameters
    ----------
    info : PackageInfo
        The package.
    name, version : str
        In the registry.
    metrics : mapping, optional
        Of training: `validation/…`; default: those of the package's summary.
    scores : sequence of Score
        Of verified forecasts, if there are some.
    """
    metrics = _numbers(info.summary) | dict(metrics or {})
    sections = [
        f"# {name}" + (f", version {version}" if version else ""),
        summary(info, metrics, scores),
        "## Variables",
        _variables(info),
        "## Training",
        _training(info),
        "## Scores",
        _scores(metrics, scores),
        "## Intended use and limits",
        _limits(info),
        "## Lineage",
        _lineage(info),
    ]
    if attribution := _attribution(info.lineage):
        sections += ["## Data licence and attribution", attribution]
    return "\n\n".join(sections) + "\n"


def summary(info: PackageInfo, metrics: Mapping[str, float], scores: Sequence[Score] = ()) -> str:
    """A paragraph: what it is, and its headline score."""
    spec, recipe = info.spec, info.recipe
    inputs = f"{spec.history} input times" if spec.history > 1 else "one input time"
    what = f"A `{recipe['network']}` with {info.parameters:,} parameters that steps {', '.join(f'`{v}`' for v in spec.outputs.variables)}"
    text = f"{what} forward by {spec.step} from {inputs}, on a {spec.grid.describe()}."
    if best := headline(scores, metrics):
        text += f" RMSE relative to persistence (below 1 is skill): **{best}**."
    return text


def _variables(info: PackageInfo) -> str:
    rows = []
    for role in ROLES:
        channels: Channels = getattr(info.spec, role)
        for variable in channels.variables:
            found = [channels[i] for i in channels.of(variable)]
            levels = ", ".join(f"{c.level:g}" for c in found if c.level is not None)
            unit = _LEVEL_UNITS[found[0].vertical] if found[0].vertical else ""
            rows.append([f"`{variable}`", role, f"{levels} {unit}" if levels else "", found[0].units, found[0].kind])
    return markdown(["variable", "role", "levels", "units", "kind"], rows)


def _training(info: PackageInfo) -> str:
    config, recipe = info.lineage.get("config", {}), info.recipe
    data, loss = config.get("data", {}), config.get("loss", {})
    splits = {name: " to ".join(period) for name, period in data.get("splits", {}).items() if period}
    rows: list[tuple[str, Any]] = [
        ("data", ", ".join(f"{name}: `{source['store']}`" for name, source in data.get("sources", {}).items())),
        *((f"{name} period", period) for name, period in splits.items()),
        ("architecture", f"`{recipe['network']}` " + _arguments(recipe["arguments"])),
        ("predicts", "the one-step change" if recipe["residual"] else "the next value"),
        (
            "constraints",
            ", ".join(
                f"`{c['kind']}` " + _arguments({k: v for k, v in c.items() if k != "kind"})
                for c in recipe["constraints"]
            ),
        ),
        ("loss", f"`{loss['kind']}` " + _arguments({k: v for k, v in loss.items() if k != "kind"}) if loss else ""),
        *(
            (key.replace("_", " "), value)
            for key, value in info.summary.items()
            if "/" not in key and not isinstance(value, Mapping)
        ),
    ]
    return markdown(["", ""], [row for row in rows if row[1] not in ("", None)])


def _arguments(values: Mapping[str, Any]) -> str:
    known = {key: value for key, value in flatten(values).items() if value not in (None, "{}", "[]")}
    return ", ".join(f"{key} {value}" for key, value in known.items())


def _scores(metrics: Mapping[str, float], scores: Sequence[Score]) -> str:
    if scores:
        rows = [
            [f"`{s.channel}`", s.lead, _number(s.rmse), _number(s.persistence), _number(s.climatology)] for s in scores
        ]
        ratios = [
            f"{lead}: {ratio:.3f}" for lead in leads(scores) if (ratio := over_persistence(scores, lead)) is not None
        ]
        text = markdown(["variable", "lead", "RMSE", "persistence", "climatology"], rows)
        return text + (
            "\n\nRMSE relative to persistence, geometric mean over variables: " + ", ".join(ratios) + "."
            if ratios
            else ""
        )
    known = {key: value for key, value in metrics.items() if key.startswith("validation/")}
    if known:
        return "Of the validation period; not yet verified on an independent one.\n\n" + markdown(
            ["metric", "value"], [[f"`{k}`", _number(v)] for k, v in known.items()]
        )
    return "Not scored yet."


def _limits(info: PackageInfo) -> str:
    spec = info.spec
    lines = [
        "For research. It knows only what its training period held: extremes, trends and forcings outside it are extrapolation, and so are "
        "leads much longer than those that are scored above.",
        f"It needs {spec.history} state{'s' * (spec.history > 1)}, {spec.step} apart, on exactly this grid, with these variables, levels and units.",
    ]
    if spec.forcing:
        lines.append(f"It needs, for the whole forecast: {', '.join(f'`{v}`' for v in spec.forcing.variables)}.")
    if not info.recipe["constraints"]:
        lines.append("No conservation law is enforced.")
    lines.append("It gives one forecast without a measure of its uncertainty.")
    return "\n".join(f"* {line}" for line in lines)


def _lineage(info: PackageInfo) -> str:
    names = ("run_id", "data_digest", "data_content", "code_revision", "config_digest")
    rows = [("package", info.digest), *((name.replace("_", " "), info.lineage.get(name)) for name in names)]
    versions = ", ".join(f"{name} {version}" for name, version in info.lineage.get("versions", {}).items())
    return markdown(["", ""], [[name, f"`{value}`"] for name, value in rows if value] + [["made with", versions]])


def _attribution(lineage: Mapping[str, Any]) -> str:
    """What the stores say of themselves, by source."""
    said = lineage.get("attribution") or {}
    return "\n".join(
        f"* {name}: " + "; ".join(f"{key}: {text}" for key, text in texts.items()) for name, texts in said.items()
    )


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:.4g}"


def _numbers(summary: Mapping[str, Any]) -> dict[str, float]:
    return {
        key: float(value)
        for key, value in summary.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
