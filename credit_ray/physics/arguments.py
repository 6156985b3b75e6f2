"""Arguments of the constraints, free of torch, so that a config can be checked without it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class PositiveArguments:
    """Arguments of `positive`.

    Parameters
    ----------
    variables : tuple of str
        Variables that are never negative: moisture, tracers, precipitation.
    """

    variables: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.variables:
            raise ValueError("variables is empty: name what must not be negative")
