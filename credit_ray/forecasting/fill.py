"""From a model to the fields of a store: what batch forecasts and the service do alike."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING

from credit_ray.forecasting.layout import ForecastLayout
from credit_ray.state import Channels
from credit_ray.times import Times

if TYPE_CHECKING:
    import torch

    from credit_ray.forecasting.rollout import InitialData
    from credit_ray.forecasting.writer import ForecastStore
    from credit_ray.stepper import Stepper

_MAPS = ("lsm", "orography", "z_sfc")


def forecast_layout(stepper: Stepper, channels: Channels, init_times: Times, leads: tuple[int, ...]) -> ForecastLayout:
    """The layout of forecasts by a model: on its grid, in its calendar, with its mask, and the static fields that help to read a map."""
    spec, mask = stepper.spec, stepper.normalizer.output_mask
    picked = [spec.outputs.index(name) for name in channels.names]
    statics = dict(zip(spec.static.names, stepper.statics.cpu().numpy(), strict=True))
    return ForecastLayout(
        channels=channels,
        grid=spec.grid,
        step=spec.step,
        calendar=spec.calendar,
        init_times=init_times,
        leads=leads,
        mask=None if mask is None else mask[picked].cpu().numpy(),
        maps={name: statics[name] for name in _MAPS if name in statics},
        budgets=stepper.constraints.kinds(),
    )


def fill(
    stepper: Stepper,
    data: InitialData,
    store: ForecastStore,
    inits: Sequence[int],
    *,
    device: torch.device | str | None = None,
    on_written: Callable[[int], None] | None = None,
) -> Generator[int, None, None]:
    """Roll some initial times of a store out together, and write what it keeps.

    Parameters
    ----------
    inits : sequence of int
        Their positions in the store.
    on_written : callable, optional
        Told, in the writer's thread, how many lead times can be read now.

    Yields
    ------
    int
        Each step when it has been made; whoever closes the generator ends the rollout there, and keeps what is written.
    """
    from credit_ray.forecasting.rollout import forecast

    layout, outputs = store.layout, stepper.spec.outputs
    picked = [outputs.index(name) for name in layout.channels.names]
    everything = picked == list(range(len(outputs)))
    kept = set(layout.leads)
    rollout = forecast(
        stepper, data, layout.init_times[list(inits)], layout.leads[-1], initial=0 in kept, device=device
    )
    with store.writer(inits, on_written) as writer, closing(rollout):
        for step, _, fields, budgets in rollout:
            if step in kept:
                writer.write((fields if everything else fields[:, picked]).cpu().numpy(), budgets.cpu().numpy())
            yield step
