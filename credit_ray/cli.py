"""`credit-ray`: a command parses its arguments, loads the config, and calls one function of one package.

Everything heavy is imported inside the commands, so that help, and mistakes in arguments, are answered at once.
"""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from credit_ray import __version__, cli_models
from credit_ray.command import (
    DEBUG,
    AsJson,
    ConfigOption,
    ConfigPath,
    DataOption,
    Overrides,
    argument,
    errors_as_messages,
    finish,
    group,
    load,
    log_to_stderr,
    read,
)
from credit_ray.errors import ConfigError
from credit_ray.progress import shown_progress

app = group("AI Earth-system models on Ray: data in, model trained, registered, forecast, verified, served.")
config_app = group("The experiment config: what can be said in it, what it says, how two differ.")
data_app = group("Data: a sample, what a store holds, statistics, the reading plan.")


def main(*command: str) -> None:
    """Run the command line: `main("train")` is `credit-ray train` with this process's arguments."""
    with errors_as_messages():
        app([*command, *sys.argv[1:]], prog_name="credit-ray")


def _version(wanted: bool) -> None:
    if wanted:
        print(f"credit-ray {__version__}")
        raise typer.Exit


@app.callback(epilog="Start with: credit-ray quickstart\n\nEvery command explains itself: credit-ray COMMAND --help")
def _common(
    debug: Annotated[bool, typer.Option("--debug", help=f"Show tracebacks and debug logs, as {DEBUG}=1 does.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    if debug:
        os.environ[DEBUG] = "1"  # inherited by the processes that Ray starts
    log_to_stderr()


# ---- the whole path ----------------------------------------------------------------------------------------------------------------

_PATH = "From data to forecasts"
_CLOSER = "A closer look"


@app.command(rich_help_panel=_PATH, epilog="credit-ray quickstart --dir demo --serve")
def quickstart(
    directory: Annotated[Path, typer.Option("--dir", help="Where everything goes.")] = Path("demo"),
    serve: Annotated[bool, typer.Option("--serve", help="Serve the trained model at the end, until Ctrl-C.")] = False,
    states: Annotated[int, typer.Option(help="How many six-hourly states of weather to simulate.")] = 1500,
    set_: Overrides = None,
    json: AsJson = False,
) -> None:
    """Sample data → check → statistics → train → register → forecast → verify, in minutes on a laptop."""
    from credit_ray.quickstart import run_quickstart

    finish(run_quickstart(directory, serve=serve, states=states, overrides=tuple(set_ or ())), json)


@app.command(
    rich_help_panel=_PATH, epilog="credit-ray check configs/experiments/sample.yaml --set training.batch_size=64"
)
def check(
    config: ConfigPath = None, config_file: ConfigOption = None, set_: Overrides = None, json: AsJson = False
) -> None:
    """Try an experiment before it starts: config, data, one step forward and back; memory, time and bytes that it will take."""
    from credit_ray.check import run_check

    finish(run_check(load(config, config_file, set_)), json)


@app.command(
    rich_help_panel=_PATH, epilog="credit-ray train configs/experiments/sample.yaml --set training.max_epochs=20"
)
def train(
    config: ConfigPath = None,
    config_file: ConfigOption = None,
    set_: Overrides = None,
    resume: Annotated[
        str,
        typer.Option(help="auto: go on with the newest unfinished run of the same science; never; or a run's folder."),
    ] = "auto",
    json: AsJson = False,
) -> None:
    """Train a model, and register it. Results: the run's page in MLflow, and a model package."""
    experiment = load(config, config_file, set_)
    from credit_ray.training import run_training

    finish(run_training(experiment, resume=resume), json)


@app.command(rich_help_panel=_PATH, epilog="credit-ray tune configs/experiments/sample.yaml --set tuning.trials=8")
def tune(
    config: ConfigPath = None,
    config_file: ConfigOption = None,
    set_: Overrides = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the newest unfinished search of the same science.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Search the keys of `tuning.space`; the best trial's model is registered."""
    experiment = load(config, config_file, set_)
    from credit_ray.tuning import run_tuning

    finish(run_tuning(experiment, resume=resume), json)


@app.command(
    rich_help_panel=_PATH,
    epilog="credit-ray forecast models:/sample@candidate --config configs/experiments/sample.yaml --init 2000-12-01T00 --lead 10d --out f.zarr\n\n"
    "credit-ray forecast configs/experiments/sample.yaml",
)
def forecast(
    model: Annotated[
        str | None,
        typer.Argument(
            help="models:/NAME@ALIAS, models:/NAME/3, runs:/… or a package's folder; or the config, whose forecast.model is then used."
        ),
    ] = None,
    config_file: DataOption = None,
    init: Annotated[
        list[str] | None, typer.Option("--init", metavar="TIME", help="An initial time. May be repeated.")
    ] = None,
    inits: Annotated[
        str | None,
        typer.Option(metavar="FROM/TO/EVERY", help="Evenly spaced initial times; or a split: validation, test."),
    ] = None,
    lead: Annotated[str | None, typer.Option(help="How far: 10d, 12mo, 40steps.")] = None,
    out: Annotated[str | None, typer.Option(metavar="URL", help="The Zarr store to write.")] = None,
    set_: Overrides = None,
    json: AsJson = False,
) -> None:
    """Forecast from given times into a CF-conforming Zarr store. Its arguments override the keys of `forecast:`."""
    model, config_file = _model_or_config(model, config_file)
    if init and inits:
        raise ConfigError("Give --init or --inits, not both.")
    experiment = load(
        None,
        config_file,
        set_,
        argument("forecast.model", model, ""),
        argument("forecast.inits", init or None, "--init"),
        argument("forecast.inits", _inits(inits), f"--inits {inits}:"),
        argument("forecast.lead", lead, "--lead"),
        argument("forecast.output.store", out, "--out"),
    )
    from credit_ray.forecasting import run_forecast

    finish(run_forecast(experiment), json)


@app.command(
    rich_help_panel=_PATH, epilog="credit-ray verify f.zarr --config configs/experiments/sample.yaml --out scores"
)
def verify(
    forecast: Annotated[
        str | None,
        typer.Argument(
            metavar="FORECAST", help="The forecast store; or the config, whose forecast.output.store is then used."
        ),
    ] = None,
    config_file: DataOption = None,
    baseline: Annotated[
        str | None, typer.Option(metavar="NAME,NAME", help="What to score beside it: persistence, climatology.")
    ] = None,
    budgets: Annotated[
        bool | None,
        typer.Option("--budgets", help="Plot what the forecasts hold of air, water, energy and tracers, too."),
    ] = None,
    out: Annotated[str | None, typer.Option(metavar="DIR", help="Folder for tables, plots and the page.")] = None,
    set_: Overrides = None,
    json: AsJson = False,
) -> None:
    """Score forecasts against the data and against persistence and climatology: tables, plots, a page."""
    forecast, config_file = _model_or_config(forecast, config_file)
    experiment = load(
        None,
        config_file,
        set_,
        argument("verification.forecast", forecast, ""),
        argument("verification.baselines", baseline.split(",") if baseline is not None else None, "--baseline"),
        argument("verification.budgets", budgets, "--budgets"),
        argument("verification.output", out, "--out"),
    )
    from credit_ray.verification import run_verification

    finish(run_verification(experiment), json)


@app.command(rich_help_panel=_PATH, epilog="credit-ray serve configs/experiments/sample.yaml --port 8000")
def serve(
    config: ConfigPath = None,
    config_file: ConfigOption = None,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on; beyond loopback it needs serving.auth.")
    ] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.")] = None,
    set_: Overrides = None,
    json: AsJson = False,
) -> None:
    """Answer forecast requests over HTTP until Ctrl-C: the API is described at /docs."""
    experiment = load(
        config, config_file, set_, argument("serving.host", host, "--host"), argument("serving.port", port, "--port")
    )
    from credit_ray.serving import run_serving

    finish(run_serving(experiment), json)


@app.command(rich_help_panel=_PATH, epilog="credit-ray plot f.zarr --variable vorticity --lead 3d --out vorticity.png")
def plot(
    forecast: Annotated[str, typer.Argument(metavar="FORECAST", help="The forecast store.")],
    variable: Annotated[str, typer.Option(help="What to show; with its level where it has some: z_500.")],
    lead: Annotated[str, typer.Option(help="How far after the initial time: 3d, 12steps.")],
    out: Annotated[Path, typer.Option(metavar="PNG", help="The picture.")],
    level: Annotated[float | None, typer.Option(help="Which level, where there are several.")] = None,
    init: Annotated[str | None, typer.Option(metavar="TIME", help="The initial time; default: the first.")] = None,
    json: AsJson = False,
) -> None:
    """Draw one field of a forecast."""
    from credit_ray.verification.plot import plot_field

    finish(plot_field(forecast, variable=variable, lead=lead, out=out, init_time=init, level=level), json)


# ---- the config --------------------------------------------------------------------------------------------------------------------


@config_app.command("schema", epilog="credit-ray config schema > experiment.schema.json")
def config_schema() -> None:
    """JSON Schema of the config, for editors that complete and check while one types."""
    import json

    from credit_ray.config.schema import config_schema

    print(json.dumps(config_schema(), indent=2))


@config_app.command("reference")
def config_reference() -> None:
    """Every key with its type, default and meaning, as a Markdown page."""
    from credit_ray.config.schema import config_reference

    print(config_reference(), end="")


@config_app.command("show", epilog="credit-ray config show configs/experiments/sample.yaml --set model.width=32")
def config_show(
    config: ConfigPath = None, config_file: ConfigOption = None, set_: Overrides = None, json: AsJson = False
) -> None:
    """The complete config: files merged, environment filled in, defaults written out, credentials hidden."""
    from credit_ray.config.dump import dump_yaml, plain

    experiment = read(config, config_file, set_)
    if json:
        finish(plain(experiment), json)
    else:
        print(dump_yaml(experiment), end="")


@config_app.command("diff", epilog="credit-ray config diff configs/experiments/sample.yaml mine.yaml")
def config_diff(
    left: Annotated[Path, typer.Argument(help="One config.")],
    right: Annotated[Path, typer.Argument(help="The other.")],
    set_: Overrides = None,
    json: AsJson = False,
) -> None:
    """The keys in which two configs differ, defaults included. `--set` is applied to the second."""
    from credit_ray.config.dump import ConfigDifference

    finish(ConfigDifference.between(read(left, None, None), read(right, None, set_)), json)


# ---- data --------------------------------------------------------------------------------------------------------------------------


class SampleModel(StrEnum):
    """What simulates the sample."""

    shallow = "shallow"
    speedy = "speedy"


@data_app.command("sample", epilog="credit-ray data sample demo/data")
def data_sample(
    directory: Annotated[Path, typer.Argument(help="Where the store is written.")],
    seed: Annotated[int, typer.Option(help="Of the initial weather: the same seed, the same data.")] = 0,
    states: Annotated[int, typer.Option(help="How many, six hours apart.")] = 1500,
    model: Annotated[
        SampleModel,
        typer.Option(
            help="shallow: one layer, in seconds. speedy: moist, eight levels, fluxes; needs the extra 'speedy'."
        ),
    ] = SampleModel.shallow,
    truncation: Annotated[int, typer.Option(help="Of speedy: 21, 31 or 42.")] = 21,
    json: AsJson = False,
) -> None:
    """Simulate weather on the rotating sphere and write it as Zarr: data to try everything with."""
    if model is SampleModel.speedy:
        from credit_ray.data.speedy import write_speedy_sample

        if seed:
            raise ConfigError("--model speedy starts from rest: there is no --seed to it.")
        with shown_progress("simulating", "days") as show:
            moist = write_speedy_sample(directory, truncation=truncation, states=states, progress=show)
        finish(moist, json)
        return
    from credit_ray.data.sample import write_sample

    with shown_progress("simulating", "states") as show:
        result = write_sample(directory, seed=seed, states=states, progress=show)
    finish(result, json)


@data_app.command("info", epilog="credit-ray data info demo/data/weather.zarr")
def data_info(
    url: Annotated[str, typer.Argument(help="A Zarr store, a NetCDF file, or a glob of them.")], json: AsJson = False
) -> None:
    """What a store holds: variables and how they are understood, levels, times and their gaps, grid, chunks."""
    from credit_ray.data.info import describe_store

    finish(describe_store(url), json)


@data_app.command("presets")
def data_presets(json: AsJson = False) -> None:
    """Public archives and known layouts that `preset:` names in a source: URL, step, grid, levels, chunks, variables."""
    from credit_ray.config.preset import list_presets

    finish(list_presets(), json)


@data_app.command("statistics")
def data_statistics(
    config: ConfigPath = None, config_file: ConfigOption = None, set_: Overrides = None, json: AsJson = False
) -> None:
    """Means, deviations and climatology of the training period, in one pass; kept for later runs."""
    experiment = load(config, config_file, set_)
    from credit_ray.data.statistics import run_statistics

    with shown_progress("reading", "runs") as show:
        result = run_statistics(experiment, progress=show)
    finish(result, json)


@data_app.command("plan")
def data_plan(
    config: ConfigPath = None, config_file: ConfigOption = None, set_: Overrides = None, json: AsJson = False
) -> None:
    """What training will read, in which order, and at what cost."""
    experiment = load(config, config_file, set_)
    from credit_ray.data.plan_report import run_plan

    finish(run_plan(experiment), json)


@data_app.command("rechunk", epilog="credit-ray data rechunk era5_%Y.zarr fast.zarr --times 1980-01-01/2018-12-31")
def data_rechunk(
    source: Annotated[str, typer.Argument(metavar="SRC", help="Any store that can be read, or a preset's name.")],
    target: Annotated[
        str, typer.Argument(metavar="DST", help="The Zarr store to write: a path or an s3:// or gs:// URL.")
    ],
    times: Annotated[str | None, typer.Option(metavar="FROM/TO", help="Only these, both included.")] = None,
    variables: Annotated[
        str | None, typer.Option(metavar="NAME,NAME", help="Only these; by the source's names.")
    ] = None,
    absent_chunks: Annotated[str, typer.Option(help="Chunks that the source lacks: error, or fill.")] = "error",
    workers: Annotated[int | None, typer.Option(help="Parts at a time; 0: in this process. Default: all CPUs.")] = None,
    json: AsJson = False,
) -> None:
    """Write a store anew as training reads it fastest; go on where it was stopped; say how much faster it is."""
    from credit_ray.data.rechunk import run_rechunk

    if absent_chunks not in ("error", "fill"):
        raise ConfigError(f"--absent-chunks {absent_chunks}: should be error or fill.")
    if times is not None and times.count("/") != 1:
        raise ConfigError(f"--times {times}: should be FROM/TO, such as 1980-01-01/2018-12-31.")
    with shown_progress("rechunking", "parts") as show:
        result = run_rechunk(
            source,
            target,
            times=tuple(times.split("/")) if times else None,
            variables=tuple(variables.split(",")) if variables else (),
            fill=absent_chunks == "fill",
            workers=workers,
            progress=show,
        )
    finish(result, json)


def _model_or_config(first: str | None, config_file: Path | None) -> tuple[str | None, Path | None]:
    """A first argument that is a YAML file is the config, not a model or a store."""
    if first and not config_file and first.endswith((".yaml", ".yml")):
        return None, Path(first)
    return first, config_file


def _inits(text: str | None) -> Any:
    """`2000-01-01/2000-02-01/1D`, or the name of a split."""
    if text is None or "/" not in text:
        return text
    parts = text.split("/")
    if len(parts) != 3:
        raise ConfigError(
            f"--inits {text}: should be FROM/TO/EVERY, such as 2000-01-01/2000-02-01/1D, or a split: validation, test."
        )
    return dict(zip(("start", "end", "every"), parts, strict=True))


# Added last: the help lists what one does most before what one looks up.
app.add_typer(data_app, name="data", rich_help_panel=_CLOSER)
app.add_typer(cli_models.app, name="models", rich_help_panel=_CLOSER)
app.add_typer(config_app, name="config", rich_help_panel=_CLOSER)

if __name__ == "__main__":
    main()
