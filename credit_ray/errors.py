"""Every error that a user can meet: what is wrong, where, and what to do.

One small hierarchy, so that a command can turn any of them into one clear message and an exit code, and an HTTP server
into a status. Everything else that escapes is a defect of ours and keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class CreditRayError(Exception):
    """Base of all errors that are meant to be read by a user."""

    exit_code = 1


class ConfigError(CreditRayError):
    """A config or a command's arguments are wrong; nothing has been started."""

    exit_code = 2


class DataError(CreditRayError):
    """A store can't be read, or does not hold what it should; names store, variable and time."""


class SpecMismatchError(DataError):
    """Data and model do not fit each other; names what differs (variables, levels, grid, step, units, calendar)."""

    exit_code = 2


class NotFiniteError(CreditRayError):
    """A value that should be finite is not; names channel and valid time."""


class ConstraintError(CreditRayError):
    """A correction is larger than its limit; names constraint, trajectory and valid time."""


class PackageError(CreditRayError):
    """A model package is damaged, of an unknown format version, or names something that is not installed."""


class ModelNotFoundError(CreditRayError):
    """No model of that name, version or alias; names those that exist."""

    exit_code = 2


class ClusterError(CreditRayError):
    """Ray, MLflow or a port can't be reached; names the address and how to check it."""


class TrainingError(CreditRayError):
    """Training ended without a model; names the step and the cause."""


class StoppedError(CreditRayError):
    """Work saved itself and stopped before its end, as asked: the same command goes on. Scripts queue it again on this exit code."""

    exit_code = 75


def did_you_mean(name: str, known: Iterable[str], show: int = 12) -> str:
    """The end of a message about an unknown name: the nearest known one, then what there is.

    Parameters
    ----------
    name : str
        What was asked for.
    known : iterable of str
        What exists; at most `show` of them are listed.
    """
    known = sorted(set(known))
    near = get_close_matches(name, known, n=1, cutoff=0.6)
    listed = ", ".join(known[:show]) + (f", … ({len(known)} in all)" if len(known) > show else "")
    suggestion = f" Did you mean '{near[0]}'?" if near else ""
    return f"{suggestion} There is: {listed or 'nothing'}."
