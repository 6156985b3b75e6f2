"""The one forecast loop."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from credit_ray.errors import NotFiniteError
from credit_ray.forecasting.rollout import forecast
from credit_ray.stepper import Stepper

INITS = np.arange(5, dtype=np.int64) * 86400


def outputs(stepper: Stepper, data: Any, inits: Any, steps: int = 6, **options: Any) -> Tensor:
    """[init, step, channel, *grid]."""
    return torch.stack([step.outputs for step in forecast(stepper, data, inits, steps, device="cpu", **options)], 1)


def test_a_forecast_does_not_depend_on_its_batch(stepper: Stepper, data: Any) -> None:
    together = outputs(stepper.double(), data, INITS)
    alone = torch.cat([outputs(stepper, data, INITS[[i]]) for i in range(len(INITS))])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-9)


def test_a_longer_forecast_begins_as_a_shorter_one(stepper: Stepper, data: Any) -> None:
    assert torch.equal(outputs(stepper, data, INITS, 6)[:, :3], outputs(stepper, data, INITS, 3))


def test_steps_carry_their_number_and_their_valid_times(stepper: Stepper, data: Any) -> None:
    steps = list(forecast(stepper, data, INITS, 3, device="cpu"))
    assert [step.step for step in steps] == [1, 2, 3]
    assert all((step.valid_times == INITS + step.step * 21600).all() for step in steps)


def test_the_initial_state_comes_first_where_it_is_asked_for(stepper: Stepper, data: Any) -> None:
    with_initial = outputs(stepper, data, INITS, 3, initial=True)
    newest = data.initial_state(INITS).fields[:, -1]
    assert torch.equal(with_initial[:, 0, : newest.shape[1]], newest)
    assert with_initial[:, 0, newest.shape[1] :].isnan().all()  # no step has given them yet
    assert torch.equal(with_initial[:, 1:], outputs(stepper, data, INITS, 3))


def test_each_forecast_asks_for_as_many_forcings_as_it_makes_steps(stepper: Stepper, data: Any) -> None:
    outputs(stepper, data, INITS, 4)
    assert data.asked == [0, 1, 2, 3]


def test_places_that_a_variable_does_not_have_stay_missing_and_harm_nothing(
    masked_stepper: Stepper, make_data: Any
) -> None:
    mask = masked_stepper.normalizer.output_mask
    assert mask is not None
    found = outputs(masked_stepper, make_data(mask=mask[:3].numpy()), INITS)
    assert torch.equal(found.isfinite(), mask.expand_as(found))


def test_a_gap_in_the_initial_state_is_an_error_that_names_channel_and_time(stepper: Stepper, make_data: Any) -> None:
    mask = np.ones((3, *stepper.spec.grid.shape), bool)
    mask[1, 0, 0] = False
    with pytest.raises(NotFiniteError, match=r"1970-01-01T06:00.*channel 'z_"):
        outputs(stepper, make_data(mask=mask), INITS)


def test_what_fails_while_forcings_are_read_ahead_is_raised(stepper: Stepper, make_data: Any) -> None:
    class Failing(make_data):
        def forcings(self, init_times: Any, steps: int) -> Iterator[Tensor]:
            yield next(super().forcings(init_times, steps))
            raise OSError("the store is gone")

    steps = forecast(stepper, Failing(), INITS, 4, device="cpu")
    next(steps)
    with pytest.raises(OSError, match="the store is gone"):
        list(steps)


def test_a_model_can_still_be_trained_after_it_has_forecast(stepper: Stepper, data: Any) -> None:
    outputs(stepper, data, INITS, 2)
    gc.collect()
    state = stepper.start(data.initial_state(INITS))
    stepper.step(state, next(data.forcings(INITS, 1))).outputs.sum().backward()
    assert all(p.grad is not None for p in stepper.parameters())
