"""Between physical units and the numbers that a network sees.

Inputs are (x − μ)/σ. The output of a prognostic channel is its one-step change in units of that change's own standard deviation
(`residual`), or its next value, normalised; a diagnostic channel is always predicted in full. Where a channel is transformed first (a
logarithm, a root, quantiles), all of this is of the transformed variable.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from credit_ray.data.transforms import Transform
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
    transforms : mapping of str to Transform, optional
        By channel, what is taken before the scaling.
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
        transforms: Mapping[str, Transform] | None = None,
    ) -> None:
        super().__init__()
        self.spec = spec
        self.transforms = dict(transforms or {})
        for name, transform in self.transforms.items():
            knots = torch.tensor(transform.knots, dtype=torch.float64)  # in float32, neighbours might be equal
            self.register_buffer(_knots_name(name), knots, persistent=False)
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
        together = self.transformed(torch.cat([fields, forcing, repeated], 2), self.spec.inputs)
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
        if self.residual:
            before = self.transformed(newest, self.spec.prognostic)
            after = torch.cat([before + after[:, : before.shape[1]], after[:, before.shape[1] :]], 1)
        return self.untransformed(after, self.spec.outputs)

    def transformed(self, fields: Tensor, channels: Channels) -> Tensor:
        """Physical fields [..., channel, *grid], those channels transformed that are; in the space in which changes are scaled."""
        return self._each(fields, channels, "forward")

    def untransformed(self, fields: Tensor, channels: Channels) -> Tensor:
        """The inverse of `transformed`."""
        return self._each(fields, channels, "inverse")

    def _each(self, fields: Tensor, channels: Channels, way: str) -> Tensor:
        for i, name in enumerate(channels.names):
            if transform := self.transforms.get(name):
                field, knots = fields[..., i, :, :], getattr(self, _knots_name(name))
                changed = getattr(transform, way)(field.to(knots.dtype), torch, knots).to(field.dtype)
                fields = fields.index_copy(-3, torch.tensor([i], device=fields.device), changed.unsqueeze(-3))
        return fields

    def normalized_outputs(self, fields: Tensor) -> Tensor:
        """Physical outputs [..., outputs, *grid] in units of the output's σ: the space in which losses compare."""
        return self.transformed(fields, self.spec.outputs) / _column(self.output_std, fields)

    def network_target(self, truth: Tensor, newest: Tensor) -> Tensor:
        """What the network should have emitted for `truth` [batch, outputs, *grid]: the inverse of `unpack`."""
        change = self.transformed(truth, self.spec.outputs)
        if self.residual:
            before = self.transformed(newest, self.spec.prognostic)
            change = torch.cat([change[:, : before.shape[1]] - before, change[:, before.shape[1] :]], 1)
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

    `kind` is "standard"; "minmax", with the lowest value for μ and the range for σ; or "residual": σ_res = σ · r / G with r = σ_Δ/σ and G
    the geometric mean of r over the prognostic and diagnostic channels (the scaling of CREDIT's published models), so that every channel's
    one-step change has equal variance.

    Raises
    ------
    DataError
        For a channel without variance, by name.
    """
    mean, std = dict(statistics.mean), {c.name: statistics.std[c.name] for c in spec.inputs + spec.diagnostic}
    change = {name: statistics.change_std[name] for name in spec.outputs.names}
    _refuse_zero(std, "never varies over the training period")
    scaled_by_change = spec.outputs if kind == "residual" else spec.prognostic if residual else Channels()
    _refuse_zero({name: change[name] for name in scaled_by_change.names}, "never changes from one step to the next")
    if kind == "residual":
        ratio = torch.tensor([change[name] / std[name] for name in change], dtype=torch.float64)
        geometric_mean = ratio.log().mean().exp().item()
        std |= {name: change[name] / geometric_mean for name in change}
    if kind == "minmax":
        mean, std = statistics.low, {name: statistics.high[name] - statistics.low[name] for name in std}
    prognostic = set(spec.prognostic.names)

    def tensor(values: dict[str, float], channels: Channels) -> Tensor:
        return torch.tensor([values[name] for name in channels.names], dtype=torch.float32)

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
        transforms={name: t for name, t in statistics.transforms.items() if name in std},
    )


def transform_constants(normalizer: Normalizer) -> dict[str, Tensor]:
    """The transforms as tensors by name, of which `transforms_of` makes them again."""
    return {
        f"{_TRANSFORM}{transform.kind}.{name}": torch.tensor(
            transform.knots if transform.kind == "quantile" else [transform.epsilon], dtype=torch.float64
        )
        for name, transform in normalizer.transforms.items()
    }


def transforms_of(constants: Mapping[str, Tensor]) -> dict[str, Transform]:
    """The transforms among a model's constants, by channel."""
    found: dict[str, Transform] = {}
    for key, values in constants.items():
        if key.startswith(_TRANSFORM):
            kind, _, name = key.removeprefix(_TRANSFORM).partition(".")
            if kind == "quantile":
                knots = (tuple(values[0].tolist()), tuple(values[1].tolist()))
                found[name] = Transform(kind="quantile", knots=knots)
            elif kind in ("log", "sqrt"):
                found[name] = Transform(kind="log" if kind == "log" else "sqrt", epsilon=float(values[0]))
            else:
                raise ValueError(f"there is no transform '{kind}'")
    return found


_TRANSFORM = "transform."


def _knots_name(channel: str) -> str:
    """Of a buffer; names of those have no dots."""
    return f"knots_{channel.replace('.', '_')}"


def _column(values: Tensor, like: Tensor) -> Tensor:
    """[channel] → [channel, 1, 1], to meet [..., channel, *grid]."""
    return values.to(like.dtype).view(-1, 1, 1)


def _refuse_zero(deviation: dict[str, float], why: str) -> None:
    constant = [name for name, value in deviation.items() if not value > 0]
    if constant:
        raise DataError(f"{', '.join(constant)} {why}: nothing to learn from, nothing to scale by. Leave it out.")
