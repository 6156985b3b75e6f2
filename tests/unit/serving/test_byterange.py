from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credit_ray.serving.byterange import file_response, parse_range
from credit_ray.serving.problems import Problem

sizes = st.integers(0, 300)
positions = st.integers(0, 400)


@given(sizes, positions, positions)
def test_a_range_is_the_slice_that_it_names(size: int, first: int, last: int) -> None:
    content = bytes(i % 251 for i in range(size))
    header = f"bytes={first}-{last}"
    if last < first:
        assert parse_range(header, size) is None
    elif content[first : last + 1]:
        start, stop = parse_range(header, size) or (0, 0)
        assert content[start:stop] == content[first : last + 1]
    else:
        with pytest.raises(Problem, match="asks for no byte") as refused:
            parse_range(header, size)
        assert refused.value.status == 416
        assert refused.value.headers["Content-Range"] == f"bytes */{size}"


@given(sizes, positions)
def test_an_open_range_goes_to_the_end(size: int, first: int) -> None:
    if first < size:
        assert parse_range(f"bytes={first}-", size) == (first, size)
    else:
        with pytest.raises(Problem):
            parse_range(f"bytes={first}-", size)


@given(st.integers(1, 300), st.integers(1, 400))
def test_a_suffix_is_the_last_bytes_however_many_there_are(size: int, count: int) -> None:
    content = bytes(i % 251 for i in range(size))
    start, stop = parse_range(f"bytes=-{count}", size) or (0, 0)
    assert content[start:stop] == content[-count:]


@pytest.mark.parametrize(
    "header", [None, "", "bytes=", "bytes=-", "bytes=1-2,4-5", "rows=1-2", "bytes=a-b", "bytes=²-3"]
)
def test_what_is_no_single_range_of_bytes_means_the_whole_file(header: str | None) -> None:
    assert parse_range(header, 10) is None


async def _body(path: Path, header: str | None) -> tuple[int, dict[str, str], bytes]:
    response = file_response(path, header, {"Cache-Control": "no-store"}, head=False)
    assert response is not None
    pieces = [piece async for piece in response.body_iterator]  # type: ignore[attr-defined]
    return response.status_code, dict(response.headers), b"".join(pieces)


def test_a_part_of_a_file_says_which_part_it_is(tmp_path: Path) -> None:
    path = tmp_path / "chunk"
    path.write_bytes(b"0123456789")
    status, headers, body = asyncio.run(_body(path, "bytes=-4"))
    assert (status, body) == (206, b"6789")
    assert headers["content-range"] == "bytes 6-9/10"
    assert headers["content-length"] == "4"
    assert asyncio.run(_body(path, None))[::2] == (200, b"0123456789")


def test_a_file_that_is_replaced_while_it_is_sent_stays_whole(tmp_path: Path) -> None:
    path, other = tmp_path / "chunk", tmp_path / "other"
    path.write_bytes(b"old" * 10)
    other.write_bytes(b"newer" * 100)

    async def replace_and_read() -> bytes:
        response = file_response(path, None, {}, head=False)
        assert response is not None
        other.replace(path)
        return b"".join([piece async for piece in response.body_iterator])  # type: ignore[attr-defined]

    assert asyncio.run(replace_and_read()) == b"old" * 10


@pytest.mark.parametrize("name", ["absent", ".", "chunk/below-a-file", "x" * 300])
def test_what_is_no_file_is_absent(tmp_path: Path, name: str) -> None:
    (tmp_path / "chunk").write_bytes(b"0")
    assert file_response(tmp_path / name, None, {}, head=False) is None
