"""Few numbers that say how good a model is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credit_ray.tracking.scores import Score, from_tag, headline, over_persistence, to_tag

numbers = st.floats(1e-6, 1e6)
scores = st.builds(
    Score,
    channel=st.sampled_from(["t2m", "z_500"]),
    lead=st.sampled_from(["6h", "5D"]),
    rmse=numbers,
    persistence=st.none() | numbers,
    climatology=st.none() | numbers,
)


@given(st.lists(scores, max_size=6))
def test_a_tag_keeps_scores_to_five_digits(given_scores: list[Score]) -> None:
    for mine, theirs in zip(given_scores, from_tag(to_tag(given_scores)), strict=True):
        assert (mine.channel, mine.lead) == (theirs.channel, theirs.lead)
        assert theirs.rmse == pytest.approx(mine.rmse, rel=1e-4)
        assert (mine.climatology is None) == (theirs.climatology is None)


def test_what_is_too_long_for_a_tag_keeps_first_and_last_lead_of_as_many_channels_as_fit() -> None:
    many = [Score(channel=f"z_{level}", lead=lead, rmse=1.0) for lead in ("6h", "1D", "5D") for level in range(100)]
    some = from_tag(to_tag(many, 6000 * 2))
    assert {s.lead for s in some} == {"6h", "5D"}
    assert len(some) == 200
    text = to_tag(many, 500)
    assert len(text) <= 500
    assert {s.lead for s in from_tag(text)} == {"6h", "5D"}


def test_skill_is_the_geometric_mean_over_channels_whatever_their_units() -> None:
    found = [Score(channel=c, lead="6h", rmse=r, persistence=p) for c, r, p in (("t2m", 1, 2), ("msl", 50, 400))]
    assert over_persistence(found, "6h") == pytest.approx(0.25)
    assert over_persistence(found, "5D") is None
    assert over_persistence([Score(channel="tp", lead="6h", rmse=1)], "6h") is None


def test_verified_forecasts_go_before_validation() -> None:
    found = [Score(channel="t2m", lead=lead, rmse=1, persistence=p) for lead, p in (("6h", 2), ("1D", 4), ("5D", 10))]
    assert headline(found, {"validation/score": 0.9}) == "6h 0.50, 5D 0.10"
    assert headline(found[:1], {}) == "6h 0.50"
    assert headline([], {"validation/score": 0.9}) == "0.900 (validation)"
    assert headline([], {}) == ""
