"""Statistics of the training period: what numpy says of everything at once; kept on disk by what they depend on."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from credit_ray.config.data import Normalization
from credit_ray.config.experiment import Experiment
from credit_ray.data import statistics as module
from credit_ray.data.dataset import Dataset, open_dataset
from credit_ray.data.statistics import Statistics, cached_statistics, compute_statistics, run_statistics
from credit_ray.errors import ConfigError, DataError
from tests.unit.data.conftest import Make, Open

Save = Callable[..., str]
GAPPY = [*range(0, 120, 6), *range(180, 240, 6)]


def statistics(dataset: Dataset, slab_bytes: int = 1_000_000) -> Statistics:
    return compute_statistics(dataset, slab_bytes=slab_bytes, reader="local")


def expected(dataset: Dataset) -> dict[str, dict[str, float]]:
    """By numpy, in float64, of all training times at once."""
    start, stop = dataset.span(dataset.period("train"))
    times = dataset.times[start:stop]
    values = dataset.fields(times, dataset.spec.windowed).astype(np.float64)
    follows = np.flatnonzero(np.diff(times) == 21600)
    change = values[follows + 1] - values[follows]
    found: dict[str, dict[str, float]] = {}
    for i, name in enumerate(dataset.spec.windowed.names):
        v, ok = values[:, i], np.isfinite(values[:, i])
        found[name] = {"mean": v[ok].mean(), "std": v[ok].std(), "low": v[ok].min(), "high": v[ok].max()}
        if name in dataset.spec.outputs:
            found[name]["change_std"] = float(np.nanstd(change[:, i]))
    return found


def assert_exact(found: Statistics, dataset: Dataset) -> None:
    for name, row in expected(dataset).items():
        for kind, value in row.items():
            assert getattr(found, kind)[name] == pytest.approx(value, rel=1e-12), (name, kind)


@pytest.mark.parametrize("states", [2, 3, 7, 1000])
def test_statistics_are_numpys_with_slabs_of_any_size(make: Make, open_weather: Open, states: int) -> None:
    dataset = open_weather(make(GAPPY), diagnostic=["tp"], forcing=[], static=["orography"])
    found = statistics(dataset, slab_bytes=states * dataset.state_bytes)
    assert_exact(found, dataset)
    static = dataset.statics()[0].astype(np.float64)
    assert found.std["orography"] == pytest.approx(static.std(), rel=1e-12)
    assert found.content == statistics(dataset).content


def test_only_the_training_period_counts(make: Make, open_weather: Open) -> None:
    dataset = open_weather(make(GAPPY), train=("2000-01-02", "2000-01-03"))
    assert_exact(statistics(dataset), dataset)
    assert statistics(dataset).mean["sp"] != statistics(open_weather(make(GAPPY))).mean["sp"]


def test_no_change_is_counted_across_a_gap(make: Make, open_weather: Open) -> None:
    stored = make(GAPPY)
    stored["sp"].values[20:] += 1e6
    found = statistics(open_weather(stored))
    assert found.change_std["sp"] == pytest.approx(0, abs=0.1)


def test_missing_places_are_masked_and_do_not_count(make: Make, open_weather: Open) -> None:
    stored = make(GAPPY)
    stored["sp"].values[:, 1, 2:5] = np.nan
    stored["t"].values[7, 2, 0, 0] = np.nan  # once is enough
    dataset = open_weather(stored, missing="mask")
    found = statistics(dataset)
    assert_exact(found, dataset)
    assert found.masked
    assert set(found.mask) == {"sp", "t_850"}
    mask = found.mask_of(dataset.spec.prognostic)
    assert mask.shape == (4, 6, 8)
    assert not mask[3, 1, 2:5].any()
    assert not mask[2, 0, 0]
    assert (~mask).sum() == 4
    np.testing.assert_array_equal(np.isnan(found.climatology[0, 3]), ~mask[3])


def test_a_variable_that_a_mask_would_leave_nowhere_is_refused(make: Make, open_weather: Open) -> None:
    stored = make(16)
    for i in range(16):
        stored["sp"].values[i, :, i % 8] = np.nan
    with pytest.raises(DataError, match="sp: each place is missing at some time of 2000-01-01 … 2000-12-30"):
        statistics(open_weather(stored, missing="mask"))


def test_the_climatology_is_the_mean_or_that_of_each_month(make: Make, open_weather: Open) -> None:
    days = np.arange(0, 730)
    stored = make(days * 24)
    values = stored["sp"].values.astype(np.float64)
    whole = statistics(open_weather(stored, timestep="1D", train=("2000-01-01", "2001-12-30")))
    np.testing.assert_allclose(whole.climatology[:, 3], values.mean(0)[None], rtol=1e-6)
    monthly = statistics(open_weather(stored, timestep="1D", climatology="monthly", train=("2000-01-01", "2001-12-30")))
    month = (np.datetime64("2000-01-01") + days).astype("datetime64[M]").astype(int) % 12
    for group in range(12):
        np.testing.assert_allclose(monthly.climatology[group, 3], values[month == group].mean(0), rtol=1e-6)


def test_a_monthly_climatology_of_half_a_year_is_refused(make: Make, open_weather: Open) -> None:
    dataset = open_weather(make(np.arange(150) * 24), timestep="1D", climatology="monthly")
    with pytest.raises(
        DataError, match=r"nothing in the months 6, 7, 8, 9, 10, 11, 12, for which 'data\.climatology: monthly'"
    ):
        statistics(dataset)


# Identity


def test_the_content_is_that_of_the_data_however_they_are_stored(make: Make, open_weather: Open) -> None:
    of = lambda *args, **how: statistics(open_weather(*args, static=["orography"], **how)).content  # noqa: E731
    content = of(make(GAPPY))
    assert content == of(
        make(GAPPY), encoding={"t": {"chunks": (1, 1, 3, 4)}, "sp": {"chunks": (4, 6, 8), "shards": (8, 6, 8)}}
    )
    assert content == of(make(GAPPY).isel(latitude=slice(None, None, -1)).rename(t="temperature"))
    for name in ("t", "sp", "orography"):
        changed = make(GAPPY)
        changed[name].values.flat[17] += 1
        assert of(changed) != content


def test_what_is_computed_is_no_content(make: Make, open_weather: Open) -> None:
    sun = {"sun": {"store": "derived", "forcing": ["rsdt"], "static": ["sin_latitude"]}}
    assert statistics(open_weather(make())).content == statistics(open_weather(make(), sources=sun)).content


# The cache


def experiment(store: str, output: Path, **data: Any) -> Experiment:
    plain = {
        "name": "cached",
        "output": str(output),
        "data": {
            "timestep": "6h",
            "sources": {"weather": {"store": store, "prognostic": ["t", "sp"], "static": ["orography"]}},
            "splits": {"train": ["2000-01-01", "2000-12-30"]},
        }
        | data,
    }
    return Experiment.model_validate(plain)


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one with every pass through the data."""
    counted: list[int] = []
    compute = module.compute_statistics

    def counting(dataset: Dataset, **how: Any) -> Statistics:
        counted.append(1)
        return compute(dataset, **how)

    monkeypatch.setattr(module, "compute_statistics", counting)
    return counted


