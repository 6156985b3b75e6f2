"""What a run's folder says of it: enough to find it again and to go on with it, when MLflow or the machine is gone.

`run.json` is the record; `run.lock` is held while someone works on the run, and freed by the kernel however that ends.
"""

from __future__ import annotations

import fcntl
import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

from credit_ray.config.dump import flatten, science, science_digest
from credit_ray.errors import ConfigError
from credit_ray.tracking.places import find, is_url, join, output_root, read_text, without_secrets, write_text

if TYPE_CHECKING:
    from credit_ray.config.experiment import Experiment

log = logging.getLogger(__name__)

RECORD, LOCK = "run.json", "run.lock"

Stage = Literal["train", "tune", "forecast", "verify"]
Status = Literal["running", "finished", "failed", "stopped"]


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """What run.json holds.

    Parameters
    ----------
    run_id, experiment_id : str
        In MLflow.
    stage : str
        What kind of run.
    science_digest : str
        Of the config, as far as the result depends on it.
    params : mapping
        That part of the config, by dotted key.
    data_digest : str, optional
        Of the data.
    parent : str, optional
        Id of the run that it is a part of.
    created : float
        Seconds since 1970.
    status : str
        A run that is `running` may have been killed; `stopped` and `failed` ones can be gone on with as well.
    restarts : int
        How often it was gone on with.
    directory : str
        Where the record lies; not part of it, so that a folder can be moved.
    """

    run_id: str
    experiment_id: str
    stage: Stage
    science_digest: str
    params: Mapping[str, str]
    created: float
    data_digest: str | None = None
    parent: str | None = None
    status: Status = "running"
    restarts: int = 0
    directory: str = ""

    def save(self) -> None:
        """Write run.json."""
        plain = {key: value for key, value in asdict(self).items() if key != "directory"}
        write_text(join(self.directory, RECORD), json.dumps(plain, indent=1) + "\n")

    @classmethod
    def read(cls, directory: str) -> RunRecord:
        """The record of a run's folder.

        Raises
        ------
        ConfigError
            Where there is none.
        """
        text = read_text(join(directory, RECORD))
        if text is None:
            raise ConfigError(f"{directory} is no run's folder: it has no {RECORD}.")
        try:
            return cls(**json.loads(text), directory=directory.rstrip("/"))
        except (ValueError, TypeError) as error:
            raise ConfigError(f"{join(directory, RECORD)} can't be read: {error}.") from None

    def refuse_other(self, experiment: Experiment, stage: Stage) -> None:
        """A run goes on only with the science that it began with.

        Raises
        ------
        ConfigError
            Naming the keys that differ.
        """
        if self.stage != stage:
            raise ConfigError(f"{self.directory} is a {self.stage} run, not a {stage} run.")
        if self.science_digest == science_digest(experiment, stage):
            return
        mine = params(experiment)
        irrelevant = mine.keys() - params(experiment, stage).keys()
        keys = sorted(key for key in {*mine, *self.params} - irrelevant if mine.get(key) != self.params.get(key))
        shown = "; ".join(
            f"{key} was {self.params.get(key, 'absent')}, now {mine.get(key, 'absent')}" for key in keys[:5]
        )
        raise ConfigError(
            f"Run {self.run_id} is of another experiment: {shown}. Use its config, or start anew with --resume never."
        )


def params(experiment: Experiment, stage: Stage | None = None) -> dict[str, str]:
    """The science of a config (of a stage) by dotted key, as text, without users and passwords in URLs."""
    texts = {
        key: value if isinstance(value, str) else json.dumps(value)
        for key, value in flatten(science(experiment, stage)).items()
    }
    return {key: without_secrets(text) for key, text in texts.items()}


def run_root(experiment: Experiment) -> str:
    """Where the folders of an experiment's runs are."""
    return join(output_root(experiment.output), experiment.name)


def unfinished(
    experiment: Experiment, stage: Stage, data_digest: str | None = None, parent: str | None = None
) -> list[RunRecord]:
    """Runs of this science, parts of `parent` or of none, that have not finished and that nobody works on; newest first.

    Found by the digest of the science, never by the name alone; those whose data differ from `data_digest` are left out.
    """
    digest = science_digest(experiment, stage)
    found = []
    for path in find(run_root(experiment), RECORD):
        record = RunRecord.read(path.rpartition("/")[0])
        if (record.stage, record.science_digest, record.parent) != (
            stage,
            digest,
            parent,
        ) or record.status == "finished":
            continue
        if data_digest and record.data_digest not in (None, data_digest):
            log.warning("Not going on with run %s: the data have changed since", record.run_id)
        elif held(record):
            log.warning("Not going on with run %s: another process is working on it", record.run_id)
        else:
            found.append(record)
    return sorted(found, key=lambda record: record.created, reverse=True)


def hold(record: RunRecord) -> IO[str] | None:
    """A lock on a run, freed by closing it or by the end of this process; None on a URL, which has none.

    Raises
    ------
    ConfigError
        Where another process has it.
    """
    if is_url(record.directory):
        return None
    Path(record.directory).mkdir(parents=True, exist_ok=True)
    lock = Path(record.directory, LOCK).open("w")  # noqa: SIM115  # open for as long as the run is worked on
    if not _try_lock(lock, record):
        lock.close()
        raise ConfigError(
            f"Another process is working on run {record.run_id} ({record.directory}). Wait for it, or end it."
        )
    return lock


def held(record: RunRecord) -> bool:
    """Whether a process is working on a run."""
    path = Path(record.directory, LOCK)
    if is_url(record.directory) or not path.exists():
        return False
    with path.open() as lock:
        return not _try_lock(lock, record)


def _try_lock(lock: IO[Any], record: RunRecord) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:  # some cluster file systems have no locks
        log.warning(
            "%s can't be locked (%s): take care that no one else goes on with this run",
            record.directory,
            error.strerror,
        )
    return True
