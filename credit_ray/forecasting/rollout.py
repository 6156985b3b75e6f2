"""The one forecast loop: batch forecasts, served ones and validation all step through it."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from credit_ray.data.ahead import ahead
from credit_ray.state import State
from credit_ray.times import Times

if TYPE_CHECKING:
    from credit_ray.stepper import Stepper


class InitialData(Protocol):
    """The seam: whatever a rollout can start from; `credit_ray.data.dataset.Dataset` is one."""

    def initial_state(self, init_times: Times) -> State:
        """Prognostic fields at each initial time and the history before it."""
        ...

    def forcings(self, init_times: Times, steps: int) -> Iterator[Tensor]:
        """[trajectory, forcing, *grid] for each step."""
        ...


class ForecastStep(NamedTuple):
    """One lead time of some forecasts.

    Parameters
    ----------
    step : int
        Steps since the initial time; 0 is the initial state itself.
    valid_times : Times
        [trajectory].
    outputs : Tensor
        [trajectory, prognostic and diagnostic, *grid], physical units, on the device that computed them.
    budgets : Tensor
        [trajectory, number], float64: size of the correction and relative residual of each constraint in turn; NaN at the initial state.
    """

    step: int
    valid_times: Times
    outputs: Tensor
    budgets: Tensor


def forecast(
    stepper: Stepper,
    data: InitialData,
    init_times: Times,
    steps: int,
    *,
    initial: bool = False,
    device: torch.device | str | None = None,
) -> Generator[ForecastStep, None, None]:
    """Roll forecasts out together, from these initial times.

    Parameters
    ----------
    stepper : Stepper
        Put on the device, and into evaluation mode.
    data : InitialData
        Where initial states and forcings come from; forcings are read ahead, in a thread.
    init_times : Times
        [trajectory].
    steps : int
        How many.
    initial : bool
        Begin with step 0: the initial state, without the diagnostic channels that only a step gives (NaN).
    device : torch.device or str, optional
        Default: a GPU, if there is one.

    Raises
    ------
    NotFiniteError
        Where a forecast blows up: names its valid time and channel.
    """
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    stepper.eval().to(device)  # not in inference mode: weights that move there could never be trained again
    return _steps(stepper, data, np.asarray(init_times, np.int64), steps, initial, device)


@torch.inference_mode()
def _steps(
    stepper: Stepper, data: InitialData, init_times: Times, steps: int, initial: bool, device: torch.device
) -> Generator[ForecastStep, None, None]:
    state = stepper.start(data.initial_state(init_times).to(device))
    if initial:
        newest = state.fields[:, -1]
        unknown = newest.new_full((len(state), len(stepper.spec.diagnostic), *newest.shape[2:]), torch.nan)
        none = newest.new_full((len(state), 2 * len(stepper.constraints.constraints)), torch.nan, dtype=torch.float64)
        yield ForecastStep(0, state.valid_time, torch.cat([newest, unknown], 1), none)
    forcings = (forcing.to(device) for forcing in ahead(data.forcings(init_times, steps)))
    for step, result in enumerate(stepper.rollout(state, forcings), start=1):
        numbers = [number.double() for b in result.budgets for number in (b.size, b.relative_residual)]
        budgets = torch.stack(numbers, 1) if numbers else result.outputs.new_empty((len(state), 0), dtype=torch.float64)
        yield ForecastStep(step, result.state.valid_time, result.outputs, budgets)
