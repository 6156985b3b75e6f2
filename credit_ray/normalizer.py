"""Between physical units and the numbers that a network sees.

Inputs are (x − μ)/σ. The output of a prognostic channel is its one-step change in units of that change's own standard deviation
(`residual`), or its next value, normalised; a diagnostic channel is always predicted in full.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from credit_ray.errors import DataError
from credit_ray.state import Channels, StateSpec

if TYPE_CHECKING:
    from credit_ray.data.statistics import Statistics


class Normalizer(nn.Module):
    """Scales of the inputs and outputs of one model.

    Parameters
    ----------
    spec : StateSpec
        Names and order of the channels.
    input_mean, input_std : Tensor
        [inputs], by which every input channel is scaled.
    output_mean, output_std : Tensor
        [outputs]; for a residual prognostic channel the mean is 0 and the deviation that of its one-step change.
    residual : bool
        Whether prognostic outputs are changes.
    mask : Tensor, optional
        [inputs and diagnostics, *grid], or [inputs, *grid] where diagnostics exist everywhere. False where a channel does not exist
        (land, to an ocean); there the network sees 0, its mean.
    """

    input_mean: Tensor
    input_std: Tensor
    output_mean: Tensor
    output_std: Tensor
    mask: Tensor | None

    def __init__(
        self,
        spec: StateSpec,
        *,
        input_mean: Tensor,
        input_std: Tensor,
        output_mean: Tensor,
        output_std: Tensor,
        residual: bool,
        mask: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.spec = spec
        self.residual = residual
        for name, value in {
            "input_mean": input_mean,
            "input_std": input_std,
            "output_mean": output_mean,
            "output_std": output_std,
        }.items():
            self.register_buffer(name, value.float())
        if mask is not None and len(mask) == len(spec.inputs):
            mask = torch.cat([mask, mask.new_ones((len(spec.diagnostic), *mask.shape[1:]))])
        self.register_buffer("mask", mask)

    def pack(self, fields: Tensor, forcing: Tensor, statics: Tensor) -> Tensor:
        """What the network reads.

        Parameters
        ----------
        fields : Tensor
            [batch, time, prognostic, *grid], physical units.
        forcing : Tensor
            [batch, time, forcing, *grid].
        statics : Tensor
            [static, *grid].

        Returns
        -------
        Tensor
            [batch, time, inputs, *grid], normalised.
        """
        repeated = statics.expand(*fields.shape[:2], *statics.shape)
        together = torch.cat([fields, forcing, repeated], 2)
        scaled = (together - _column(self.input_mean, together)) / _column(self.input_std, together)
        return scaled if self.mask is None else scaled.where(self.mask[: len(self.spec.inputs)], 0.0)

    def unpack(self, output: Tensor, newest: Tensor) -> Tensor:
        """Physical fields after the step.

        Parameters
        ----------
        output : Tensor
            [batch, outputs, *grid], as the network emits it.
        newest : Tensor
            [batch, prognostic, *grid], the last input time, physical units.
        """
        after = output * _column(self.output_std, output) + _column(self.output_mean, output)
        if not self.residual:
            return after
        count = newest.shape[1]
        return torch.cat([newest + after[:, :count], after[:, count:]], 1)

    def normalized_outputs(self, fields: Tensor) -> Tensor:
        """Physical outputs [..., outputs, *grid] in units of the output's σ: the space in which losses compare."""
        return fields / _column(self.output_std, fields)

    def network_target(self, truth: Tensor, newest: Tensor) -> Tensor:
        """What the network should have emitted for `truth` [batch, outputs, *grid]: the inverse of `unpack`."""
        count = newest.shape[1]
        change = torch.cat([truth[:, :count] - newest, truth[:, count:]], 1) if self.residual else truth
        return (change - _column(self.output_mean, change)) / _column(self.output_std, change)

    @property
    def output_mask(self) -> Tensor | None:
        """[outputs, *grid], False where an output does not exist."""
        if self.mask is None:
            return None
        return torch.cat([self.mask[: len(self.spec.prognostic)], self.mask[len(self.spec.inputs) :]])

    def pole_reflection(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Sign and offset of each normalised input channel beyond a pole: z′ = −z − 2μ/σ for vector components, else z."""
        flips = [channel.flips_across_pole for channel in self.spec.inputs]
        offsets = (-2 * self.input_mean / self.input_std).tolist()
        return tuple(-1.0 if f else 1.0 for f in flips), tuple(
            o if f else 0.0 for f, o in zip(flips, offsets, strict=True)
        )


def normalizer_from(statistics: Statistics, spec: StateSpec, *, kind: str, residual: bool) -> Normalizer:
    """The normaliser of a model trained on data with these statistics.

    `kind` is "standard", or "residual": σ_res = σ · r / G with r = σ_Δ/σ and G the geometric mean of r over the prognostic and
    diagnostic channels (the scaling of CREDIT's published models), so that every channel's one-step change has equal variance.

    Raises
    ------
    DataError
        For a channel without variance, by name.
    """
    std = {channel.name: statistics.std[channel.name] for channel in spec.inputs + spec.diagnostic}
    change = {name: statistics.change_std[name] for name in spec.outputs.names}
    _refuse_zero(std, "never varies over the training period")
    scaled_by_change = spec.outputs if kind == "residual" else spec.prognostic if residual else Channels()
    _refuse_zero({name: change[name] for name in scaled_by_change.names}, "never changes from one step to the next")
    if kind == "residual":
        ratio = torch.tensor([change[name] / std[name] for name in change], dtype=torch.float64)
        geometric_mean = ratio.log().mean().exp().item()
        std |= {name: change[name] / geometric_mean for name in change}
    prognostic = set(spec.prognostic.names)

    def tensor(values: dict[str, float], channels: Channels) -> Tensor:
        return torch.tensor([values[name] for name in channels.names], dtype=torch.float32)

    mean = statistics.mean
    mask = torch.from_numpy(statistics.mask_of(spec.inputs + spec.diagnostic)) if statistics.masked else None
    return Normalizer(
        spec,
        input_mean=tensor(mean, spec.inputs),
        input_std=tensor(std, spec.inputs),
        output_mean=tensor(
            {n: 0.0 if residual and n in prognostic else mean[n] for n in spec.outputs.names}, spec.outputs
        ),
        output_std=tensor(
            {n: change[n] if residual and n in prognostic else std[n] for n in spec.outputs.names}, spec.outputs
        ),
        residual=residual,
        mask=mask,
    )


def _column(values: Tensor, like: Tensor) -> Tensor:
    """[channel] → [channel, 1, 1], to meet [..., channel, *grid]."""
    return values.to(like.dtype).view(-1, 1, 1)


def _refuse_zero(deviation: dict[str, float], why: str) -> None:
    constant = [name for name, value in deviation.items() if not value > 0]
    if constant:
        raise DataError(f"{', '.join(constant)} {why}: nothing to learn from, nothing to scale by. Leave it out.")
