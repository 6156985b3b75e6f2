"""A CREDIT model as a model package: the same numbers from the same numbers.

From a checkpoint, the YAML that it was trained by (either generation), and the files of means, deviations and static fields that this
names. The network is one of ours with options that make it CREDIT's, so that an imported model can be trained further,
verified and served like any other. Forcing is at the input time, as CREDIT has it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from credit_ray.errors import ConfigError, DataError
from credit_ray.grid.latlon import LatLonGrid
from credit_ray.interchange.architecture import Architecture, read_architecture
from credit_ray.interchange.variables import Wiring, read_wiring
from credit_ray.state import StateSpec, Vertical
from credit_ray.times import Step

if TYPE_CHECKING:
    from torch import nn

    from credit_ray.normalizer import Normalizer


@dataclass(frozen=True, kw_only=True)
class CreditFiles:
    """Where the parts of a CREDIT model are; what is None is looked for where its config says.

    Parameters
    ----------
    checkpoint, config : Path
        Weights; YAML.
    mean, std, static, grid : Path, optional
        NetCDF or Zarr: means; deviations; static fields; any file with the grid's coordinates (else that of the static fields).
    """

    checkpoint: Path
    config: Path
    mean: Path | None = None
    std: Path | None = None
    static: Path | None = None
    grid: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What an import gave.

    Parameters
    ----------
    package : Path
        The model package.
    digest : str
        Its sha256.
    network : str
        Ours.
    parameters : int
        Number of weights.
    spec : str
        What it needs and gives.
    notes : tuple of str
        What was assumed, since no file says it.
    """

    package: Path
    digest: str
    network: str
    parameters: int
    spec: str
    notes: tuple[str, ...]

    def __str__(self) -> str:
        lines = [
            f"{self.package}: {self.network}, {self.parameters:,} parameters; {self.spec}.",
            *(f"Note: {note}" for note in self.notes),
            f"Try it: credit-ray forecast {self.package} --data CONFIG --init TIME --lead 1d --out forecast.zarr",
        ]
        return "\n".join(lines)


def import_credit(
    files: CreditFiles, out: Path, *, step: str | None = None, vertical: Vertical | None = None
) -> Imported:
    """Write a CREDIT model as a model package.

    Parameters
    ----------
    files : CreditFiles
        Its parts.
    out : Path
        The package: a new folder, or a package that is replaced.
    step : str, optional
        The time step, where the config does not say it.
    vertical : {"pressure", "model", "sigma", "depth"}, optional
        What its levels count; by default pressure in hPa where they go beyond 200, else model levels.

    Raises
    ------
    ConfigError, DataError, PackageError
        Where a part is missing, does not fit the others, or has no counterpart here.
    """
    from credit_ray.interchange.checkpoint import read_checkpoint
    from credit_ray.package import save_package
    from credit_ray.stepper import Recipe, Stepper

    where = str(files.config)
    config = _read_yaml(files.config)
    weights = read_checkpoint(files.checkpoint)
    model = read_architecture(config.get("model") or {}, weights.keys(), where)
    wiring = read_wiring(config, model, vertical, where)
    notes: list[str] = []
    grid, south_first = _grid(config, files, model, notes)
    spec = StateSpec(
        prognostic=wiring.channels("prognostic"),
        diagnostic=wiring.channels("diagnostic"),
        forcing=wiring.channels("forcing"),
        static=wiring.channels("static"),
        history=model.frames,
        step=Step.parse(_step(step or wiring.step, where, notes, named=bool(config.get("data")))),
        grid=grid,
        calendar=wiring.calendar,
    )
    normalizer, statics = _numbers(config, files, spec, wiring, notes)
    recipe = Recipe(
        spec=spec,
        network=model.network,
        arguments={**model.arguments, "south_first": south_first},
        residual=False,
        constraints=(),
    )
    stepper = Stepper(recipe, normalizer, statics)
    fill_network(stepper.network, weights, model, wiring.order, str(files.checkpoint))
    fixers = [
        name for name, section in _post_blocks(config) if isinstance(section, Mapping) and section.get("activate")
    ]
    if fixers:
        notes.append(
            f"the config corrects the output afterwards ({', '.join(fixers)}), and the package does not: give constraints where you use it."
        )
    package = save_package(
        stepper.eval(),
        out,
        summary={"imported": {"from": "CREDIT", "type": model.kind, "notes": list(notes)}},
        lineage={
            "data_digest": None,
            "run_id": None,
            "code_revision": None,
            "checkpoint_sha256": _sha256(files.checkpoint),
        },
    )
    return Imported(
        package=Path(out),
        digest=package.digest,
        network=model.network,
        parameters=package.info.parameters,
        spec=spec.describe(),
        notes=tuple(notes),
    )


