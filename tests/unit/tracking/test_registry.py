"""Models in and out of the registry, and what it says of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pytest

from credit_ray.config.experiment import Experiment
from credit_ray.errors import ConfigError, DataError, ModelNotFoundError, PackageError
from credit_ray.package import CARD, WEIGHTS, inspect_package, load_package
from credit_ray.tracking.browse import compare_models, list_models, model_card, show_model
from credit_ray.tracking.client import connect
from credit_ray.tracking.fetching import cache_folder
from credit_ray.tracking.registry import fetch_model, promote_model, record_scores, register_model
from credit_ray.tracking.runs import Run, start_run
from credit_ray.tracking.scores import Score
from credit_ray.tracking.trace import trace
from credit_ray.tracking.versions import ModelName

MakePackage = Callable[..., Path]
SCORES = [
    Score(channel="t2m", lead="6h", rmse=1.0, persistence=2.0, climatology=4.0),
    Score(channel="msl", lead="6h", rmse=50.0, persistence=400.0),
    Score(channel="t2m", lead="5D", rmse=3.0, persistence=4.0),
    Score(channel="msl", lead="5D", rmse=300.0, persistence=400.0),
]


@pytest.fixture
def run(experiment: Experiment) -> Run:
    with start_run(experiment, stage="train") as made:
        return made


@pytest.fixture
def two(run: Run, make_package: MakePackage) -> Run:
    """Versions 1 and 2 of `tiny`; the second is the candidate."""
    for seed in (1, 2):
        run.register(make_package(seed, lineage=run.lineage), metrics={"validation/score": 0.5 / seed})
    return run


def test_a_registered_package_is_fetched_by_alias_by_version_and_by_run(
    run: Run, make_package: MakePackage, uri: str
) -> None:
    package = make_package(lineage=run.lineage)
    assert run.register(package) == "1"
    for name in ("models:/tiny@candidate", "models:/tiny/1", f"runs:/{run.run_id}", f"runs:/{run.run_id}/package"):
        fetched = fetch_model(name, uri)
        assert load_package(fetched.directory, digest=fetched.digest).digest == inspect_package(package).digest
        assert fetched.run_id == run.run_id
    by_alias = fetch_model("models:/tiny@candidate", uri)
    assert (by_alias.name, by_alias.version, by_alias.alias) == ("tiny", "1", "candidate")
    assert by_alias.uri == "models:/tiny/1", "an alias moves, a forecast's lineage must not"
    assert by_alias.lineage()["model_digest"] == by_alias.digest


def test_mlflows_own_client_finds_the_package_too(
    run: Run, make_package: MakePackage, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.register(make_package())
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    import mlflow

    downloaded = mlflow.artifacts.download_artifacts("models:/tiny@candidate")
    assert load_package(downloaded).digest == fetch_model("models:/tiny@candidate").digest


def test_a_local_package_is_used_where_it_is(run: Run, make_package: MakePackage, uri: str) -> None:
    run.register(make_package())
    assert "mlartifacts" in fetch_model("models:/tiny/1", uri).directory.parts
    folder = make_package(5)
    assert fetch_model(str(folder)).directory == folder
    assert fetch_model(folder.as_uri()).directory == folder
    assert not cache_folder().exists()


def test_a_package_at_a_url_comes_into_the_cache_once(
    make_package: MakePackage, monkeypatch: pytest.MonkeyPatch
) -> None:
    package, store = make_package(6), fsspec.filesystem("memory")
    store.put(str(package), "/bucket/model", recursive=True)
    fetched = fetch_model("memory://bucket/model")
    assert fetched.directory.parent == cache_folder()
    assert fetched.digest == inspect_package(package).digest
    (fetched.directory / WEIGHTS).touch()  # a mark: it would be replaced by another download
    before = (fetched.directory / WEIGHTS).stat().st_mtime_ns
    store.pipe_file("/bucket/model/card.md", b"# scores have arrived")
    again = fetch_model("memory://bucket/model")
    assert (again.directory / WEIGHTS).stat().st_mtime_ns == before
    assert inspect_package(again.directory).card == "# scores have arrived"


def test_a_damaged_package_at_a_url_leaves_nothing_in_the_cache(make_package: MakePackage) -> None:
    store = fsspec.filesystem("memory")
    store.put(str(make_package(7)), "/bucket/damaged", recursive=True)
    store.pipe_file(f"/bucket/damaged/{WEIGHTS}", b"not weights")
    with pytest.raises(PackageError, match=WEIGHTS):
        fetch_model("memory://bucket/damaged")
    with pytest.raises(PackageError, match="memory://bucket/nothing"):
        fetch_model("memory://bucket/nothing")
    assert list(cache_folder().iterdir()) == []


def test_a_registered_package_that_was_altered_is_not_fetched(run: Run, make_package: MakePackage, uri: str) -> None:
    run.register(make_package(1))
    directory = fetch_model("models:/tiny/1", uri).directory
    shutil.rmtree(directory)
    shutil.copytree(make_package(2), directory)  # sound, but another model
    with pytest.raises(PackageError, match="another model"):
        fetch_model("models:/tiny/1", uri)


def test_registering_again_makes_no_second_version(run: Run, make_package: MakePackage) -> None:
    package = make_package()
    assert run.register(package) == run.register(package) == "1"
    assert run.register(make_package(1)) == "2"


def test_a_damaged_package_is_not_registered(run: Run, make_package: MakePackage, uri: str) -> None:
    package = make_package()
    (package / WEIGHTS).write_bytes(b"")
    with pytest.raises(PackageError):
        run.register(package)
    assert list_models(tracking_uri=uri).versions == ()
    assert "No model is registered" in str(list_models(tracking_uri=uri))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("models:/tin@candidate", "Did you mean 'tiny'"),
        ("models:/tiny@champion", "There is: candidate"),
        ("models:/tiny/7", "Versions: 2, 1; aliases: candidate"),
        ("runs:/nothing", "nothing"),
    ],
)
def test_what_does_not_exist_is_answered_with_what_does(two: Run, uri: str, asked: str, said: str) -> None:
    with pytest.raises(ModelNotFoundError, match=said):
        fetch_model(asked, uri)


def test_promotion_keeps_the_previous_champion(two: Run, uri: str) -> None:
    assert promote_model("tiny", tracking_uri=uri).version == "2", "the candidate, where no version is given"
    assert promote_model("tiny", 1, tracking_uri=uri).aliases == ("champion",)
    assert show_model("tiny@previous", tracking_uri=uri).version.version == "2"
    promote_model("tiny", 1, tracking_uri=uri)
    assert show_model("tiny@previous", tracking_uri=uri).version.version == "2", (
        "promoting the champion changes nothing"
    )
    assert promote_model("tiny", "2", "nightly", tracking_uri=uri).aliases == ("candidate", "nightly", "previous")


def test_a_bare_name_means_the_champion_then_the_candidate_then_the_newest(two: Run, uri: str) -> None:
    assert show_model("tiny", tracking_uri=uri).version.version == "2"
    promote_model("tiny", 1, tracking_uri=uri)
    assert show_model("tiny", tracking_uri=uri).version.version == "1"
    client = connect(uri)
    for alias in ("champion", "candidate"):
        client.delete_registered_model_alias("tiny", alias)
    assert show_model("tiny", tracking_uri=uri).version.version == "2"


@pytest.mark.parametrize("text", ["models:/a/b/c", "a@b@c", "a/latest", "models:/", ""])
def test_what_is_no_name_of_a_model_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="models:/NAME@ALIAS"):
        ModelName.parse(text)


def test_the_list_shows_each_version_with_its_headline(two: Run, uri: str) -> None:
    lines = str(list_models(tracking_uri=uri)).splitlines()
    assert lines[0].split() == ["name", "version", "aliases", "grid", "step", "RMSE/persistence", "registered"]
    assert lines[1].startswith("tiny  2        candidate  8×16 Gaussian grid (T5)  6h    0.250 (validation)")
    assert lines[2].startswith("tiny  1        –          8×16 Gaussian grid (T5)  6h    0.500 (validation)")


def test_more_versions_than_fit_on_a_page_are_all_listed(two: Run, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("credit_ray.tracking.versions._PAGE", 1)
    connect(uri).create_registered_model("another")
    connect(uri).create_model_version("another", "s3://bucket/model")
    versions = list_models(tracking_uri=uri).versions
    assert [(v.name, v.version) for v in versions] == [("another", "1"), ("tiny", "2"), ("tiny", "1")]


def test_a_second_package_of_a_run_leaves_the_first_as_it_is(two: Run, make_package: MakePackage, uri: str) -> None:
    for version, seed in (("1", 1), ("2", 2)):
        fetched = fetch_model(f"models:/tiny/{version}", uri)
        assert fetched.digest == inspect_package(make_package(seed, lineage=two.lineage)).digest


def test_scores_of_forecasts_reach_tags_card_and_description(two: Run, uri: str) -> None:
    version = record_scores("models:/tiny/1", SCORES, period="test 2021", tracking_uri=uri)
    assert version.tags["rmse_over_persistence"] == "6h 0.25, 5D 0.75", (
        "geometric means of 0.5 and 0.125, of 0.75 twice"
    )
    assert version.tags["score_period"] == "test 2021"
    shown = show_model("tiny/1", tracking_uri=uri)
    assert shown.scores == SCORES
    assert "6h 0.250, 5D 0.750" in str(shown)
    assert "| `msl` | 6h | 50 | 400 |" in model_card("tiny/1", tracking_uri=uri)
    assert "6h 0.25, 5D 0.75" in str(connect(uri).get_model_version("tiny", "1").description)


def test_what_scoring_changes_is_outside_the_digest(two: Run, uri: str) -> None:
    before = fetch_model("models:/tiny/2", uri)
    record_scores("tiny/2", SCORES, period="test", tracking_uri=uri)
    after = fetch_model("models:/tiny/2", uri)
    assert after.digest == before.digest
    assert load_package(after.directory, digest=before.digest)


def test_the_card_says_what_the_model_is_and_where_it_comes_from(run: Run, make_package: MakePackage, uri: str) -> None:
    origin = {"attribution": {"atmosphere": {"license": "CC BY 4.0", "attribution": "contains Copernicus information"}}}
    run.register(make_package(lineage=run.lineage | origin), metrics={"validation/score": 0.4})
    card = (fetch_model("models:/tiny/1", uri).directory / CARD).read_text()
    for text in (
        "# tiny",
        "A `unet` with",
        "parameters that steps `t2m`, `msl` forward by 6h",
        "**0.400 (validation)**",
        "| `msl` | prognostic |  | Pa | instantaneous |",
        "2020-01-01 to 2020-12-31",
        "`https://example.org/weather.zarr`",
        "`mse`",
        "width 4",
        run.run_id,
        "CC BY 4.0",
        "## Intended use and limits",
    ):
        assert text in card


def test_a_packages_folder_has_a_card_too(make_package: MakePackage, uri: str) -> None:
    assert model_card(str(make_package()), tracking_uri=uri).startswith("# 0\n")


def test_a_comparison_shows_what_differs_and_only_that(
    run: Run, experiment: Experiment, vary: Callable[..., Experiment], make_package: MakePackage, uri: str
) -> None:
    run.register(make_package(1, lineage=run.lineage, summary={"steps": 10}))
    with start_run(vary(training__optimizer={"lr": 0.01}), stage="train") as other:
        other.register(make_package(2, lineage=other.lineage, summary={"steps": 20}))
    for version, factor in (("1", 1.0), ("2", 0.5)):
        scores = [Score(channel="t2m", lead="6h", rmse=2 * factor, persistence=4.0)]
        record_scores(f"tiny/{version}", scores, period="test", tracking_uri=uri)
    found = compare_models("tiny/1", "tiny/2", tracking_uri=uri)
    differing = {what for what, _, _ in found.differences}
    assert differing == {"RMSE/persistence", "training.optimizer.lr", "steps"}
    assert found.scores == (("t2m", "6h", 2.0, 1.0),)
    assert "-50.0 %" in str(found)
    assert "the same" in str(compare_models("tiny/1", "tiny/1", tracking_uri=uri))


def write_store(folder: Path, attributes: dict[str, Any]) -> str:
    folder.mkdir()
    (folder / "zarr.json").write_text(json.dumps({"zarr_format": 3, "node_type": "group", "attributes": attributes}))
    return str(folder)


def test_a_forecast_is_traced_to_model_run_data_code_and_config(
    run: Run, make_package: MakePackage, uri: str, tmp_path: Path
) -> None:
    run.register(make_package(3, lineage=run.lineage | {"data_digest": "d" * 64}))
    attributes = fetch_model("models:/tiny@candidate", uri).lineage() | {
        "data_digest": "f" * 64,
        "Conventions": "CF-1.11",
    }
    found = trace(write_store(tmp_path / "forecast.zarr", attributes), tracking_uri=uri)
    assert found.model is not None
    assert found.model.uri == "models:/tiny/1"
    assert found.run["run_id"] == run.run_id
    assert found.lineage["data_digest"] == "d" * 64
    assert found.lineage["code_revision"] == run.lineage["code_revision"]
    assert found.lineage["config"]["training"]["batch_size"] == 8
    assert found.forecast["data_digest"] == "f" * 64
    text = str(found)
    for part in (
        "→ model models:/tiny/1",
        f"→ run {run.run_id}",
        f"→ data {'d' * 64}",
        "→ code 0.1.0",
        "training.batch_size",
    ):
        assert part in text


def test_a_package_and_a_registered_name_are_traced_alike(two: Run, make_package: MakePackage, uri: str) -> None:
    by_name = trace("tiny/2", tracking_uri=uri)
    by_folder = trace(str(make_package(2, lineage=two.lineage)), tracking_uri=uri)
    assert by_folder.model == by_name.model
    assert by_folder.lineage == by_name.lineage
    stranger = trace(str(make_package(9)), tracking_uri=uri)
    assert stranger.model is None
    assert "not in this registry" in str(stranger)


@pytest.mark.parametrize("attributes", [{}, None])
def test_what_has_no_lineage_is_refused(uri: str, tmp_path: Path, attributes: dict[str, Any] | None) -> None:
    folder = tmp_path / "some.zarr"
    place = write_store(folder, attributes) if attributes is not None else str(tmp_path)
    with pytest.raises(DataError, match="some.zarr|neither"):
        trace(place, tracking_uri=uri)


def test_the_registry_may_be_read_by_another_tools_models_too(uri: str) -> None:
    client = connect(uri)
    client.create_registered_model("forest")
    client.create_model_version("forest", "s3://bucket/model")
    (version,) = list_models(tracking_uri=uri).versions
    assert version.digest is None
    assert "forest  1        –        –     –     –" in str(list_models(tracking_uri=uri))


def test_a_model_may_be_registered_without_a_driver(run: Run, make_package: MakePackage, uri: str) -> None:
    version = register_model(make_package(), run_id=run.run_id, name="by-hand", tracking_uri=uri)
    assert (version.name, version.version, version.aliases) == ("by-hand", "1", ())