def assert_equal(one: Statistics, other: Statistics) -> None:
    for name in ("mean", "std", "low", "high", "change_std", "content", "key"):
        assert getattr(one, name) == getattr(other, name)
    np.testing.assert_array_equal(one.climatology, other.climatology)
    assert set(one.mask) == set(other.mask)
    assert all(np.array_equal(one.mask[name], other.mask[name]) for name in one.mask)


def test_statistics_are_computed_once_and_again_when_the_store_was_written_to(
    make: Make, save: Save, tmp_path: Path, passes: list[int]
) -> None:
    stored = make()
    stored["sp"].values[:, 0, 0] = np.nan
    weather = {"store": save(stored), "prognostic": ["t", "sp"], "static": ["orography"], "missing": "mask"}
    config = experiment(weather["store"], tmp_path / "out", sources={"weather": weather})  # type: ignore[arg-type]
    first = cached_statistics(config, open_dataset(config.data))
    assert_equal(cached_statistics(config, open_dataset(config.data)), first)
    assert len(passes) == 1
    stored["t"].values[3] += 1
    save(stored)
    second = cached_statistics(config, open_dataset(config.data))
    assert len(passes) == 2
    assert second.content != first.content
    assert second.mean["t_500"] > first.mean["t_500"]


def test_statistics_are_computed_again_for_what_they_depend_on(
    make: Make, save: Save, tmp_path: Path, passes: list[int]
) -> None:
    store, output = save(make(), encoding={"t": {"chunks": (4, 3, 6, 8)}}), tmp_path / "out"
    same = [
        experiment(store, output),
        experiment(store, output, history=2),
        experiment(store, output, ingest={"slab_bytes": 2_000_000}),
    ]
    other = [
        experiment(store, output, splits={"train": ["2000-01-01", "2000-01-02"]}),
        experiment(store, output, timestep="12h"),
        experiment(store, output, sources={"weather": {"store": store, "prognostic": ["t"], "static": ["orography"]}}),
        experiment(
            store, output, sources={"weather": {"store": store, "prognostic": ["sp", "t"], "static": ["orography"]}}
        ),
    ]
    for config in same:
        cached_statistics(config, open_dataset(config.data))
    assert len(passes) == 1
    for config in other:
        cached_statistics(config, open_dataset(config.data))
    assert len(passes) == 1 + len(other)


