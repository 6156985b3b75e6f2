"""How each network is shared out over bands of latitude: one rule for each, applied to a network that knows nothing of it.

A rule says where the network's map can be cut and gives its layers their bands. It never changes what is saved: parameters stay whole, the
same on every worker, and each uses the rows of them that are its own. A network without a rule, or one with a layer that its rule does not
know, is refused by name: nothing is shared out on trust.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from math import lcm
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from credit_ray.errors import ConfigError
from credit_ray.grid.harmonics import SphericalHarmonics
from credit_ray.models import attention, convnext, samudra, sfno, sphere, unet, wxformer
from credit_ray.models.sphere import Topology
from credit_ray.training.domain.bands import Bands, BandTopology, cut_topologies
from credit_ray.training.domain.exchange import Ring, exchanged
from credit_ray.training.domain.harmonics import share_harmonics

Rule = Callable[[Any, Ring], Bands]

_RULES: dict[str, tuple[Rule, frozenset[type[nn.Module] | str]]] = {}

PLACE_BY_PLACE: tuple[type[nn.Module], ...] = (
    nn.Conv2d,  # of what its layer has padded
    nn.Linear,
    nn.LayerNorm,  # over channels, in all networks here
    nn.Dropout1d,  # of whole channels: the same draws on every worker of a domain
    nn.Dropout2d,
    nn.ReLU,
    nn.GELU,
    nn.Identity,
    nn.Sequential,
    nn.ModuleList,
    nn.ModuleDict,
)


def domain_rule(name: str, *layers: type[nn.Module] | str) -> Callable[[Rule], Rule]:
    """Make a network known to `resources.parallel.domain`.

    Parameters
    ----------
    name : str
        Under which the network is registered.
    layers : types, or names of classes in `credit_ray.models`
        Modules that it may be made of, beside those of torch that act place by place. One that is not listed is refused.

    Returns
    -------
    decorator
        Of a function `(network, ring) -> Bands` that changes the network in place: afterwards it maps its band of the input, [batch, time,
        channel, rows, columns], to its band of the output, and its state dict is what it was.
    """

    def add(rule: Rule) -> Rule:
        _RULES[name] = rule, frozenset((*PLACE_BY_PLACE, *layers))
        return rule

    return add


def share_out(name: str, network: nn.Module, ring: Ring) -> Bands:
    """Apply the network's rule.

    Raises
    ------
    ConfigError
        Where there is none, where it does not know a layer of this network, or where there are too many bands.
    """
    if name not in _RULES:
        raise ConfigError(
            f"resources.parallel.domain is {ring.size}, but the network '{name}' has no rule by which bands of latitude share it; "
            f"{', '.join(sorted(_RULES))} have. Use parallel.shard or parallel.data, or give it one: "
            f"@domain_rule('{name}') of credit_ray.training.domain."
        )
    rule, known = _RULES[name]
    for path, module in network.named_modules():
        kind = parametrize.type_before_parametrizations(module)
        ours = kind.__module__.startswith("credit_ray.models.") and kind.__name__ in known
        if not ours and kind not in known and not isinstance(module, parametrize.ParametrizationList):
            if path.rpartition(".")[0].split(".")[-2:-1] == ["parametrizations"]:
                continue  # of a weight, not of a field
            raise ConfigError(
                f"resources.parallel.domain is {ring.size}, but the rule of the network '{name}' does not know its layer {path} "
                f"({kind.__name__}): do without this option of it, or use parallel.shard or parallel.data."
            )
    return rule(network, ring)


@domain_rule(
    "unet",
    unet.UNet,
    sphere.ReflectedInput,
    sphere.SphericalConv,
    sphere.ChannelNorm,
    sphere.ResidualBlock,
    sphere.Downsample,
    sphere.Upsample,
    sphere.ZeroHead,
    convnext.ConvNextBlock,
)
def _unet(network: unet.UNet, ring: Ring) -> Bands:
    """Convolutions borrow rows. Bands begin at rows that every level keeps."""
    return _cut_levels(network, network.pad.topology, len(network.coarsen), ring)[0].bands


@domain_rule(
    "samudra",
    samudra.Samudra,
    samudra.OceanBlock,
    samudra.OceanMean,
    samudra.DilatedConv,
    sphere.ReflectedInput,
    sphere.ChannelNorm,
    sphere.Upsample,
    sphere.ZeroHead,
)
def _samudra(network: samudra.Samudra, ring: Ring) -> Bands:
    """As a U-Net; of the masks, each level has its rows."""
    levels = _cut_levels(network, network.pad.topology, len(network.coarsen), ring)
    network.wet, network.mask = levels[0].own(network.wet), levels[0].own(network.mask)
    for module in network.modules():
        if isinstance(module, samudra.OceanBlock):
            part = module.first.topology
            module.wet = part.own(module.wet)
    for mean, coarse in zip(network.coarsen, levels[1:], strict=True):
        assert isinstance(mean, samudra.OceanMean)
        mean.weight = coarse.own(mean.weight)
    return levels[0].bands


def _cut_levels(network: nn.Module, finest: Topology, coarser: int, ring: Ring) -> list[BandTopology]:
    """Cut a map and so many that are each half as fine; gives this worker's parts of them, finest first."""
    levels = [finest]
    for _ in range(coarser):
        levels.append(levels[-1].coarser())
    bands = Bands.cut(finest.rows, ring.size, unit=2**coarser)
    parts = [BandTopology.part(level, bands.strided(2**i, level.rows), ring) for i, level in enumerate(levels)]
    cut_topologies(network, dict(zip(levels, parts, strict=True)))
    return parts


