"""The model package: a directory that holds a whole model, and nothing that could be executed.

```
package.json           format version; recipe (spec, grid, network, constraints); training summary; lineage; sha256 of the other files
weights.safetensors    the network's weights
constants.safetensors  the normaliser's scales and mask, static fields, coordinates, climatology
card.md                the model card; outside the digest, since scores arrive later
```

The digest of a package is the sha256 of its package.json. That file names the sha256 of the other two and ends with one of itself, so
an altered byte is found even where nobody remembers the digest. It is written last, into a folder that then gets its name in one step:
a package is there as a whole, or not at all.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from credit_ray.errors import ConfigError, CreditRayError, PackageError
from credit_ray.registry import constraints as constraint_registry
from credit_ray.registry import networks
from credit_ray.state import StateSpec

if TYPE_CHECKING:
    from torch import Tensor

    from credit_ray.stepper import Stepper

FORMAT = 1
MANIFEST, WEIGHTS, CONSTANTS, CARD = "package.json", "weights.safetensors", "constants.safetensors", "card.md"
_SCALES = ("input_mean", "input_std", "output_mean", "output_std")


@dataclass(frozen=True, kw_only=True)
class PackageInfo:
    """What package.json says; reading it needs no torch.

    Parameters
    ----------
    directory : Path
        Where the package is.
    digest : str
        sha256 of package.json.
    recipe : mapping
        All of the stepper but its numbers (`Recipe.to_json`).
    parameters : int
        Number of trainable weights.
    files : mapping
        File name → {"sha256", "bytes"}.
    summary : mapping
        How it was trained, and its scores then.
    lineage : mapping
        Data digest, run id, code revision, and the versions of what wrote it.
    """

    directory: Path
    digest: str
    recipe: Mapping[str, Any]
    parameters: int
    files: Mapping[str, Mapping[str, Any]]
    summary: Mapping[str, Any]
    lineage: Mapping[str, Any]

    @property
    def spec(self) -> StateSpec:
        """What the model needs and gives."""
        return StateSpec.from_json(self.recipe["spec"])

    @property
    def bytes(self) -> int:
        """Size of the weights and constants."""
        return sum(file["bytes"] for file in self.files.values())

    @property
    def card(self) -> str | None:
        """The model card, in Markdown, if there is one."""
        path = self.directory / CARD
        return path.read_text(encoding="utf-8") if path.exists() else None

    def verify(self) -> None:
        """Compare every file with the digest that package.json has of it.

        Raises
        ------
        PackageError
            Naming the file that is missing or altered.
        """
        for name, expected in self.files.items():
            path = self.directory / name
            if not path.is_file():
                raise PackageError(
                    f"{self.directory}: {name} is missing. The package was copied in part: copy it again."
                )
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            if found != expected["sha256"]:
                raise PackageError(
                    f"{path}: its sha256 is {found[:12]}…, but {MANIFEST} says {expected['sha256'][:12]}…. "
                    "The file was altered or cut off: fetch the package again."
                )


@dataclass(frozen=True)
class Package:
    """A package and the model in it.

    Parameters
    ----------
    info : PackageInfo
        What package.json says.
    stepper : Stepper
        The model: as loaded, in evaluation mode on the CPU; as saved, the one that was given.
    """

    info: PackageInfo
    stepper: Stepper

    @property
    def directory(self) -> Path:
        """Where the package is."""
        return self.info.directory

    @property
    def digest(self) -> str:
        """sha256 of package.json."""
        return self.info.digest

    @property
    def summary(self) -> Mapping[str, Any]:
        """How it was trained."""
        return self.info.summary

    @property
    def lineage(self) -> Mapping[str, Any]:
        """What it was made from."""
        return self.info.lineage


def save_package(
    stepper: Stepper, directory: str | os.PathLike[str], *, summary: Mapping[str, Any], lineage: Mapping[str, Any]
) -> Package:
    """Write a model.

    Parameters
    ----------
    stepper : Stepper
        With the weights that are to be used: averaged ones, if there are.
    directory : path
        A new folder, or one that holds a package, which is replaced.
    summary, lineage : mapping
        Plain values (JSON; a number that is not finite becomes null). `lineage` has `data_digest`, `run_id` and `code_revision`; the
        versions of the libraries are added.

    Raises
    ------
    PackageError
        Where the folder holds anything but a package, or where the model could not be built again from what would be written.
    """
    target = Path(directory).absolute()
    if target.exists() and not (target / MANIFEST).exists() and (not target.is_dir() or any(target.iterdir())):
        raise PackageError(f"{target} exists and is no model package: choose another folder.")
    if stepper.normalizer.residual != stepper.recipe.residual:
        raise PackageError(
            "The normaliser and the recipe differ in `residual`: the model would not step as it was trained."
        )
    if stepper.statics.dtype.itemsize != 4:
        raise PackageError(
            f"A package holds float32; this model was cast to {stepper.statics.dtype}. Cast it back: stepper.float()."
        )
    with _whole_or_not_at_all(target) as writing:
        from safetensors.torch import save_file

        save_file(_plain(stepper.network.state_dict()), writing / WEIGHTS)
        save_file(_constants(stepper), writing / CONSTANTS)
        body = {
            "format": FORMAT,
            "recipe": stepper.recipe.to_json(),
            "parameters": sum(p.numel() for p in stepper.network.parameters()),
            "summary": _finite(summary),
            "lineage": {**lineage, "versions": _versions()},
            "files": {name: _file_entry(writing / name) for name in (WEIGHTS, CONSTANTS)},
        }
        (writing / MANIFEST).write_bytes(_sealed(body, target))
        info = inspect_package(writing)
    return Package(replace(info, directory=target), stepper)


def inspect_package(directory: str | os.PathLike[str], *, digest: str | None = None) -> PackageInfo:
    """Read what a package says of itself, without torch and without reading its weights.

    Raises
    ------
    PackageError
        Where there is no package, where package.json was altered (or is not the one of that `digest`), or is of an unknown format.
    """
    directory = Path(directory)
    path = directory / MANIFEST
    try:
        text = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise PackageError(f"{directory} is no model package: it has no {MANIFEST}.") from None
    found = hashlib.sha256(text).hexdigest()
    if digest is not None and found != digest:
        raise PackageError(
            f"{path}: its sha256 is {found[:12]}…, but the package asked for is {digest[:12]}…: this is another model."
        )
    try:
        body = json.loads(text)
        written = body.pop("format")
    except (ValueError, AttributeError, KeyError, TypeError):
        raise PackageError(f"{path} can't be read: it was altered or cut off. Fetch the package again.") from None
    if written != FORMAT:
        raise PackageError(
            f"{path} has format version {written!r}; this credit_ray reads {FORMAT}. Install the version that wrote it, or newer."
        )
    seal = body.pop("sha256", None)
    if _sealed({"format": written, **body}, directory) != text:
        raise PackageError(
            f"{path} does not match its own sha256 ({str(seal)[:12]}…): it was altered. Fetch the package again."
        )
    return PackageInfo(directory=directory, digest=found, **body)


def load_package(directory: str | os.PathLike[str], *, digest: str | None = None) -> Package:
    """Read a model, in evaluation mode, on the CPU; every file is compared with its digest first.

    Parameters
    ----------
    directory : path
        The package.
    digest : str, optional
        Of the package that is expected, as the registry or a forecast has it.

    Raises
    ------
    PackageError
        Where the package is damaged, or names a network or constraint that is not installed, or its weights are not that network's.
    """
    info = inspect_package(directory, digest=digest)
    info.verify()
    _refuse_unknown(info)
    import torch
    from safetensors.torch import load_file

    from credit_ray.normalizer import Normalizer, transforms_of
    from credit_ray.stepper import Recipe, Stepper

    constants, weights = load_file(info.directory / CONSTANTS), load_file(info.directory / WEIGHTS)
    try:
        recipe = Recipe.from_json(info.recipe)
        normalizer = Normalizer(
            recipe.spec,
            **{name: constants[name] for name in _SCALES},
            residual=recipe.residual,
            mask=constants.get("mask"),
            transforms=transforms_of(constants),
        )
        with torch.random.fork_rng(
            devices=[]
        ):  # its first weights are thrown away: the caller's random numbers stay as they are
            stepper = Stepper(recipe, normalizer, constants["statics"], constants.get("climatology"))
    except (CreditRayError, KeyError, TypeError, ValueError) as error:
        raise PackageError(f"{info.directory}: the model can't be built from {MANIFEST}: {error!r}") from error
    _refuse_other_weights(stepper.network.state_dict(), weights, info)
    stepper.network.load_state_dict(weights)
    return Package(info, stepper.eval())


def _refuse_unknown(info: PackageInfo) -> None:
    """The network and the constraints must be installed."""
    wanted = [
        (networks, info.recipe["network"]),
        *((constraint_registry, c["kind"]) for c in info.recipe["constraints"]),
    ]
    for registry, name in wanted:
        try:
            registry.target(name)
        except (ConfigError, ImportError) as error:
            raise PackageError(
                f"{info.directory} needs the {registry.kind} '{name}', which is not installed: {error} "
                "Install the package that has it, or import the module that registers it."
            ) from error


def _refuse_other_weights(expected: Mapping[str, Tensor], found: Mapping[str, Tensor], info: PackageInfo) -> None:
    """Names, shapes and types must be exactly the network's."""
    where, network = info.directory / WEIGHTS, info.recipe["network"]
    for what, names in (("lacks", expected.keys() - found.keys()), ("has unknown", found.keys() - expected.keys())):
        if names:
            listed = ", ".join(sorted(names)[:5]) + (", …" if len(names) > 5 else "")
            raise PackageError(
                f"{where} {what} weights for the network '{network}': {listed}. It was written with another version of it."
            )
    for name, value in found.items():
        mine = expected[name]
        if (value.shape, value.dtype) != (mine.shape, mine.dtype):
            raise PackageError(
                f"{where}: {name} is {value.dtype} {list(value.shape)}, but the network '{network}' has {mine.dtype} {list(mine.shape)}."
            )


