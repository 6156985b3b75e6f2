from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from credit_ray.data.dataset import Dataset
from credit_ray.errors import DataError
from credit_ray.grid.latlon import LatLonGrid
from credit_ray.serving.loading import forcing_times, initial_times
from credit_ray.state import Channel, Channels, StateSpec
from credit_ray.times import Step, Times

HOUR = 3600


def channels(*names: str) -> Channels:
    return Channels(Channel(variable=name, units="K") for name in names)


SPEC = StateSpec(
    prognostic=channels("t2m"),
    forcing=channels("sst", "rsdt"),
    history=2,
    step=Step(seconds=6 * HOUR),
    grid=LatLonGrid.gaussian(4),
)


@dataclass
class Source:
    """As far as times are concerned."""

    times: Times | None
    forcing: Channels = field(default_factory=Channels)

    @property
    def channels(self) -> dict[str, Channels]:
        return {"forcing": self.forcing}


def data(hours: list[int], *sources: Any) -> Dataset:
    return Dataset(config=None, sources=sources, spec=SPEC, times=np.array(hours, np.int64) * HOUR)  # type: ignore[arg-type]


def test_a_forecast_starts_where_its_history_is_whole() -> None:
    found = initial_times(data([0, 6, 12, 24, 36, 42]))
    assert (found // HOUR).tolist() == [6, 12, 42]
    longer = data([0, 6, 12, 24, 36, 42])
    assert (initial_times(replace(longer, spec=replace(SPEC, history=3))) // HOUR).tolist() == [12]


def test_data_without_a_whole_history_start_nothing() -> None:
    with pytest.raises(DataError, match="2 consecutive times"):
        initial_times(data([0, 12, 24]))


def test_forcings_from_stores_bound_the_lead_and_computed_ones_do_not() -> None:
    computed = Source(None, channels("rsdt"))
    fields, ocean, ice = (
        Source(np.arange(n) * 6 * HOUR, forced)
        for n, forced in ((9, Channels()), (7, channels("sst")), (5, channels("rsdt")))
    )
    assert forcing_times(data([0, 6], fields, computed)) is None
    bound = forcing_times(data([0, 6], fields, computed, ocean))
    assert bound is not None
    assert len(bound) == 7
    both = forcing_times(data([0, 6], fields, ice, ocean))
    assert both is not None
    assert len(both) == 5
