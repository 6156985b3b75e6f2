"""Bands of latitude: what is read of a data set is the same rows of the whole, and no chunk that has none of them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from credit_ray.data.dataset import Dataset
from credit_ray.data.ingest import WindowLoader, local_slabs
from credit_ray.data.plan import Plan
from credit_ray.data.runs import Segments
from tests.unit.data.conftest import LATITUDE, Make

BOUNDS = (0, 2, 3, 6)


@pytest.fixture(params=["north first", "south first"])
def dataset(request: pytest.FixtureRequest, make: Make, open_weather: Callable[..., Dataset]) -> Dataset:
    """Weather in chunks of two rows, land, and sunlight that is computed."""
    latitude = LATITUDE if request.param == "north first" else LATITUDE[::-1]
    return open_weather(
        make(latitude=latitude),
        encoding={"t": {"chunks": (4, 3, 2, 8)}, "sp": {"chunks": (4, 2, 8)}},
        static=["orography"],
        sources={"sun": {"store": "derived", "forcing": ["tisr"]}},
    )


def test_bands_together_are_the_whole(dataset: Dataset) -> None:
    times, channels = dataset.times[:3], dataset.spec.windowed
    bands = [dataset.band(*band) for band in pairwise(BOUNDS)]
    assert np.array_equal(
        np.concatenate([b.fields(times, channels) for b in bands], -2), dataset.fields(times, channels)
    )
    assert np.array_equal(np.concatenate([b.statics() for b in bands], -2), dataset.statics())
    assert all(b.data_id == dataset.data_id for b in bands)


def test_the_windows_of_a_band_are_those_rows_of_the_windows(dataset: Dataset) -> None:
    plan = Plan(
        segments=Segments.of(0, np.ones(len(dataset.times) - 1, bool)),
        batch_size=2,
        lanes=1,
        stages=((0, 2),),
        slab_states=6,
        seed=1,
    )

    def windows(read: Dataset) -> list[np.ndarray]:
        slabs = local_slabs(read, plan, rank=0, of=1, from_step=0, to_epoch=1)
        loader = WindowLoader(read, plan, slabs, rank=0, of=1, from_step=0, to_step=plan.steps(0), prefetch=1)
        return [window.fields.numpy() for window in loader]

    for whole, band in zip(windows(dataset), windows(dataset.band(1, 5)), strict=True):
        assert np.array_equal(whole[..., 1:5, :], band)


def test_a_band_decodes_only_the_chunks_that_it_has_rows_of(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    store = dataset.sources[0].stored
    assert store is not None
    seen = []
    read = type(store.store).read

    def watched(self: object, name: str, index: tuple[slice, ...]) -> object:
        seen.append(index[-2])
        return read(self, name, index)  # type: ignore[arg-type]

    monkeypatch.setattr(type(store.store), "read", watched)
    dataset.band(0, 2).fields(dataset.times[:1], dataset.spec.prognostic)
    assert {(rows.start, rows.stop) for rows in seen} <= {(0, 2), (4, 6)}
    assert seen


def test_the_number_of_decodes_counts_chunks_that_several_bands_share(dataset: Dataset) -> None:
    assert dataset.decodes((0, 2, 6)) == 1.0
    assert dataset.decodes((0, 1, 6)) == pytest.approx(4 / 3)  # one chunk of three for both
    assert dataset.decodes((0, 3, 6)) == pytest.approx(4 / 3)
