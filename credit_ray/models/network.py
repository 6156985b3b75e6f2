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
    """An `nn.Module` that is built as `Network(arguments, shape)`.

    It knows channels and the grid's shape, but no names, units or parallelism, nor whether what it emits is taken for a change or
    for a state. In a module of yours, `@networks.register("mine", arguments=MyArguments)` makes it known to configs;
    `MyArguments` is a frozen data class, whose method `check(shape)`, if it has one, raises ConfigError where they do not fit.
    """

    def __init__(self, arguments: Any, shape: NetworkShape) -> None: ...

    def __call__(self, x: Tensor) -> Tensor:
        """Normalised [batch, time, in_channels, *grid], oldest time first → [batch, out_channels, *grid]."""
        ...


@runtime_checkable
class ClosedForm(Protocol):
    """A network whose best coefficients solve an equation: fitted in one pass over the data, not by descent."""

    def accumulate(self, inputs: Tensor, target: Tensor, weights: Tensor) -> None:
        """Add a batch to the equation.

        Parameters
        ----------
        inputs : Tensor
            [batch, time, in_channels, *grid], as the network reads them.
        target : Tensor
            [batch, out_channels, *grid], what it should emit; values that are not finite do not count.
        weights : Tensor
            [*grid] or [out_channels, *grid], not negative; the same in every call.
        """
        ...

    def partials(self) -> list[Tensor]:
        """What has been accumulated, to be summed over workers in place."""
        ...

    def solve(self) -> None:
        """Set the coefficients, and forget what was accumulated."""
        ...


def network_arguments(name: str, arguments: Mapping[str, Any]) -> Any:
    """The network's arguments as its own data class, from plain values.

    Raises
    ------
    ConfigError
        For an unknown network or argument, with the nearest known one, and for a value of the wrong type or out of range.
    """
    holder = networks.arguments(name)
    known = [field.name for field in fields(holder)]
    for given in arguments:
        if given not in known:
            raise ConfigError(f"model.{given}: the network '{name}' has no such argument.{did_you_mean(given, known)}")
    try:
        return TypeAdapter(holder).validate_python(dict(arguments))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(["model", *map(str, first["loc"])])
        message = first["msg"].removeprefix("Value error, ")
        raise ConfigError(f"{where}: {message} (network '{name}').") from None


def build_network(name: str, arguments: Mapping[str, Any], shape: NetworkShape) -> nn.Module:
    """The network of that name, with fresh weights.

    Raises
    ------
    ConfigError
        For an unknown network or argument, a value of the wrong type or out of range, or one that does not fit the grid.
    """
    checked = network_arguments(name, arguments)
    if hasattr(checked, "check"):
        checked.check(shape)
    network = networks.target(name)(checked, shape)
    if not isinstance(network, nn.Module):
        raise ConfigError(f"model.network: '{name}' is a {type(network).__name__}, which is no torch.nn.Module.")
    return network
