"""The unit that is trained, packaged, forecast with and served: normaliser + network + constraints.

One `step` and one `rollout`, whoever calls: training differentiates through it, forecasting and serving iterate it. A result never
depends on the batch that a trajectory shares, or on who calls.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from credit_ray.errors import NotFiniteError
from credit_ray.models.arguments import NetworkShape
from credit_ray.models.network import build_network
from credit_ray.normalizer import Normalizer, normalizer_from
from credit_ray.physics.chain import build_chain
from credit_ray.state import Fields, State, StateSpec
from credit_ray.times import format_time

if TYPE_CHECKING:
    from credit_ray.config.experiment import Experiment
    from credit_ray.data.statistics import Statistics
    from credit_ray.physics.constraints import Budget


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All of a stepper but its numbers: plain values, from which the same stepper is built again.

    Parameters
    ----------
    spec : StateSpec
        What it needs and gives.
    network : str
        Registered name.
    arguments : mapping
        Of the network.
    residual : bool
        Whether prognostic outputs are changes.
    constraints : tuple of mapping
        `{"kind": name, …arguments…}`, in order; `"training"` says when training applies it.
    """

    spec: StateSpec
    network: str
    arguments: Mapping[str, Any]
    residual: bool
    constraints: tuple[Mapping[str, Any], ...] = ()

    def __post_init__(self) -> None:
        # Tuples become lists now rather than on the way through JSON, so that a recipe equals the one that is read back.
        object.__setattr__(self, "arguments", json.loads(json.dumps(dict(self.arguments))))
        object.__setattr__(self, "constraints", tuple(json.loads(json.dumps([dict(c) for c in self.constraints]))))

    def to_json(self) -> dict[str, Any]:
        """Plain values, from which `from_json` makes an equal recipe."""
        return {
            "spec": self.spec.to_json(),
            "network": self.network,
            "arguments": dict(self.arguments),
            "residual": self.residual,
            "constraints": [dict(c) for c in self.constraints],
        }

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Recipe:
        """The inverse of `to_json`."""
        return cls(**{**plain, "spec": StateSpec.from_json(plain["spec"]), "constraints": tuple(plain["constraints"])})


@dataclass(frozen=True)
class StepResult:
    """What one step gives.

    Parameters
    ----------
    state : State
        Valid one step later.
    diagnostics : Tensor
        [trajectory, diagnostic, *grid], physical units.
    budgets : tuple of Budget
        What each constraint found and did.
    """

    state: State
    diagnostics: Tensor
    budgets: tuple[Budget, ...] = field(default=())

    @property
    def outputs(self) -> Tensor:
        """[trajectory, prognostic and diagnostic, *grid], physical units."""
        return torch.cat([self.state.fields[:, -1], self.diagnostics], 1)


