"""What forecasts hold of air, water, energy, salt and tracers by lead time, beside what the data hold; and what their fluxes leave unexplained."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from credit_ray.config.experiment import Experiment
from credit_ray.data.dataset import Dataset
from credit_ray.errors import ConfigError
from credit_ray.physics.current import Held
from credit_ray.state import Carry, Channel, Channels, Fields, StateSpec
from credit_ray.times import Step
from credit_ray.variables import canonical_name, lookup
from credit_ray.verification.budget_meters import Meters
from credit_ray.verification.forecasts import Forecasts
from credit_ray.verification.scores import MODEL

Progress = Callable[[int, int], None]
Array = NDArray[np.float64]

UNITS = {"dry_air_mass": "kg", "water": "kg", "energy": "J", "ocean_heat": "J", "salt": "kg"}
"""The quantities, in the order in which they are shown, and what they are measured in; behind them come tracers (`tracer_o3`), in kg."""

DATA = "data"
_BLOCK_BYTES = 128 << 20


@dataclass(frozen=True)
class BudgetCurves:
    """Budgets by lead time.

    Parameters
    ----------
    content : mapping of (str, str) to array [init, lead]
        By (forecaster, quantity), over the whole sphere: of `MODEL`, and of the data where they have the time.
    residual, flux : mapping of str to array [init, lead]
        By quantity, per step: what came in through the boundaries, and the change that it does not explain. NaN where the step before is
        not in the store.
    missing : mapping of str to str
        Quantities that are not there, and residuals (`water residual`) that can't be taken, with the reason.
    leads : array [lead]
        In steps.
    step : Step
        The unit of leads.
    area : float
        Of the grid, m².
    """

    content: Mapping[tuple[str, str], Array]
    residual: Mapping[str, Array]
    flux: Mapping[str, Array]
    missing: Mapping[str, str]
    leads: NDArray[np.int64]
    step: Step
    area: float

    @property
    def quantities(self) -> list[str]:
        there = [name for who, name in self.content if who == MODEL]
        return [name for name in UNITS if name in there] + [name for name in there if name not in UNITS]

    def drift(self, forecaster: str, quantity: str) -> Array:
        """[init, lead]: change of content since the first lead, per m²."""
        content = self.content[forecaster, quantity]
        return (content - content[:, :1]) / self.area

    def rows(self, model: str) -> Iterator[dict[str, Any]]:
        """For tables: one for each forecaster, quantity and lead; means over the initial times, and the largest departures."""
        for (forecaster, quantity), content in self.content.items():
            drift = self.drift(forecaster, quantity)
            for i, lead in enumerate(self.leads.tolist()):
                there = np.isfinite(drift[:, i])
                row = {
                    "model": model if forecaster == MODEL else forecaster,
                    "quantity": quantity,
                    "units": UNITS.get(quantity, "kg"),
                    "lead_hours": lead * self.step.seconds / 3600 if self.step.fixed else None,
                    "lead_months": None if self.step.fixed else lead * self.step.months,
                    "forecasts": int(there.sum()),
                    "content": float(content[there, i].mean()) if there.any() else None,
                    "drift_per_m2": float(drift[there, i].mean()) if there.any() else None,
                    "largest_drift_per_m2": float(np.abs(drift[there, i]).max()) if there.any() else None,
                }
                residual = self.residual.get(quantity) if forecaster == MODEL else None
                if residual is not None and np.isfinite(residual[:, i]).any():
                    row["residual"] = float(np.nanmean(residual[:, i]))
                    row["flux"] = float(np.nanmean(self.flux[quantity][:, i]))
                yield row


def measure_budgets(
    forecasts: Forecasts, dataset: Dataset, experiment: Experiment, progress: Progress | None = None
) -> BudgetCurves:
    """Read a forecast store once, and the data at its times.

    What names of channels do not say (coefficients of hybrid levels, which fluxes there are, other names) is taken from the constraints of
    the experiment, with `adjust: none` if a model is only to be measured.

    Parameters
    ----------
    forecasts : Forecasts
        Ours or another's.
    dataset : Dataset
        Truth, and the statics.

    Raises
    ------
    ConfigError
        Where no quantity can be measured, with the reason for each.
    """
    spec = _spec(forecasts, dataset)
    meters = Meters(spec, experiment, torch.from_numpy(np.array(dataset.statics())))
    if not meters.contents:
        reasons = "\n".join(f"  {name}: {why}" for name, why in meters.missing.items())
        raise ConfigError(f"No budget of {forecasts.where} can be measured:\n{reasons}")
    areas, shape = Held(spec.grid.cell_areas()), (len(forecasts.init_times), len(forecasts.leads))
    content = {(who, name): np.full(shape, np.nan) for who in (MODEL, DATA) for name in meters.contents}
    flux, residual = ({name: np.full(shape, np.nan) for name in meters.closing} for _ in range(2))
    truth: dict[int, dict[str, float]] = {}
    for init in range(shape[0]):
        before: Fields | None = None
        carries: dict[str, Carry] = {}
        for lead, fields in enumerate(_states(forecasts, spec, init)):
            for name, value in meters.measure(fields, areas).items():
                content[MODEL, name][init, lead] = value
            if before is not None and forecasts.leads[lead] == forecasts.leads[lead - 1] + 1:
                for name, (came, left, carry) in meters.close(before, fields, carries).items():
                    flux[name][init, lead], residual[name][init, lead] = came, left
                    carries[name] = carry
            else:
                carries = meters.start(fields, forecasts.valid_times[init, lead : lead + 1])
            before = fields
        times = forecasts.valid_times[init]
        for lead in np.flatnonzero(dataset.has(times)).tolist():
            time = int(times[lead])
            if time not in truth:  # forecasts overlap
                truth[time] = meters.measure(_truth(dataset, spec, time), areas)
            for name, value in truth[time].items():
                content[DATA, name][init, lead] = value
        if progress:
            progress(init + 1, shape[0])
    return BudgetCurves(
        content={key: values for key, values in content.items() if np.isfinite(values).any()},
        residual={name: values for name, values in residual.items() if np.isfinite(values).any()},
        flux=flux,
        missing=meters.missing,
        leads=forecasts.leads,
        step=forecasts.step,
        area=float(spec.grid.cell_areas().sum()),
    )


def _spec(forecasts: Forecasts, dataset: Dataset) -> StateSpec:
    """All that a store has, under canonical names, as a state; with the statics of the data."""
    channels = []
    for channel in forecasts.channels:
        known = lookup(channel.variable)
        kind = known.kind if known else channel.kind
        channels.append(
            Channel(
                variable=canonical_name(channel.variable),
                units=channel.units,
                level=channel.level,
                vertical=channel.vertical,
                kind=kind,
            )
        )
    return StateSpec(
        prognostic=Channels(channels),
        static=dataset.spec.static,
        grid=forecasts.grid,
        step=forecasts.step,
        calendar=forecasts.calendar,
    )


def _states(forecasts: Forecasts, spec: StateSpec, init: int) -> Iterator[Fields]:
    """[1, channel, *grid] at each lead of a forecast, read in blocks of bounded size."""
    state_bytes = 4 * len(spec.prognostic) * int(np.prod(spec.grid.shape))
    block = max(1, _BLOCK_BYTES // state_bytes)
    for first in range(0, len(forecasts.leads), block):
        parts = [forecasts.read(v, init, slice(first, first + block)) for v in forecasts.variables]
        stacked = torch.from_numpy(np.concatenate(parts, 1))  # [lead, channel, *grid]
        for state in stacked:
            yield Fields(state[None], spec.prognostic)


def _truth(dataset: Dataset, spec: StateSpec, time: int) -> Fields:
    """The same of the data at one time."""
    return Fields(torch.from_numpy(dataset.fields(np.array([time]), spec.prognostic)), spec.prognostic)
