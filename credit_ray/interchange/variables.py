"""The data section of a CREDIT config, of both generations → channels, in the order in which its network reads and writes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from credit_ray.errors import ConfigError
from credit_ray.interchange.architecture import Architecture
from credit_ray.state import Channel, Channels, Vertical
from credit_ray.variables import canonical_name, lookup


@dataclass(frozen=True, kw_only=True)
class Wire:
    """One channel of a CREDIT model.

    Parameters
    ----------
    channel : Channel
        Ours.
    role : str
        "prognostic", "diagnostic", "forcing" or "static".
    name : str
        CREDIT's name of the variable, by which its files know it.
    level : int, optional
        Position among the model's levels.
    scaled : bool
        Whether CREDIT normalises it; what it does not was normalised by who made the file.
    """

    channel: Channel
    role: str
    name: str
    level: int | None = None
    scaled: bool = True


@dataclass(frozen=True, kw_only=True)
class Wiring:
    """What goes into a CREDIT model and comes out of it.

    Parameters
    ----------
    inputs, outputs : sequence of Wire
        In CREDIT's order.
    levels : tuple of float
        The model's levels.
    step : str, optional
        The time step, where the config has it.
    calendar : str
        Of the data.
    """

    inputs: Sequence[Wire]
    outputs: Sequence[Wire]
    levels: tuple[float, ...]
    step: str | None
    calendar: str = "standard"

    def channels(self, role: str) -> Channels:
        """Those of a role, in CREDIT's order."""
        return Channels(wire.channel for wire in (*self.inputs, *self._diagnostic) if wire.role == role)

    @property
    def _diagnostic(self) -> list[Wire]:
        return [wire for wire in self.outputs if wire.role == "diagnostic"]

    @property
    def order(self) -> list[int]:
        """For each input channel of ours (prognostic, forcing, static), CREDIT's position."""
        place = {wire.channel.name: n for n, wire in enumerate(self.inputs)}
        return [place[name] for role in ("prognostic", "forcing", "static") for name in self.channels(role).names]

    def wire(self, name: str) -> Wire:
        """That of the channel of that name."""
        return next(wire for wire in (*self.inputs, *self.outputs) if wire.channel.name == name)


def read_wiring(config: Mapping[str, Any], model: Architecture, vertical: Vertical | None, where: str) -> Wiring:
    """The channels of a config; without a data section, names that only count.

    Raises
    ------
    ConfigError
        Where the data section has another number of channels than the model section, or an order that has no counterpart.
    """
    data = config.get("data")
    if not data:
        wiring = _unnamed(model)
    elif "source" in data:
        wiring = _second_generation(data, model, vertical, where)
    else:
        wiring = _first_generation(data, model, vertical)
    for what, found, wanted in (
        ("into", wiring.inputs, model.in_channels),
        ("out of", wiring.outputs, model.out_channels),
    ):
        if len(found) != wanted:
            raise ConfigError(
                f"{where}: the model section has {wanted} channels {what} the network, and the data section {len(found)}: "
                f"{', '.join(wire.channel.name for wire in found)}. It needs the levels that the model was trained on, and all of its variables."
            )
    roles = [wire.role for wire in wiring.outputs]
    if roles != sorted(roles, key=("prognostic", "diagnostic").index):
        raise ConfigError(
            f"{where}: data.source: a source has diagnostic variables and another one after it prognostic ones, an order of outputs that has no "
            "counterpart. Models of several sources can be imported where only the last has diagnostics."
        )
    return wiring


