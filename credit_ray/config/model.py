"""`model:`, `constraints:` and `loss:` what is trained, what it must obey, and what it is judged by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from credit_ray.config.section import Section, argument_types, validated_arguments
from credit_ray.errors import ConfigError
from credit_ray.registry import Registry, constraints, losses, networks


class Registered(Section):
    """A section whose further keys are the arguments of the registered class that it names."""

    model_config = ConfigDict(extra="allow")
    registry: ClassVar[Registry]
    selector: ClassVar[str]
    """The key whose value is the registered name."""

    @classmethod
    def further_keys(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """Name → type of the keys that a section as given may have beside its fields; none where its class is unknown."""
        name = given.get(cls.selector, cls.model_fields[cls.selector].default)
        try:
            return argument_types(cls.registry, name) if isinstance(name, str) else {}
        except ConfigError:
            return {}

    @property
    def arguments(self) -> Any:
        """The arguments, as the registered class's own data class."""
        return self._validated()

    def _validated(self) -> Any:
        return validated_arguments(self.registry, getattr(self, self.selector), dict(self.__pydantic_extra__ or {}))

    @model_validator(mode="after")
    def _arguments_are_those_of_the_class(self) -> Self:
        self._validated()
        return self

    @model_serializer(mode="wrap")
    def _with_all_arguments(self, fields: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Defaults included: two configs that mean the same are written, and hashed, the same.
        return {**fields(self), **asdict(self.arguments)}


class ModelConfig(Registered):
    """The network; further keys are its own arguments."""

    registry = networks
    selector = "network"
    network: str = "unet"
    """Name of a registered network."""
    residual: bool = True
    """Predict the one-step change of the prognostic channels, in units of its standard deviation, instead of their next value."""


class ConstraintSchedule(Section):
    """When training applies a constraint; outside training all of them always are."""

    use: bool = True
    """Whether training applies it at all. A network that is trained with it may leave the work to it."""
    from_step: int = Field(default=0, ge=0)
    """Step of the optimiser from which on training applies it."""

    def applies(self, training_step: int | None) -> bool:
        """At that step of the optimiser; None outside training."""
        return training_step is None or (self.use and training_step >= self.from_step)


class ConstraintConfig(Registered):
    """One constraint; further keys are its own arguments."""

    registry = constraints
    selector = "kind"
    kind: str
    """Name of a registered constraint."""
    training: ConstraintSchedule = Field(default_factory=ConstraintSchedule)
    """When training applies it."""


Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class LossWeights(Section):
    """Who counts how much. A channel's weight is the product of these."""

    latitude: bool = True
    """Weigh by cell area."""
    variables: dict[str, Weight] = {}
    """Weight by variable or channel name; 1 for the others."""
    levels: Literal["pressure", "tropopause"] | dict[str, Weight] | None = None
    """Weight by level, on average 1 for each variable: as its pressure; so above 200 hPa, constant below 400 hPa; or given by level, 1 for the others."""
    inverse_variance: Literal["output", "state", "change"] = "output"
    """Whose variance a square error is divided by: that of the network's output, of the state, or of its change in one step."""
    learnable: bool = False
    """Learn a scale for each channel along with the network, beginning with the weights as given."""


class LossConfig(Registered):
    """The loss; further keys are its own arguments."""

    registry = losses
    selector = "kind"
    kind: str = "mse"
    """Name of a registered loss."""
    weights: LossWeights = Field(default_factory=LossWeights)
    """Weights by place and channel."""
