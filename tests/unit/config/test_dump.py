"""Experiments written out, compared, and told apart."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credit_ray.config.dump import config_diff, dump_yaml, experiment_digest, flatten, science_digest
from credit_ray.config.loader import load_experiment
from credit_ray.errors import ConfigError

ELSEWHERE = [
    "resources.workers=2",
    "output=/scratch",
    "tracking.uri=http://127.0.0.1:5000",
    "data.sources.atmosphere.storage_options.secret=other",
    "data.sources.atmosphere.engine=fsspec",
    "data.sources.atmosphere.retry_seconds=9",
]


def test_a_written_config_is_the_same_experiment(base: Path) -> None:
    experiment = load_experiment(base, ["output=$${literal}", "tracking.experiment='1e-3'"])
    text = dump_yaml(experiment).replace("{secret: (hidden)}", "{secret: open sesame}")
    Path("again.yaml").write_text(text)
    again = load_experiment("again.yaml")
    assert (again.output, again.tracking.experiment) == ("${literal}", "1e-3")
    assert dump_yaml(again) == dump_yaml(experiment)
    assert experiment_digest(again) == experiment_digest(experiment)


def test_a_written_config_hides_credentials_and_can_not_pass_for_a_complete_one(base: Path) -> None:
    text = dump_yaml(load_experiment(base))
    assert "sesame" not in text
    Path("again.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"storage_options\.secret: was hidden"):
        load_experiment("again.yaml")


@pytest.mark.parametrize("setting", ELSEWHERE)
def test_the_science_does_not_depend_on_where_it_runs(base: Path, setting: str) -> None:
    assert science_digest(load_experiment(base, [setting])) == science_digest(load_experiment(base))


@pytest.mark.parametrize("setting", ["seed=2", "training.optimizer.lr=1e-4", "model.width=16", "data.history=2"])
def test_the_science_depends_on_everything_else(base: Path, setting: str) -> None:
    changed, unchanged = load_experiment(base, [setting]), load_experiment(base)
    assert science_digest(changed) != science_digest(unchanged)
    assert experiment_digest(changed) != experiment_digest(unchanged)


@pytest.mark.parametrize(
    "setting",
    [
        "forecast.lead=3d",
        "registry.alias=best",
        "data.ingest.prefetch=9",
        "training.checkpoint.every_minutes=1",
        "training.walltime=2h",
    ],
)
def test_what_comes_after_training_does_not_make_another_training(base: Path, setting: str) -> None:
    changed, unchanged = load_experiment(base, [setting]), load_experiment(base)
    assert science_digest(changed, "train") == science_digest(unchanged, "train")
    assert science_digest(changed) != science_digest(unchanged)


def test_the_training_depends_on_data_model_loss_and_training(base: Path) -> None:
    unchanged = science_digest(load_experiment(base), "train")
    for setting in ("seed=2", "training.optimizer.lr=1e-4", "model.width=16", "data.ingest.slab_bytes=2000000"):
        assert science_digest(load_experiment(base, [setting]), "train") != unchanged


def test_saying_a_default_changes_no_digest(base: Path) -> None:
    implicit = load_experiment(base)
    said = [f"model.width={implicit.model.arguments.width}", "training.schedule.final=0.0", "loss.kind=mse"]
    assert experiment_digest(load_experiment(base, said)) == experiment_digest(implicit)


def test_a_difference_names_key_and_both_values(base: Path) -> None:
    left = load_experiment(base)
    right = load_experiment(
        base, ["training.clip=null", "data.sources.atmosphere.prognostic=[u]", "loss.weights.variables={u: 2}"]
    )
    assert config_diff(left, left) == []
    assert sorted(config_diff(left, right)) == [
        ("data.sources.atmosphere.prognostic", '["u", "v"]', '["u"]'),
        ("loss.weights.variables", "{}", None),
        ("loss.weights.variables.u", None, 2.0),
        ("training.clip", 1.0, None),
    ]


KEYS = st.text("ab.", min_size=1, max_size=3)


VALUES = st.recursive(
    st.integers(), lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=2), max_leaves=6
)


@given(st.dictionaries(KEYS, VALUES, max_size=3))
def test_flat_keys_are_never_shared(tree: dict[str, object]) -> None:
    def leaves(part: object) -> int:
        if isinstance(part, dict) and part:
            return sum(map(leaves, part.values()))
        if isinstance(part, list) and any(isinstance(item, dict | list) for item in part):
            return sum(map(leaves, part))
        return 1

    flat = flatten(tree)
    assert len(flat) == (leaves(tree) if tree else 1)
    assert all(not isinstance(value, dict | list) for value in flat.values())
