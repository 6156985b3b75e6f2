"""A checkpoint file → tensors by name. Nothing in the file is executed."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from credit_ray.errors import PackageError

_WRAPPERS = {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """The model's tensors, without the prefixes of what wrapped it in training.

    Raises
    ------
    PackageError
        Where there is no such file, or it holds anything but plain values and tensors, or no model.
    """
    if not path.is_file():
        raise PackageError(f"{path}: there is no such checkpoint.")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        first = str(error).strip().splitlines()[0]
        raise PackageError(
            f"{path} can't be read as plain tensors, and nothing else is loaded from it: {first} "
            "Save the model's state dict alone with torch.save, and import that."
        ) from None
    weights = content.get("model_state_dict", content) if isinstance(content, Mapping) else None
    if not isinstance(weights, Mapping) or not weights or not all(isinstance(v, Tensor) for v in weights.values()):
        raise PackageError(f"{path} holds no model: expected 'model_state_dict', or tensors by name.")
    return {_unwrapped(name): value for name, value in weights.items()}


def _unwrapped(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in _WRAPPERS)
