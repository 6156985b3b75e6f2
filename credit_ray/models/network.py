"""The seam of the networks: what one is, and how it is built from its name and arguments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Protocol, runtime_checkable

from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn

from credit_ray.errors import ConfigError, did_you_mean
from credit_ray.models.arguments import NetworkShape
from credit_ray.registry import networks


class Network(Protocol):
    """Built as `Network(arguments, shape)`; an `nn.Module` that knows channels and grid shape, not names, units or parallelism."""

    def __call__(self, x: Tensor) -> Tensor:
        """[batch, time, in_channels, *grid], normalised → [batch, out_channels, *grid]; history is flattened time-major."""
        ...


@runtime_checkable
class ClosedForm(Protocol):
    """A network whose best coefficients are the solution of an equation: fitted in one pass, not by descent."""

    def accumulate(self, inputs: Tensor, target: Tensor, weights: Tensor) -> None:
        """Add a batch to the equation: `inputs` as the network reads them, `target` [batch, out_channels, *grid] as it should emit
        them, `weights` [*grid]."""
        ...

    def partials(self) -> list[Tensor]:
        """What has been accumulated, to be summed over workers in place."""
        ...

    def solve(self) -> None:
        """Set the coefficients."""
        ...


def build_network(name: str, arguments: Mapping[str, Any], shape: NetworkShape) -> nn.Module:
    """The network of that name, with fresh weights.

    Raises
    ------
    ConfigError
        For an unknown network or argument, a value of the wrong type, or one that does not fit the grid.
    """
    cls, holder = networks.target(name), networks.arguments(name)
    known = [field.name for field in fields(holder)]
    for given in arguments:
        if given not in known:
            raise ConfigError(f"model.{given}: the network '{name}' has no such argument.{did_you_mean(given, known)}")
    try:
        checked = TypeAdapter(holder).validate_python(dict(arguments))
        if hasattr(checked, "check"):
            checked.check(shape)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(["model", *map(str, first["loc"])])
        raise ConfigError(f"{where}: {first['msg'].removeprefix('Value error, ')} (network '{name}').") from None
    except ValueError as error:
        raise ConfigError(f"model: the network '{name}' does not fit the data: {error}.") from None
    return cls(checked, shape)
