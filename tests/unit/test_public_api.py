"""What `import credit_ray` offers, and that it costs nothing until it is used."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from typing import Any

import pytest
import torch

import credit_ray
from credit_ray.grid.latlon import LatLonGrid
from credit_ray.normalizer import Normalizer
from credit_ray.package import save_package
from credit_ray.state import Channel, Channels, StateSpec
from credit_ray.stepper import Recipe, Stepper
from credit_ray.times import Step


def test_a_folder_is_loaded_to_the_stepper_that_was_saved(tmp_path: pytest.TempPathFactory) -> None:
    grid = LatLonGrid.gaussian(8)
    spec = StateSpec(prognostic=Channels([Channel(variable="t2m", units="K")]), step=Step(seconds=21600), grid=grid)
    scales: dict[str, Any] = {name: torch.ones(1) for name in ("input_mean", "input_std", "output_mean", "output_std")}
    recipe = Recipe(
        spec=spec, network="unet", arguments={"width": 4, "multipliers": (1,), "blocks": (1,)}, residual=True
    )
    stepper = Stepper(recipe, Normalizer(spec, **scales, residual=True), torch.zeros((0, *grid.shape)))
    save_package(stepper, f"{tmp_path}/model", summary={}, lineage={})
    loaded = credit_ray.load(f"{tmp_path}/model")
    assert not loaded.training
    for name, weight in stepper.network.state_dict().items():
        assert torch.equal(loaded.network.state_dict()[name], weight)


@pytest.mark.parametrize("name", [n for n in credit_ray.__all__ if n != "__version__"])
def test_each_public_name_is_there(name: str) -> None:
    assert callable(getattr(credit_ray, name))
    assert name in dir(credit_ray)
    assert getattr(credit_ray, name).__doc__


def test_what_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="forcast"):
        credit_ray.forcast  # noqa: B018


def test_importing_loads_nothing_but_the_standard_library() -> None:
    program = "import sys; before = set(sys.modules); import credit_ray; print(*sorted(set(sys.modules) - before))"
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in finished.stdout.split()}
    assert loaded - sys.stdlib_module_names == {"credit_ray"}


def test_the_lazy_table_names_modules_that_exist() -> None:
    assert all(find_spec(module) for module in credit_ray._WHERE.values())
