"""How a store is reached, and for how long one asks again; and what of all that may be said aloud."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Engine = Literal["auto", "obstore", "fsspec"]

RETRY_SECONDS = 120.0
REQUEST_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True)
class Access:
    """What it takes to read from a URL.

    Parameters
    ----------
    options : mapping
        Of the file system, by fsspec's names; credentials among them. Never shown.
    engine : {"auto", "obstore", "fsspec"}
        Who makes the requests.
    retry_seconds : float
        How long a request that fails for a passing reason is made again.
    request_seconds : float
        How long one request may take.
    """

    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    engine: Engine = "auto"
    retry_seconds: float = RETRY_SECONDS
    request_seconds: float = REQUEST_SECONDS

    def said(self, error: BaseException) -> str:
        """Class and first line of an error of a library, without credentials and without pages of XML."""
        text = str(error).strip()
        code = re.search(r"<Code>(\w+)</Code>", text)
        text = re.split(r"<\?xml|<html|<!DOCTYPE|<Error>", text, maxsplit=1, flags=re.IGNORECASE)[0].strip()
        line = (text.splitlines() or ["no details"])[0].strip().rstrip(":")
        line = f"{line} ({code[1]})" if code else line
        return f"{type(error).__name__}: {self.cleaned(line[:_LONGEST])}"

    def cleaned(self, text: str) -> str:
        """A text without any credential that the options or the environment hold, or that stands in a URL."""
        for secret in sorted({*_secrets(self.options), *_secrets_of_environment()}, key=len, reverse=True):
            text = text.replace(secret, "…")
        return _IN_URL.sub(r"\1…@", _QUERY.sub(r"\1?…", text))


_LONGEST = 400
_IN_URL = re.compile(r"(\w+://)[^/\s@]+@")
_QUERY = re.compile(r"(\w+://[^\s?]+)\?[^\s'\")]+")
_HARMLESS = frozenset({"endpoint_url", "region_name", "region", "project", "addressing_style", "signature_version"})
_VARIABLES = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "GOOGLE_SERVICE_ACCOUNT_KEY",
    "AZURE_STORAGE_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
)
_SHORTEST_SECRET = 5  # so that no single letter of a message is taken for one


def _secrets(options: Any) -> Iterator[str]:
    if isinstance(options, Mapping):
        for key, value in options.items():
            if key not in _HARMLESS:
                yield from _secrets(value)
    elif isinstance(options, list | tuple):
        for value in options:
            yield from _secrets(value)
    elif isinstance(options, str) and len(options) >= _SHORTEST_SECRET:
        yield options
        yield from (word for word in options.split() if len(word) >= _SHORTEST_SECRET)  # "Bearer …"


def _secrets_of_environment() -> Iterator[str]:
    return (os.environ[name] for name in _VARIABLES if len(os.environ.get(name, "")) >= _SHORTEST_SECRET)
