"""Weights of the channels that are learnt along with the network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from credit_ray.losses.loss import Loss


class LearnableWeights(nn.Module):
    """Σ_c w_c (exp(−s_c) L_c + s_c), with a learnt scale s_c for each channel and w_c its share of the weights.

    Twice the negative logarithm of a Gaussian likelihood whose variance exp(s_c) is learnt, where L is a mean square; that of a
    Laplace distribution, where L is a mean absolute error (Kendall, Gal and Cipolla 2018, equation 7). Least at s_c = log L_c:
    each channel is judged relative to the error that is left in it. It begins at s_c = 0, as the loss itself.

    Parameters
    ----------
    loss : Loss
        Whose `per_channel` is weighed.
    weights : Tensor
        [channel, *grid]; a channel without any keeps out.
    """

    share: Tensor

    def __init__(self, loss: Loss, weights: Tensor) -> None:
        super().__init__()
        self.loss = loss
        total = weights.flatten(1).sum(1)
        self.register_buffer("share", total / total.sum(), persistent=False)
        self.log_scale = nn.Parameter(torch.zeros_like(total))

    def forward(self, prediction: Tensor, target: Tensor, lead: int) -> Tensor:
        """[batch]; see `Loss`."""
        by_channel = self.loss.per_channel(prediction, target, lead).where(self.share > 0, 0.0)
        return ((torch.exp(-self.log_scale) * by_channel + self.log_scale) * self.share).sum(1)

    def per_channel(self, prediction: Tensor, target: Tensor, lead: int) -> Tensor:
        """[batch, channel], as the loss itself has it; see `Loss`."""
        return self.loss.per_channel(prediction, target, lead)
