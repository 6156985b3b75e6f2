"""The model section of a CREDIT config → a network of ours and its arguments. No torch."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from credit_ray.errors import ConfigError, did_you_mean

_WXFORMERS = {
    "wxformer": "wxformer",
    "wxformer_base": "wxformer",
    "crossformer": "crossformer",
    "camulator": "camulator",
}
_KNOWN = (*_WXFORMERS, "fuxi")

# What CREDIT's classes take where the config is silent.
_COMMON: dict[str, Any] = {
    "image_height": 640,
    "image_width": 1280,
    "frames": 2,
    "channels": 4,
    "surface_channels": 7,
    "input_only_channels": 3,
    "output_only_channels": 0,
    "levels": 15,
    "use_spectral_norm": True,
    "interp": True,
}
_WXFORMER: dict[str, Any] = {
    "patch_height": 1,
    "patch_width": 1,
    "dim": (64, 128, 256, 512),
    "depth": (2, 2, 8, 2),
    "dim_head": 32,
    "global_window_size": (5, 5, 2, 1),
    "local_window_size": 10,
    "cross_embed_kernel_sizes": ((4, 8, 16, 32), (2, 4), (2, 4), (2, 4)),
    "cross_embed_strides": (4, 2, 2, 2),
}
_FUXI: dict[str, Any] = {
    "patch_height": 16,
    "patch_width": 16,
    "frame_patch_size": 2,
    "dim": 1536,
    "num_groups": 32,
    "num_heads": 8,
    "depth": 48,
    "window_size": 7,
}
_INPUT_ONLY = 0  # what FuXi's class has for input_only_channels


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """What a model section says.

    Parameters
    ----------
    kind : str
        CREDIT's class: "wxformer", "crossformer", "camulator" or "fuxi".
    network : str
        Ours.
    arguments : mapping
        Ours.
    frames : int
        Input times.
    grid : tuple of int
        Rows and columns.
    levels, channels, surface, input_only, output_only : int
        Levels; variables on them; at the surface; in only; out only.
    """

    kind: str
    network: str
    arguments: Mapping[str, Any]
    frames: int
    grid: tuple[int, int]
    levels: int
    channels: int
    surface: int
    input_only: int
    output_only: int

    @property
    def in_channels(self) -> int:
        """Of each input time."""
        return self.channels * self.levels + self.surface + self.input_only

    @property
    def out_channels(self) -> int:
        """All outputs."""
        return self.channels * self.levels + self.surface + self.output_only


def read_architecture(section: Mapping[str, Any], keys: Collection[str], where: str) -> Architecture:
    """The network that a model section describes; `keys` of the checkpoint tell decoders of older versions apart.

    Raises
    ------
    ConfigError
        For a kind of network or an option that can't be reproduced, naming it.
    """
    kind = section.get("type")
    if kind not in _KNOWN:
        raise ConfigError(
            f"{where}: model.type is {kind!r}; these can be imported: {', '.join(_KNOWN)}.{did_you_mean(str(kind), _KNOWN)}"
        )
    given: dict[str, Any] = {key: value for key, value in section.items() if value is not None}
    given = _COMMON | (_FUXI | {"input_only_channels": _INPUT_ONLY} if kind == "fuxi" else _WXFORMER) | given
    if given.get("attention_type"):
        raise ConfigError(f"{where}: model.attention_type {given['attention_type']!r} has no counterpart.")
    if given.get("use_noise"):
        raise ConfigError(f"{where}: model.use_noise: a decoder that adds noise has no counterpart.")
    network, arguments = _fuxi(given, where) if kind == "fuxi" else _wxformer(_WXFORMERS[kind], given, keys, where)
    return Architecture(
        kind=_WXFORMERS.get(kind, "fuxi"),
        network=network,
        arguments=arguments | _margins(given, where),
        frames=given["frames"],
        grid=(given["image_height"], given["image_width"]),
        levels=given["levels"],
        channels=given["channels"],
        surface=given["surface_channels"],
        input_only=given["input_only_channels"],
        output_only=given["output_only_channels"],
    )


def _wxformer(kind: str, given: Mapping[str, Any], keys: Collection[str], where: str) -> tuple[str, dict[str, Any]]:
    if (given["patch_height"], given["patch_width"]) != (1, 1):
        raise ConfigError(f"{where}: model.patch_height and patch_width must be 1 for '{kind}'.")
    stages = len(given["dim"])
    widths = list(given["dim"])
    if widths != [widths[0] << stage for stage in range(stages)]:
        raise ConfigError(
            f"{where}: model.dim is {widths}; each stage must have twice as many channels as the one before."
        )
    each = {
        key: _for_each_stage(given[key], stages)
        for key in ("depth", "global_window_size", "cross_embed_strides", "local_window_size")
    }
    kernels = given["cross_embed_kernel_sizes"]
    if len(set(each["local_window_size"])) > 1:
        raise ConfigError(f"{where}: model.local_window_size differs between stages, which has no counterpart.")
    return "wxformer", {
        "width": widths[0],
        "depth": each["depth"],
        "strides": each["cross_embed_strides"],
        "kernels": [sorted(sizes) for sizes in (kernels if len(kernels) == stages else list(kernels) * stages)],
        "local_window": each["local_window_size"][0],
        "global_window": each["global_window_size"],
        "head_width": given["dim_head"],
        "spectral_norm": given["use_spectral_norm"],
        "spectral_norm_except": ["sharp"] if kind == "camulator" else [],
        "inner_edges": "zero",
        "decoder": _decoder(keys),
        "position_bias": "shared",
    }


def _fuxi(given: Mapping[str, Any], where: str) -> tuple[str, dict[str, Any]]:
    if given["frames"] != given["frame_patch_size"]:
        raise ConfigError(
            f"{where}: model.frames is {given['frames']} and frame_patch_size {given['frame_patch_size']}: "
            "only one patch of all times has a counterpart."
        )
    return "fuxi", {
        "width": given["dim"],
        "depth": given["depth"],
        "heads": given["num_heads"],
        "window": given["window_size"],
        "patch": [given["patch_height"], given["patch_width"]],
        "groups": given["num_groups"],
        "spectral_norm": given["use_spectral_norm"],
        # Its attention reads this weight past the hook that would normalise it, so that it is used as it is.
        "spectral_norm_except": ["qkv"],
        "inner_edges": "zero",
        "decoder": "patch",
    }


def _decoder(keys: Collection[str]) -> str:
    """Versions of CREDIT's classes differ in it, and their configs do not say which wrote a file; its names do."""
    if any(key.startswith("up_block1.sharp.") for key in keys):
        return "sub_pixel"
    return "transposed" if any(key.startswith("up_block4.weight") for key in keys) else "bilinear"


def _for_each_stage(value: Any, stages: int) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value] * stages


def _margins(given: Mapping[str, Any], where: str) -> dict[str, Any]:
    padding = given.get("padding_conf") or {}
    mode = padding.get("mode", "earth")
    if not padding.get("activate", False):
        return {"margins": [0, 0, 0, 0], "beyond": "earth"}
    if mode not in ("earth", "mirror"):
        raise ConfigError(f"{where}: model.padding_conf.mode is {mode!r}; known are earth and mirror.")
    return {"margins": [*_both(padding["pad_lat"]), *_both(padding["pad_lon"])], "beyond": mode}


def _both(value: Any) -> list[int]:
    return list(value) if isinstance(value, list | tuple) else [value, value]
