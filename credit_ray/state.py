"""Named tensors: channels, what a model needs and gives, and the states and windows that hold it.

The only place that turns names into channel indices. `Channel`, `Channels` and `StateSpec` need no torch; `Fields`, `State` and `Window`
hold tensors, but never make one from nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, overload

from credit_ray.errors import SpecMismatchError, did_you_mean
from credit_ray.grid.latlon import LatLonGrid
from credit_ray.times import Step, Times
from credit_ray.variables import Kind, lookup

if TYPE_CHECKING:
    from torch import Tensor

Vertical = Literal["pressure", "model", "sigma", "depth"]
ForcingTime = Literal["target", "input"]
ROLES = ("prognostic", "diagnostic", "forcing", "static")

_LEVEL_PREFIX: dict[Vertical, str] = {"pressure": "", "model": "m", "sigma": "s", "depth": "d"}


@dataclass(frozen=True, kw_only=True)
class Channel:
    """One variable at one level.

    Parameters
    ----------
    variable : str
        Canonical name.
    units : str
        Of the fields inside credit_ray.
    level : float, optional
        hPa, model level number, sigma, or metres of depth, as `vertical` says; None at the surface.
    vertical : {"pressure", "model", "sigma", "depth"}, optional
        What `level` counts.
    kind : {"instantaneous", "accumulated", "mean"}
        Whether a value belongs to its time or to the interval (t − Δt, t].
    at : {"target", "input"}
        For a forcing: the time, of the two that a step joins, at which the network sees it.
    """

    variable: str
    units: str
    level: float | None = None
    vertical: Vertical | None = None
    kind: Kind = "instantaneous"
    at: ForcingTime = "target"

    @cached_property
    def name(self) -> str:
        """`t2m`, `z_500` (hPa), `t_m97` (model level), `t_s0.835` (sigma), `so_d2.5` (m)."""
        if self.level is None or self.vertical is None:
            return self.variable
        return f"{self.variable}_{_LEVEL_PREFIX[self.vertical]}{self.level:g}"

    @property
    def flips_across_pole(self) -> bool:
        """True for a horizontal vector component, which changes sign where a path crosses a pole."""
        variable = lookup(self.variable)
        return bool(variable and variable.vector)

    def to_json(self) -> dict[str, Any]:
        """All fields, as plain values."""
        return {
            "variable": self.variable,
            "units": self.units,
            "level": self.level,
            "vertical": self.vertical,
            "kind": self.kind,
            "at": self.at,
        }


class Channels(Sequence[Channel]):
    """An ordered set of channels; what turns a name into an index.

    Raises
    ------
    SpecMismatchError
        If two channels have the same name.
    """

    def __init__(self, channels: Iterable[Channel] = ()) -> None:
        self._channels = tuple(channels)
        self._index = {channel.name: i for i, channel in enumerate(self._channels)}
        if len(self._index) < len(self._channels):
            twice = sorted({c.name for i, c in enumerate(self._channels) if self._index[c.name] != i})
            raise SpecMismatchError(f"Given twice: {', '.join(twice)}.")

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The channels' names, in order."""
        return tuple(self._index)

    @cached_property
    def variables(self) -> tuple[str, ...]:
        """The variables, in order of first appearance."""
        return tuple(dict.fromkeys(channel.variable for channel in self._channels))

    def index(self, name: str, *_: Any) -> int:  # by name: the position of a Channel is of no use
        """Position of the channel of that name."""
        if name not in self._index:
            raise SpecMismatchError(f"There is no channel '{name}'.{did_you_mean(name, self._index)}")
        return self._index[name]

    def of(self, variable: str) -> list[int]:
        """Positions of all levels of a variable."""
        found = [i for i, channel in enumerate(self._channels) if channel.variable == variable]
        if not found:
            raise SpecMismatchError(f"There is no variable '{variable}'.{did_you_mean(variable, self.variables)}")
        return found

    def __contains__(self, name: object) -> bool:
        return name in self._index or name in self._channels

    def __len__(self) -> int:
        return len(self._channels)

    def __iter__(self) -> Iterator[Channel]:
        return iter(self._channels)

    @overload
    def __getitem__(self, index: int) -> Channel: ...
    @overload
    def __getitem__(self, index: slice) -> Channels: ...
    def __getitem__(self, index: int | slice) -> Channel | Channels:
        return Channels(self._channels[index]) if isinstance(index, slice) else self._channels[index]

    def __add__(self, other: Iterable[Channel]) -> Channels:
        return Channels((*self._channels, *other))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Channels) and self._channels == other._channels

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash(self._channels)

    def __reduce__(self) -> tuple[type[Channels], tuple[tuple[Channel, ...]]]:
        return Channels, (self._channels,)  # without the hash, which another process salts otherwise

    def __repr__(self) -> str:
        return f"Channels({', '.join(self.names)})"


