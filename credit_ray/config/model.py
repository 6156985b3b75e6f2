"""`model:`, `constraints:` and `loss:` what is trained, what it must obey, and what it is judged by."""

from __future__ import annotations

from typing import Any, Self

from pydantic import ConfigDict, Field, model_validator

from credit_ray.config.section import Section, validated_arguments
from credit_ray.registry import Registry, constraints, losses, networks


class _Registered(Section):
    """A section whose further keys are the arguments of the registered class that it names."""

    model_config = ConfigDict(extra="allow")

    def given(self) -> dict[str, Any]:
        """The further keys, as written."""
        return dict(self.__pydantic_extra__ or {})

    def _validate_against(self, registry: Registry, name: str) -> None:
        validated_arguments(registry, name, self.given())


class ModelConfig(_Registered):
    """The network; further keys are its own arguments."""

    network: str = "unet"
    """Name of a registered network."""
    residual: bool = True
    """Predict the one-step change of the prognostic channels, in units of its standard deviation, instead of their next value."""

    @model_validator(mode="after")
    def _arguments_are_the_networks(self) -> Self:
        self._validate_against(networks, self.network)
        return self

    @property
    def arguments(self) -> Any:
        """The network's arguments, as its own data class."""
        return validated_arguments(networks, self.network, self.given())


class ConstraintConfig(_Registered):
    """One constraint; further keys are its own arguments."""

    kind: str
    """Name of a registered constraint."""

    @model_validator(mode="after")
    def _arguments_are_the_constraints(self) -> Self:
        self._validate_against(constraints, self.kind)
        return self

    @property
    def arguments(self) -> Any:
        """The constraint's arguments, as its own data class."""
        return validated_arguments(constraints, self.kind, self.given())


class LossWeights(Section):
    """Who counts how much."""

    latitude: bool = True
    """Weigh by cell area."""
    variables: dict[str, float] = {}
    """Weight by variable or channel name; 1 for the others."""


class LossConfig(_Registered):
    """The loss; further keys are its own arguments."""

    kind: str = "mse"
    """Name of a registered loss."""
    weights: LossWeights = Field(default_factory=LossWeights)
    """Weights by place and channel."""

    @model_validator(mode="after")
    def _arguments_are_the_losses(self) -> Self:
        self._validate_against(losses, self.kind)
        return self

    @property
    def arguments(self) -> Any:
        """The loss's arguments, as its own data class."""
        return validated_arguments(losses, self.kind, self.given())
