"""What every network must hold, a user's own too: checks to be run in a test.

```python
import pytest
from credit_ray.models.conformance import CHECKS, Subject

@pytest.mark.parametrize("check", CHECKS)
def test_my_network_conforms(check):
    check(Subject(network="mine", arguments={"width": 8}))
```

Each raises AssertionError that says what does not hold. They run in float64 where nothing else is said, with what starts at zero drawn at
random, since an untrained last layer would hide everything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from credit_ray.errors import ConfigError
from credit_ray.grid.gaussian import gauss_legendre_latitudes
from credit_ray.models.arguments import NetworkShape
from credit_ray.models.network import ClosedForm, build_network, network_arguments


@dataclass(frozen=True, kw_only=True)
class Subject:
    """The network that is checked.

    Parameters
    ----------
    network : str
        Registered name, or path.
    arguments : mapping
        Ones that make it small: the checks build it some twenty times.
    """

    network: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def build(self, shape: NetworkShape, seed: int = 0) -> nn.Module:
        """In float64 and evaluation mode; what starts at zero is drawn at random."""
        torch.manual_seed(seed)
        network = build_network(self.network, self.arguments, shape).double().eval()
        with torch.no_grad():
            for tensor in [*network.parameters(), *network.state_dict().values()]:
                if tensor.is_floating_point() and not tensor.any():
                    tensor.normal_(std=0.3)
        return network

    def fits(self, shape: NetworkShape) -> bool:
        """Whether the arguments' own `check` has nothing against these data."""
        arguments = network_arguments(self.network, self.arguments)
        try:
            arguments.check(shape)
        except AttributeError:
            return True
        except ConfigError:
            return False
        return True


def global_shape(rows: int = 16, columns: int = 32, *, kind: str = "cells", **changed: Any) -> NetworkShape:
    """Small data: two input times of three channels, the second one a vector's component; two channels out.

    Parameters
    ----------
    rows, columns : int
        Size of a global grid.
    kind : {"cells", "points", "gaussian"}
        Whether poles lie half a row beyond the rows, or on them; or Gaussian rows.
    changed
        Other fields of NetworkShape.
    """
    latitude: NDArray[np.floating]
    if kind == "gaussian":
        latitude = gauss_legendre_latitudes(rows)
    elif kind == "points":
        latitude = np.linspace(90, -90, rows)
    else:
        latitude = 90 - 180 / rows * (np.arange(rows) + 0.5)
    values: dict[str, Any] = {
        "history": 2,
        "in_channels": 3,
        "out_channels": 2,
        "grid": (rows, columns),
        "periodic": True,
        "poles": True,
        "pole_points": kind == "points",
        "pole_sign": (1.0, -1.0, 1.0),
        "pole_offset": (0.0, 0.4, 0.0),
        "latitude": tuple(latitude.tolist()),
        "longitude": tuple((np.arange(columns) * 360 / columns).tolist()),
        "prognostic": 1,
        "change": (0.5,),
    }
    return NetworkShape(**{**values, **changed})


def regional_shape(rows: int, columns: int, *, periodic: bool = False) -> NetworkShape:
    """A band of latitudes, or a window in it."""
    longitude = np.arange(columns) * (360 / columns if periodic else 1.0)
    return global_shape(
        rows,
        columns,
        periodic=periodic,
        poles=False,
        latitude=tuple(np.linspace(30 + rows, 30, rows).tolist()),
        longitude=tuple(longitude.tolist()),
    )


SHAPES = (
    global_shape(32, 64, kind="gaussian"),
    global_shape(33, 70, kind="points"),
    global_shape(73, 144, kind="points"),
    global_shape(9, 7),
    regional_shape(21, 30),
    regional_shape(20, 36, periodic=True),
)
"""Data of many kinds: Gaussian, with poles, of odd and prime sizes, regional."""


