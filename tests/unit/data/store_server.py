"""A web server over a folder that misbehaves as it is told to, and counts what it is asked."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@dataclass
class Fault:
    """What happens to the next `times` requests whose path ends as `path`, a regular expression, says.

    Parameters
    ----------
    status : int
        Answered instead of the file; 0 for silence, −1 for half of the file.
    """

    path: str
    status: int
    times: int = 1_000_000
    seconds: float = 0.0


@dataclass
class StoreServer:
    """One running server.

    Parameters
    ----------
    together : int
        Chunks are answered once so many are being asked for; then all that follow.
    """

    url: str
    faults: list[Fault] = field(default_factory=list)
    asked: Counter[str] = field(default_factory=Counter)
    headers: list[dict[str, str]] = field(default_factory=list)
    together: int = 0
    waiting: int = 0
    met: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def wait_for_others(self) -> None:
        """Returns once enough wait."""
        with self.lock:
            self.waiting += 1
            if self.waiting == self.together:
                self.met.set()
        self.met.wait(30)

    def fault(self, path: str) -> Fault | None:
        """Takes the fault that a request meets."""
        with self.lock:
            self.asked[path.strip("/")] += 1
            for fault in self.faults:
                if fault.times > 0 and re.search(f"{fault.path}$", path):
                    fault.times -= 1
                    return fault
        return None


@contextmanager
def serve(folder: Path) -> Iterator[StoreServer]:
    """Serve a folder on a free port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            server.headers.append({k.lower(): v for k, v in self.headers.items()})
            fault = server.fault(self.path)
            if server.together and "/c/" in self.path:
                server.wait_for_others()
            if fault:
                stopped.wait(fault.seconds)
            if fault and fault.status > 0:
                self._answer(
                    fault.status, b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Key>open sesame</Key></Error>"
                )
                return
            file = folder / self.path.strip("/")
            if not file.is_file():
                self._answer(404, b"")
                return
            content = file.read_bytes()
            if wanted := re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", "")):
                first, last = wanted[1], wanted[2]
                start = int(first) if first else max(len(content) - int(last), 0)
                stop = min(int(last) + 1, len(content)) if first and last else len(content)
                self._answer(206, content[start:stop], f"bytes {start}-{stop - 1}/{len(content)}", fault)
                return
            self._answer(200, content, fault=fault)

        do_HEAD = do_GET  # noqa: N815  # the library's name

        def _answer(self, status: int, content: bytes, part: str = "", fault: Fault | None = None) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Accept-Ranges", "bytes")
            if part:
                self.send_header("Content-Range", part)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content[: len(content) // 2] if fault and fault.status == -1 else content)
            if fault and fault.status == -1:
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    stopped = threading.Event()
    web = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    web.daemon_threads = True
    server = StoreServer(f"http://127.0.0.1:{web.server_port}")
    thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        stopped.set()
        web.shutdown()
        web.server_close()
        thread.join()
