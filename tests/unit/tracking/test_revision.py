"""Which code made a result."""

from __future__ import annotations

import subprocess
from pathlib import Path

import credit_ray
from credit_ray.tracking.revision import CodeRevision, code_revision, revision_of


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def checkout(folder: Path) -> Path:
    package = folder / "credit_ray"
    package.mkdir()
    (package / "__init__.py").write_text("")
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "first")
    return package


def test_in_a_checkout_it_is_the_commit(tmp_path: Path) -> None:
    package = checkout(tmp_path)
    found = revision_of(package)
    assert found == CodeRevision(credit_ray.__version__, git(tmp_path, "rev-parse", "HEAD"))
    assert str(found) == f"{credit_ray.__version__}+g{git(tmp_path, 'rev-parse', '--short=12', 'HEAD')}"


def test_changed_and_new_modules_make_it_dirty_and_other_files_do_not(tmp_path: Path) -> None:
    package = checkout(tmp_path)
    (tmp_path / "notes.txt").touch()
    assert not revision_of(package).dirty
    (package / "new.py").touch()
    assert revision_of(package).dirty
    (package / "new.py").unlink()
    (package / "__init__.py").write_text("x = 1")
    assert str(revision_of(package)).endswith(".dirty")


def test_outside_git_it_is_the_version(tmp_path: Path) -> None:
    (tmp_path / "__init__.py").touch()
    assert str(revision_of(tmp_path)) == credit_ray.__version__


def test_installed_inside_someone_elses_checkout_it_is_the_version(tmp_path: Path) -> None:
    checkout(tmp_path)
    (tmp_path / ".gitignore").write_text(".venv\n")
    installed = tmp_path / ".venv" / "credit_ray"
    installed.mkdir(parents=True)
    (installed / "__init__.py").touch()
    assert revision_of(installed) == CodeRevision(credit_ray.__version__)


def test_the_running_code_has_one() -> None:
    assert str(code_revision()).startswith(credit_ray.__version__)
