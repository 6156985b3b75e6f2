"""Bearer tokens: who asks, and whose a forecast is. Only hashes of tokens are kept, passed on and stored."""

from __future__ import annotations

import hmac
import ipaddress
import os
from dataclasses import dataclass
from hashlib import sha256

from credit_ray.errors import ConfigError
from credit_ray.serving.problems import Problem

EVERYONE = "everyone"  # the owner of all forecasts where no tokens are asked for


@dataclass(frozen=True)
class Tokens:
    """The accepted tokens.

    Parameters
    ----------
    hashes : tuple of str
        sha256 of each, in hex; none: everyone may ask, and everything is everyone's.
    """

    hashes: tuple[str, ...] = ()

    @classmethod
    def from_env(cls, variable: str | None) -> Tokens:
        """Tokens, separated by commas, in an environment variable; None: no tokens are asked for.

        Raises
        ------
        ConfigError
            Where the variable is not set, or empty: a service that was to be closed must not open.
        """
        if variable is None:
            return cls()
        tokens = [token.strip() for token in os.environ.get(variable, "").split(",") if token.strip()]
        if not tokens:
            raise ConfigError(
                f"serving.auth.tokens_env: the environment variable {variable} is not set or empty. "
                f"Set it to the accepted tokens, separated by commas, or leave tokens_env out."
            )
        return cls(tuple(_hash(token) for token in tokens))

    def owner(self, authorization: str | None) -> str:
        """Whose the request is: a hash of its token.

        Parameters
        ----------
        authorization : str, optional
            The request's header of that name.

        Raises
        ------
        Problem
            401 without an accepted token.
        """
        if not self.hashes:
            return EVERYONE
        scheme, _, token = (authorization or "").partition(" ")
        given = _hash(token.strip())
        # every hash is compared, each in constant time: the time taken tells nothing about the tokens
        known = sum([hmac.compare_digest(given, accepted) for accepted in self.hashes])
        if scheme.lower() != "bearer" or not known:
            what = "The token is not accepted." if authorization else "A token is needed."
            detail = f"{what} Send the header Authorization: Bearer <token>."
            raise Problem(401, "unauthorized", detail, headers={"WWW-Authenticate": "Bearer"})
        return given[:32]


def refuse_open_door(host: str, tokens: Tokens) -> None:
    """Raise ConfigError where anyone on the network could ask."""
    if not tokens.hashes and not _is_loopback(host):
        raise ConfigError(
            f"serving.host is {host}, which others can reach, and no tokens are asked for. "
            "Name an environment variable that holds them in serving.auth.tokens_env, or listen on 127.0.0.1."
        )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _hash(token: str) -> str:
    return sha256(token.encode()).hexdigest()
