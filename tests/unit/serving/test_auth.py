from __future__ import annotations

import pytest

from credit_ray.errors import ConfigError
from credit_ray.serving.auth import EVERYONE, Tokens, refuse_open_door
from credit_ray.serving.problems import Problem

VARIABLE = "CREDIT_RAY_TEST_TOKENS"


def tokens(monkeypatch: pytest.MonkeyPatch, value: str = "alpha, beta,") -> Tokens:
    monkeypatch.setenv(VARIABLE, value)
    return Tokens.from_env(VARIABLE)


def test_each_token_is_somebody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    accepted = tokens(monkeypatch)
    owners = {accepted.owner(f"Bearer {token}") for token in ("alpha", "beta")}
    assert len(owners) == 2
    assert accepted.owner("bearer alpha") == accepted.owner("Bearer alpha")


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", "Bearer gamma", "Basic alpha", "alpha", "Bearer alph", "Bearer ünïcode"]
)
def test_without_an_accepted_token_nobody_comes_in(monkeypatch: pytest.MonkeyPatch, header: str | None) -> None:
    with pytest.raises(Problem) as refused:
        tokens(monkeypatch).owner(header)
    assert refused.value.status == 401
    assert refused.value.headers["WWW-Authenticate"] == "Bearer"
    assert "gamma" not in str(refused.value)


def test_what_is_kept_does_not_hold_the_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    accepted = tokens(monkeypatch)
    assert "alpha" not in repr(accepted)
    assert "alpha" not in accepted.owner("Bearer alpha")


@pytest.mark.parametrize("value", ["", " , "])
def test_a_service_that_was_to_be_closed_does_not_open(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    with pytest.raises(ConfigError, match=VARIABLE):
        tokens(monkeypatch, value)
    monkeypatch.delenv(VARIABLE)
    with pytest.raises(ConfigError, match=VARIABLE):
        Tokens.from_env(VARIABLE)


def test_without_tokens_everyone_is_the_same() -> None:
    assert Tokens.from_env(None).owner(None) == Tokens().owner("Bearer whatever") == EVERYONE


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "example.org", ""])
def test_others_can_reach_it_only_with_tokens(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    with pytest.raises(ConfigError, match="tokens_env"):
        refuse_open_door(host, Tokens())
    closed = tokens(monkeypatch)
    refuse_open_door(host, closed)
    assert closed.hashes


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.1.2.3"])
def test_this_machine_needs_no_tokens(host: str) -> None:
    refuse_open_door(host, Tokens())
    assert Tokens().hashes == ()
