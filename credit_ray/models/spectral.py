"""Spectral normalisation: layers whose largest singular value is held at one (Miyato et al. 2018, arXiv:1802.05957).

W/σ with σ = uᵀWv, where u and v follow the largest singular vectors by one step of the power iteration for each pass in training. Weights
and vectors have the names that `torch.nn.utils.parametrizations.spectral_norm` gives them. What differs is the cost: σ comes out of the
iteration itself, the gradient takes two passes over the weight, and W/σ is kept in evaluation.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from credit_ray.models.kept import Kept

_START = 15  # steps of the power iteration on fresh weights


class _Divided(torch.autograd.Function):
    """W/σ(W) with u and v held fixed: dσ/dW = u vᵀ."""

    @staticmethod
    def forward(weight: Tensor, u: Tensor, v: Tensor, sigma: Tensor) -> Tensor:
        return weight / sigma

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        weight, u, v, sigma = ctx.saved_tensors
        (gradient,) = gradients
        along = -torch.dot(gradient.flatten(), weight.flatten()) / sigma**2
        return (gradient / sigma).addr_(along * u, v), None, None, None


class SpectralNorm(nn.Module):
    """A parametrisation: W → W/σ(W).

    Parameters
    ----------
    weight : Tensor
        Of the layer.
    dim : int
        Its axis of output channels.
    """

    _u: Tensor
    _v: Tensor

    def __init__(self, weight: Tensor, dim: int) -> None:
        super().__init__()
        self.dim = dim
        with torch.no_grad():
            matrix = self._matrix(weight)
            self.register_buffer("_u", F.normalize(torch.randn_like(matrix[:, 0]), dim=0))
            self.register_buffer("_v", F.normalize(torch.randn_like(matrix[0]), dim=0))
            for _ in range(0 if weight.is_meta else _START):  # without values there is nothing to follow
                self._iterate(matrix)
        self.kept = Kept()

    def _matrix(self, weight: Tensor) -> Tensor:
        """[out, everything else]."""
        return weight.transpose(0, self.dim).flatten(1) if self.dim else weight.flatten(1)

    def _iterate(self, matrix: Tensor) -> Tensor:
        """One step; → σ of the new vectors."""
        self._v.copy_(F.normalize(torch.mv(matrix.t(), self._u), dim=0))
        image = torch.mv(matrix, self._v)  # its norm is σ, since u is its direction
        self._u.copy_(F.normalize(image, dim=0))
        return torch.linalg.vector_norm(image)

    def forward(self, weight: Tensor) -> Tensor:
        matrix = self._matrix(weight)
        if not self.training and not torch.is_grad_enabled():
            return self.kept.get(False, (weight, self._u, self._v), lambda: weight / self._sigma(matrix))
        with torch.no_grad():
            sigma = self._iterate(matrix) if self.training else self._sigma(matrix)
            u, v = self._u.clone(), self._v.clone()  # a later pass writes to them before this one's gradient is taken
        normal = _Divided.apply(matrix, u, v, sigma)
        if not self.dim:
            return normal.view_as(weight)
        return normal.view(weight.transpose(0, self.dim).shape).transpose(0, self.dim)

    def _sigma(self, matrix: Tensor) -> Tensor:
        return torch.dot(self._u, torch.mv(matrix, self._v))


def hold_spectral_norm(network: nn.Module, exempt: Collection[str] = ()) -> None:
    """Normalise every convolution and linear layer, but for those on whose path one of the names of `exempt` lies."""
    kinds = nn.Conv2d | nn.ConvTranspose2d | nn.Linear
    for path, module in list(network.named_modules()):
        if isinstance(module, kinds) and not set(path.split(".")) & set(exempt):
            dim = 1 if isinstance(module, nn.ConvTranspose2d) else 0
            parametrize.register_parametrization(module, "weight", SpectralNorm(module.weight, dim), unsafe=True)
