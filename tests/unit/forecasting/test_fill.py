"""What a store gets from a rollout: fields, and what the constraints did."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from credit_ray.forecasting.fill import fill, forecast_layout
from credit_ray.forecasting.writer import create_store
from credit_ray.state import Channels
from credit_ray.stepper import Stepper
from credit_ray.verification.forecasts import Forecasts, open_forecast

INITS = np.arange(3, dtype=np.int64) * 86400


def filled(folder: Path, stepper: Stepper, data: Any, leads: tuple[int, ...]) -> Any:
    layout = forecast_layout(stepper, Channels(stepper.spec.outputs), INITS, leads)
    store = create_store(str(folder / "forecast.zarr"), layout, {"model_digest": "m", "data_digest": "d"})
    for batch in ([0, 1], [2]):
        for _ in fill(stepper, data, store, batch, device="cpu"):
            pass
    store.finish()
    return open_forecast(store.url)


def test_a_store_says_what_each_constraint_corrected_and_what_it_left_open(
    tmp_path: Path, bounded_stepper: Stepper, data: Any
) -> None:
    opened = filled(tmp_path, bounded_stepper, data, (0, 2, 4))
    state = bounded_stepper.start(data.initial_state(INITS))
    results = list(bounded_stepper.rollout(state, data.forcings(INITS, 4)))
    for place, name in enumerate(("bounds", "bounds_2")):
        size = opened[f"budget_{name}_correction"]
        assert size.dims == ("init_time", "lead_time")
        assert size.attrs["units"] == "1"
        assert np.isnan(size[:, 0]).all()
        for position, step in ((1, 2), (2, 4)):
            expected = results[step - 1].budgets[place].size.detach()
            np.testing.assert_allclose(size[:, position], expected, rtol=1e-6)
            assert (size[:, position] > 0).all()
        assert opened[f"budget_{name}_residual"].attrs["units"] == "1"


def test_numbers_of_budgets_are_no_fields(tmp_path: Path, bounded_stepper: Stepper, data: Any) -> None:
    opened = filled(tmp_path, bounded_stepper, data, (1,))
    assert "budget_bounds_residual" in opened
    assert set(Forecasts(opened, "here").variables) == set(bounded_stepper.spec.outputs.variables)


def test_a_model_without_constraints_writes_no_budgets(tmp_path: Path, stepper: Stepper, data: Any) -> None:
    assert not [name for name in filled(tmp_path, stepper, data, (1,)) if str(name).startswith("budget")]
