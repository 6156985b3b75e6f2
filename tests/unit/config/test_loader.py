"""From files, settings and the environment to one experiment, or to everything that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from credit_ray.config.loader import Setting, load_experiment, resolve
from credit_ray.errors import ConfigError


def problems(path: Path | str, *overrides: str | Setting) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_experiment(path, overrides)
    assert caught.value.exit_code == 2
    return str(caught.value).splitlines()


def test_a_config_becomes_an_experiment(base: Path) -> None:
    experiment = load_experiment(base)
    assert experiment.training.optimizer.lr == 1e-3
    assert experiment.data.splits.train == ("2020-01-01", "2020-12-31")
    assert experiment.output == "runs"


def test_a_config_is_laid_over_those_it_extends_relative_to_itself(base: Path) -> None:
    Path("sub/deep").mkdir(parents=True)
    Path("sub/middle.yaml").write_text("extends: ../base.yaml\nseed: 2\ntraining: {batch_size: 4}\n")
    Path("sub/other.yaml").write_text("training: {clip: 0.5}\nseed: 3\n")
    Path("sub/deep/top.yaml").write_text("extends: [../middle.yaml, ../other.yaml]\nname: top\n")
    experiment = load_experiment("sub/deep/top.yaml")
    assert (experiment.name, experiment.seed) == ("top", 3)
    assert (experiment.training.batch_size, experiment.training.clip) == (4, 0.5)
    assert experiment.training.optimizer.lr == 1e-3


def test_null_in_a_child_sets_null_and_a_list_replaces_a_list(base: Path) -> None:
    Path("child.yaml").write_text(
        "extends: base.yaml\ntraining: {clip: null, curriculum: [{epoch: 0, steps: 3}]}\ndata: {splits: {validation: null}}\n"
    )
    experiment = load_experiment("child.yaml")
    assert experiment.training.clip is None
    assert experiment.data.splits.validation is None
    assert [stage.steps for stage in experiment.training.curriculum] == [3]


def test_settings_win_over_files_and_their_values_are_yaml(base: Path) -> None:
    experiment = load_experiment(
        base,
        [
            "training.optimizer.lr=2e-4",
            "training.curriculum.1.steps=4",
            "training.optimizer={weight_decay: 0}",
            Setting(key="forecast.lead", value="10d", given="--lead 10d"),
            'tuning.space."training.optimizer.lr".loguniform=[1e-4, 1e-2]',
        ],
    )
    assert (experiment.training.optimizer.lr, experiment.training.optimizer.weight_decay) == (2e-4, 0)
    assert experiment.training.curriculum[1].steps == 4
    assert experiment.forecast.lead == "10d"
    assert experiment.tuning is not None
    assert experiment.tuning.space["training.optimizer.lr"].loguniform == (1e-4, 1e-2)


def test_variables_of_the_environment_are_filled_in(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDIT_RAY_TEST_OUTPUT", "/scratch/me")
    monkeypatch.setenv("CREDIT_RAY_TEST_SEED", "7")
    monkeypatch.setenv("CREDIT_RAY_TEST_EMPTY", "")
    tree = resolve(
        base,
        [
            "seed=${CREDIT_RAY_TEST_SEED}",
            "name=a-${CREDIT_RAY_TEST_SEED}",
            "output='${CREDIT_RAY_TEST_SEED}'",
            "training.clip=${CREDIT_RAY_TEST_EMPTY}",
            "training.ema=${CREDIT_RAY_TEST_EMPTY:-0.9}",
            "tracking.uri=$${literal}",
        ],
    )
    assert (tree["seed"], tree["name"], tree["output"]) == (7, "a-7", "7")
    assert (tree["training"]["clip"], tree["training"]["ema"]) == (None, 0.9)
    assert tree["tracking"]["uri"] == "${literal}"
    assert resolve(base)["output"] == "/scratch/me"


def test_all_unset_variables_are_named_with_their_keys(base: Path) -> None:
    base.write_text(
        base.read_text() + "tracking:\n  uri: ${CREDIT_RAY_TEST_A}\n  experiment: x-${CREDIT_RAY_TEST_B}-${1}\n"
    )
    first, second, third = problems(base)
    assert first.startswith("base.yaml:21: tracking.uri: ")
    assert "CREDIT_RAY_TEST_A" in first
    assert "CREDIT_RAY_TEST_B" in second
    assert "'${1}'" in third


def test_a_variable_that_a_child_overrides_need_not_be_set(base: Path) -> None:
    Path("child.yaml").write_text("extends: base.yaml\noutput: ${CREDIT_RAY_TEST_NOT_SET}\n")
    Path("grandchild.yaml").write_text("extends: child.yaml\noutput: here\n")
    assert load_experiment("grandchild.yaml").output == "here"


def test_problems_of_all_files_and_settings_are_said_at_once_each_with_its_place(base: Path) -> None:
    base.write_text(base.read_text().replace("batch_size: 8", "batch_size: eight"))
    Path("child.yaml").write_text("extends: base.yaml\n\nmodl: {}\n")
    found = problems("child.yaml", "training.ema=abc", Setting(key="forecast.lead", value=3, given="--lead 3"))
    assert found == [
        '--lead 3: forecast.lead: should be a text, not 3. Quote it to make it a text: "3".',
        "--set training.ema=abc: training.ema: should be a number, not 'abc'.",
        "base.yaml:15: training.batch_size: should be a whole number, not 'eight'.",
        found[3],
    ]
    assert found[3].startswith("child.yaml:3: modl: is not a key here. Did you mean 'model'?")


def test_a_circle_of_extends_is_shown(base: Path) -> None:
    Path("a.yaml").write_text("extends: b.yaml\n")
    Path("b.yaml").write_text("\nextends: a.yaml\n")
    assert problems("a.yaml") == ["b.yaml:2: extends: goes in a circle: a.yaml → b.yaml → a.yaml."]


def test_a_missing_file_is_named_with_those_that_are_near(base: Path) -> None:
    assert problems("bas.yaml") == ["bas.yaml: no such file. Did you mean 'base.yaml'? There is: base.yaml."]
    Path("child.yaml").write_text("extends: bases.yaml\n")
    assert problems("child.yaml")[0].startswith(
        "child.yaml:1: extends: bases.yaml: no such file. Did you mean 'base.yaml'?"
    )
    assert "nowhere" in problems("nowhere/at/all.yaml")[0]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"- 1\n- 2\n", "one list"),
        (b"just text\n", "one value"),
        (b"\xff\xfe\x00", "UTF-8"),
        (b"extends: 3\n", "extends: should be the path"),
        (b"extends: {a: b}\n", "extends: should be the path"),
        (b"extends: ${CREDIT_RAY_TEST_NOT_SET}\n", "CREDIT_RAY_TEST_NOT_SET"),
    ],
)
def test_a_file_that_is_no_config_is_refused(base: Path, content: bytes, said: str) -> None:
    Path("wrong.yaml").write_bytes(content)
    (message,) = problems("wrong.yaml")
    assert message.startswith("wrong.yaml")
    assert said in message


def test_a_folder_is_no_config(base: Path) -> None:
    Path("folder").mkdir()
    assert problems("folder") == ["folder: can't be read: is a directory."]


def test_an_empty_file_lacks_what_is_required(base: Path) -> None:
    Path("empty.yaml").write_text("# nothing yet\n")
    found = problems("empty.yaml")
    assert [line.split(":")[1].strip() for line in found] == ["data", "name"]
    assert all("is missing" in line for line in found)


@pytest.mark.parametrize(
    "setting", ["training", "training..lr=3", "=3", "training.curriculum.7.steps=1", "training.ema=[1"]
)
def test_a_setting_that_can_not_be_read_is_named(base: Path, setting: str) -> None:
    (message,) = problems(base, setting)
    assert message.startswith(f"--set {setting}: ")


def test_credentials_never_reach_a_message(base: Path) -> None:
    said = problems(base, "data.sources.atmosphere.storage_options=open sesame", "seed=x")
    assert "data.sources.atmosphere.storage_options: should be names with values" in said[0]
    assert "sesame" not in "".join(said)