def fields(shape: NetworkShape, batch: int = 1, seed: int = 1) -> Tensor:
    """Random input [batch, time, in_channels, *grid], float64."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, shape.history, shape.in_channels, *shape.grid, dtype=torch.float64, generator=generator)


def gives_what_it_should_on_every_grid_that_it_accepts(subject: Subject) -> None:
    """Output of the right shape, finite, and of the input's precision; grids that `check` refuses do not count."""
    accepted = [shape for shape in SHAPES if subject.fits(shape)]
    assert accepted, f"'{subject.network}' accepts none of the grids {[shape.grid for shape in SHAPES]}"
    for shape in accepted:
        out = subject.build(shape)(fields(shape, batch=2))
        wanted = (2, shape.out_channels, *shape.grid)
        assert out.shape == wanted, f"the output's shape is {tuple(out.shape)}, not {wanted}"
        assert torch.isfinite(out).all(), f"the output on a grid of {shape.grid} is not finite"
        assert out.dtype == torch.float64, f"of float64 it makes {out.dtype}"


def has_arguments_that_can_be_written_down(subject: Subject) -> None:
    """As plain values they make equal arguments again: a package keeps them in JSON."""
    arguments = network_arguments(subject.network, subject.arguments)
    assert network_arguments(subject.network, asdict(arguments)) == arguments


def uses_every_input(subject: Subject) -> None:
    """Each input time and channel changes the output; a baseline in closed form may leave some out."""
    shape = _a_shape(subject)
    network, x = subject.build(shape), fields(shape)
    if isinstance(network, ClosedForm):
        return
    before = network(x)
    for time in range(shape.history):
        for channel in range(shape.in_channels):
            changed = x.clone()
            changed[:, time, channel] = fields(shape, seed=2)[:, time, channel]
            assert not torch.allclose(network(changed), before), f"channel {channel} of input time {time} has no effect"


def has_a_gradient_for_every_parameter(subject: Subject) -> None:
    """A weight that the loss does not see is a mistake, and stalls distributed training."""
    shapes = [shape for shape in SHAPES[:2] if subject.fits(shape)] or [_a_shape(subject)]
    for shape in shapes:
        network = subject.build(shape).train()
        if not list(network.parameters()):
            return
        network(fields(shape, batch=2)).square().mean().backward()
        unreached = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().max() > 1e-14]
        assert not unreached, f"no gradient reaches {unreached}"


def does_not_let_samples_see_each_other(subject: Subject) -> None:
    """A forecast must not depend on what shares its batch."""
    shape = _a_shape(subject)
    network, x = subject.build(shape), fields(shape, batch=3)
    alone = torch.cat([network(sample) for sample in x.split(1)])
    torch.testing.assert_close(network(x), alone, rtol=1e-9, atol=1e-9)


def repeats_itself_in_evaluation(subject: Subject) -> None:
    """No dropout, no noise, no running average that a forward pass would change."""
    shape = _a_shape(subject)
    network, x = subject.build(shape), fields(shape)
    first = network(x)
    network(fields(shape, seed=3))
    assert torch.equal(network(x), first)


def is_made_again_by_its_state_dict(subject: Subject) -> None:
    """All that training changes is in the state dict, and nothing that follows from arguments and data alone is not rebuilt."""
    shape = _a_shape(subject)
    network, again = subject.build(shape), subject.build(shape, seed=7)
    x = fields(shape)
    again.load_state_dict(network.state_dict())
    assert torch.equal(network(x), again(x))
    halved = build_network(subject.network, subject.arguments, shape)  # float32, as packages keep it
    halved.load_state_dict(
        {name: value.to(halved.state_dict()[name].dtype) for name, value in network.state_dict().items()}
    )


def agrees_with_itself_in_lower_precision(subject: Subject) -> None:
    """In float32, and in bfloat16 under autocast, as training runs it; gradients stay finite there."""
    shape = _a_shape(subject)
    network, x = subject.build(shape), fields(shape, batch=2)
    wanted = network(x).detach()
    network, x = network.float(), x.float()
    single = network(x)
    assert single.dtype == torch.float32, f"of float32 it makes {single.dtype}"
    assert _distance(single, wanted) < 1e-4, (
        f"float32 differs from float64 by {_distance(single, wanted):.1e} of the output"
    )
    with torch.autocast("cpu", torch.bfloat16):
        half = network.train()(x)
        if half.requires_grad:
            half.float().square().mean().backward()
    assert torch.isfinite(half).all(), "in bfloat16 the output is not finite"
    bad = [name for name, p in network.named_parameters() if p.grad is not None and not torch.isfinite(p.grad).all()]
    assert not bad, f"in bfloat16 the gradients of {bad} are not finite"
    half = _in_bfloat16(network.eval(), x)
    assert _distance(half, wanted) < 0.1, (
        f"bfloat16 differs from float64 by {_distance(half, wanted):.1e} of the output"
    )


