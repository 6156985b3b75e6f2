"""Weights of the channels: by variable, by level, by variance."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from credit_ray.config.model import LossWeights
from credit_ray.errors import ConfigError
from credit_ray.losses.channels import channel_weights
from credit_ray.state import Channel, Channels

LEVELS = (50.0, 200.0, 300.0, 400.0, 850.0, 1000.0)
CHANNELS = Channels(
    [
        *(Channel(variable="z", units="m2 s-2", level=level, vertical="pressure") for level in LEVELS),
        *(Channel(variable="q", units="kg kg-1", level=level, vertical="pressure") for level in (500.0, 1000.0)),
        Channel(variable="t2m", units="K"),
    ]
)
STATISTICS: Any = SimpleNamespace(std=dict.fromkeys(CHANNELS.names, 4.0), change_std=dict.fromkeys(CHANNELS.names, 0.5))


def weights(channels: Channels = CHANNELS, statistics: Any = STATISTICS, **given: Any) -> dict[str, float]:
    found = channel_weights(LossWeights.model_validate(given), channels, [2.0] * len(channels), statistics)
    return dict(zip(channels.names, found, strict=True))


def test_without_a_wish_all_channels_count_one() -> None:
    assert set(weights().values()) == {1.0}


def test_a_channels_own_weight_goes_before_its_variables() -> None:
    found = weights(variables={"z": 2, "z_300": 5, "t2m": 0})
    assert (found["z_50"], found["z_300"], found["t2m"], found["q_500"]) == (2, 5, 0, 1)


def test_weights_by_pressure_are_proportional_to_it_and_one_on_average_for_each_variable() -> None:
    found = weights(levels="pressure")
    assert found["z_1000"] / found["z_50"] == pytest.approx(20)
    assert found["q_1000"] / found["q_500"] == pytest.approx(2)
    assert sum(found[f"z_{level:g}"] for level in LEVELS) / len(LEVELS) == pytest.approx(1)
    assert found["q_1000"] + found["q_500"] == pytest.approx(2)
    assert found["t2m"] == 1


def test_tropopause_weights_are_equal_in_the_troposphere_and_fall_off_above() -> None:
    found = weights(levels="tropopause")
    assert found["z_400"] == found["z_850"] == found["z_1000"]
    assert found["z_200"] / found["z_50"] == pytest.approx(4)
    assert found["z_300"] == pytest.approx((found["z_200"] + found["z_400"]) / 2)
    assert sum(found[f"z_{level:g}"] for level in LEVELS) / len(LEVELS) == pytest.approx(1)


def test_sigma_levels_have_a_pressure() -> None:
    channels = Channels(Channel(variable="t", units="K", level=s, vertical="sigma") for s in (0.1, 0.5, 1.0))
    by_pressure, tropopause = weights(channels, levels="pressure"), weights(channels, levels="tropopause")
    assert by_pressure["t_s1"] / by_pressure["t_s0.1"] == pytest.approx(10)
    assert tropopause["t_s0.5"] == tropopause["t_s1"]


@pytest.mark.parametrize("vertical", ["model", "depth"])
def test_levels_without_a_pressure_are_refused_and_can_be_weighed_one_by_one(vertical: Any) -> None:
    channels = Channels(Channel(variable="t", units="K", level=level, vertical=vertical) for level in (2.5, 60.0))
    with pytest.raises(ConfigError, match=rf"levels.*t_{vertical[0]}2.5.*level of {vertical}"):
        weights(channels, levels="pressure")
    assert list(weights(channels, levels={"2.5": 0.5}).values()) == [0.5, 1.0]


def test_a_level_may_be_written_as_any_number() -> None:
    assert weights(levels={"50": 0.5, "1000.0": 3})["z_1000"] == 3


@pytest.mark.parametrize(("given", "factor"), [("output", 1.0), ("state", 0.25), ("change", 16.0)])
def test_errors_can_be_measured_against_another_variance(given: str, factor: float) -> None:
    assert set(weights(inverse_variance=given).values()) == {factor}


def test_all_of_them_multiply() -> None:
    found = weights(variables={"q": 3}, levels={"500": 0.5}, inverse_variance="state")
    assert (found["q_500"], found["q_1000"], found["z_300"]) == (0.375, 0.75, 0.25)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"variables": {"t2n": 1}}, r"loss.weights.variables.*'t2n'.*Did you mean 't2m'"),
        ({"levels": {"8500": 1}}, r"loss.weights.levels.*8500.*Did you mean '850'"),
    ],
)
def test_a_name_that_no_output_has_is_an_error_with_the_nearest_one(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        weights(**given)


def test_an_output_without_variance_is_named() -> None:
    still = SimpleNamespace(std=STATISTICS.std | {"t2m": 0.0}, change_std=STATISTICS.change_std)
    with pytest.raises(ConfigError, match="'t2m'.*does not vary"):
        weights(statistics=still, inverse_variance="state")
