"""`credit-ray models`: looking at the registry, and moving its aliases."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast, get_args

import typer

from credit_ray.command import AsJson, ConfigOption, Overrides, finish, group, load
from credit_ray.errors import ConfigError, did_you_mean
from credit_ray.state import Vertical

app = group("The model registry: what there is, how good it is, where it comes from.")

_Uri = Annotated[
    str | None,
    typer.Option(
        "--tracking-uri",
        metavar="URI",
        help="MLflow server or database; default: the config's, else MLFLOW_TRACKING_URI, else runs/mlflow.db.",
    ),
]
_File = Annotated[Path | None, typer.Option(metavar="FILE", help="NetCDF or Zarr; default: where the YAML says.")]
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


@app.command("import", epilog="credit-ray models import checkpoint.pt --config model.yml --out imported")
def models_import(
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="CREDIT's checkpoint.pt.")],
    config: Annotated[
        Path, typer.Option(metavar="YAML", help="The CREDIT config that it was trained by, of either generation.")
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="The model package to write.")],
    mean: _File = None,
    std: _File = None,
    static: _File = None,
    grid: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Any file with the grid's coordinates; default: the static fields'."),
    ] = None,
    step: Annotated[str | None, typer.Option(help="Time step, such as 6h, where the YAML does not say it.")] = None,
    vertical: Annotated[
        str | None,
        typer.Option(help="What levels count: pressure, model, sigma or depth; default: pressure beyond 200."),
    ] = None,
    json: AsJson = False,
) -> None:
    """A model of CREDIT (WXFormer, CrossFormer, CAMulator, FuXi) as a model package that gives the same numbers."""
    from credit_ray.interchange.credit import CreditFiles, import_credit

    files = CreditFiles(checkpoint=checkpoint, config=config, mean=mean, std=std, static=static, grid=grid)
    finish(import_credit(files, out, step=step, vertical=_vertical(vertical)), json)


def _vertical(given: str | None) -> Vertical | None:
    if given is None or given in get_args(Vertical):
        return cast("Vertical | None", given)
    raise ConfigError(
        f"--vertical is '{given}': {', '.join(get_args(Vertical))}.{did_you_mean(given, get_args(Vertical))}"
    )
