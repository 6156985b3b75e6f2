"""A search's values reach the config, or are refused before a trial starts."""

from __future__ import annotations

from typing import Any

import pytest

from credit_ray.config.experiment import Experiment
from credit_ray.config.tuning import TuningConfig
from credit_ray.errors import ConfigError
from credit_ray.tuning.space import check_space, with_values


def experiment(**more: Any) -> Experiment:
    data = {
        "timestep": "6h",
        "sources": {"atmosphere": {"store": "a.zarr", "prognostic": ["u"]}},
        "splits": {"train": ["2000-01-01", "2000-02-01"], "validation": ["2000-03-01", "2000-03-09"]},
    }
    return Experiment.model_validate({"name": "x", "data": data, "model": {"network": "unet", "width": 16}, **more})


def test_values_replace_those_of_the_config_and_nothing_else() -> None:
    before = experiment()
    after = with_values(before, {"training.optimizer.lr": 0.005, "data.history": 2})
    assert after.training.optimizer.lr == 0.005
    assert after.data.history == 2
    assert after.model.arguments == before.model.arguments


def test_another_network_does_not_inherit_arguments_of_the_one_before() -> None:
    after = with_values(experiment(), {"model.network": "wxformer"})
    assert after.model.network == "wxformer"
    assert not hasattr(after.model.arguments, "multipliers")


def test_arguments_of_a_network_that_was_not_drawn_are_left_out() -> None:
    values = {"model.width": 8, "model.network": "linear"}
    assert with_values(experiment(), values).model.network == "linear"
    assert with_values(experiment(), values | {"model.network": "unet"}).model.arguments.width == 8


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"training.optimiser.lr": {"choice": [1e-3]}}, "no key 'training.optimiser.lr'"),
        ({"training.optimizer.lr": {"uniform": [-1.0, 1.0]}}, "training.optimizer.lr"),
        ({"model.network": {"choice": ["unet", "unett"]}}, "unett"),
        ({"model.widht": {"choice": [8]}}, "argument of none of unet"),
        ({"name.x": {"choice": [8]}}, "has no keys"),
    ],
)
def test_a_space_that_can_not_work_is_refused_with_its_key(space: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_space(experiment(), TuningConfig.model_validate({"space": space}))


def test_arguments_of_several_networks_may_be_searched_together() -> None:
    space = {"model.network": {"choice": ["unet", "linear"]}, "model.width": {"choice": [8, 16]}}
    check_space(experiment(), TuningConfig.model_validate({"space": space}))
    assert with_values(experiment(), {"model.network": "unet", "model.width": 8}).model.arguments.width == 8