def fill_network(
    network: nn.Module, weights: Mapping[str, Any], model: Architecture, order: list[int], where: str
) -> None:
    """Give a network of ours the tensors of a checkpoint.

    Parameters
    ----------
    network : Module
        Built from `model.arguments`.
    weights : mapping of str to Tensor
        The checkpoint's.
    model : Architecture
        What the config's model section says.
    order : list of int
        For each of our input channels, CREDIT's position.
    where : str
        The checkpoint, for messages.
    """
    from credit_ray.interchange.keys import fuxi_layer, wxformer_layer
    from credit_ray.interchange.weights import fill, input_order

    if model.kind == "fuxi":
        reorder = input_order(["embed.proj."], order, model.frames, averaged=False)
        fill(network, weights, fuxi_layer, reorder=reorder, unused=r"\.qkv\.weight_[uv]$", where=where)
        return
    # Some versions take the mean of the input times: then the first layer has the channels of one.
    first = next(
        (value for name, value in weights.items() if name.startswith("layers.0.0.convs.0.") and value.ndim == 4), None
    )
    averaged = model.frames > 1 and first is not None and first.shape[1] == model.in_channels
    reorder = input_order(["embed.0."], order, model.frames, averaged)
    layer = wxformer_layer(weights.keys(), len(model.arguments["depth"]) - 1)
    # an embedding that only larger patches would use, and a second name of the last step up
    fill(network, weights, layer, reorder=reorder, unused=r"^cube_embedding\.|^conv4up\.", where=where)


def _read_yaml(path: Path) -> dict[str, Any]:
    import yaml

    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such config.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is no YAML: {error}") from None
    if not isinstance(config, dict) or not isinstance(config.get("model"), dict):
        raise ConfigError(f"{path} has no section 'model': give the YAML that the model was trained by.")
    return config


def _step(step: str | None, where: str, notes: list[str], *, named: bool) -> str:
    if step:
        return step
    if named:
        raise ConfigError(
            f"{where}: data says no time step (lead_time_periods or timestep): give it with --step, such as 6h."
        )
    notes.append("no file says the time step: taken as 6h (--step).")
    return "6h"


def _grid(
    config: Mapping[str, Any], files: CreditFiles, model: Architecture, notes: list[str]
) -> tuple[LatLonGrid, bool]:
    from credit_ray.interchange.scales import grid_of, opened

    data, loss = config.get("data") or {}, config.get("loss") or {}
    path = files.grid or files.static or _path(data.get("save_loc_static")) or _path(loss.get("latitude_weights"))
    path = path or _second_static(data)
    if path:
        with opened(path) as dataset:
            grid, south_first = grid_of(dataset, model.grid, path)
        if south_first:
            notes.append(f"the rows of {path} go from south to north: so the network is given them.")
        return grid, south_first
    if data:
        raise DataError(
            f"{files.config} names no file with the grid's coordinates: give one with --grid (any NetCDF or Zarr that has latitude and longitude)."
        )
    rows, columns = model.grid
    edge = 90.0 if rows % 2 else 90.0 - 90.0 / rows
    notes.append(f"no file says the grid: taken as regular, {rows} rows from {edge:g} to {-edge:g} degrees (--grid).")
    return LatLonGrid(np.linspace(edge, -edge, rows), np.arange(columns) * (360.0 / columns)), False


