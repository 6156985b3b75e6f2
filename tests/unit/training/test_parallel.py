"""However workers share the work, what comes out is what one of them would have computed: loss, gradient, trained weights."""

from __future__ import annotations

import multiprocessing
import runpy
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from credit_ray.config.training import Parallel, Resources
from credit_ray.errors import ConfigError
from credit_ray.registry import networks
from credit_ray.training.domain import Bands
from credit_ray.training.parallel import Workers

RANKS = Path(__file__).with_name("ranks.py")
TOLERANCE = 1e-9
HALF_TOLERANCE = 1e-3  # of weights that were trained in bfloat16
WORLDS = [2, pytest.param(4, marks=pytest.mark.slow)]


@pytest.fixture(scope="module", params=WORLDS)
def found(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What so many processes found, by case and layout; all of it by one group of them, since starting them is what takes time."""
    folder = tmp_path_factory.mktemp(f"ranks-{request.param}")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch.distributed.fsdp", "credit_ray.training.trainer"])
    arguments = {"WORLD": request.param, "FOLDER": str(folder)}
    processes = [
        context.Process(target=runpy.run_path, args=(str(RANKS), {"RANK": rank, **arguments}, "__main__"))
        for rank in range(request.param)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(250)
    assert [process.exitcode for process in processes] == [0] * request.param
    results: dict[str, Any] = torch.load(folder / "found.pt", weights_only=True)
    return results


def of(found: dict[str, Any], start: str) -> dict[str, dict[str, float]]:
    some = {name: result for name, result in found.items() if name.startswith(start)}
    assert some
    return some


@pytest.mark.parametrize("network", ["unet", "wxformer", "sfno", "samudra"])
def test_loss_and_gradient_are_those_of_one_worker(found: dict[str, Any], network: str) -> None:
    for name, result in of(found, network).items():
        assert result["loss"] <= TOLERANCE, name
        assert result["gradient"] <= TOLERANCE, name


def test_sharded_and_shared_out_training_ends_with_the_same_weights(found: dict[str, Any]) -> None:
    for name, result in of(found, "training float32").items():
        assert result["weights"] <= TOLERANCE, name


def test_what_was_saved_goes_on_in_another_layout(found: dict[str, Any]) -> None:
    for name, result in of(found, "training float32").items():
        assert result["gone on alone"] <= TOLERANCE, name


def test_the_package_of_sharded_weights_has_their_whole_average(found: dict[str, Any]) -> None:
    for name, result in of(found, "training float32").items():
        assert result["packaged"] <= 1e-7, name  # the average is kept in float32
        assert result["statics"] == 0, name


def test_sharded_weights_train_in_bfloat16(found: dict[str, Any]) -> None:
    for name, result in of(found, "training bfloat16").items():
        assert max(result.values()) <= HALF_TOLERANCE, name


def test_forecasts_score_as_those_of_one_worker(found: dict[str, Any]) -> None:
    for name, result in of(found, "scores").items():
        assert max(result.values()) <= 1e-5, name


def test_each_network_has_a_rule_that_was_tested_or_is_refused_by_name(found: dict[str, Any]) -> None:
    refused = found.get("every network on 1x1x2")
    if refused is None:
        pytest.skip("asked of two processes")
    tested = {name.split()[0] for name in found if " on 1x1x2" in name}
    for name in sorted(networks.builtin):
        assert name in tested or (f"'{name}'" in refused[name] and "no rule" in refused[name])


def test_bands_cover_the_rows_between_multiples_of_their_unit() -> None:
    bands = Bands.cut(181, 4, unit=8)
    assert bands.bounds[0] == 0
    assert bands.bounds[-1] == 181
    assert all(bound % 8 == 0 for bound in bands.bounds[1:-1])
    assert max(bands.rows) - min(bands.rows) <= 16
    assert sum(bands.rows) == 181


def test_more_bands_than_a_map_can_be_cut_into_are_refused() -> None:
    with pytest.raises(ConfigError, match="at most 4 bands"):
        Bands.cut(32, 5, unit=8)


def test_bands_of_a_coarser_map_begin_where_the_finer_ones_do() -> None:
    fine = Bands.cut(180, 3, unit=4)
    assert fine.strided(4, 45).bounds == tuple(bound // 4 for bound in fine.bounds)


@pytest.mark.parametrize(
    "parallel", [{"shard": 3}, {"data": 2, "domain": 3}, {"domain": 8}], ids=["shard", "data and domain", "domain"]
)
def test_a_mesh_that_the_workers_do_not_fill_is_refused(parallel: dict[str, int]) -> None:
    with pytest.raises(ValidationError, match=r"parallel\.domain"):
        Resources.model_validate({"workers": 4, "parallel": parallel})


def test_workers_without_a_mesh_share_windows_alone() -> None:
    workers = Workers(2, 3, torch.device("cpu"))
    assert (workers.batch_rank, workers.batch_world, workers.in_step) == (2, 3, False)
    assert Resources(workers=3).parallel == Parallel()
