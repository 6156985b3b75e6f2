"""Another order of the data, from where training diverged: kept in the run's folder, so that readers and workers take the same one."""

from __future__ import annotations

import json
import os
from pathlib import Path

from credit_ray.errors import TrainingError

_FILE = "detours.json"


class Detours:
    """The detours of one run.

    Parameters
    ----------
    run_directory : str
        Seen by the driver and all workers.
    """

    def __init__(self, run_directory: str) -> None:
        self._path = Path(run_directory) / _FILE

    def epochs(self) -> tuple[int, ...]:
        """Epochs from which on the order is another one."""
        return tuple(self._read().get("epochs", ()))  # type: ignore[arg-type]

    def refuse_if_in_vain(self) -> None:
        """Raise TrainingError where the run has given up: restarting its workers is of no use."""
        if gave_up := self._read().get("gave_up"):
            raise TrainingError(str(gave_up))

    def take(self, epoch: int, most: int, why: Exception, *, write: bool) -> None:
        """One detour more, or the end where there have been `most`; only one worker writes."""
        if not write:
            return
        known = self._read()
        if len(known.get("epochs", ())) < most:
            known["epochs"] = [*known.get("epochs", ()), epoch]
        else:
            known["gave_up"] = (
                f"{why} It went back to a checkpoint {most} times, and on with another order of the data, in vain."
            )
        partial = self._path.with_suffix(".partial")
        partial.write_text(json.dumps(known))
        os.replace(partial, self._path)

    def try_again(self) -> None:
        """Someone asks for another attempt: the order stays, the end is forgotten."""
        known = self._read()
        if known.pop("gave_up", None):
            self._path.write_text(json.dumps(known))

    def _read(self) -> dict[str, list[int] | str]:
        return dict(json.loads(self._path.read_text())) if self._path.exists() else {}
