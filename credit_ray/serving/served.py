"""A model as its callers see it: what it is, what it can start from, and whether a request makes sense for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from credit_ray.config.serving import Limits
from credit_ray.errors import ConfigError, did_you_mean
from credit_ray.serving.jobs import lead_text
from credit_ray.serving.problems import Problem, field_problem
from credit_ray.serving.requests import ForecastRequest
from credit_ray.state import Channels, StateSpec
from credit_ray.times import Times, format_time, parse_time


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A request that makes sense.

    Parameters
    ----------
    init_time : int
        Seconds since 1970.
    steps : int
        Of the model.
    every : int
        Each so-many-th is kept.
    channels : Channels
        That are kept.
    """

    init_time: int
    steps: int
    every: int
    channels: Channels


@dataclass(frozen=True, kw_only=True)
class ServedModel:
    """One loaded version of a registered model, and the data that it starts from.

    Parameters
    ----------
    name, alias : str
        In the registry.
    version : str, optional
        That the alias meant when it was loaded.
    digest : str
        Of the package.
    run_id : str, optional
        MLflow run that trained it.
    card : str
        The model card, Markdown.
    spec : StateSpec
        What it needs and gives.
    lineage : mapping
        From the package: data, code, config.
    init_times : Times
        That it can start from, ascending: those with the history that it reads.
    forcing_times : Times, optional
        That its forcings from stores have, ascending; None where all are computed, so that no lead is too long for them.
    """

    name: str
    alias: str
    version: str | None
    digest: str
    run_id: str | None
    card: str
    spec: StateSpec
    lineage: Mapping[str, Any]
    init_times: Times
    forcing_times: Times | None = None

    @property
    def identity(self) -> str:
        """Tells one loaded version from another."""
        return f"{self.version}:{self.digest}"

    def summary(self, limits: Limits) -> dict[str, Any]:
        """What a list of models shows."""
        spec, link = self.spec, f"/v1/models/{self.name}"
        return {
            "name": self.name,
            "alias": self.alias,
            "version": self.version,
            "digest": self.digest,
            "run_id": self.run_id,
            "step": str(spec.step),
            "grid": spec.grid.describe(),
            "variables": list(spec.outputs.variables),
            "lead_limit": {"steps": limits.lead_steps, "lead": lead_text(spec.step, limits.lead_steps)},
            "initial_times": self._span(),
            "links": {"self": link, "initial_times": f"{link}/initial-times"},
        }

    def details(self, limits: Limits) -> dict[str, Any]:
        """All that is known of it."""
        outputs = self.spec.outputs
        variables = [
            {
                "name": name,
                "units": outputs[found[0]].units,
                "levels": [outputs[i].level for i in found if outputs[i].level is not None],
            }
            for name in outputs.variables
            if (found := outputs.of(name))
        ]
        return self.summary(limits) | {
            "variables": variables,
            "spec": self.spec.to_json(),
            "lineage": dict(self.lineage),
            "card": self.card,
        }

    def initial_times(self, offset: int, limit: int) -> dict[str, Any]:
        """What it can start from, as runs of consecutive steps, so that forty years of hours stay a line."""
        spec, times = self.spec, self.init_times
        breaks = np.flatnonzero(spec.step.between(times[:-1], times[1:], spec.calendar) != 1) + 1
        starts, ends = np.append(0, breaks)[: len(times)], np.append(breaks, len(times))[: len(times)]
        page = range(offset, min(offset + limit, len(starts)))
        rest = (
            f"/v1/models/{self.name}/initial-times?offset={page.stop}&limit={limit}"
            if page.stop < len(starts)
            else None
        )
        return {
            "model": self.name,
            "calendar": spec.calendar,
            "step": str(spec.step),
            **self._span(),
            "ranges": [
                {
                    "first": self._text(times[starts[i]]),
                    "last": self._text(times[ends[i] - 1]),
                    "count": int(ends[i] - starts[i]),
                }
                for i in page
            ],
            "range_count": len(starts),
            "links": {"next": rest} if rest else {},
        }

    def plan(self, request: ForecastRequest, limits: Limits) -> Plan:
        """Make sense of a request.

        Raises
        ------
        Problem
            422, naming the field and what it may be.
        """
        init_time, steps = self._init_time(request.init_time), self._steps(request.lead, limits)
        if request.every > steps:
            raise field_problem(
                "every", f"'every' is {request.every}, but the lead has {steps} steps: nothing would be kept."
            )
        steps = steps // request.every * request.every  # beyond the last one that is kept, none is made
        self._refuse_without_forcing(init_time, steps)
        return Plan(init_time=init_time, steps=steps, every=request.every, channels=self._channels(request))

    def _init_time(self, text: str) -> int:
        spec, times = self.spec, self.init_times
        try:
            wanted = parse_time(text, spec.calendar)
        except ConfigError as error:
            raise field_problem("init_time", f"'init_time': {error}") from None
        position = int(np.searchsorted(times, wanted))
        if position < len(times) and times[position] == wanted:
            return wanted
        nearest = [self._text(t) for t in times[max(0, position - 1) : position + 1]]
        span = self._span()
        detail = (
            f"The model '{self.name}' can't start from {text}: the nearest times are {' and '.join(nearest)} "
            f"({span['count']} in all, {span['first']} to {span['last']})."
        )
        raise field_problem("init_time", detail, nearest=nearest)

    def _steps(self, lead: str, limits: Limits) -> int:
        longest = lead_text(self.spec.step, limits.lead_steps)
        allowed = {"step": str(self.spec.step), "longest": longest, "longest_steps": limits.lead_steps}
        try:
            steps = self.spec.step.count_in(lead)
        except (ConfigError, ValueError) as error:  # ValueError: a number of thousands of digits
            text = f"'lead': {error} The model '{self.name}' steps by {self.spec.step}, to {longest} at most."
            raise field_problem("lead", text, allowed=allowed) from None
        if steps > limits.lead_steps:
            text = f"A lead of {lead} is too long: {longest} ({limits.lead_steps} steps) at most."
            raise field_problem("lead", text, allowed=allowed)
        return steps

    def _refuse_without_forcing(self, init_time: int, steps: int) -> None:
        if self.forcing_times is None:
            return
        spec = self.spec
        first = min(0 if channel.at == "input" else 1 for channel in spec.forcing)
        last = max(0 if channel.at == "target" else -1 for channel in spec.forcing)
        needed = spec.step.add(init_time, np.arange(first, steps + 1 + last), spec.calendar)
        absent = needed[~np.isin(needed, self.forcing_times)]
        if len(absent):
            detail = f"The model's forcings have nothing at {self._text(absent[0])}, which a lead of {steps} steps needs from this time on."
            last_time = self._text(self.forcing_times[-1])
            raise field_problem("lead", f"{detail} They end at {last_time}.", forcing_ends=last_time)

    def _channels(self, request: ForecastRequest) -> Channels:
        outputs = self.spec.outputs
        for name in request.variables or ():
            if name not in outputs.variables:
                detail = (
                    f"The model '{self.name}' predicts no variable '{name}'.{did_you_mean(name, outputs.variables)}"
                )
                raise field_problem("variables", detail, allowed=list(outputs.variables))
        kept = Channels(c for c in outputs if request.variables is None or c.variable in request.variables)
        if request.levels is None:
            return kept
        levels = sorted({c.level for c in kept if c.level is not None})
        for level in request.levels:
            if level not in levels:
                detail = f"No variable that is asked for has a level {level:g}; there are {', '.join(f'{x:g}' for x in levels) or 'none'}."
                raise field_problem("levels", detail, allowed=levels)
        return Channels(c for c in kept if c.level is None or c.level in request.levels)

    def _span(self) -> dict[str, Any]:
        times = self.init_times
        return {"first": self._text(times[0]), "last": self._text(times[-1]), "count": len(times)}

    def _text(self, time: int) -> str:
        return format_time(time, self.spec.calendar)


def unknown_model(name: str, served: Mapping[str, Any]) -> Problem:
    """404 with the models that there are."""
    detail = f"No model '{name}' is served.{did_you_mean(name, served)}"
    return Problem(404, "unknown-model", detail, models=sorted(served))
