"""`credit-ray models`: looking at the registry, and moving its aliases."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from credit_ray.command import AsJson, ConfigOption, Overrides, finish, group, load

app = group("The model registry: what there is, how good it is, where it comes from.")

_Uri = Annotated[
    str | None,
    typer.Option(
        "--tracking-uri",
        metavar="URI",
        help="MLflow server or database; default: the config's, else MLFLOW_TRACKING_URI, else runs/mlflow.db.",
    ),
]
_Model = Annotated[str, typer.Argument(metavar="MODEL", help="models:/NAME@ALIAS, NAME@ALIAS or NAME/3.")]


def _registry(config_file: Path | None, set_: list[str] | None, uri: str | None) -> str | None:
    if uri or not config_file:
        return uri
    from credit_ray.tracking.client import tracking_uri

    return tracking_uri(load(None, config_file, set_))


@app.command("list", epilog="credit-ray models list --tracking-uri sqlite:///runs/mlflow.db")
def models_list(
    config_file: ConfigOption = None, set_: Overrides = None, uri: _Uri = None, json: AsJson = False
) -> None:
    """Every registered model: versions, aliases, headline scores, grid, step, variables, cost."""
    from credit_ray.tracking.browse import list_models

    finish(list_models(tracking_uri=_registry(config_file, set_, uri)), json)


@app.command("show", epilog="credit-ray models show sample@candidate")
def models_show(
    model: _Model, config_file: ConfigOption = None, set_: Overrides = None, uri: _Uri = None, json: AsJson = False
) -> None:
    """One version: what it is, on what it was trained, how good it is, what made it."""
    from credit_ray.tracking.browse import show_model

    finish(show_model(model, tracking_uri=_registry(config_file, set_, uri)), json)


@app.command("card", epilog="credit-ray models card sample@candidate > card.md")
def models_card(
    model: _Model, config_file: ConfigOption = None, set_: Overrides = None, uri: _Uri = None, json: AsJson = False
) -> None:
    """The model card, as Markdown."""
    from credit_ray.tracking.browse import model_card

    finish(model_card(model, tracking_uri=_registry(config_file, set_, uri)), json)


@app.command("promote", epilog="credit-ray models promote sample/3 --alias champion")
def models_promote(
    model: _Model,
    alias: Annotated[
        str, typer.Option(help="Alias to give it; the champion before it becomes `previous`.")
    ] = "champion",
    config_file: ConfigOption = None,
    set_: Overrides = None,
    uri: _Uri = None,
    json: AsJson = False,
) -> None:
    """Give a version an alias, by which forecasts and services find it."""
    from credit_ray.tracking.registry import promote_model

    finish(promote_model(model, alias=alias, tracking_uri=_registry(config_file, set_, uri)), json)


@app.command("compare", epilog="credit-ray models compare sample/2 sample/3")
def models_compare(
    left: _Model,
    right: Annotated[str, typer.Argument(metavar="MODEL", help="Another.")],
    config_file: ConfigOption = None,
    set_: Overrides = None,
    uri: _Uri = None,
    json: AsJson = False,
) -> None:
    """Two versions side by side: config, data, scores."""
    from credit_ray.tracking.browse import compare_models

    finish(compare_models(left, right, tracking_uri=_registry(config_file, set_, uri)), json)


@app.command("trace", epilog="credit-ray models trace f.zarr")
def models_trace(
    url: Annotated[str, typer.Argument(help="A forecast store, a model or a package's folder.")],
    config_file: ConfigOption = None,
    set_: Overrides = None,
    uri: _Uri = None,
    json: AsJson = False,
) -> None:
    """Where a number comes from: forecast → model version → run → data → code → config."""
    from credit_ray.tracking.trace import trace

    finish(trace(url, tracking_uri=_registry(config_file, set_, uri)), json)