@dataclass(frozen=True, kw_only=True)
class StateSpec:
    """What a model needs and gives: its channels by role, history, time step, grid and calendar.

    Parameters
    ----------
    prognostic, diagnostic, forcing, static : Channels
        In and out; out only; in, known for the future; in, without time.
    history : int
        Number of input times.
    step : Step
        From one state to the next.
    grid : LatLonGrid
        The horizontal grid.
    calendar : str
        CF calendar of all times.
    """

    prognostic: Channels
    grid: LatLonGrid
    step: Step
    diagnostic: Channels = field(default_factory=Channels)
    forcing: Channels = field(default_factory=Channels)
    static: Channels = field(default_factory=Channels)
    history: int = 1
    calendar: str = "standard"

    @cached_property
    def outputs(self) -> Channels:
        """What a step gives: prognostic, then diagnostic."""
        return self.prognostic + self.diagnostic

    @cached_property
    def inputs(self) -> Channels:
        """What the network sees at each input time: prognostic, forcing, static."""
        return self.prognostic + self.forcing + self.static

    @cached_property
    def windowed(self) -> Channels:
        """What a Window holds: prognostic, diagnostic, forcing; never statics."""
        return self.outputs + self.forcing

    def check(self, other: StateSpec, where: str) -> None:
        """Refuse data that this model can't start from.

        Parameters
        ----------
        other : StateSpec
            What the data offer, from their own config.
        where : str
            Name of the data, for the message.

        Raises
        ------
        SpecMismatchError
            Naming everything that differs: channels, units, grid, step, calendar.
        """
        differences = []
        for role in ("prognostic", "forcing", "static"):
            mine, theirs = getattr(self, role), getattr(other, role)
            have = {channel.name: channel for channel in theirs}
            missing = [name for name in mine.names if name not in have]
            if missing:
                differences.append(f"{role} channels that it lacks: {', '.join(missing)}")
            for channel in mine:
                theirs_ = have.get(channel.name)
                if theirs_ and theirs_.units != channel.units:
                    differences.append(f"{channel.name} in {theirs_.units}, not {channel.units}")
                if theirs_ and role == "forcing" and theirs_.kind != channel.kind:
                    differences.append(f"{channel.name} {theirs_.kind}, not {channel.kind}")
        if self.grid != other.grid:
            differences.append(f"grid: {other.grid.describe()}, not {self.grid.describe()}")
        if self.step != other.step:
            differences.append(f"time step: {other.step}, not {self.step}")
        if self.calendar != other.calendar:
            differences.append(f"calendar: {other.calendar}, not {self.calendar}")
        if differences:
            raise SpecMismatchError(f"{where} does not fit the model. " + "; ".join(differences) + ".")

    def to_json(self) -> dict[str, Any]:
        """Plain values, from which `from_json` makes an equal spec."""
        roles = {role: [channel.to_json() for channel in getattr(self, role)] for role in ROLES}
        return roles | {
            "history": self.history,
            "step": str(self.step),
            "calendar": self.calendar,
            "grid": self.grid.to_json(),
        }

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> StateSpec:
        """The inverse of `to_json`."""
        roles = {role: Channels(Channel(**channel) for channel in plain[role]) for role in ROLES}
        return cls(
            **roles,
            history=plain["history"],
            step=Step.parse(plain["step"]),
            calendar=plain["calendar"],
            grid=LatLonGrid.from_json(plain["grid"]),
        )

    def describe(self) -> str:
        """One line for people."""
        counts = ", ".join(f"{len(getattr(self, role))} {role}" for role in ROLES if getattr(self, role))
        return (
            f"{counts}; {self.history} input time{'s' * (self.history > 1)}, step {self.step}, {self.grid.describe()}"
        )


@dataclass(frozen=True)
class Fields:
    """Channels at one time, by name.

    Parameters
    ----------
    data : Tensor
        [trajectory, channel, *grid], physical units.
    channels : Channels
        What the channel axis holds.
    """

    data: Tensor
    channels: Channels

    def __getitem__(self, name: str) -> Tensor:
        """One channel, [trajectory, *grid]."""
        return self.data[:, self.channels.index(name)]

    def variable(self, name: str) -> Tensor:
        """All levels of a variable, [trajectory, level, *grid]."""
        return self.data[:, self.channels.of(name)]

    def select(self, channels: Channels) -> Fields:
        """Those channels, in that order."""
        return Fields(self.data[:, [self.channels.index(name) for name in channels.names]], channels)

    def __or__(self, changed: Mapping[str, Tensor]) -> Fields:
        """With some channels replaced ([trajectory, *grid] each); out of place, so gradients pass."""
        if not changed:
            return self
        parts = list(self.data.unbind(1))
        for name, value in changed.items():
            parts[self.channels.index(name)] = value.to(self.data.dtype)
        import torch

        return Fields(torch.stack(parts, 1), self.channels)


