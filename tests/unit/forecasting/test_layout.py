"""What a forecast store looks like."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from credit_ray.errors import ConfigError
from credit_ray.forecasting.layout import ForecastLayout, kept_channels
from credit_ray.state import Channel, Channels
from credit_ray.times import Step, decode_times, parse_time

MakeLayout = Callable[..., ForecastLayout]


def on_levels(variable: str, *levels: float) -> list[Channel]:
    return [Channel(variable=variable, units="1", level=level, vertical="pressure") for level in levels]


def test_variables_share_a_level_dimension_only_where_their_levels_are_identical(make_layout: MakeLayout) -> None:
    channels = Channels(
        [
            *on_levels("u", 500, 850),
            *on_levels("v", 500, 850),
            *on_levels("q", 850),
            Channel(variable="msl", units="Pa"),
        ]
    )
    layout = make_layout(channels=channels)
    assert {v.name: v.level_dim for v in layout.variables} == {"u": "level", "v": "level", "q": "level_q", "msl": None}
    assert layout.coordinates["level"].values.tolist() == [500, 850]
    assert layout.coordinates["level_q"].values.tolist() == [850]


def test_every_channel_has_one_place(make_layout: MakeLayout) -> None:
    channels = Channels([*on_levels("u", 500), Channel(variable="msl", units="Pa"), *on_levels("u", 850)])
    positions = [i for variable in make_layout(channels=channels).variables for i in variable.positions]
    assert sorted(positions) == [0, 1, 2]


@pytest.mark.parametrize(
    ("step", "leads", "values", "units"),
    [
        (Step(seconds=21600), (1, 4), [6, 24], "hours"),
        (Step(seconds=900), (1, 2), [900, 1800], "seconds"),
        (Step(months=1), (0, 1, 12), [0, 1, 12], "months"),
        (Step(months=12), (1, 2), [12, 24], "months"),
    ],
)
def test_lead_time_is_a_duration_or_a_count_of_months(
    make_layout: MakeLayout, step: Step, leads: tuple[int, ...], values: list[int], units: str
) -> None:
    lead = make_layout(step=step, leads=leads).coordinates["lead_time"]
    assert lead.values.tolist() == values
    assert lead.attributes["units"] == units


def test_valid_times_follow_the_calendar(make_layout: MakeLayout) -> None:
    layout = make_layout(
        step=Step(months=1), calendar="noleap", leads=(1, 2), init_times=np.array([parse_time("2004-01-31", "noleap")])
    )
    valid = layout.coordinates["valid_time"]
    expected = [parse_time("2004-02-28", "noleap"), parse_time("2004-03-31", "noleap")]
    assert decode_times(valid.values[0], valid.attributes["units"], valid.attributes["calendar"]).tolist() == expected


def test_kept_channels_are_those_asked_for_and_surface_variables_need_no_level() -> None:
    outputs = Channels([*on_levels("u", 500, 850), *on_levels("q", 850), Channel(variable="msl", units="Pa")])
    assert kept_channels(outputs, None, None) == outputs
    assert kept_channels(outputs, None, [500]).names == ("u_500", "msl")
    assert kept_channels(outputs, ["q", "msl"], None).names == ("q_850", "msl")


@pytest.mark.parametrize(
    ("variables", "levels", "message"),
    [(["ul"], None, "Did you mean 'u'"), (None, [700], "no level 700. It has: 500, 850")],
)
def test_what_the_model_does_not_predict_can_not_be_kept(
    variables: list[str] | None, levels: list[float] | None, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        kept_channels(Channels([*on_levels("u", 500, 850)]), variables, levels)


@pytest.mark.parametrize("leads", [(), (2, 1), (1, 1), (-1, 1)])
def test_lead_times_ascend_each_once(make_layout: MakeLayout, leads: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError):
        make_layout(leads=leads)


def test_stores_of_different_content_have_different_identities(make_layout: MakeLayout) -> None:
    layout = make_layout()
    others = [
        make_layout(leads=(1, 2)),
        make_layout(init_times=np.array([0])),
        make_layout(channels=layout.channels[:2]),
    ]
    assert layout.identity() == make_layout().identity()
    assert all(other.identity() != layout.identity() for other in others)
