"""What is said where a cluster can't be reached; without Ray, against servers that answer as its head does."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import grpc
import pytest

from credit_ray.cluster import _refuse_unreachable
from credit_ray.errors import ClusterError

TOKEN = "f" * 64


class Head(grpc.GenericRpcHandler):
    """Asks for the token, as the head of a Ray cluster with authentication does."""

    def service(self, call: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        given = dict(call.invocation_metadata or ()).get("authorization")

        def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
            if given != f"Bearer {TOKEN}":
                context.abort(grpc.StatusCode.UNAUTHENTICATED, "InvalidAuthToken")
            return b""

        return grpc.unary_unary_rpc_method_handler(answer)


@pytest.fixture
def head() -> Iterator[str]:
    """Its address."""
    server = grpc.server(ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers((Head(),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None)


@pytest.fixture(autouse=True)
def no_token(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")


def refusal(address: str) -> str:
    with pytest.raises(ClusterError) as refused:
        _refuse_unreachable(address)
    assert address in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize("where", ["environment", "named file", "home directory"])
def test_the_right_token_is_accepted_wherever_it_is_kept(
    head: str, where: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if where == "environment":
        monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    else:
        file = tmp_path / (".ray/auth_token" if where == "home directory" else "token")
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"{TOKEN}\n")
        if where == "named file":
            monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(file))
    _refuse_unreachable(head)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    assert "wants a token" in refusal(head)


def test_a_wrong_token_is_said_to_be_wrong_and_is_not_shown(head: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "0123456789" * 6)
    message = refusal(head)
    assert "refuses this token" in message
    assert "0123456789" not in message


def test_a_token_that_is_missing_is_said_to_be_missing(head: str) -> None:
    assert "none was given" in refusal(head)


def test_where_nothing_listens_the_address_is_named() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert "nothing answers" in refusal(f"127.0.0.1:{port}")
    assert "nothing answers" in refusal("127.0.0.1:many")


def test_another_service_is_not_taken_for_a_cluster() -> None:
    class Page(BaseHTTPRequestHandler):
        def log_message(self, format: str, *arguments: Any) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Page)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        assert "is no Ray cluster" in refusal(f"127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("address", ["auto", "local"])
def test_ray_finds_its_own_clusters(address: str) -> None:
    _refuse_unreachable(address)
    with pytest.raises(ClusterError):  # unlike these
        _refuse_unreachable("127.0.0.1:1")