@domain_rule(
    "sfno", sfno.SFNO, sfno.Block, sfno.SpectralFilter, SphericalHarmonics, sphere.ChannelNorm, sphere.ZeroHead
)
def _sfno(network: sfno.SFNO, ring: Ring) -> Bands:
    """Transforms change bands of rows for sets of wave numbers; degrees are mixed for each of them by itself."""
    whole = network.topology
    bands = Bands.cut(whole.rows, ring.size, unit=1)
    cut_topologies(network, {whole: BandTopology.part(whole, bands, ring)})
    for module in network.modules():
        if isinstance(module, SphericalHarmonics):
            share_harmonics(module, Bands.cut(module.grid.shape[0], ring.size, unit=1), ring)
    return bands


@domain_rule(
    "wxformer",
    *("WXFormer", "InputMargins", "ReflectedInput", "CrossEmbed", "Stage", "Decode", "SubPixel"),
    *("WindowAttention", "DynamicPositionBias", "FeedForward"),
    *("SphericalConv", "ChannelNorm", "ResidualBlock", "ZeroHead"),
)
def _wxformer(network: wxformer.WXFormer, ring: Ring) -> Bands:
    """Convolutions borrow rows; bands begin where tiles of short attention do, at every stage; long attention swaps rows for columns."""
    north, south, west, east = network.margins
    inputs = [module for module in network.modules() if isinstance(module, sphere.ReflectedInput)]
    if not inputs or getattr(network, "south_first", False) or getattr(network.maps[0], "zero", False):
        raise ConfigError(
            f"resources.parallel.domain is {ring.size}, and 'wxformer' is shared out with what lies on the sphere beyond its edges alone: "
            f"not with model.beyond, model.south_first or model.inner_edges as CREDIT has them. Use parallel.shard or parallel.data."
        )
    input_map, maps = inputs[0].topology, list(network.maps)
    strides = [maps[0].rows // level.rows for level in maps]
    attending = [
        [layer for layer in stage.modules() if isinstance(layer, attention.WindowAttention)] for stage in network.stages
    ]
    near = [[layer.window for layer in layers if layer.reach == "short"] for layers in attending]
    unit = lcm(
        *(stride * window for stride, windows in zip(strides[1:], near, strict=True) for window in (1, *windows))
    )
    bands = Bands.cut(input_map.rows, ring.size, unit=unit, north=north, south=south)
    extended = bands.extended(north, south)
    parts = {
        level: BandTopology.part(level, extended.strided(stride, level.rows), ring)
        for level, stride in zip(maps, strides, strict=True)
    }
    cut_topologies(network, {input_map: BandTopology.part(input_map, bands, ring, (north, south))} | parts)
    # The same map may be the input's and the first level's: that of the input is set last, since its margins are wider.
    inputs[0].topology = BandTopology.part(input_map, bands, ring, (north, south))
    network.margins = (north if ring.first else 0, south if ring.last else 0, west, east)
    for layers, level in zip(attending, maps[1:], strict=True):
        for layer in layers:
            if layer.reach == "long":
                layer.forward = partial(_long, layer.forward, layer.window, parts[level])  # type: ignore[method-assign]
    return bands


def _long(attend: Callable[[Tensor], Tensor], window: int, part: BandTopology, x: Tensor) -> Tensor:
    """Attention among tokens spread over the whole map: each worker takes some of the lattices.

    A lattice is every (columns / window)-th column, of every so many rows. Columns that belong to the same lattices, and all rows of them, make a
    smaller map with the same windows.
    """
    step, count = x.shape[2] // window, part.ring.size  # x: [batch, rows, columns, channel]
    bounds = [k * step // count for k in range(count + 1)]  # of the lattices' first columns
    order = torch.arange(window * step, device=x.device).view(window, step)
    order = torch.cat([order[:, a:b].flatten() for a, b in pairwise(bounds)])
    shares = [(b - a) * window for a, b in pairwise(bounds)]
    mine = exchanged(x[:, :, order], 1, part.bands.rows, 2, shares, part.ring)
    if mine.shape[2]:
        mine = attend(mine)
    back = exchanged(mine, 2, shares, 1, part.bands.rows, part.ring)
    return back[:, :, order.argsort()]
