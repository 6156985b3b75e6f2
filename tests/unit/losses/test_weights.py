"""Who counts how much."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from credit_ray.errors import ConfigError
from credit_ray.losses.weights import loss_weights

AREA = torch.tensor([[1.0], [3.0], [2.0]]).expand(3, 4)
MASK = torch.tensor([[True, True, False, True]]).expand(3, 4)
BOTH = torch.stack([MASK, torch.ones(3, 4, dtype=torch.bool)])


@given(weights=st.lists(st.floats(0.1, 10), min_size=2, max_size=2), area=st.booleans(), masked=st.booleans())
def test_the_mean_weight_of_what_exists_is_one(weights: list[float], area: bool, masked: bool) -> None:
    found = loss_weights(area=AREA if area else None, channels=weights, mask=BOTH if masked else None, grid=(3, 4))
    assert found.shape == (2, 3, 4)
    assert float(found[found > 0].mean()) == pytest.approx(1.0, rel=1e-5)
    assert torch.equal(found > 0, BOTH if masked else torch.ones_like(BOTH))


def test_a_channels_share_is_its_weight_however_much_of_the_globe_it_covers() -> None:
    found = loss_weights(area=AREA, channels=[2.0, 5.0], mask=BOTH, grid=(3, 4)).sum((1, 2))
    assert float(found[1] / found[0]) == pytest.approx(2.5)


def test_places_count_by_their_area() -> None:
    found = loss_weights(area=AREA, channels=[1.0, 1.0], mask=BOTH, grid=(3, 4))
    for channel in found:
        torch.testing.assert_close(channel[1] / channel[0].clamp(min=1e-9), 3.0 * (channel[1] > 0))


def test_a_channel_of_weight_zero_takes_nothing_from_the_others() -> None:
    alone = loss_weights(area=AREA, channels=[1.0], mask=None, grid=(3, 4))
    beside = loss_weights(area=AREA, channels=[1.0, 0.0], mask=None, grid=(3, 4))
    torch.testing.assert_close(beside[0], alone[0])
    assert not beside[1].any()


@pytest.mark.parametrize("channels", [[0.0, 0.0], [1.0, -1.0]])
def test_weights_that_make_no_sense_are_refused(channels: list[float]) -> None:
    with pytest.raises(ConfigError, match="weight"):
        loss_weights(area=None, channels=channels, mask=None, grid=(3, 4))
