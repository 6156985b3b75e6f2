"""From the config's `loss:` section to a loss."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from credit_ray.config.model import LossConfig, LossWeights
from credit_ray.losses.channels import channel_weights
from credit_ray.losses.learnable import LearnableWeights
from credit_ray.losses.loss import Loss
from credit_ray.losses.weights import loss_weights
from credit_ray.registry import losses
from credit_ray.state import StateSpec

if TYPE_CHECKING:
    from credit_ray.data.statistics import Statistics


def weight_field(
    weights: LossWeights, spec: StateSpec, output_std: Tensor, mask: Tensor | None, statistics: Statistics
) -> Tensor:
    """What each output counts in each place.

    Parameters
    ----------
    weights : LossWeights
        The config's.
    spec : StateSpec
        Outputs and their grid.
    output_std : Tensor
        [outputs], in whose units losses compare.
    mask : Tensor, optional
        [outputs, *grid], False where an output does not exist.
    statistics : Statistics
        Of the training period.

    Returns
    -------
    Tensor
        [outputs, *grid], on the device of `output_std`.

    Raises
    ------
    ConfigError
        Where the weights don't fit the outputs.
    """
    field = loss_weights(
        area=torch.from_numpy(spec.grid.area_weights()).float() if weights.latitude else None,
        channels=channel_weights(weights, spec.outputs, output_std.tolist(), statistics),
        mask=None if mask is None else mask.cpu(),
        grid=spec.grid.shape,
    )
    return field.to(output_std.device)


def build_loss(config: LossConfig, weights: Tensor, spec: StateSpec) -> Loss:
    """The loss of the config.

    Parameters
    ----------
    config : LossConfig
        Its kind and arguments, and whether weights are learnt.
    weights : Tensor
        [outputs, *grid]; see `weight_field`.
    spec : StateSpec
        Outputs and their grid.

    Raises
    ------
    ConfigError, DataError
        For a loss that the grid does not allow.
    """
    loss: Loss = losses.target(config.kind)(config.arguments, weights, spec.grid)
    return LearnableWeights(loss, weights).to(weights.device) if config.weights.learnable else loss
