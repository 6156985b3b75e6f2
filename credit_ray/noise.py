"""Noise that is a pure function of (key, step, purpose): never of a shared generator, of the batch, or of the device.

A trajectory with the same key gets the same noise whatever shares its batch, and a rollout that goes on from a stored state the same as
one that never stopped. Numbers are drawn on the CPU, one trajectory at a time, and moved afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

import torch
from torch import Tensor


def seed_of(key: int, step: int, purpose: str) -> int:
    """A seed in which every bit depends on all three: [0, 2⁶³)."""
    digest = blake2b(f"{key}/{step}/{purpose}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def normal(keys: Iterable[int], steps: Iterable[int], purpose: str, shape: tuple[int, ...]) -> Tensor:
    """Independent standard normal numbers.

    Parameters
    ----------
    keys, steps : iterable of int
        [trajectory]: whose noise, and of which step.
    purpose : str
        What it is for: two uses in one step need two purposes.
    shape : tuple of int
        Of one trajectory's noise.

    Returns
    -------
    Tensor [trajectory, *shape]
        float64, on the CPU.
    """
    drawn = []
    for key, step in zip(keys, steps, strict=True):
        generator = torch.Generator().manual_seed(seed_of(int(key), int(step), purpose))
        drawn.append(torch.randn(shape, generator=generator, dtype=torch.float64))
    return torch.stack(drawn)
