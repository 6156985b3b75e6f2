"""A file over HTTP, whole or in part (RFC 9110 §14): what a Zarr reader asks for, shard indices at the end of a chunk included."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING

from credit_ray.serving.problems import Problem

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.responses import Response

PIECE_BYTES = 1 << 20
_ABSENT = {errno.ENOENT, errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP}


def parse_range(header: str | None, size: int) -> tuple[int, int] | None:
    """First byte, and the byte after the last, that a Range header asks for.

    Returns None for the whole file: no header, one of an unknown form, or several ranges (which a server may answer whole).

    Raises
    ------
    Problem
        416 where no byte of the file is asked for.
    """
    match = re.fullmatch(r"\s*bytes\s*=\s*(\d*)\s*-\s*(\d*)\s*", header or "", re.ASCII)
    if not match or match[1] == match[2] == "":
        return None
    if match[1] == "":  # the last so many
        start, stop = max(0, size - int(match[2])), size
    else:
        start, stop = int(match[1]), min(size, int(match[2]) + 1 if match[2] else size)
        if match[2] and int(match[2]) < start:
            return None
    if start >= stop:
        detail = f"'{header}' asks for no byte of a file of {size} bytes."
        raise Problem(416, "range-not-satisfiable", detail, headers={"Content-Range": f"bytes */{size}"})
    return start, stop


def file_response(path: Path, range_header: str | None, headers: dict[str, str], *, head: bool) -> Response | None:
    """The file, or the asked part of it; None where there is no such file."""
    from starlette.responses import Response, StreamingResponse

    try:
        file = path.open("rb")
    except OSError as error:
        if error.errno in _ABSENT:
            return None
        raise
    try:
        size = os.fstat(file.fileno()).st_size  # of what is open, even if another file takes its name meanwhile
        wanted = parse_range(range_header, size)
    except BaseException:
        file.close()
        raise
    start, stop = wanted or (0, size)
    headers = headers | {"Accept-Ranges": "bytes", "Content-Length": str(stop - start)}
    if wanted:
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    media_type = "application/json" if path.suffix == ".json" else "application/octet-stream"
    status = 206 if wanted else 200
    if head:
        file.close()
        return Response(None, status, headers, media_type)
    return StreamingResponse(_pieces(file, start, stop), status, headers, media_type)


def _pieces(file: IO[bytes], start: int, stop: int) -> Iterator[bytes]:
    with file:
        file.seek(start)
        while start < stop and (piece := file.read(min(PIECE_BYTES, stop - start))):
            start += len(piece)
            yield piece
