"""`forecast` and `open_forecast` for notebooks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from credit_ray.config.data import DERIVED, SourceConfig
from credit_ray.data.derived import DerivedSource, open_derived
from credit_ray.errors import DataError, SpecMismatchError
from credit_ray.forecasting.layout import ForecastLayout
from credit_ray.state import Channel, Channels, State, StateSpec
from credit_ray.times import Times
from credit_ray.verification.datasets import DatasetFields
from credit_ray.verification.forecasts import open_forecast

if TYPE_CHECKING:
    import xarray
    from torch import Tensor

    from credit_ray.stepper import Stepper

__all__ = ["forecast", "open_forecast"]


def forecast(
    model: Stepper | str | Path, initial: xarray.Dataset, lead: str, forcing: xarray.Dataset | None = None
) -> xarray.Dataset:
    """One forecast, in memory.

    Parameters
    ----------
    model : Stepper or str
        From `credit_ray.load`, or what it would load.
    initial : xarray.Dataset
        The model's prognostic variables (time, [level,] latitude, longitude), by any of their names and in convertible units, at the
        initial time and as many steps before it as the model reads. The last time is the initial one.
    lead : str
        `10d`, `12mo`, `40steps`.
    forcing : xarray.Dataset, optional
        Forcings over the input times and the whole lead. Those that are computed from time and place (sunlight, season, time of
        day) need not be in it.

    Returns
    -------
    xarray.Dataset
        As `open_forecast` gives it: dimensions (init_time, lead_time, [level,] latitude, longitude).

    Raises
    ------
    SpecMismatchError
        Where the initial state is on another grid or calendar than the model's.
    DataError
        For a variable, level, unit or time that is missing.
    """
    from credit_ray.forecasting.rollout import forecast as roll_out

    stepper = _load(model) if isinstance(model, str | Path) else model
    spec = stepper.spec
    steps = spec.step.count_in(lead)
    start = DatasetFields(initial, "The initial state")
    data = _InMemory(spec, start, DatasetFields(forcing, "The forcing") if forcing is not None else None)
    data.refuse_other_grid()
    init_times = start.times[-1:]
    rollout = list(roll_out(stepper, data, init_times, steps))
    fields = np.stack([step.outputs.cpu().numpy() for step in rollout], 1)  # [init, lead, channel, *grid]
    budgets = np.stack([step.budgets.cpu().numpy() for step in rollout], 1)  # [init, lead, number]
    mask = stepper.normalizer.output_mask
    if mask is not None:
        fields = np.where(mask.cpu().numpy(), fields, np.float32(np.nan))
    layout = ForecastLayout(
        channels=spec.outputs,
        grid=spec.grid,
        step=spec.step,
        calendar=spec.calendar,
        init_times=init_times,
        leads=tuple(range(1, steps + 1)),
        budgets=stepper.constraints.kinds(),
    )
    return _as_dataset(layout, fields, budgets)


@dataclass(frozen=True)
class _InMemory:
    """Initial state and forcings from data sets; what can be computed is."""

    spec: StateSpec
    initial: DatasetFields
    forcing: DatasetFields | None

    def refuse_other_grid(self) -> None:
        spec = self.spec
        for given in (self.initial, *((self.forcing,) if self.forcing else ())):
            if given.grid != spec.grid:
                raise SpecMismatchError(
                    f"{given.where} is on a {given.grid.describe()}; the model needs a {spec.grid.describe()}."
                )
            if given.calendar != spec.calendar:
                raise SpecMismatchError(
                    f"{given.where} has the calendar {given.calendar}; the model needs {spec.calendar}."
                )

    def initial_state(self, init_times: Times) -> State:
        import torch

        spec = self.spec
        back = np.arange(1 - spec.history, 1)
        times = spec.step.add(init_times[:, None], back[None, :], spec.calendar)
        fields = self.initial.fields(times.ravel(), spec.prognostic).reshape(
            *times.shape, len(spec.prognostic), *spec.grid.shape
        )
        older = [self._forcings(init_times, step) for step in range(1 - spec.history, 0)]
        empty = torch.empty((len(init_times), 0, len(spec.forcing), *spec.grid.shape))
        return State(
            fields=torch.from_numpy(fields),
            forcing=torch.stack(older, 1) if older else empty,
            valid_time=np.asarray(init_times),
        )

    def forcings(self, init_times: Times, steps: int) -> Iterator[Tensor]:
        for step in range(steps):
            yield self._forcings(init_times, step)

    def _forcings(self, init_times: Times, step: int) -> Tensor:
        import torch

        spec = self.spec
        parts = [
            self._forcing(channel, spec.step.add(init_times, step + (channel.at == "target"), spec.calendar))
            for channel in spec.forcing
        ]
        shape = (len(init_times), len(spec.forcing), *spec.grid.shape)
        return torch.from_numpy(np.stack(parts, 1)) if parts else torch.empty(shape)

    def _forcing(self, channel: Channel, times: Times) -> np.ndarray:
        if self.forcing is not None and self.forcing.holds(channel.variable):
            return self.forcing.fields(times, Channels([channel]))[:, 0]
        return self._derived(channel).read([channel.variable], times)[channel.variable]

    def _derived(self, channel: Channel) -> DerivedSource:
        spec, config = self.spec, SourceConfig(store=DERIVED, forcing=[channel.variable], at=channel.at)
        try:
            return open_derived("forcing", config, grid=spec.grid, step=spec.step, calendar=spec.calendar)
        except DataError:
            raise DataError(
                f"The model needs the forcing '{channel.name}' ({channel.units}), which can't be computed: give it in `forcing`, "
                f"at the input times and over the whole lead."
            ) from None


def _load(model: str | Path) -> Stepper:
    from credit_ray.package import load_package
    from credit_ray.tracking.fetching import fetch_model

    fetched = fetch_model(str(model))
    return load_package(fetched.directory, digest=fetched.digest).stepper


def _as_dataset(layout: ForecastLayout, fields: np.ndarray, budgets: np.ndarray) -> xarray.Dataset:
    import xarray

    variables = {}
    for variable in layout.variables:
        values = fields[:, :, list(variable.positions)]
        dims = ("init_time", "lead_time", *((variable.level_dim,) if variable.level_dim else ()), *layout.grid.dims)
        attributes = {key: value for key, value in variable.attributes.items() if key != "coordinates"}
        variables[variable.name] = (dims, values if variable.level_dim else values[:, :, 0], attributes)
    for place, (name, described) in enumerate(layout.budget_variables.items()):
        variables[name] = (("init_time", "lead_time"), budgets[..., place], described)
    coordinates = {name: (c.dims, c.values, dict(c.attributes)) for name, c in layout.coordinates.items()}
    encoded = xarray.Dataset(variables, coordinates, {"Conventions": "CF-1.11", "timestep": str(layout.step)})
    return xarray.decode_cf(encoded)
