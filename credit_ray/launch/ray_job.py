"""Inside a Ray job, whose working directory is a temporary copy of the submitter's: what relative paths mean there.

Ray does not say which folder was copied. On a cluster of one machine it can be found: it is told, or it is where the cluster was started
or this package is installed from, and all that was copied lies there. Elsewhere a relative path means nothing, and is refused: what is
written into the copy is lost with it.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from urllib.parse import unquote, urlsplit

from credit_ray.cluster import ray_session
from credit_ray.config.experiment import Experiment
from credit_ray.config.paths import relative_paths
from credit_ray.errors import ConfigError

log = logging.getLogger(__name__)

SUBMIT_DIR = "CREDIT_RAY_SUBMIT_DIR"
_JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"  # Ray's name for the variable in which a job's driver finds its own description


def working_folder(experiment: Experiment, config: Path) -> Path:
    """What relative paths of an experiment are relative to: the working directory, or in a Ray job the submitter's.

    Parameters
    ----------
    experiment : Experiment
        As written.
    config : Path
        Its file.

    Raises
    ------
    ConfigError
        In a Ray job with relative paths, where the cluster has several nodes or the submitter's folder is not known; names their keys.
    """
    here = Path.cwd()
    relative = relative_paths(experiment)
    if not relative or not _in_a_copy():
        return here
    named = ", ".join(f"{key} is '{path}'" for key, path in relative.items())
    if (nodes := _nodes(experiment)) > 1:
        raise ConfigError(
            f"{named}: relative paths have no meaning in a Ray job on {nodes} nodes, whose working directories are temporary copies. "
            "Give absolute paths on a file system that all nodes share, or URLs."
        )
    folder = _submitters_folder(here, (config, Path(sys.argv[0])))
    if folder is None:
        raise ConfigError(
            f"{named}: relative to which folder? A Ray job's working directory is a temporary copy. Give absolute paths, or submit with "
            f"""--runtime-env-json '{{"env_vars": {{"{SUBMIT_DIR}": "'"$PWD"'"}}}}'."""
        )
    log.info("Relative paths are those of %s", folder)
    return folder


def _in_a_copy() -> bool:
    description = json.loads(os.environ.get(_JOB) or "{}")
    return bool((description.get("runtime_env") or {}).get("working_dir"))


def _nodes(experiment: Experiment) -> int:
    with ray_session(experiment.resources):
        import ray

        return sum(bool(node["Alive"]) for node in ray.nodes())


def _submitters_folder(copy: Path, files: Sequence[Path]) -> Path | None:
    """The folder that was copied; None where it can't be told."""
    if told := os.environ.get(SUBMIT_DIR):
        if not Path(told).is_dir():
            raise ConfigError(f"{SUBMIT_DIR} is {told}, which is no folder on the machine where the job runs.")
        return Path(told)
    own = [file for file in files if not file.is_absolute() and file.is_file()]
    possible = {folder.resolve() for folder in (*_installed_from(), *_folders_of_ancestors())} - {copy.resolve()}
    found = [folder for folder in possible if own and _is_original(folder, copy, own)]
    return found[0] if len(found) == 1 else None


def _is_original(folder: Path, copy: Path, own: Sequence[Path]) -> bool:
    """Whether a folder has all files of the copy: the job's own as they are, the others, which may be many, at least in their sizes."""
    try:
        return all((folder / file).read_bytes() == (copy / file).read_bytes() for file in own) and all(
            (folder / file.relative_to(copy)).stat().st_size == file.stat().st_size
            for file in copy.rglob("*")
            if file.is_file() and "__pycache__" not in file.parts
        )
    except OSError:  # not there, or not ours to read
        return False


def _installed_from() -> Iterator[Path]:
    """The source tree that an editable installation points to."""
    try:
        installed = json.loads(distribution("credit-ray").read_text("direct_url.json") or "{}")
    except PackageNotFoundError:
        return
    if installed.get("dir_info", {}).get("editable"):
        yield Path(unquote(urlsplit(installed["url"]).path))


def _folders_of_ancestors() -> Iterator[Path]:
    """Working directories of the processes above this one; among them is the node's raylet, which keeps that of `ray start`."""
    process = os.getpid()
    while process > 1:
        try:
            yield Path(f"/proc/{process}/cwd").readlink()
            # pid (name) state parent …: the name may hold anything but its own closing bracket
            process = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:  # another user's, or a system without /proc
            return
