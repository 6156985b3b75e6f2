"""Which code made a result."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from credit_ray import __version__


@dataclass(frozen=True)
class CodeRevision:
    """A version and, in a checkout, a commit.

    Parameters
    ----------
    version : str
        Of the installed package.
    commit : str, optional
        Full hash, where the package is run from a git checkout.
    dirty : bool
        Whether files of the package differ from that commit.
    """

    version: str
    commit: str | None = None
    dirty: bool = False

    def __str__(self) -> str:
        """`0.1.0`, `0.1.0+g3cc0183a9f21` or, with uncommitted changes, `0.1.0+g3cc0183a9f21.dirty`."""
        return self.version + (f"+g{self.commit[:12]}" if self.commit else "") + (".dirty" if self.dirty else "")


@cache
def code_revision() -> CodeRevision:
    """The revision of the credit_ray that is running."""
    return revision_of(Path(__file__).parents[1])


def revision_of(package: Path) -> CodeRevision:
    """The revision of the package in that folder.

    Where the folder is not tracked by git (installed, perhaps into an environment inside someone's checkout), the version is all there is.
    """
    if _git(package, "ls-files", "--error-unmatch", "__init__.py") is None:
        return CodeRevision(__version__)
    changed = _git(package, "status", "--porcelain", "--", ".")
    return CodeRevision(__version__, _git(package, "rev-parse", "HEAD"), bool(changed))


def _git(folder: Path, *arguments: str) -> str | None:
    """Output of a git command; None where it fails, or where there is no git."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=20,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