class Stepper(nn.Module):
    """Advances states by one time step.

    Parameters
    ----------
    recipe : Recipe
        What to build.
    normalizer : Normalizer
        Scales, and the mask where a variable does not exist.
    statics : Tensor
        [static, *grid], physical units.
    climatology : Tensor, optional
        [group, outputs, *grid]: the training period's mean, or its mean by calendar month; what anomalies are taken from.
    """

    statics: Tensor
    climatology: Tensor | None

    def __init__(
        self, recipe: Recipe, normalizer: Normalizer, statics: Tensor, climatology: Tensor | None = None
    ) -> None:
        super().__init__()
        self.recipe = recipe
        self.spec = recipe.spec
        self.rows: slice = slice(None)
        """Of the grid, that it steps: all of them, unless training has shared it out over bands of latitude."""
        self.normalizer = normalizer
        self.network = build_network(recipe.network, recipe.arguments, network_shape(recipe.spec, normalizer))
        self.constraints = build_chain(recipe.constraints, recipe.spec, statics)
        self.training_step = 0  # the optimiser's, which the trainer counts: constraints may begin later than training
        self.register_buffer("statics", statics.float())
        self.register_buffer("climatology", climatology)

    def start(self, state: State) -> State:
        """A state with what the constraints carry from the initial time on."""
        return replace(state, carries=self.constraints.start(state))

    def step(self, state: State, forcing: Tensor) -> StepResult:
        """Advance every trajectory by one time step.

        Parameters
        ----------
        state : State
            Fields [trajectory, time, prognostic, *grid] in physical units.
        forcing : Tensor
            [trajectory, forcing, *grid], each channel at the time that its spec declares (input or target).

        Raises
        ------
        NotFiniteError
            Naming trajectory, channel and valid time, where the result is not finite. Not while training: a bad step is the
            trainer's to skip, and looking costs a wait for the device.
        ConstraintError
            Where a correction is larger than its `fail_above`. Not while training, either.
        """
        spec, newest = self.spec, state.fields[:, -1]
        forcings = torch.cat([state.forcing, forcing[:, None]], 1)  # [trajectory, time, forcing, *grid]
        output = self.network(
            self.normalizer.pack(state.fields, forcings, self.statics)
        )  # [trajectory, outputs, *grid]
        after = Fields(
            self.normalizer.unpack(output.float() if output.dtype == torch.bfloat16 else output, newest), spec.outputs
        )
        changed, budgets, carries = self.constraints.change(
            Fields(newest, spec.prognostic),
            after,
            Fields(forcing, spec.forcing),
            state.carries,
            self.training_step if self.training else None,
        )
        after = after | changed
        valid_time = spec.step.add(state.valid_time, 1, spec.calendar)
        if not self.training:
            self._refuse_not_finite(after, valid_time)
            self.constraints.watch(budgets, valid_time)
        prognostic, diagnostics = after.data.split([len(spec.prognostic), len(spec.diagnostic)], 1)
        return StepResult(state.advance(prognostic, forcing, valid_time, carries), diagnostics, budgets)

    def rollout(self, state: State, forcings: Iterable[Tensor]) -> Iterator[StepResult]:
        """Step as often as there are forcings; each yielded state is a restart point."""
        for forcing in forcings:
            result = self.step(state, forcing)
            state = result.state
            yield result

    def _refuse_not_finite(self, after: Fields, valid_time: Any) -> None:
        bad = ~torch.isfinite(after.data)
        if (mask := self.normalizer.output_mask) is not None:
            bad &= mask
        if bad.any():
            trajectory, channel = bad.flatten(2).any(2).nonzero()[0].tolist()
            raise NotFiniteError(
                f"The step to {format_time(valid_time[trajectory], self.spec.calendar)} gave a value that is not finite in channel "
                f"'{after.channels[channel].name}' (trajectory {trajectory}): the rollout has blown up, or its initial state has a gap."
            )


def network_shape(spec: StateSpec, normalizer: Normalizer) -> NetworkShape:
    """What the network may know of the data."""
    sign, offset = normalizer.pole_reflection()
    prognostic, mask = len(spec.prognostic), normalizer.output_mask
    scale = normalizer.output_std[:prognostic] / normalizer.input_std[:prognostic]
    return NetworkShape(
        history=spec.history,
        in_channels=len(spec.inputs),
        out_channels=len(spec.outputs),
        grid=spec.grid.shape,
        periodic=spec.grid.periodic,
        poles=spec.grid.reaches_poles,
        pole_points=spec.grid.pole_points,
        pole_sign=sign,
        pole_offset=offset,
        latitude=tuple(spec.grid.latitude.tolist()),
        longitude=tuple(spec.grid.longitude.tolist()),
        prognostic=prognostic,
        change=tuple(scale.tolist()) if normalizer.residual else (),
        mask=None if mask is None else mask.cpu().numpy(),
    )


def build_stepper(experiment: Experiment, spec: StateSpec, statistics: Statistics, statics: Tensor) -> Stepper:
    """A new, untrained stepper for these data; its weights are drawn from the experiment's seed.

    Parameters
    ----------
    statics : Tensor
        [static, *grid], physical units.
    """
    recipe = Recipe(
        spec=spec,
        network=experiment.model.network,
        arguments=asdict(experiment.model.arguments),
        residual=experiment.model.residual,
        constraints=tuple(
            {"kind": c.kind, "training": c.training.model_dump(), **asdict(c.arguments)} for c in experiment.constraints
        ),
    )
    normalizer = normalizer_from(statistics, spec, kind=experiment.data.normalization.kind, residual=recipe.residual)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(experiment.seed)
        return Stepper(recipe, normalizer, statics, torch.tensor(statistics.climatology, dtype=torch.float32))
