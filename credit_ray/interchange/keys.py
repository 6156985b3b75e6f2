"""What CREDIT calls the layers of its networks: our module's path → its path.

Read off the state dicts of miles-credit's WXFormer, CrossFormer, CAMulator and FuXi.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection

_ATTENTION = {"norm": "norm", "to_qkv": "to_qkv", "to_out": "to_out"}
_FEED_FORWARD = {"norm": "layers.0", "up": "layers.1", "down": "layers.4"}
_PARAMETERS = {
    "parametrizations.weight.original": "weight_orig",
    "parametrizations.weight.0._u": "weight_u",
    "parametrizations.weight.0._v": "weight_v",
    "weight": "weight",
    "bias": "bias",
}


def theirs(ours: str, layer: Callable[[str], str]) -> str:
    """CREDIT's name of a tensor of ours; `layer` translates the path of its module."""
    for mine, its in _PARAMETERS.items():
        if ours.endswith(f".{mine}"):
            path = layer(ours.removesuffix(f".{mine}"))
            # its layer norms over channels are called g and b
            return f"{path}.{its}" if not path.endswith("#") else f"{path[:-1]}.{ {'weight': 'g', 'bias': 'b'}[its] }"
    return layer(ours)


def wxformer_layer(keys: Collection[str], blocks: int) -> Callable[[str], str]:
    """Of a WXFormer, CrossFormer or CAMulator with these keys and so many steps up before the last.

    A path that ends in # is that of a layer norm over channels.
    """
    nested = ".1" if any(re.match(r"layers\.0\.0\.convs\.0\.1\.", key) for key in keys) else ""

    def layer(path: str) -> str:
        part, _, rest = path.partition(".")
        if part == "embed":
            stage, _, conv = rest.partition(".convs.")
            return f"layers.{stage}.0.convs.{conv}{nested}"
        if part == "stages":
            stage, _, number, inner = rest.split(".", 3)
            depth, kind = divmod(int(number), 4)
            where = f"layers.{stage}.1.layers.{depth}.{kind}"
            if inner.startswith("bias."):
                return f"{where}.dpb.{inner.removeprefix('bias.')}"
            name = (_FEED_FORWARD if kind % 2 else _ATTENTION)[inner]
            return f"{where}.{name}{'#' if inner == 'norm' else ''}"
        if part == "decode":
            number, inner = rest.split(".", 1)
            inner = inner.removesuffix(".conv").replace("up", "conv", 1).replace("block", "b", 1)
            return f"up_block{blocks - int(number)}.{inner}"
        return f"up_block{blocks + 1}{('.' + rest.removesuffix('.conv')) if rest else ''}"

    return layer


def fuxi_layer(path: str) -> str:
    """Of a FuXi."""
    part, _, rest = path.partition(".")
    rest = rest.removesuffix(".conv") if rest != "conv" else rest
    if part == "embed":
        return f"cube_embedding.{rest}"
    if part == "blocks":
        return f"u_transformer.layer.blocks.{rest}"
    if rest == "fc":
        return rest
    return f"u_transformer.{'up' if part == 'patches' else part}.{rest.replace('block', 'b', 1)}"