def _constants(stepper: Stepper) -> dict[str, Tensor]:
    """What the model knows of the data, by name."""
    import torch

    from credit_ray.normalizer import transform_constants

    grid = stepper.spec.grid
    tensors: dict[str, Tensor | None] = {name: getattr(stepper.normalizer, name) for name in _SCALES}
    tensors |= {"mask": stepper.normalizer.mask, "statics": stepper.statics, "climatology": stepper.climatology}
    tensors |= {name: torch.tensor(getattr(grid, name)) for name in grid.dims}
    tensors |= transform_constants(stepper.normalizer)
    return _plain({name: value for name, value in tensors.items() if value is not None})


def _plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """On the CPU, each with memory of its own: safetensors knows no tied weights."""
    return {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}


def _sealed(body: Mapping[str, Any], where: Path) -> bytes:
    """package.json as bytes: the body, then the sha256 of the body."""
    try:
        seal = hashlib.sha256(json.dumps(body, allow_nan=False).encode()).hexdigest()
        return (json.dumps({**body, "sha256": seal}, indent=1, allow_nan=False) + "\n").encode()
    except (TypeError, ValueError) as error:
        raise PackageError(f"{where}: summary and lineage must be plain values: {error}.") from None


def _finite(value: Any) -> Any:
    """Plain values with null for numbers that are not finite, which JSON does not have: a score may be one."""
    if isinstance(value, Mapping):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _file_entry(path: Path) -> dict[str, Any]:
    with path.open("rb+") as file:
        os.fsync(file.fileno())
        return {"sha256": hashlib.file_digest(file, "sha256").hexdigest(), "bytes": path.stat().st_size}


def _versions() -> dict[str, str]:
    return {"python": platform.python_version()} | {name: version(name) for name in ("torch", "numpy", "safetensors")}


@contextmanager
def _whole_or_not_at_all(target: Path) -> Iterator[Path]:
    """A sibling folder to write into, which becomes `target` in one step, or vanishes where writing fails."""
    target.parent.mkdir(parents=True, exist_ok=True)
    writing = target.with_name(f".{target.name}.writing-{uuid4().hex[:8]}")
    writing.mkdir()
    try:
        yield writing
        if target.exists():
            replaced = writing.with_name(writing.name.replace("writing", "replaced"))
            target.rename(replaced)
            writing.rename(target)
            shutil.rmtree(replaced)
        else:
            writing.rename(target)
    finally:
        shutil.rmtree(writing, ignore_errors=True)
