"""Starting from weights that exist: of the same model, or of one with fewer or other channels; and holding some of them fixed.

Which dimensions of a parameter count channels is found out by building the network twice without memory (on torch's meta device), with one
channel more: no network has to say so itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatch
from typing import Any

import torch
from torch import Tensor, nn

from credit_ray.errors import ConfigError, did_you_mean
from credit_ray.models.network import build_network
from credit_ray.normalizer import Normalizer
from credit_ray.stepper import Recipe, Stepper, network_shape


def with_weights_of(donor: Stepper, stepper: Stepper) -> Stepper:
    """A stepper with the donor's weights, and its scales of all channels that both have.

    Input channels that the donor lacks start with weights of zero, so that at first they change nothing; outputs that it lacks start as drawn.

    Parameters
    ----------
    donor : Stepper
        Of the same network and arguments, history and grid.
    stepper : Stepper
        What is wanted, with fresh weights.

    Raises
    ------
    ConfigError
        Naming what differs, or a parameter that can't be extended.
    """
    _refuse_another_network(stepper, donor)
    inputs = _positions(stepper.spec.inputs.names, donor.spec.inputs.names)
    outputs = _positions(stepper.spec.outputs.names, donor.spec.outputs.names)
    normalizer = _with_scales_of(donor, stepper.normalizer, inputs, outputs)
    # Built anew, since the network reflects its input at the poles by these scales.
    made = Stepper(stepper.recipe, normalizer, stepper.statics, stepper.climatology)
    grows_in = _growing(donor, extra_in=1) if inputs != list(range(len(donor.spec.inputs))) else {}
    grows_out = _growing(donor, extra_out=1) if outputs != list(range(len(donor.spec.outputs))) else {}
    given = donor.network.state_dict()
    history = stepper.spec.history
    with torch.no_grad():
        fresh = stepper.network.state_dict()
        for name, mine in made.network.state_dict().items():
            taken, shape = given[name], tuple(mine.shape)
            if taken.dtype.is_floating_point:
                for dimension, step in grows_in.get(name, {}).items():
                    taken = _moved(taken, dimension, inputs, len(donor.spec.inputs), step, history, name)
                for dimension, step in grows_out.get(name, {}).items():
                    taken = _moved(taken, dimension, outputs, len(donor.spec.outputs), step, 1, name, like=fresh[name])
            if tuple(taken.shape) != shape:
                raise ConfigError(
                    f"training.start_from: parameter {name} is {list(taken.shape)} there and {list(shape)} here."
                )
            mine.copy_(taken)
    return made


def freeze(network: nn.Module, patterns: Sequence[str]) -> None:
    """Hold the parameters fixed whose names match; shell patterns such as `encoder.*`.

    Raises
    ------
    ConfigError
        For a pattern that matches nothing, or where nothing is left to train.
    """
    names = [name for name, _ in network.named_parameters()]
    for pattern in patterns:
        matching = [name for name in names if fnmatch(name, pattern)]
        if not matching:
            raise ConfigError(f"training.freeze: no parameter matches '{pattern}'.{did_you_mean(pattern, names)}")
        for name in matching:
            network.get_parameter(name).requires_grad_(False)
    if not any(parameter.requires_grad for parameter in network.parameters()) and names:
        raise ConfigError(f"training.freeze: {list(patterns)} leaves nothing to train.")


def _refuse_another_network(stepper: Stepper, donor: Stepper) -> None:
    mine, theirs = stepper.recipe, donor.recipe
    differences = [
        f"{what} is {b} there and {a} here"
        for what, a, b in (
            ("the network", mine.network, theirs.network),
            ("data.history", stepper.spec.history, donor.spec.history),
            ("the grid", stepper.spec.grid.describe(), donor.spec.grid.describe()),
            ("model.residual", mine.residual, theirs.residual),
            *(
                (f"model.{k}", mine.arguments.get(k), theirs.arguments.get(k))
                for k in {*mine.arguments, *theirs.arguments}
            ),
        )
        if a != b and what != "model.dropout"
    ]
    if differences:
        raise ConfigError(f"training.start_from: that model is another one: {'; '.join(differences)}.")


def _positions(mine: Sequence[str], theirs: Sequence[str]) -> list[int | None]:
    """Where the donor has each of my channels."""
    return [theirs.index(name) if name in theirs else None for name in mine]


def _with_scales_of(
    donor: Stepper, normalizer: Normalizer, inputs: list[int | None], outputs: list[int | None]
) -> Normalizer:
    """Weights mean nothing without the scales that they were trained with."""
    scales: dict[str, Any] = {}
    for positions, names in ((inputs, ("input_mean", "input_std")), (outputs, ("output_mean", "output_std"))):
        for name in names:
            mine, theirs = getattr(normalizer, name), getattr(donor.normalizer, name)
            scales[name] = torch.stack(
                [mine[i] if there is None else theirs[there] for i, there in enumerate(positions)]
            )
    known = {channel.name for channel in (*donor.spec.inputs, *donor.spec.diagnostic)}
    transforms = {name: transform for name, transform in normalizer.transforms.items() if name not in known}
    transforms |= donor.normalizer.transforms
    return Normalizer(
        normalizer.spec, **scales, residual=normalizer.residual, mask=normalizer.mask, transforms=transforms
    )


def _growing(stepper: Stepper, extra_in: int = 0, extra_out: int = 0) -> dict[str, dict[int, int]]:
    """By parameter: the dimensions that a channel more makes longer, and by how much."""
    recipe: Recipe = stepper.recipe
    shape = network_shape(recipe.spec, stepper.normalizer)
    longer = replace(
        shape,
        in_channels=shape.in_channels + extra_in,
        out_channels=shape.out_channels + extra_out,
        pole_sign=(*shape.pole_sign, *[1.0] * extra_in),
        pole_offset=(*shape.pole_offset, *[0.0] * extra_in),
    )
    with torch.device("meta"):
        grown = build_network(recipe.network, recipe.arguments, longer).state_dict()
    return {
        name: found
        for name, tensor in stepper.network.state_dict().items()
        if (found := {d: b - a for d, (a, b) in enumerate(zip(tensor.shape, grown[name].shape, strict=True)) if a != b})
    }


def _moved(
    tensor: Tensor,
    dimension: int,
    positions: list[int | None],
    before: int,
    step: int,
    history: int,
    name: str,
    *,
    like: Tensor | None = None,
) -> Tensor:
    """A dimension that counts channels, [time, channel, …] flattened, brought to another list of channels."""
    if tensor.shape[dimension] != before * step or step % history:
        raise ConfigError(
            f"training.start_from: dimension {dimension} of parameter {name} does not simply count channels, so other channels than the model's "
            f"can't be added to it. Use the same channels."
        )
    apart = tensor.unflatten(dimension, (history, before, step // history)).movedim(dimension + 1, 0)
    if like is not None:
        fresh = like.unflatten(dimension, (history, len(positions), step // history)).movedim(dimension + 1, 0)
    else:
        fresh = torch.zeros(len(positions), *apart.shape[1:], dtype=tensor.dtype)
    parts = [fresh[i].clone() if there is None else apart[there] for i, there in enumerate(positions)]
    return torch.stack(parts).movedim(0, dimension + 1).flatten(dimension, dimension + 2)