def gives_the_same_when_exported(subject: Subject) -> None:
    """`torch.export` takes it whole, and the exported program gives what the network gives."""
    shape = _a_shape(subject)
    network, x = subject.build(shape).float(), fields(shape, batch=2).float()
    try:
        program = torch.export.export(network, (x,), strict=False)
    except Exception as error:
        raise AssertionError(f"torch.export does not take it: {error}") from error
    torch.testing.assert_close(program.module()(x), network(x), rtol=1e-5, atol=1e-5)


def has_the_same_gradients_with_activation_checkpointing(subject: Subject) -> None:
    """Forgetting activations and computing them again changes nothing: for the whole network, and block by block."""
    shape = _a_shape(subject)
    x = fields(shape, batch=2)
    wanted = _gradients(subject.build(shape).train(), x)
    whole = subject.build(shape).train()
    _recompute(whole)
    blocks = subject.build(shape).train()
    for module in list(blocks.modules()):
        if isinstance(module, nn.ModuleList):
            for block in module:
                _recompute(block)
    for network in (whole, blocks):
        found = _gradients(network, x)
        for name, value in wanted.items():
            close = torch.allclose(found[name], value, rtol=1e-9, atol=1e-12)
            assert close, f"the gradient of {name} changes: {_distance(found[name], value):.1e} of it"


def turns_with_the_globe_where_it_says_so(subject: Subject) -> None:
    """Arguments may claim, by `equivariant_roll(shape)`, that rolling the input by so many columns rolls the output."""
    arguments = network_arguments(subject.network, subject.arguments)
    if not hasattr(arguments, "equivariant_roll"):
        return
    for shape in (global_shape(16, 32, kind="gaussian"), *SHAPES[:2]):
        columns = arguments.equivariant_roll(shape) if subject.fits(shape) else None
        if columns is None:
            continue
        network, x = subject.build(shape), fields(shape)
        out = network(x)
        turned = network(x.roll(columns, -1))
        torch.testing.assert_close(turned, out.roll(columns, -1), rtol=1e-7, atol=1e-7)
        assert isinstance(network, ClosedForm) or not torch.allclose(turned, out), (
            "it does not look at longitude at all"
        )


CHECKS: tuple[Callable[[Subject], None], ...] = (
    gives_what_it_should_on_every_grid_that_it_accepts,
    has_arguments_that_can_be_written_down,
    uses_every_input,
    has_a_gradient_for_every_parameter,
    does_not_let_samples_see_each_other,
    repeats_itself_in_evaluation,
    is_made_again_by_its_state_dict,
    agrees_with_itself_in_lower_precision,
    gives_the_same_when_exported,
    has_the_same_gradients_with_activation_checkpointing,
    turns_with_the_globe_where_it_says_so,
)
"""All checks, each to be called with a Subject."""


def _a_shape(subject: Subject) -> NetworkShape:
    """The smallest data that it takes."""
    for shape in (global_shape(16, 32, kind="gaussian"), *SHAPES):
        if subject.fits(shape):
            return shape
    raise AssertionError(f"'{subject.network}' accepts none of the grids {[shape.grid for shape in SHAPES]}")


def _distance(found: Tensor, wanted: Tensor) -> float:
    return float((found.detach().double() - wanted).norm() / wanted.norm().clamp(min=1e-30))


@torch.no_grad()
def _in_bfloat16(network: nn.Module, x: Tensor) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        return network(x)


def _gradients(network: nn.Module, x: Tensor) -> dict[str, Tensor]:
    if not list(network.parameters()):
        return {}
    torch.manual_seed(5)  # of dropout
    network(x).square().mean().backward()
    return {name: p.grad for name, p in network.named_parameters() if p.grad is not None}


def _recompute(module: nn.Module) -> None:
    module.forward = partial(checkpoint, module.forward, use_reentrant=False)
