"""A stepper laid out over a mesh, from outside of it, and made whole again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from credit_ray.losses.loss import Loss
from credit_ray.normalizer import Normalizer
from credit_ray.state import Window
from credit_ray.stepper import Stepper
from credit_ray.training.domain.bands import Bands
from credit_ray.training.domain.exchange import Ring, gathered_rows
from credit_ray.training.domain.rules import share_out
from credit_ray.training.domain.whole import WholeConstraint, share_of_loss
from credit_ray.training.parallel import AXES
from credit_ray.training.sharding import gathered, shard_weights

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh


@dataclass(frozen=True)
class Layout:
    """Where a stepper's parts are.

    Parameters
    ----------
    stepper : Stepper
        This worker's part: it takes and gives its own rows of all fields.
    bands : Bands, optional
        Of the grid; without any, the stepper has all rows.
    ring : Ring, optional
        Who has them.
    sharded : bool
        Whether weights are in parts, too.
    """

    stepper: Stepper
    bands: Bands | None = None
    ring: Ring | None = None
    sharded: bool = False

    @property
    def rows(self) -> slice:
        """Of the grid, that this worker has."""
        return slice(None) if self.bands is None or self.ring is None else self.bands.of(self.ring.index)

    def loss(self, loss: Loss) -> Loss:
        """This worker's share of a loss that was built for the whole grid."""
        return loss if self.bands is None or self.ring is None else share_of_loss(loss, self.bands, self.ring)

    def window(self, window: Window) -> Window:
        """This worker's rows of a window of the whole grid."""
        return replace(window, fields=window.fields[..., self.rows, :])

    def whole(self, keep: bool = True) -> Stepper | None:
        """The stepper in one piece, on the CPU unless it was in one; all workers call it together, and those that do not `keep` it get nothing."""
        if self.bands is None and not self.sharded:
            return self.stepper if keep else None
        state = gathered(self.stepper.network.state_dict(), keep)
        mine = self.stepper.normalizer
        statics, mask = self._all_rows(self.stepper.statics), None
        if mine.mask is not None:
            mask = self._all_rows(mine.mask.float()).bool()
        if not keep:
            return None
        scales = ("input_mean", "input_std", "output_mean", "output_std")
        normalizer = Normalizer(
            mine.spec,
            **{name: getattr(mine, name).cpu() for name in scales},
            residual=mine.residual,
            mask=None if mask is None else mask.cpu(),
        )
        climatology = self.stepper.climatology
        with torch.random.fork_rng(devices=[]):
            whole = Stepper(
                self.stepper.recipe, normalizer, statics.cpu(), None if climatology is None else climatology.cpu()
            )
        whole.network.load_state_dict(state)
        return whole.eval()

    def _all_rows(self, field: Tensor) -> Tensor:
        return field if self.bands is None or self.ring is None else gathered_rows(field, self.bands.rows, self.ring)


def parallelize(stepper: Stepper, mesh: DeviceMesh | None) -> Layout:
    """Lay a stepper out over a mesh of workers, in place.

    Parameters
    ----------
    stepper : Stepper
        The same on every worker, on its device.
    mesh : DeviceMesh, optional
        With the axes of `parallel.AXES`; without one, the stepper is left as it is.

    Raises
    ------
    ConfigError
        For a network that has no rule by which bands of latitude share it, by name.
    """
    if mesh is None:
        return Layout(stepper)
    _, shards, domain = (mesh.size(axis) for axis in range(len(AXES)))
    bands = ring = None
    if domain > 1:
        ring = Ring(mesh.get_group("domain"), mesh.get_local_rank("domain"), domain)
        bands = share_out(stepper.recipe.network, stepper.network, ring)
        _cut(stepper, bands, ring)
    if shards > 1:
        shard_weights(stepper.network, mesh)
    return Layout(stepper, bands, ring, shards > 1)


def _cut(stepper: Stepper, bands: Bands, ring: Ring) -> None:
    """Give a stepper its rows of what it holds of the grid."""
    rows, normalizer = bands.of(ring.index), stepper.normalizer
    stepper.rows = rows
    stepper.statics = stepper.statics[..., rows, :].contiguous()
    if normalizer.mask is not None:
        normalizer.mask = normalizer.mask[..., rows, :].contiguous()
    stepper.constraints = [WholeConstraint(constraint, bands, ring) for constraint in stepper.constraints]
