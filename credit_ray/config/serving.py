"""`serving:` which models answer, how much they accept, and who may ask."""

from __future__ import annotations

from pydantic import Field

from credit_ray.config.section import Section


class ServedModel(Section):
    """One model behind the API."""

    name: str
    """Name in the registry, and in the URL."""
    alias: str = "champion"
    """Which version."""


class Limits(Section):
    """Over them a request is refused, with the status that says why."""

    lead_steps: int = Field(default=400, ge=1)
    """Longest forecast, in steps."""
    queue: int = Field(default=16, ge=1)
    """Accepted forecasts that wait; over it: 429 with Retry-After."""
    body_bytes: int = Field(default=65_536, ge=1_000)
    """Largest request."""
    keep_hours: float = Field(default=24.0, gt=0)
    """Finished results are removed after this long."""


class Auth(Section):
    """Bearer tokens."""

    tokens_env: str | None = None
    """Environment variable that holds the accepted tokens, separated by commas."""


class ServingConfig(Section):
    """The HTTP service."""

    host: str = "127.0.0.1"
    """Address to listen on; anything but loopback needs tokens."""
    port: int = Field(default=8000, ge=1, le=65535)
    """Port to listen on."""
    models: list[ServedModel] = Field(
        default=[], description="Models to serve; default: the experiment's own, by registry.name and registry.alias."
    )
    results: str | None = None
    """Folder of the forecasts' stores; default: served beside the experiment's runs."""
    limits: Limits = Limits()
    """Bounds."""
    auth: Auth = Auth()
    """Who may ask."""