def _first_generation(data: Mapping[str, Any], model: Architecture, vertical: Vertical | None) -> Wiring:
    """Flat lists of variables; a forcing that repeats every year, and statics, are in files that were normalised before."""

    def names(key: str) -> list[str]:
        return list(data.get(key) or [])

    levels = tuple(float(n) for n in data.get("level_ids") or range(1, model.levels + 1))
    kind = vertical or _vertical(levels)
    prognostic = [
        *_wires(names("variables"), "prognostic", levels, kind),
        *_wires(names("surface_variables"), "prognostic"),
    ]
    moving = list(_wires(names("dynamic_forcing_variables"), "forcing"))
    yearly = [replace(wire, scaled=False) for wire in _wires(names("forcing_variables"), "forcing")]
    static = [replace(wire, scaled=False) for wire in _wires(names("static_variables"), "static")]
    further = [*static, *moving, *yearly] if data.get("static_first", True) else [*moving, *yearly, *static]
    hours = data.get("lead_time_periods")
    return Wiring(
        inputs=[_plain(wire) for wire in (*prognostic, *further)],
        outputs=[*prognostic, *_wires(names("diagnostic_variables"), "diagnostic")],
        levels=levels,
        step=f"{hours}h" if hours else None,
    )


def _second_generation(data: Mapping[str, Any], model: Architecture, vertical: Vertical | None, where: str) -> Wiring:
    """Sources one after another; within each: prognostic, static, dynamic forcing; variables on levels first."""
    inputs: list[Wire] = []
    outputs: list[Wire] = []
    all_levels: tuple[float, ...] = ()
    calendar = "standard"
    for name, source in data["source"].items():
        variables = source.get("variables") or {}
        levels = tuple(float(n) for n in source.get("levels") or range(1, model.levels + 1))
        kind = vertical or _vertical(levels)

        def of(field: str, role: str, variables: Any = variables, levels: Any = levels, kind: Any = kind) -> list[Wire]:
            section = variables.get(field) or {}
            upper, surface = section.get("vars_3D") or [], section.get("vars_2D") or []
            return [*_wires(upper, role, levels, kind), *_wires(surface, role)]

        unknown = set(variables) - {"prognostic", "static", "dynamic_forcing", "diagnostic"}
        if unknown:
            raise ConfigError(f"{where}: data.source.{name}.variables: unknown: {', '.join(sorted(unknown))}.")
        prognostic = of("prognostic", "prognostic")
        inputs += [*prognostic, *of("static", "static"), *of("dynamic_forcing", "forcing")]
        outputs += [*prognostic, *of("diagnostic", "diagnostic")]
        all_levels = all_levels or levels
        calendar = source.get("calendar") or calendar
    return Wiring(inputs=inputs, outputs=outputs, levels=all_levels, step=data.get("timestep"), calendar=calendar)


def _unnamed(model: Architecture) -> Wiring:
    levels = tuple(float(n + 1) for n in range(model.levels))
    upper = [f"upper{n + 1}" for n in range(model.channels)]
    surface = [f"surface{n + 1}" for n in range(model.surface)]
    prognostic = [*_wires(upper, "prognostic", levels, "model"), *_wires(surface, "prognostic")]
    forcing = _wires([f"input{n + 1}" for n in range(model.input_only)], "forcing")
    diagnostic = _wires([f"output{n + 1}" for n in range(model.output_only)], "diagnostic")
    return Wiring(inputs=[*prognostic, *forcing], outputs=[*prognostic, *diagnostic], levels=levels, step=None)


def _wires(
    names: Sequence[str], role: str, levels: tuple[float, ...] = (), vertical: Vertical | None = None
) -> Iterator[Wire]:
    for name in names:
        known = lookup(name)
        channel = Channel(
            variable=canonical_name(name),
            units=known.units if known else "1",
            kind=known.kind if known else "instantaneous",
            at="input"
            if role == "forcing"
            else "target",  # CREDIT's models see the forcing of the time that they start from
        )
        if not levels:
            yield Wire(channel=channel, role=role, name=name)
        for n, level in enumerate(levels):
            yield Wire(channel=replace(channel, level=level, vertical=vertical), role=role, name=name, level=n)


def _plain(wire: Wire) -> Wire:
    """What was normalised before it was stored has no units."""
    return wire if wire.scaled else replace(wire, channel=replace(wire.channel, units="1"))


def _vertical(levels: tuple[float, ...]) -> Vertical:
    """Model levels are counted, up to 137; pressures in hPa end near the surface."""
    return "pressure" if max(levels) > 200 else "model"
