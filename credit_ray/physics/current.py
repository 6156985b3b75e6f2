"""The fields of one step while constraints change them, and sums of them over the sphere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import groupby

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from credit_ray.physics.constraints import Reduce
from credit_ray.state import Fields


class Held:
    """A float64 array of the geometry on whatever device the fields are; a module's casts (`.float()`) do not reach it."""

    def __init__(self, values: NDArray[np.float64] | Tensor) -> None:
        self._values = torch.as_tensor(values, dtype=torch.float64)
        self._on: dict[tuple[torch.device, int], Tensor] = {}

    def on(self, device: torch.device, reduce: Reduce | None = None) -> Tensor:
        """The array; with `reduce` this device's part of a global field."""
        key = (device, id(reduce))
        if key not in self._on:
            with torch.inference_mode(False):  # kept for training, too, which could not use what inference made
                values = self._values if reduce is None else reduce.part(self._values)
                self._on[key] = values.to(device)
        return self._on[key]


class Current:
    """Fields after the step, with what the constraints before have changed.

    Parameters
    ----------
    after, forcing : Fields
        [trajectory, channel, *grid]; forcing is looked up where `after` has no such channel.
    areas : Held
        Cell areas of the whole grid, m².
    reduce : Reduce, optional
        Which part of the grid this device has; all of it by default.
    """

    def __init__(self, after: Fields, forcing: Fields | None, areas: Held, reduce: Reduce | None = None) -> None:
        self.after, self.forcing, self._reduce = after, forcing, reduce
        self.areas = self.part(areas)
        self.step = torch.zeros(len(after.data), dtype=torch.int64, device=after.data.device)
        """[trajectory], of the rollout; what rounding depends on."""
        self.changed: dict[str, Tensor] = {}
        self._doubled: dict[tuple[str, ...], Tensor] = {}

    @property
    def dtype(self) -> torch.dtype:
        """Of the fields."""
        return self.after.data.dtype

    def update(self, fields: Mapping[str, Tensor]) -> None:
        """Put changed fields in the place of the old ones."""
        self.changed.update(fields)
        if fields:
            self._doubled.clear()

    def part(self, held: Held) -> Tensor:
        """This device's part of a field of the geometry, [*grid] float64."""
        return held.on(self.after.data.device, self._reduce)

    def fields(self) -> Fields:
        """All of them, as one tensor."""
        return self.after | self.changed

    def __getitem__(self, name: str) -> Tensor:
        """[trajectory, *grid]."""
        if name in self.changed:
            return self.changed[name]
        if self.forcing is not None and name not in self.after.channels:
            return self.forcing[name]
        piece, place = self._pieces[name]
        return piece[:, place]

    @cached_property
    def _pieces(self) -> dict[str, tuple[Tensor, int]]:
        """Channel → the channels of its variable, and its place there.

        All are split at once: each further slice of the whole would cost a whole gradient of zeros.
        """
        channels = self.after.channels
        runs = [[c.name for c in run] for _, run in groupby(channels, key=lambda channel: channel.variable)]
        pieces = self.after.data.split([len(run) for run in runs], 1)
        return {name: (piece, k) for run, piece in zip(runs, pieces, strict=True) for k, name in enumerate(run)}

    def stack(self, names: Sequence[str]) -> Tensor:
        """[trajectory, len(names), *grid]; a view where that is possible."""
        if self.changed.keys().isdisjoint(names) and set(names) <= self._pieces.keys():
            found = [self._pieces[name] for name in names]
            piece, first = found[0]
            if all(each is piece and k == first + n for n, (each, k) in enumerate(found)):
                return piece[:, first : first + len(found)]
        return torch.stack([self[name] for name in names], 1)

    def double(self, names: Sequence[str]) -> Tensor:
        """The same in float64, kept for whoever asks next."""
        key = tuple(names)
        if key not in self._doubled:
            self._doubled[key] = self.stack(key).double()
        return self._doubled[key]

    def sum(self, values: Tensor) -> Tensor:
        """∫ over this device's part of the sphere, without what does not exist: [trajectory, *grid] → [trajectory], float64."""
        return values.double().nan_to_num(nan=0.0).flatten(1) @ self.areas.flatten()
