"""What is read from a CREDIT config and its files, and what is refused: small models of both generations of configs, with CREDIT's names."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray
import yaml
from torch import Tensor, nn

from credit_ray.errors import ConfigError, DataError, PackageError
from credit_ray.interchange.architecture import Architecture, read_architecture
from credit_ray.interchange.credit import CreditFiles, import_credit
from credit_ray.interchange.keys import fuxi_layer, theirs, wxformer_layer
from credit_ray.models.arguments import NetworkShape
from credit_ray.models.network import build_network
from credit_ray.package import load_package
from credit_ray.state import State
from credit_ray.stepper import Stepper

ROWS, COLUMNS, LEVELS = 16, 32, (10, 60, 137)

WXFORMER: dict[str, Any] = {
    "type": "wxformer",
    "channels": 2,
    "levels": 3,
    "surface_channels": 1,
    "input_only_channels": 3,
    "output_only_channels": 1,
    "frames": 1,
    "image_height": ROWS,
    "image_width": COLUMNS,
    "dim": [8, 16],
    "depth": [1, 1],
    "dim_head": 4,
    "global_window_size": [2, 2],
    "local_window_size": 2,
    "cross_embed_kernel_sizes": [[2, 4], [2, 4]],
    "cross_embed_strides": [2, 2],
    "use_spectral_norm": True,
    "padding_conf": {"activate": True, "mode": "earth", "pad_lat": [4, 4], "pad_lon": [4, 4]},
}
FUXI: dict[str, Any] = {
    **{
        key: value
        for key, value in WXFORMER.items()
        if not key.startswith(("dim", "depth", "global", "local", "cross"))
    },
    "type": "fuxi",
    "patch_height": 2,
    "patch_width": 2,
    "frame_patch_size": 1,
    "dim": 8,
    "num_groups": 2,
    "num_heads": 2,
    "window_size": 2,
    "depth": 2,
}
FIRST: dict[str, Any] = {
    "variables": ["U", "T"],
    "surface_variables": ["SP"],
    "dynamic_forcing_variables": ["tsi"],
    "static_variables": ["Z_GDS4_SFC", "LSM"],
    "diagnostic_variables": ["total_precipitation"],
    "level_ids": list(LEVELS),
    "lead_time_periods": 6,
    "static_first": True,
}
SECOND: dict[str, Any] = {
    "source": {
        "ERA5": {
            "levels": list(LEVELS),
            "variables": {
                "prognostic": {"vars_3D": ["U", "T"], "vars_2D": ["SP"]},
                "static": {"vars_2D": ["Z_GDS4_SFC", "LSM"]},
                "dynamic_forcing": {"vars_2D": ["tsi"]},
                "diagnostic": {"vars_2D": ["total_precipitation"]},
            },
        }
    },
    "timestep": "6h",
}
SCALES = {
    "U": (3.0, 9.0),
    "T": (250.0, 20.0),
    "SP": (97000.0, 9000.0),
    "tsi": (6e6, 7e6),
    "total_precipitation": (6e-4, 2e-3),
}
STATICS = {"Z_GDS4_SFC": 0.5, "LSM": 1.0}

Described = tuple[nn.Module, dict[str, Tensor], Architecture]


def decoder_keys(kind: str) -> list[str]:
    """Names by which a checkpoint of that kind is known."""
    return {"crossformer": ["up_block4.weight_orig"]}.get(kind, ["up_block1.sharp.weight"])


def describe(section: dict[str, Any]) -> Described:
    """A network with random weights, the same weights by CREDIT's names in CREDIT's order of channels, and what its config says."""
    model = read_architecture(section, decoder_keys(section["type"]), "model.yml")
    count = model.in_channels
    shape = NetworkShape(
        history=model.frames,
        in_channels=count,
        out_channels=model.out_channels,
        grid=model.grid,
        periodic=True,
        poles=True,
        pole_points=False,
        pole_sign=(1.0,) * count,
        pole_offset=(0.0,) * count,
    )
    torch.manual_seed(0)
    network = build_network(model.network, model.arguments, shape)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    layer = (
        fuxi_layer if model.kind == "fuxi" else wxformer_layer(["layers.0.0.convs.0.1.bias"], len(section["dim"]) - 1)
    )
    weights = {theirs(name, layer): value.clone() for name, value in network.state_dict().items()}
    return network.eval(), weights, model


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., tuple[Path, Path]]:
    """Write a model: → its checkpoint and its config."""

    def make(
        section: dict[str, Any], data: dict[str, Any] | None, weights: dict[str, Tensor], *, south_first: bool = False
    ) -> tuple[Path, Path]:
        latitude = 90 - 180 * (np.arange(ROWS) + 0.5) / ROWS
        axes = {
            "latitude": latitude[::-1] if south_first else latitude,
            "longitude": np.arange(COLUMNS) * 360 / COLUMNS,
        }
        ramp = np.broadcast_to(axes["latitude"][:, None] / 90, (ROWS, COLUMNS)).astype(np.float32)
        fields = {name: (("latitude", "longitude"), value * ramp) for name, value in STATICS.items()}
        xarray.Dataset(fields, coords=axes).to_netcdf(tmp_path / "static.nc", engine="h5netcdf")
        for which, name in enumerate(("mean", "std")):
            numbers = {
                variable: ("level", np.linspace(scales[which], 2 * scales[which], 137))
                if variable in ("U", "T")
                else ((), scales[which])
                for variable, scales in SCALES.items()
            }
            xarray.Dataset(numbers).to_netcdf(tmp_path / f"{name}.nc", engine="h5netcdf")
        config: dict[str, Any] = {"model": section}
        paths = {f"{name}_path": str(tmp_path / f"{name}.nc") for name in ("mean", "std")}
        if data and "source" in data:
            config["data"] = data
            config["data"]["source"]["ERA5"]["variables"]["static"]["path"] = str(tmp_path / "static.nc")
            config["preblocks"] = {"per_step": {"scale": {"type": "era5_normalizer", "args": paths}}}
        elif data:
            config["data"] = {**data, **paths, "save_loc_static": str(tmp_path / "static.nc")}
        (tmp_path / "model.yml").write_text(yaml.safe_dump(config))
        torch.save({"epoch": 1, "model_state_dict": weights}, tmp_path / "checkpoint.pt")
        return tmp_path / "checkpoint.pt", tmp_path / "model.yml"

    return make


Write = Callable[..., tuple[Path, Path]]


def imported(write: Write, out: Path, section: dict[str, Any], data: dict[str, Any] | None, **how: Any) -> Stepper:
    _, weights, _ = describe(section)
    checkpoint, config = write(section, copy.deepcopy(data), weights, **how)
    import_credit(CreditFiles(checkpoint=checkpoint, config=config), out)
    return load_package(out).stepper


def step(stepper: Stepper, fields: torch.Tensor, forcing: torch.Tensor) -> torch.Tensor:
    state = State(fields=fields, forcing=forcing[:, :-1], valid_time=np.zeros(len(fields), np.int64))
    with torch.no_grad():
        return stepper.step(stepper.start(state), forcing[:, -1]).outputs


@pytest.mark.parametrize("section", [WXFORMER, FUXI], ids=["wxformer", "fuxi"])
@pytest.mark.parametrize("data", [FIRST, SECOND], ids=["first", "second"])
def test_both_generations_give_what_the_network_alone_gives(
    section: dict[str, Any], data: dict[str, Any], write: Write, tmp_path: Path
) -> None:
    network, _, _ = describe(section)
    stepper = imported(write, tmp_path / "package", section, data)
    assert stepper.spec.prognostic.names == ("u_m10", "u_m60", "u_m137", "t_m10", "t_m60", "t_m137", "sp")
    assert stepper.spec.diagnostic.names == ("tp",)
    assert str(stepper.spec.step) == "6h"
    # CREDIT's order is prognostic, static, forcing; ours prognostic, forcing, static.
    normal = torch.randn(2, 1, 10, ROWS, COLUMNS)
    normal[:, :, 7:9] = stepper.statics
    numbers = stepper.normalizer
    fields = normal[:, :, :7] * numbers.input_std[:7, None, None] + numbers.input_mean[:7, None, None]
    forcing = normal[:, :, 9:] * numbers.input_std[7, None, None] + numbers.input_mean[7, None, None]
    found = (step(stepper, fields, forcing) - numbers.output_mean[:, None, None]) / numbers.output_std[:, None, None]
    with torch.no_grad():
        wanted = network(normal)
    assert (found - wanted).abs().max() <= 1e-4 * wanted.abs().max()  # through physical units and back


def test_scales_are_taken_by_the_number_of_the_level_and_in_our_units(write: Write, tmp_path: Path) -> None:
    stepper = imported(write, tmp_path / "package", WXFORMER, FIRST)
    names = stepper.spec.outputs.names
    mean, std = (
        dict(zip(names, n.tolist(), strict=True))
        for n in (stepper.normalizer.output_mean, stepper.normalizer.output_std)
    )
    assert mean["u_m10"] == pytest.approx(3 * (1 + 9 / 136))
    assert std["t_m137"] == pytest.approx(40)
    assert mean["tp"] == pytest.approx(0.6)  # metres of water there, kg m-2 here
    assert std["tp"] == pytest.approx(2.0)


def test_rows_from_south_to_north_are_given_as_the_network_knows_them(write: Write, tmp_path: Path) -> None:
    northward = imported(write, tmp_path / "north", WXFORMER, FIRST)
    southward = imported(write, tmp_path / "south", WXFORMER, FIRST, south_first=True)
    torch.testing.assert_close(southward.statics, northward.statics)  # the same Earth
    x = torch.randn(1, 1, 10, ROWS, COLUMNS)
    with torch.no_grad():
        torch.testing.assert_close(southward.network(x), northward.network(x.flip(-2)).flip(-2))


def test_several_input_times_are_read_channel_by_channel(write: Write, tmp_path: Path) -> None:
    section = {**WXFORMER, "frames": 2}
    network, weights, _ = describe(section)
    checkpoint, config = write(section, None, weights)
    import_credit(CreditFiles(checkpoint=checkpoint, config=config), tmp_path / "package")
    found = load_package(tmp_path / "package").stepper.network
    x = torch.randn(1, 2, 10, ROWS, COLUMNS)
    # as CREDIT flattens it: both times of a channel, then the next channel
    flattened = x.transpose(1, 2).reshape(1, 2, 10, ROWS, COLUMNS)
    with torch.no_grad():
        wanted = network(flattened)
        assert (found(x) - wanted).abs().max() <= 1e-5 * wanted.abs().max()


def test_missing_and_unknown_weights_are_listed(write: Write, tmp_path: Path) -> None:
    _, weights, _ = describe(WXFORMER)
    weights["layers.0.5.surprise"] = weights.pop("up_block1.sharp.bias")
    weights["up_block1.conv.bias"] = weights["up_block1.conv.bias"][:3]
    checkpoint, config = write(WXFORMER, FIRST, weights)
    with pytest.raises(PackageError) as error:
        import_credit(CreditFiles(checkpoint=checkpoint, config=config), tmp_path / "package")
    for name in ("missing: up_block1.sharp.bias", "unknown: layers.0.5.surprise", "up_block1.conv.bias [3]"):
        assert name in str(error.value)
    assert not (tmp_path / "package").exists()


def test_nothing_in_a_checkpoint_is_executed(write: Write, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, tuple[Path]]:
            return Path.touch, (tmp_path / "executed",)

    _, weights, _ = describe(WXFORMER)
    checkpoint, config = write(WXFORMER, FIRST, weights)
    torch.save({"model_state_dict": weights, "trap": Trap()}, checkpoint, pickle_module=pickle)
    with pytest.raises(PackageError, match="plain tensors"):
        import_credit(CreditFiles(checkpoint=checkpoint, config=config), tmp_path / "package")
    assert not (tmp_path / "executed").exists()


def test_a_wrapped_models_prefixes_are_taken_off(write: Write, tmp_path: Path) -> None:
    _, weights, _ = describe(WXFORMER)
    wrapped = {f"module._fsdp_wrapped_module.{name}": value for name, value in weights.items()}
    checkpoint, config = write(WXFORMER, FIRST, wrapped)
    import_credit(CreditFiles(checkpoint=checkpoint, config=config), tmp_path / "package")
    assert load_package(tmp_path / "package").summary["imported"]["type"] == "wxformer"


@pytest.mark.parametrize(
    ("section", "data", "message"),
    [
        ({"type": "wxfromer"}, {}, "Did you mean 'wxformer'"),
        ({"attention_type": "scse_standard"}, {}, "attention_type"),
        ({}, {"surface_variables": ["SP", "VAR_2T"]}, "10 channels into the network, and the data section 11"),
        ({}, {"lead_time_periods": None}, "--step"),
        ({"padding_conf": {"activate": True, "pad_lat": 3, "pad_lon": 4}}, {}, "22×40|22 and 40"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(
    section: dict[str, Any], data: dict[str, Any], message: str, write: Write, tmp_path: Path
) -> None:
    _, weights, _ = describe(WXFORMER)
    checkpoint, config = write({**WXFORMER, **section}, {**FIRST, **data}, weights)
    with pytest.raises(ConfigError, match=message):
        import_credit(CreditFiles(checkpoint=checkpoint, config=config), tmp_path / "package")


def test_a_file_without_a_variable_is_named(write: Write, tmp_path: Path) -> None:
    _, weights, _ = describe(WXFORMER)
    checkpoint, config = write(WXFORMER, {**FIRST, "surface_variables": ["SPP"]}, weights)
    with pytest.raises(DataError, match=r"mean\.nc has no 'SPP'\. Did you mean 'SP'"):
        import_credit(CreditFiles(checkpoint=checkpoint, config=config), tmp_path / "package")