def _numbers(
    config: Mapping[str, Any], files: CreditFiles, spec: StateSpec, wiring: Wiring, notes: list[str]
) -> tuple[Normalizer, Any]:
    """The normaliser, and the static fields [static, *grid]."""
    import torch

    from credit_ray.interchange.scales import field, has, number, opened, to_ours
    from credit_ray.normalizer import Normalizer

    every = spec.inputs + spec.diagnostic
    mean, std = dict.fromkeys(every.names, 0.0), dict.fromkeys(every.names, 1.0)
    change = dict.fromkeys(every.names, (1.0, 0.0))
    if config.get("data"):
        places = _scale_paths(config)
        mean_path, std_path = files.mean or places[0], files.std or places[1]
        if not mean_path or not std_path:
            raise ConfigError(
                f"{files.config} names no files of means and standard deviations (data.mean_path and std_path, or those of a pre-block): "
                "give them with --mean and --std."
            )
        with opened(mean_path) as means, opened(std_path) as stds:
            for name in every.names:
                wire = wiring.wire(name)
                if not wire.scaled or (
                    wire.role in ("static", "forcing") and "source" in config["data"] and not has(means, wire)
                ):
                    continue  # the second generation passes on what has no scale
                raw = number(means, wire, wiring.levels, mean_path)
                scale, offset = change[name] = to_ours(means, wire, mean_path)
                mean[name] = raw * scale + offset
                std[name] = number(stds, wire, wiring.levels, std_path) * scale
                if not std[name] > 0:
                    raise DataError(
                        f"{std_path}: '{wire.name}' has the deviation {std[name]:g} at {name}: nothing to scale by."
                    )
    else:
        notes.append("the config has no data section: channels are numbered, and fields are normalised ones.")
    statics = torch.zeros(len(spec.static), *spec.grid.shape)
    if len(spec.static):
        path = files.static or _path(config["data"].get("save_loc_static")) or _second_static(config["data"])
        if not path:
            raise DataError(
                f"{files.config} names no file of static fields: give {', '.join(spec.static.names)} with --static."
            )
        with opened(path) as dataset:
            for n, name in enumerate(spec.static.names):
                scale, offset = change[name]
                values = field(dataset, wiring.wire(name), spec.grid, path)
                statics[n] = torch.from_numpy(np.ascontiguousarray(values)) * scale + offset

    def tensor(values: Mapping[str, float], names: tuple[str, ...]) -> Any:
        return torch.tensor([values[name] for name in names])

    normalizer = Normalizer(
        spec,
        input_mean=tensor(mean, spec.inputs.names),
        input_std=tensor(std, spec.inputs.names),
        output_mean=tensor(mean, spec.outputs.names),
        output_std=tensor(std, spec.outputs.names),
        residual=False,
    )
    return normalizer, statics


def _scale_paths(config: Mapping[str, Any]) -> tuple[Path | None, Path | None]:
    """Where the config has its files of means and deviations: in its data section, or among the arguments of a pre-block."""
    sections = [config["data"]]
    for phase in (config.get("preblocks") or {}).values():
        blocks = phase.values() if isinstance(phase, Mapping) else ()
        sections += [block.get("args") or {} for block in blocks if isinstance(block, Mapping)]
        sections += [phase.get("args") or {}] if isinstance(phase, Mapping) else []
    mean = next((path for section in sections if (path := section.get("mean_path"))), None)
    std = next((path for section in sections if (path := section.get("std_path"))), None)
    return _path(mean), _path(std)


def _second_static(data: Mapping[str, Any]) -> Path | None:
    """The static fields of the second generation, where they are one file."""
    for source in (data.get("source") or {}).values():
        section = (source.get("variables") or {}).get("static") or {}
        if path := section.get("path"):
            return _path(path)
    return None


def _post_blocks(config: Mapping[str, Any]) -> list[tuple[str, Any]]:
    post = config["model"].get("post_conf") or {}
    return list(post.items()) if post.get("activate") else []


def _path(text: Any) -> Path | None:
    return Path(os.path.expandvars(str(text))).expanduser() if text else None


def _sha256(path: Path) -> str:
    import hashlib

    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
