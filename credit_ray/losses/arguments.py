"""Arguments of the losses, free of torch, so that a config can be checked without it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class PointwiseArguments:
    """`mse` and `mae` have no arguments."""
