"""Arguments of the baselines: they have none to choose, but must fit the data."""

from __future__ import annotations

from dataclasses import dataclass

from credit_ray.errors import ConfigError
from credit_ray.models.arguments.shape import NetworkShape


@dataclass(frozen=True, kw_only=True)
class PersistenceArguments:
    """`persistence` has no arguments."""

    def check(self, shape: NetworkShape) -> None:
        """Raise ConfigError where nothing is both read and predicted."""
        _prognostic("persistence", shape)

    def equivariant_roll(self, shape: NetworkShape) -> int | None:
        """Each place by itself: by any number of columns."""
        return 1 if shape.periodic else None


@dataclass(frozen=True, kw_only=True)
class ClimatologyArguments:
    """`climatology` has no arguments."""

    def check(self, shape: NetworkShape) -> None:
        """Raise ConfigError where nothing is both read and predicted."""
        _prognostic("climatology", shape)


def _prognostic(network: str, shape: NetworkShape) -> None:
    if not shape.prognostic:
        raise ConfigError(f"model.network: '{network}' needs a prognostic variable, and these data have none.")
