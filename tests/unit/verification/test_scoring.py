"""One pass over a store gives the scores of the textbook, whatever its blocks, gaps and masks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from credit_ray.errors import DataError, NotFiniteError
from credit_ray.verification import scoring
from credit_ray.verification.baselines import Climatology
from credit_ray.verification.scores import MODEL, Scores
from credit_ray.verification.scoring import score_forecasts

METRICS = ("rmse", "bias", "acc")
BASELINES = ("persistence", "climatology")
Plain = Callable[..., dict[str, float]]


def scores_of(world: Any, truth: Any, **options: Any) -> Scores:
    forecasts = world.forecasts()
    climatology = Climatology(world.climatology[None].astype(np.float32), "mean", "standard")
    given_ = {"metrics": METRICS, "baselines": BASELINES, "climatology": climatology, **options}
    return Scores.of(score_forecasts(forecasts, truth, **given_), forecasts, given_["metrics"])


def assert_textbook(scores: Scores, world: Any, plain: Plain, used: Any = None) -> None:
    """All scores of all forecasters, at every lead and channel."""
    used = np.ones((len(world.init), 5), bool) if used is None else used
    for channel, name in enumerate(("t_500", "t_850", "msl")):
        at = scores.channels.index(name)
        for lead in range(5):
            rows = used[:, lead]
            truth, climatology = world.verifying[rows, lead, channel], world.climatology[channel]
            said = {
                MODEL: world.forecast[rows, lead, channel],
                "persistence": world.truth[world.init[rows], channel],
                "climatology": np.broadcast_to(climatology, truth.shape),
            }
            for forecaster, fields in said.items():
                expected = plain(fields, truth, climatology)
                for metric in METRICS:
                    found = scores.value(forecaster, metric, lead, at)
                    if (forecaster, metric) == ("climatology", "acc"):
                        assert np.isnan(found)
                    else:
                        scale = expected["rmse"] if metric != "acc" else 1
                        assert found == pytest.approx(expected[metric], rel=2e-6, abs=2e-6 * scale), (
                            forecaster,
                            metric,
                            lead,
                            name,
                        )
            assert scores.count[lead, at] == rows.sum()


def test_scores_are_those_of_the_textbook(world: Any, make_truth: Any, plain_scores: Plain) -> None:
    assert_textbook(scores_of(world, make_truth(world)), world, plain_scores)


@pytest.mark.parametrize(("block", "cache"), [(1, 1), (5_000, 1000), (30_000, 10**6)])
def test_scores_do_not_depend_on_the_blocks_that_they_are_summed_in(
    world: Any, make_truth: Any, monkeypatch: pytest.MonkeyPatch, block: int, cache: int
) -> None:
    at_once = scores_of(world, make_truth(world))
    monkeypatch.setattr(scoring, "BLOCK_BYTES", block)
    monkeypatch.setattr(scoring, "_CACHE_VALUES", cache)
    in_blocks = scores_of(world, make_truth(world))
    for key, values in at_once.values.items():
        np.testing.assert_array_equal(in_blocks.values[key], values)


def test_truth_of_overlapping_forecasts_is_read_once(
    make_world: Any, make_truth: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = replace(make_world(), init=np.arange(6))  # from every step, five steps each: eleven times in all
    truth = make_truth(world)
    monkeypatch.setattr(scoring, "BLOCK_BYTES", 4 * 8 * 16 * 5)  # one level of one forecast
    scores_of(world, truth)
    assert truth.reads == 11 * 3


def test_times_without_truth_are_left_out_and_the_rest_is_scored(
    world: Any, make_truth: Any, plain_scores: Plain
) -> None:
    gone = int(world.init[2] + 3)
    truth = make_truth(world, absent=frozenset({gone}))
    used = (world.init[:, None] + np.arange(1, 6)[None]) != gone
    used[world.init == gone] = False  # persistence has no initial state there
    assert_textbook(scores_of(world, truth), world, plain_scores, used)


def test_no_truth_at_all_is_an_error_that_names_the_times(world: Any, make_truth: Any) -> None:
    with pytest.raises(DataError, match=r"none of the times .* 1970-01-0"):
        scores_of(world, make_truth(world, absent=frozenset(range(40))))


@pytest.mark.parametrize("where", ["truth", "forecast", "climatology", "everywhere"])
def test_places_that_do_not_exist_count_for_nothing(
    world: Any, make_truth: Any, plain_scores: Plain, where: str
) -> None:
    land = np.zeros(world.truth.shape[-2:], bool)
    land[2:5, 3:9] = True
    masked = {name: np.where(land, np.nan, getattr(world, name)) for name in ("truth", "forecast", "climatology")}
    world = replace(world, **(masked if where == "everywhere" else {where: masked[where]}))
    everywhere = replace(world, **{name: np.where(land, np.nan, values) for name, values in masked.items()})
    assert_textbook(scores_of(world, make_truth(world)), everywhere, plain_scores)


def test_a_mask_that_changes_with_time_leaves_out_only_what_is_missing_then(
    world: Any, make_truth: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = world.truth.copy()
    truth[world.init[1] + 2, :, :3] = np.nan  # sea ice, at one time
    world = replace(world, truth=truth)
    at_once = scores_of(world, make_truth(world))
    monkeypatch.setattr(scoring, "BLOCK_BYTES", 1)
    in_blocks = scores_of(world, make_truth(world))
    for key, values in at_once.values.items():
        np.testing.assert_allclose(in_blocks.values[key], values, rtol=1e-12)
    whole = scores_of(replace(world, truth=make_whole(world)), make_truth(replace(world, truth=make_whole(world))))
    untouched = np.setdiff1d(np.arange(5), world.init[1] + 2 - world.init - 1)
    np.testing.assert_allclose(
        at_once.values[MODEL, "rmse"][untouched], whole.values[MODEL, "rmse"][untouched], rtol=1e-6
    )


def make_whole(world: Any) -> Any:
    return np.nan_to_num(world.truth, nan=0.0)


def test_a_perfect_forecast_has_no_error_and_correlates_perfectly(world: Any, make_truth: Any) -> None:
    scores = scores_of(replace(world, forecast=world.verifying), make_truth(world))
    assert (scores.values[MODEL, "rmse"] == 0).all()
    assert (scores.values[MODEL, "bias"] == 0).all()
    np.testing.assert_allclose(scores.values[MODEL, "acc"], 1, rtol=0, atol=1e-12)


def test_a_constant_error_is_a_bias_of_that_size(world: Any, make_truth: Any) -> None:
    scores = scores_of(replace(world, forecast=world.verifying + 8.0), make_truth(world))
    np.testing.assert_allclose(scores.values[MODEL, "bias"], 8, rtol=1e-6)
    np.testing.assert_allclose(scores.values[MODEL, "rmse"], 8, rtol=1e-6)


def test_the_opposite_anomaly_has_a_correlation_of_minus_one(world: Any, make_truth: Any) -> None:
    mirrored = 2 * world.climatology - world.verifying
    scores = scores_of(replace(world, forecast=mirrored), make_truth(world))
    np.testing.assert_allclose(scores.values[MODEL, "acc"], -1, atol=1e-5)


def test_a_forecast_that_keeps_the_initial_state_scores_as_persistence(world: Any, make_truth: Any) -> None:
    kept = np.broadcast_to(world.truth[world.init][:, None], world.forecast.shape)
    scores = scores_of(replace(world, forecast=kept), make_truth(world))
    for metric in METRICS:
        np.testing.assert_allclose(scores.values[MODEL, metric], scores.values["persistence", metric], rtol=1e-5)


def test_an_error_near_the_pole_weighs_less_than_the_same_at_the_equator(world: Any, make_truth: Any) -> None:
    found = []
    for row in (0, 4):
        forecast = world.verifying.copy()
        forecast[..., row, :] += 50
        found.append(scores_of(replace(world, forecast=forecast), make_truth(world)).values[MODEL, "rmse"])
    areas = world.forecasts().grid.cell_areas()
    np.testing.assert_allclose(found[0] / found[1], np.sqrt(areas[0, 0] / areas[4, 0]), rtol=1e-4)


def test_a_monthly_climatology_follows_the_valid_time(make_world: Any, make_truth: Any, plain_scores: Plain) -> None:
    world = make_world()
    late = replace(world, init=np.array([121]))  # 1970-01-31 06 UTC: five steps that end in February
    truth = np.concatenate([world.truth] * 4)
    late = replace(late, truth=truth, forecast=late.forecast[:1])
    months = np.stack([world.climatology + month for month in range(12)]).astype(np.float32)
    scores = scores_of(late, make_truth(late), climatology=Climatology(months, "monthly", "standard"))
    for lead, month in ((0, 0), (4, 1)):
        expected = plain_scores(late.forecast[:, lead, 2], late.verifying[:, lead, 2], months[month, 2].astype(float))
        channel = scores.channels.index("msl")
        assert scores.value(MODEL, "acc", lead, channel) == pytest.approx(expected["acc"], rel=1e-5)


def test_the_initial_state_itself_is_not_scored(world: Any, make_truth: Any) -> None:
    forecasts = world.forecasts()
    shifted = forecasts.dataset.assign_coords(
        lead_time=forecasts.dataset["lead_time"] - forecasts.dataset["lead_time"][0]
    )
    totals = score_forecasts(replace(forecasts, dataset=shifted), make_truth(world), metrics=["rmse"])
    assert not totals.used[:, 0].any()
    assert totals.used[:, 1:].all()


def test_a_hole_in_one_forecast_is_an_error_that_says_where(world: Any, make_truth: Any) -> None:
    forecast = world.forecast.copy()
    forecast[3, 2, 1, 4, 4] = np.nan
    with pytest.raises(NotFiniteError, match=r"forecast of t_850 from .* for 18 h"):
        scores_of(replace(world, forecast=forecast), make_truth(world))


def test_a_store_that_lacks_a_variable_altogether_is_an_error(world: Any, make_truth: Any) -> None:
    forecast = world.forecast.copy()
    forecast[:, :, 2] = np.nan
    with pytest.raises(NotFiniteError, match="forecasts of msl have no values at all"):
        scores_of(replace(world, forecast=forecast), make_truth(world))


def test_progress_ends_at_its_total(world: Any, make_truth: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int]] = []
    monkeypatch.setattr(scoring, "BLOCK_BYTES", 1)
    scores_of(world, make_truth(world), progress=lambda done, total: seen.append((done, total)))
    assert seen[-1][0] == seen[-1][1] == 6 * 5 * 3
    assert seen == sorted(seen)