def test_a_cache_that_is_damaged_is_computed_again(
    make: Make, save: Save, tmp_path: Path, passes: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    config = experiment(save(make()), tmp_path / "out")
    first = cached_statistics(config, open_dataset(config.data))
    (file,) = (tmp_path / "out" / "statistics").iterdir()
    for content in (b"", b"no npz", file.read_bytes()[:500]):
        file.write_bytes(content)
        assert_equal(cached_statistics(config, open_dataset(config.data)), first)
    assert len(passes) == 4
    assert "the statistics are computed again" in caplog.text
    assert [f.name for f in (tmp_path / "out" / "statistics").iterdir()] == [
        file.name
    ]  # nothing half-written beside it


def test_the_result_is_a_table_and_plain_values(make: Make, save: Save, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    result = run_statistics(experiment(save(make()), tmp_path / "out"), lambda done, of: seen.append((done, of)))
    lines = str(result).splitlines()
    assert [line.split()[0] for line in lines[1:-1]] == ["t_200", "t_500", "t_850", "sp", "orography"]
    assert lines[-1].startswith("content ")
    assert json.loads(json.dumps(result.channels)) == result.channels
    assert "change_std" not in result.channels["orography"]
    assert seen[-1][0] == seen[-1][1]


# Transforms


def amounts(make: Make) -> Any:
    """`tp` mostly small, sometimes large; never negative."""
    stored = make(GAPPY)
    draw = np.random.default_rng(5).gamma(0.5, 4.0, stored["tp"].shape).astype(np.float32)
    return stored.assign(tp=(stored["tp"].dims, draw, stored["tp"].attrs))


@pytest.mark.parametrize("states", [3, 1000])
@pytest.mark.parametrize("kind", ["log", "sqrt", "quantile"])
def test_moments_are_taken_after_the_transform(make: Make, open_weather: Open, kind: str, states: int) -> None:
    dataset = open_weather(amounts(make), diagnostic=["tp"])
    chosen = Normalization.model_validate({"transform": {"total_precipitation": kind}})
    dataset = replace(dataset, config=dataset.config.model_copy(update={"normalization": chosen}))
    found = statistics(dataset, slab_bytes=states * dataset.state_bytes)
    raw = dataset.columns(dataset.times, dataset.spec.windowed)["tp"].astype(np.float64)
    transform = found.transforms["tp"]
    scaled = transform.forward(raw, np, np.array(transform.knots))
    assert found.mean["tp"] == pytest.approx(scaled.mean(), rel=1e-9)
    assert found.std["tp"] == pytest.approx(scaled.std(), rel=1e-9)
    assert found.high["tp"] == pytest.approx(scaled.max(), rel=1e-9)
    follows = np.flatnonzero(np.diff(dataset.times) == 21600)
    assert found.change_std["tp"] == pytest.approx((scaled[follows + 1] - scaled[follows]).std(), rel=1e-9)
    np.testing.assert_allclose(found.climatology[0, -1], raw.mean(0), rtol=1e-5)  # of the rain itself
    assert set(found.transforms) == {"tp"}
    plain = statistics(open_weather(amounts(make), diagnostic=["tp"]))
    assert found.content == plain.content
    assert found.mean["sp"] == plain.mean["sp"]
    if kind == "quantile":
        assert (found.mean["tp"], found.std["tp"]) == pytest.approx((0, 1), abs=0.05)


def test_a_transform_is_kept_with_the_statistics(make: Make, save: Save, tmp_path: Path, passes: list[int]) -> None:
    sources = {"weather": {"store": save(amounts(make)), "prognostic": ["sp"], "diagnostic": ["tp"]}}
    config = experiment("", tmp_path, sources=sources, normalization={"transform": {"tp": "quantile"}})
    first = cached_statistics(config, open_dataset(config.data))
    again = cached_statistics(config, open_dataset(config.data))
    assert len(passes) == 1
    np.testing.assert_array_equal(again.transforms["tp"].knots, first.transforms["tp"].knots)
    other = experiment("", tmp_path, sources=sources, normalization={"transform": {"tp": "log"}})
    assert cached_statistics(other, open_dataset(other.data)).key != first.key


@pytest.mark.parametrize(
    ("variable", "message"),
    [("tpp", "there is no variable 'tpp'.*Did you mean 'tp'"), ("orography", "'orography' is a static field")],
)
def test_what_can_not_be_transformed_is_refused(make: Make, open_weather: Open, variable: str, message: str) -> None:
    dataset = open_weather(make(), diagnostic=["tp"], static=["orography"])
    chosen = Normalization.model_validate({"transform": {variable: "log"}})
    dataset = replace(dataset, config=dataset.config.model_copy(update={"normalization": chosen}))
    with pytest.raises(ConfigError, match=message):
        statistics(dataset)
