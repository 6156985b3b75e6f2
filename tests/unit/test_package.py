"""A package gives the same model again, or says what is wrong with it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from credit_ray.errors import PackageError
from credit_ray.grid.latlon import LatLonGrid
from credit_ray.models.arguments import NetworkShape
from credit_ray.normalizer import Normalizer
from credit_ray.package import CARD, CONSTANTS, MANIFEST, WEIGHTS, inspect_package, load_package, save_package
from credit_ray.registry import networks
from credit_ray.state import Channel, Channels, State, StateSpec
from credit_ray.stepper import Recipe, Stepper
from credit_ray.times import Step, parse_time

GRID = LatLonGrid.gaussian(6)
SPEC = StateSpec(
    prognostic=Channels(
        [
            Channel(variable="q", units="kg kg-1", level=500, vertical="pressure"),
            Channel(variable="q", units="kg kg-1", level=850, vertical="pressure"),
            Channel(variable="sst", units="K"),
        ]
    ),
    diagnostic=Channels([Channel(variable="tp", units="m", kind="accumulated")]),
    forcing=Channels([Channel(variable="toa", units="W m-2", at="input")]),
    static=Channels([Channel(variable="lsm", units="1")]),
    history=2,
    step=Step(seconds=21600),
    grid=GRID,
)
SUMMARY = {"steps": 12, "validation/score": 0.5}
LINEAGE = {"run_id": "r1", "data_digest": "d1", "code_revision": "c1"}


@dataclass(frozen=True, kw_only=True)
class MixArguments:
    """Of the network below."""

    width: int = 3


@networks.register("package_test_mix", arguments=MixArguments)
class Mix(nn.Module):
    """A mixture of channels with tied weights, a buffer, and a scalar without dimensions."""

    steps: Tensor

    def __init__(self, arguments: MixArguments, shape: NetworkShape) -> None:
        super().__init__()
        self.inner = nn.Conv2d(shape.history * shape.in_channels, arguments.width, 1)
        self.outer = nn.Conv2d(arguments.width, shape.out_channels, 1)
        self.again = nn.Conv2d(arguments.width, shape.out_channels, 1)
        self.again.weight = self.outer.weight
        self.gain = nn.Parameter(torch.rand(()))
        self.register_buffer("steps", torch.arange(3))

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.inner(x.flatten(1, 2)).tanh()
        return self.gain * (self.outer(hidden) + self.again(hidden))


def new_stepper(seed: int = 0, *, masked: bool = True, climatology: bool = True) -> Stepper:
    draw = torch.Generator().manual_seed(seed)
    inputs, outputs = len(SPEC.inputs), len(SPEC.outputs)
    mask = torch.rand((inputs, *GRID.shape), generator=draw) > 0.2 if masked else None
    normalizer = Normalizer(
        SPEC,
        input_mean=torch.rand(inputs, generator=draw),
        input_std=torch.rand(inputs, generator=draw) + 0.5,
        output_mean=torch.rand(outputs, generator=draw),
        output_std=torch.rand(outputs, generator=draw) + 0.5,
        residual=True,
        mask=mask,
    )
    recipe = Recipe(
        spec=SPEC,
        network="package_test_mix",
        arguments={"width": 2},
        residual=True,
        constraints=({"kind": "positive", "variables": ("q", "tp")},),
    )
    means = torch.rand((12, outputs, *GRID.shape), generator=draw)
    means[:, 2, :2] = torch.nan  # land
    torch.manual_seed(seed)
    statics = torch.rand((1, *GRID.shape), generator=draw)
    return Stepper(recipe, normalizer, statics, means if climatology else None).eval()


def outputs_of(stepper: Stepper) -> Tensor:
    draw = torch.Generator().manual_seed(1)
    state = State(
        fields=torch.rand((3, 2, 3, *GRID.shape), generator=draw),
        forcing=torch.rand((3, 1, 1, *GRID.shape), generator=draw),
        valid_time=np.array([parse_time("2000-01-01")] * 3),
    )
    forcings = list(torch.rand((4, 3, 1, *GRID.shape), generator=draw))
    with torch.inference_mode():
        return torch.stack([result.outputs for result in stepper.rollout(stepper.start(state), forcings)])


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_package(
        new_stepper(), tmp_path_factory.mktemp("package") / "model", summary=SUMMARY, lineage=LINEAGE
    ).directory


@pytest.fixture
def copy(package: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(package, tmp_path / "copy"))


def rewrite(package: Path, change: Callable[[dict], None]) -> None:
    """Change package.json and seal it again, as a program of ours would that wrote something else."""
    from credit_ray.package import _sealed

    body = json.loads((package / MANIFEST).read_text())
    body.pop("sha256")
    change(body)
    (package / MANIFEST).write_bytes(_sealed(body, package))


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("climatology", [True, False])
def test_a_loaded_model_has_the_same_weights_and_outputs_to_the_last_bit(
    tmp_path: Path, masked: bool, climatology: bool
) -> None:
    stepper = new_stepper(3, masked=masked, climatology=climatology)
    saved = save_package(stepper, tmp_path / "model", summary=SUMMARY, lineage=LINEAGE)
    loaded = load_package(tmp_path / "model", digest=saved.digest)
    mine, theirs = stepper.state_dict(), loaded.stepper.state_dict()
    assert mine.keys() == theirs.keys()
    for name, value in mine.items():
        assert value.dtype == theirs[name].dtype
        assert torch.equal(torch.nan_to_num(value), torch.nan_to_num(theirs[name])), name
    assert torch.equal(outputs_of(stepper), outputs_of(loaded.stepper))
    assert (loaded.stepper.climatology is None) == (not climatology)
    assert (loaded.stepper.normalizer.mask is None) == (not masked)


def test_spec_summary_and_lineage_come_back(package: Path) -> None:
    loaded = load_package(package)
    assert loaded.stepper.spec == SPEC
    assert loaded.summary == SUMMARY
    assert LINEAGE.items() <= loaded.lineage.items()
    assert loaded.lineage["versions"]["torch"]
    assert loaded.info.parameters == sum(p.numel() for p in loaded.stepper.network.parameters())


def test_tied_weights_stay_tied(package: Path) -> None:
    network = load_package(package).stepper.network
    assert isinstance(network, Mix)
    assert network.again.weight is network.outer.weight


def test_the_same_model_has_the_same_digest_and_another_has_another(tmp_path: Path, package: Path) -> None:
    same = save_package(new_stepper(), tmp_path / "same", summary=SUMMARY, lineage=LINEAGE)
    other = save_package(new_stepper(1), tmp_path / "other", summary=SUMMARY, lineage=LINEAGE)
    assert same.digest == inspect_package(package).digest != other.digest


def test_loading_leaves_the_callers_random_numbers_alone(package: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    load_package(package)
    assert torch.equal(torch.rand(3), expected)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_altered_byte_of_any_file_is_found(package: Path, copy: Path, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from([MANIFEST, WEIGHTS, CONSTANTS]))
    sound = (package / name).read_bytes()
    place = data.draw(st.integers(0, len(sound) - 1))
    altered = bytearray(sound)
    altered[place] ^= data.draw(st.integers(1, 255))
    (copy / name).write_bytes(altered)
    try:
        with pytest.raises(PackageError):
            load_package(copy)
    finally:
        (copy / name).write_bytes(sound)


@pytest.mark.parametrize("name", [MANIFEST, WEIGHTS, CONSTANTS])
def test_a_file_that_is_missing_or_cut_off_is_found(copy: Path, name: str) -> None:
    path = copy / name
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(PackageError, match=name):
        load_package(copy)
    path.unlink()
    with pytest.raises(PackageError, match=name):
        load_package(copy)


def test_the_card_is_outside_the_digest(copy: Path) -> None:
    (copy / CARD).write_text("# A model")
    info = load_package(copy).info
    assert info.card == "# A model"


def test_a_package_is_refused_for_another_ones_digest(package: Path) -> None:
    with pytest.raises(PackageError, match="another model"):
        load_package(package, digest="0" * 64)


def test_a_folder_without_a_package_is_named(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match=str(tmp_path)):
        inspect_package(tmp_path)


@pytest.mark.parametrize("version", [2, 0, "1", None])
def test_an_unknown_format_version_is_refused(copy: Path, version: object) -> None:
    rewrite(copy, lambda body: body.update(format=version))
    with pytest.raises(PackageError, match="format version"):
        load_package(copy)


def test_an_unknown_network_is_named_with_the_nearest_known_one(copy: Path) -> None:
    rewrite(copy, lambda body: body["recipe"].update(network="package_test_mixx"))
    with pytest.raises(PackageError, match=r"'package_test_mixx'.*Did you mean 'package_test_mix'"):
        load_package(copy)


def test_an_unknown_constraint_is_named(copy: Path) -> None:
    rewrite(copy, lambda body: body["recipe"]["constraints"].append({"kind": "energie"}))
    with pytest.raises(PackageError, match="constraint 'energie'"):
        load_package(copy)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [({"width": 4}, r"again.weight is .*\[4, 2, 1, 1\].*\[4, 4, 1, 1\]"), ({"height": 2}, "height")],
)
def test_arguments_that_do_not_fit_the_weights_or_the_network_are_refused(
    copy: Path, arguments: dict, said: str
) -> None:
    rewrite(copy, lambda body: body["recipe"].update(arguments=arguments))
    with pytest.raises(PackageError, match=said):
        load_package(copy)


@pytest.mark.parametrize(("drop", "add", "said"), [("gain", None, "lacks.*gain"), (None, "loss", "unknown.*loss")])
def test_missing_and_unexpected_weights_are_named(copy: Path, drop: str | None, add: str | None, said: str) -> None:
    from safetensors.torch import load_file, save_file

    from credit_ray.package import _file_entry

    weights = load_file(copy / WEIGHTS)
    weights.pop(str(drop), None)
    save_file(weights | ({add: torch.zeros(2)} if add else {}), copy / WEIGHTS)
    rewrite(copy, lambda body: body["files"].update({WEIGHTS: _file_entry(copy / WEIGHTS)}))
    with pytest.raises(PackageError, match=said):
        load_package(copy)


def test_writing_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="plain values"):
        save_package(new_stepper(), tmp_path / "model", summary={"loss": torch.zeros(())}, lineage=LINEAGE)
    assert list(tmp_path.iterdir()) == []


def test_a_score_that_is_not_finite_stops_no_package(tmp_path: Path) -> None:
    saved = save_package(new_stepper(), tmp_path / "model", summary={"scores": [1.0, float("nan")]}, lineage=LINEAGE)
    assert load_package(tmp_path / "model").summary == saved.summary == {"scores": [1.0, None]}


def test_a_writer_that_is_killed_leaves_no_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the last thing that it did: each point at which it could be cut off is one file further."""
    import credit_ray.package as module

    class Killed(BaseException):
        pass

    for point in ("_constants", "_file_entry", "_sealed", "inspect_package"):
        with monkeypatch.context() as patched:
            patched.setattr(module, point, lambda *_: (_ for _ in ()).throw(Killed))
            patched.setattr("shutil.rmtree", lambda *_, **__: None)  # it has no time to clean up
            with pytest.raises(Killed):
                save_package(new_stepper(), tmp_path / "model", summary=SUMMARY, lineage=LINEAGE)
        assert not (tmp_path / "model").exists()
    for left in tmp_path.iterdir():
        if not (left / MANIFEST).exists():
            with pytest.raises(PackageError):
                load_package(left)


def test_a_package_is_replaced_as_a_whole_and_anything_else_is_not(tmp_path: Path) -> None:
    save_package(new_stepper(0), tmp_path / "model", summary=SUMMARY, lineage=LINEAGE)
    second = save_package(new_stepper(1), tmp_path / "model", summary=SUMMARY, lineage=LINEAGE)
    assert load_package(tmp_path / "model").digest == second.digest
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.tex").touch()
    with pytest.raises(PackageError, match="no model package"):
        save_package(new_stepper(), tmp_path / "thesis", summary=SUMMARY, lineage=LINEAGE)
    assert (tmp_path / "thesis" / "chapter1.tex").exists()


def test_a_model_in_double_precision_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="float32"):
        save_package(new_stepper().double(), tmp_path / "model", summary=SUMMARY, lineage=LINEAGE)


def test_a_package_is_inspected_without_torch(package: Path) -> None:
    program = (
        "import sys; from credit_ray.package import inspect_package; "
        f"info = inspect_package({str(package)!r}); info.verify(); print(info.spec.describe()); "
        "assert 'torch' not in sys.modules"
    )
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert "3 prognostic" in finished.stdout
