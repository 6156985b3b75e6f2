"""WXFormer: cross-scale embedding, window attention near and far, and a decoder that leaves no pattern.

The encoder is CrossFormer's (Wang et al. 2022, arXiv:2108.00154), which the WXFormer of CREDIT made into a weather model (Schreck
et al. 2025, npj Clim. Atmos. Sci. 8, 239): each stage embeds its input with kernels of several sizes and then alternates attention within
tiles with attention among tokens spread over the whole map. The decoder climbs back by sub-pixel convolutions (Shi et al. 2016,
arXiv:1609.05158), joined by skips at every scale, the grid's own included.

What differs from CREDIT's: convolutions see no edges, at every depth; the position bias of an offset is the one that the offset
was embedded with, and goes round the globe where the map does; each sub-pixel step is followed by a low-pass filter that has a zero
at the pattern of its cells (Sugawara et al. 2019, arXiv:1907.03478), whose pile-up over four steps is the spike at a period of
eight cells in the spectra of CREDIT's forecasts.
"""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from credit_ray.models.arguments import NetworkShape, WXFormerArguments
from credit_ray.models.attention import FeedForward, WindowAttention
from credit_ray.models.sphere import ReflectedInput, ResidualBlock, Topology, ZeroHead


class CrossEmbed(nn.Module):
    """Coarsen by `stride` with kernels of several sizes; the smallest, which are cheapest, get most of the channels.

    Its input has the margin that the largest kernel needs.
    """

    def __init__(self, in_channels: int, width: int, kernels: tuple[int, ...], stride: int) -> None:
        super().__init__()
        widths = [width >> (i + 1) for i in range(len(kernels) - 1)]
        widths.append(width - sum(widths))
        self.spare = [(max(kernels) - kernel) // 2 for kernel in sorted(kernels)]
        self.convs = nn.ModuleList(
            nn.Conv2d(in_channels, out, kernel, stride) for out, kernel in zip(widths, sorted(kernels), strict=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([conv(_crop(x, n)) for conv, n in zip(self.convs, self.spare, strict=True)], 1)


class Stage(nn.Module):
    """Pairs of short- and long-distance attention, each followed by a feed-forward layer; all add to their input."""

    def __init__(self, width: int, depth: int, arguments: WXFormerArguments, window: int, topology: Topology) -> None:
        super().__init__()
        heads = width // arguments.head_width
        self.layers = nn.ModuleList()
        for _ in range(depth):
            self.layers.append(WindowAttention(width, heads, arguments.local_window, reach="short"))
            self.layers.append(FeedForward(width))
            self.layers.append(WindowAttention(width, heads, window, reach="long", periodic=topology.periodic))
            self.layers.append(FeedForward(width))

    def forward(self, x: Tensor) -> Tensor:
        x = x.permute(0, 2, 3, 1)  # [batch, lat, lon, channel]
        for layer in self.layers:
            x = x + layer(x)
        return x.permute(0, 3, 1, 2)


class SubPixel(nn.Module):
    """Refine `factor` times: a sub-pixel convolution, and a filter that removes what differs only between the cells of a pixel.

    The filter is a triangle as wide as two pixels: what is the same in all pixels comes out uniform, whatever the weights are. The
    weights start equal for all cells of a pixel, so that a fresh layer interpolates (Aitken et al. 2017, arXiv:1707.02937).
    """

    def __init__(self, in_channels: int, out_channels: int, factor: int, coarse: Topology) -> None:
        super().__init__()
        self.factor, self.coarse = factor, coarse
        self.conv = nn.Conv2d(in_channels, out_channels * factor**2, 3)
        with torch.no_grad():
            for parameter in self.conv.parameters():
                parameter.copy_(parameter[:out_channels].repeat_interleave(factor**2, 0))

    def forward(self, x: Tensor) -> Tensor:
        # The filter needs whole pixels beyond the edge: across a pole the cells of a mirrored one would come in reverse.
        x = F.pixel_shuffle(self.conv(self.coarse.pad(x, 2, 2, 2, 2)), self.factor)
        return _crop(F.avg_pool2d(F.avg_pool2d(x, self.factor, 1), self.factor, 1), 1)


class Decode(nn.Module):
    """One step up: refine, join the skip, and smooth out the seam."""

    def __init__(self, in_channels: int, skip: int, width: int, factor: int, coarse: Topology, fine: Topology) -> None:
        super().__init__()
        self.refine = SubPixel(in_channels, width, factor, coarse)
        self.join = nn.Conv2d(width + skip, width, 1)
        self.block = ResidualBlock(width, 3, fine)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        return self.block(self.join(torch.cat([self.refine(x), skip], 1)))


class WXFormer(nn.Module):
    """[batch, time, in_channels, lat, lon] → [batch, out_channels, lat, lon], on a grid of any size.

    Where strides and windows do not divide the grid, the input is padded across the poles and the dateline until they do, and
    the output is cropped.

    Parameters
    ----------
    arguments : WXFormerArguments
        Width, depth, windows.
    shape : NetworkShape
        Of the data.
    """

    def __init__(self, arguments: WXFormerArguments, shape: NetworkShape) -> None:
        super().__init__()
        self.margins = arguments.padding(shape)
        self.halo = arguments.halo  # of the layers that read the input: what a channel is beyond a pole matters to them
        self.pad = ReflectedInput(shape, *(margin + self.halo for margin in self.margins))
        self.maps = [_padded(Topology.of(shape), self.margins)]
        for stride in arguments.strides:
            self.maps.append(_strided(self.maps[-1], stride))
        self.halos = [(max(k) - stride) // 2 for k, stride in zip(arguments.kernels, arguments.strides, strict=True)]
        widths = [arguments.width << stage for stage in range(len(arguments.depth))]
        channels = [shape.history * shape.in_channels, *widths]
        skips = [arguments.width, *widths]

        self.fine = nn.Conv2d(channels[0], skips[0], 3)
        self.embed, self.stages, self.decode = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for s, (width, stride) in enumerate(zip(widths, arguments.strides, strict=True)):
            coarse, fine = self.maps[s + 1], self.maps[s]
            self.embed.append(CrossEmbed(channels[s], width, arguments.kernels[s], stride))
            self.stages.append(Stage(width, arguments.depth[s], arguments, arguments.global_window[s], coarse))
            self.decode.append(Decode(width, skips[s], skips[s], stride, coarse, fine))
        if arguments.spectral_norm:
            for module in [m for m in self.modules() if isinstance(m, nn.Conv2d | nn.Linear)]:
                spectral_norm(module)
        self.head = ZeroHead(skips[0], shape.out_channels)

    def forward(self, x: Tensor) -> Tensor:
        rows, columns = x.shape[-2:]
        x = self.pad(x)
        skips = [self.fine(_crop(x, self.halo - 1))]
        x = self.stages[0](self.embed[0](_crop(x, self.halo - self.halos[0])))
        for s in range(1, len(self.stages)):
            skips.append(x)
            n = self.halos[s]
            x = self.stages[s](self.embed[s](self.maps[s].pad(x, n, n, n, n)))
        for decode in reversed(self.decode):
            x = decode(x, skips.pop())
        top, _, left, _ = self.margins
        return self.head(x)[..., top : top + rows, left : left + columns]


def _crop(x: Tensor, margin: int) -> Tensor:
    return x[..., margin : x.shape[-2] - margin, margin : x.shape[-1] - margin]


def _padded(topology: Topology, margins: tuple[int, int, int, int]) -> Topology:
    """Of the padded map: beyond its margins lies nothing that it knows of, so there its outer cells are repeated."""
    top, bottom, left, right = margins
    periodic = topology.periodic and not (left or right)
    poles = topology.poles and periodic and not (top or bottom)
    return Topology(
        rows=topology.rows + top + bottom,
        columns=topology.columns + left + right,
        periodic=periodic,
        poles=poles,
        north_point=topology.north_point and poles,
        south_point=topology.south_point and poles,
    )


def _strided(topology: Topology, stride: int) -> Topology:
    """Of the tokens: each is the middle of its cells, which no pole lies on."""
    return replace(
        topology,
        rows=topology.rows // stride,
        columns=topology.columns // stride,
        north_point=False,
        south_point=False,
    )
