"""The table of scores."""

from __future__ import annotations

import csv
import io
from typing import Any

import numpy as np
import pytest

from credit_ray.state import Channel, Channels
from credit_ray.times import Step
from credit_ray.verification.scores import MODEL, Scores, channel_title

SIX_HOURS = Step(seconds=21600)


def scores_of(channels: list[Channel], leads: int = 3, step: Step = SIX_HOURS) -> Scores:
    shape = (leads, len(channels))
    draw = np.random.default_rng(0)
    values = {(who, what): draw.random(shape) for who in (MODEL, "persistence") for what in ("rmse", "acc")}
    values[MODEL, "acc"][0, 0] = np.nan
    count = np.full(shape, 7)
    count[1] = 0
    return Scores(Channels(channels), np.arange(1, leads + 1), step, values, count)


LEVELS = [
    Channel(variable="q", units="kg kg-1", level=level, vertical="pressure") for level in (850.0, 700.0, 500.0)
] + [Channel(variable="z", units="m2 s-2", level=level, vertical="pressure") for level in (850.0, 500.0)]


def test_the_csv_is_tidy_and_has_every_score_once() -> None:
    scores = scores_of(LEVELS)
    rows = list(csv.DictReader(io.StringIO(scores.to_csv("unet v1"))))
    assert list(rows[0]) == ["model", "variable", "level", "lead_hours", "metric", "value", "n"]
    assert len(rows) == 2 * 2 * len(LEVELS) * 2  # forecasters, metrics, channels, and leads that have scores
    keys = [tuple(row[k] for k in ("model", "variable", "level", "lead_hours", "metric")) for row in rows]
    assert len(set(keys)) == len(rows)
    row = next(
        r
        for r in rows
        if r["model"] == "unet v1" and (r["variable"], r["level"], r["lead_hours"]) == ("z", "500", "18")
    )
    assert float(row["value"]) == pytest.approx(scores.value(MODEL, "rmse", 2, 4), rel=1e-8)
    assert row["n"] == "7"


def test_what_is_not_defined_is_empty_in_the_table() -> None:
    rows = list(scores_of(LEVELS).rows("m"))
    missing = [row for row in rows if row["value"] is None]
    assert [(row["metric"], row["variable"], row["level"]) for row in missing] == [("acc", "q", 850.0)]


def test_months_are_called_months() -> None:
    scores = scores_of([Channel(variable="sst", units="K")], step=Step(months=3))
    assert {row["lead_months"] for row in scores.rows("m")} == {3.0, 9.0}


def test_the_headline_has_one_level_of_each_variable() -> None:
    scores = scores_of([*LEVELS, Channel(variable="msl", units="Pa")])
    assert [scores.channels[i].name for i in scores.headline()] == ["z_500", "msl", "q_700"]


@pytest.mark.parametrize(
    ("model", "reference", "skill"), [(1.0, 2.0, 0.5), (2.0, 2.0, 0.0), (0.0, 3.0, 1.0), (3.0, 2.0, -0.5)]
)
def test_skill_is_the_part_of_a_baselines_error_that_is_gone(model: float, reference: float, skill: float) -> None:
    scores = scores_of([Channel(variable="msl", units="Pa")])
    scores.values[MODEL, "rmse"][0, 0], scores.values["persistence", "rmse"][0, 0] = model, reference
    assert scores.skill("persistence", 0, 0) == pytest.approx(skill)
    assert np.isnan(scores.skill("climatology", 0, 0))


@pytest.mark.parametrize(
    ("given", "title"),
    [
        (dict(variable="z", level=500.0, vertical="pressure"), "z 500 hPa"),
        (dict(variable="t", level=0.835, vertical="sigma"), "t σ 0.835"),
        (dict(variable="t", level=97.0, vertical="model"), "t level 97"),
        (dict(variable="so", level=2.5, vertical="depth"), "so 2.5 m"),
        (dict(variable="msl"), "msl"),
    ],
)
def test_channels_have_readable_names(given: dict[str, Any], title: str) -> None:
    assert channel_title(Channel(units="1", **given)) == title