Carry = Mapping[str, "Tensor"]


@dataclass(frozen=True, kw_only=True)
class State:
    """Everything that a rollout needs to go on.

    Parameters
    ----------
    fields : Tensor
        [trajectory, time, prognostic, *grid], physical units; `time` is the history, oldest first.
    forcing : Tensor
        [trajectory, time − 1, forcing, *grid]: what forced the steps from the older input times; the newest's comes with the step.
    valid_time : Times
        [trajectory], of the newest input time.
    carries : tuple of mapping
        What each constraint carries, in the constraints' order.
    keys : array [trajectory] of int64, optional
        Whose noise a trajectory gets (`credit_ray.noise`). By default its initial valid time, so that forecasts from different times
        differ and a repeated one does not; members of an ensemble need keys of their own.
    """

    fields: Tensor
    forcing: Tensor
    valid_time: Times
    carries: tuple[Carry, ...] = ()
    keys: Times | None = None

    @property
    def noise_keys(self) -> Times:
        """[trajectory]: the keys, or what stands for them in an initial state."""
        return self.valid_time if self.keys is None else self.keys

    def advance(self, following: Tensor, forcing: Tensor, valid_time: Times, carries: Sequence[Carry]) -> State:
        """The next state: `following` [trajectory, prognostic, *grid] joins the history and the oldest time leaves it."""
        import torch

        fields = torch.cat([self.fields[:, 1:], following[:, None]], 1)
        past = torch.cat([self.forcing, forcing[:, None]], 1)[:, 1:]
        return replace(self, fields=fields, forcing=past, valid_time=valid_time, carries=tuple(carries))

    def to(self, device: Any) -> State:
        """On another device."""
        carries = tuple({name: value.to(device) for name, value in carry.items()} for carry in self.carries)
        return replace(self, fields=self.fields.to(device), forcing=self.forcing.to(device), carries=carries)

    def detach(self) -> State:
        """Cut from the graph that made it."""
        carries = tuple({name: value.detach() for name, value in carry.items()} for carry in self.carries)
        return replace(self, fields=self.fields.detach(), forcing=self.forcing.detach(), carries=carries)

    def __len__(self) -> int:
        return self.fields.shape[0]


@dataclass(frozen=True, kw_only=True)
class Window:
    """What the loader yields: consecutive times of all channels with time.

    Parameters
    ----------
    fields : Tensor
        [batch, time, channel, *grid] float32, physical units: `history` input times, then the targets.
    times : Times
        [batch, time].
    spec : StateSpec
        Says what the channels are: `spec.windowed`.
    global_step : int
        The step of the plan that it belongs to.
    share : float
        This worker's part of the step's windows: what its mean loss weighs in the global mean.
    """

    fields: Tensor
    times: Times
    spec: StateSpec
    global_step: int = 0
    share: float = 1.0

    @property
    def steps(self) -> int:
        """Number of targets."""
        return self.fields.shape[1] - self.spec.history

    def initial(self) -> State:
        """The state at the last input time."""
        import torch

        spec, history = self.spec, self.spec.history
        older = [self.forcing(step) for step in range(1 - history, 0)]
        empty = self.fields.new_empty((len(self.times), 0, len(spec.forcing), *self.fields.shape[3:]))
        return State(
            fields=self.fields[:, :history, : len(spec.prognostic)],
            forcing=torch.stack(older, 1) if older else empty,
            valid_time=self.times[:, history - 1],
        )

    def forcing(self, step: int) -> Tensor:
        """Forcing of step 0, 1, … (negative: of the steps that led to the input times), each channel at its declared time."""
        import torch

        spec = self.spec
        before, after = spec.history - 1 + step, spec.history + step
        start = len(spec.outputs)
        parts = [self.fields[:, before if c.at == "input" else after, start + i] for i, c in enumerate(spec.forcing)]
        return torch.stack(parts, 1) if parts else self.fields.new_empty((len(self.times), 0, *self.fields.shape[3:]))

    def target(self, step: int) -> Tensor:
        """Truth after step 0, 1, …: [batch, prognostic and diagnostic, *grid]."""
        return self.fields[:, self.spec.history + step, : len(self.spec.outputs)]

    def to(self, device: Any) -> Window:
        """On another device, beside the running computation where the memory is pinned."""
        return replace(self, fields=self.fields.to(device, non_blocking=True))

    def __len__(self) -> int:
        return len(self.times)
