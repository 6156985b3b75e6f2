"""Where things are: folders and URLs read and written alike, and URLs shown without what is secret in them."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path


def is_url(path: str) -> bool:
    """Whether a path names another place than this machine's file system."""
    return "://" in path


def redact(uri: str) -> str:
    """A URI without user, password and query, where secrets sit."""
    return re.sub(r"[?#].*$", "", re.sub(r"^([\w+.-]+://)[^/]*@", r"\1", uri)) if is_url(uri) else uri


def without_secrets(text: str) -> str:
    """A text without users, passwords and queries in the URLs that it holds."""
    return re.sub(r"(\w://)[^/\s\"']*@", r"\1", re.sub(r"(\w://[^\s?\"']+)\?[^\s\"']+", r"\1", text))


def output_root(output: str) -> str:
    """`output` of a config as an absolute path, or as the URL that it is; no slash at the end."""
    return output.rstrip("/") if is_url(output) else os.path.abspath(os.path.expanduser(output))


def join(directory: str, *names: str) -> str:
    """A path below a folder or URL."""
    return "/".join([directory.rstrip("/"), *names])


def local_folder(directory: str, run_id: str) -> Path:
    """A folder on this machine for what can't live in an object store: the run's own, or one in the temporary folder."""
    return Path(tempfile.gettempdir()) / "credit_ray" / run_id if is_url(directory) else Path(directory)


def write_text(path: str, text: str) -> None:
    """Write a small file as a whole: its readers see the old text or the new."""
    if is_url(path):
        import fsspec

        files, place = fsspec.core.url_to_fs(path)
        files.pipe_file(place, text.encode())
        return
    fresh = Path(f"{path}.{os.getpid()}.new")
    fresh.parent.mkdir(parents=True, exist_ok=True)
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)


def read_text(path: str) -> str | None:
    """A small file; None where there is none."""
    try:
        if is_url(path):
            import fsspec

            files, place = fsspec.core.url_to_fs(path)
            return str(files.cat_file(place).decode())
        return Path(path).read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None


def find(directory: str, name: str) -> list[str]:
    """All files of that name in the folders just below a folder or URL."""
    if is_url(directory):
        import fsspec

        files, root = fsspec.core.url_to_fs(directory)
        return [files.unstrip_protocol(path) for path in files.glob(f"{root}/*/{name}")]
    return [str(path) for path in Path(directory).glob(f"*/{name}")]
