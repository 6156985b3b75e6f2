"""Folders and URLs alike, without secrets."""

from __future__ import annotations

from pathlib import Path

import pytest

from credit_ray.tracking.places import find, join, local_folder, read_text, redact, without_secrets, write_text


@pytest.mark.parametrize("kind", ["folder", "url"])
def test_a_text_is_written_read_and_found_in_a_folder_as_at_a_url(tmp_path: Path, kind: str) -> None:
    root = str(tmp_path) if kind == "folder" else f"memory://{tmp_path.name}"
    path = join(root, "run", "note.txt")
    assert read_text(path) is None
    write_text(path, "σ = 1")
    write_text(path, "σ = 2")
    assert read_text(path) == "σ = 2"
    (found,) = find(root, "note.txt")
    assert read_text(found) == "σ = 2"
    assert find(join(root, "nothing"), "note.txt") == []


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("http://alice:secret@host:5000/path", "http://host:5000/path"),
        ("s3://bucket/a.zarr?X-Amz-Signature=secret", "s3://bucket/a.zarr"),
        ("postgresql://u:se@cret@host/db", "postgresql://host/db"),
        ("/home/me/a@b.zarr", "/home/me/a@b.zarr"),
        ("sqlite:////home/me/mlflow.db", "sqlite:////home/me/mlflow.db"),
    ],
)
def test_a_uri_is_shown_without_what_is_secret(uri: str, shown: str) -> None:
    assert redact(uri) == shown
    text = without_secrets(f"store: '{uri}', then")
    assert "secret" not in text
    assert text.endswith(", then")


def test_what_can_not_live_at_a_url_lives_in_a_folder_of_its_own() -> None:
    assert local_folder("s3://bucket/runs/a", "a") != local_folder("s3://bucket/runs/b", "b")
    assert local_folder("/data/runs/a", "a") == Path("/data/runs/a")
