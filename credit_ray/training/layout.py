"""A stepper laid out over a mesh, from outside of it, and made whole again."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch.distributed.tensor import DTensor

from credit_ray.data.dataset import Dataset
from credit_ray.losses.loss import Loss
from credit_ray.stepper import Stepper
from credit_ray.training.domain.bands import Bands
from credit_ray.training.domain.exchange import Ring
from credit_ray.training.domain.rules import share_out
from credit_ray.training.domain.whole import share_constraints, share_of_loss
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
    in_one_piece : Stepper, optional
        As it was before, on the CPU; on rank 0 alone. None there, too, where it is still in one piece.
    rank : int
        This worker's.
    """

    stepper: Stepper
    bands: Bands | None = None
    ring: Ring | None = None
    in_one_piece: Stepper | None = None
    rank: int = 0

    @property
    def rows(self) -> slice:
        """Of the grid, that this worker has."""
        return slice(None) if self.bands is None or self.ring is None else self.bands.of(self.ring.index)

    def loss(self, loss: Loss) -> Loss:
        """This worker's share of a loss that was built for the whole grid."""
        return loss if self.bands is None or self.ring is None else share_of_loss(loss, self.bands, self.ring)

    def dataset(self, dataset: Dataset) -> Dataset:
        """Data of which this worker's rows are read."""
        return dataset if self.bands is None else dataset.band(self.rows.start, self.rows.stop)

    def whole(self) -> Stepper | None:
        """The stepper in one piece, on rank 0; all workers call it together."""
        if self.bands is None and not self.sharded:
            return self.stepper if self.rank == 0 else None
        state = gathered(self.stepper.network.state_dict(), keep=self.rank == 0)
        if self.in_one_piece is not None:
            self.in_one_piece.network.load_state_dict(state)
        return self.in_one_piece

    @property
    def sharded(self) -> bool:
        """Whether each worker has but a part of the weights."""
        return any(isinstance(p, DTensor) for p in self.stepper.network.parameters())


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
    bands, ring, rank = None, None, mesh.get_rank()
    cut_up = shards > 1 or domain > 1
    in_one_piece = deepcopy(stepper).cpu().eval() if cut_up and rank == 0 else None
    if domain > 1:
        ring = Ring(mesh.get_group("domain"), mesh.get_local_rank("domain"), domain)
        bands = share_out(stepper.recipe.network, stepper.network, ring)
        _cut(stepper, bands, ring)
    if shards > 1:
        shard_weights(stepper.network, mesh)
    return Layout(stepper, bands, ring, in_one_piece, rank)


def planned_bands(stepper: Stepper, count: int) -> Bands | None:
    """How a domain of so many workers will cut the grid, before there are any; None for one worker.

    Raises
    ------
    ConfigError
        As `parallelize`.
    """
    if count == 1:
        return None
    return share_out(stepper.recipe.network, deepcopy(stepper.network), Ring(None, 0, count))


def _cut(stepper: Stepper, bands: Bands, ring: Ring) -> None:
    """Give a stepper its rows of what it holds of the grid."""
    rows, normalizer = bands.of(ring.index), stepper.normalizer
    stepper.rows = rows
    stepper.statics = stepper.statics[..., rows, :].contiguous()
    if normalizer.mask is not None:
        normalizer.mask = normalizer.mask[..., rows, :].contiguous()
    share_constraints(stepper.constraints, bands, ring)
