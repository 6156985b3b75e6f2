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

from credit_ray.models.arguments import NetworkShape, WXFormerArguments
from credit_ray.models.attention import FeedForward, WindowAttention
from credit_ray.models.decoders import Decode, Doubling, crop, doubling_head
from credit_ray.models.margins import InputMargins, padded
from credit_ray.models.spectral import hold_spectral_norm
from credit_ray.models.sphere import Topology, ZeroHead


class CrossEmbed(nn.Module):
    """Coarsen by `stride` with kernels of several sizes; the smallest, which are cheapest, get most of the channels.

    Its input has the margin that the largest kernel needs; with `zero`, none: zeros are seen beyond it.
    """

    def __init__(self, in_channels: int, width: int, kernels: tuple[int, ...], stride: int, zero: bool) -> None:
        super().__init__()
        widths = [width >> (i + 1) for i in range(len(kernels) - 1)]
        widths.append(width - sum(widths))
        self.spare = [0 if zero else (max(kernels) - kernel) // 2 for kernel in sorted(kernels)]
        self.lopsided = [zero and (kernel - stride) % 2 == 1 for kernel in sorted(kernels)]
        self.convs = nn.ModuleList(
            nn.Conv2d(in_channels, out, kernel, stride, (kernel - stride) // 2 if zero else 0)
            for out, kernel in zip(widths, sorted(kernels), strict=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        parts = []
        for conv, spare, lopsided in zip(self.convs, self.spare, self.lopsided, strict=True):
            # a convolution's own zeros are the same on all sides; an odd one more is due in the south and the east
            parts.append(conv(F.pad(x, (0, 1, 0, 1)) if lopsided else crop(x, spare)))
        return torch.cat(parts, 1)


class Stage(nn.Module):
    """Pairs of short- and long-distance attention, each followed by a feed-forward layer; all add to their input."""

    def __init__(self, width: int, depth: int, arguments: WXFormerArguments, window: int, topology: Topology) -> None:
        super().__init__()
        heads, shared, near = width // arguments.head_width, arguments.position_bias == "shared", arguments.local_window
        self.layers = nn.ModuleList()
        for _ in range(depth):
            self.layers.append(WindowAttention(width, heads, near, reach="short", shared_bias=shared))
            self.layers.append(FeedForward(width))
            self.layers.append(
                WindowAttention(width, heads, window, reach="long", periodic=topology.periodic, shared_bias=shared)
            )
            self.layers.append(FeedForward(width))

    def forward(self, x: Tensor) -> Tensor:
        x = x.permute(0, 2, 3, 1)  # [batch, lat, lon, channel]
        for layer in self.layers:
            x = x + layer(x)
        return x.permute(0, 3, 1, 2)


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
        self.margins, self.south_first = arguments.padding(shape), arguments.south_first
        self.halo = arguments.halo  # of the layers that read the input: what a channel is beyond a pole matters to them
        north, south, west, east = (margin + self.halo for margin in self.margins)
        self.pad = InputMargins(shape, (north, south, west, east), arguments.beyond)
        zero = arguments.inner_edges == "zero"
        self.maps = [padded(Topology.of(shape), self.margins, zero)]
        for stride in arguments.strides:
            self.maps.append(_strided(self.maps[-1], stride))
        spans = zip(arguments.kernels, arguments.strides, strict=True)
        self.halos = [0 if zero else (max(kernels) - stride) // 2 for kernels, stride in spans]
        widths = [arguments.width << stage for stage in range(len(arguments.depth))]
        channels = [shape.history * shape.in_channels, *widths]

        self.fine = (
            nn.Conv2d(channels[0], arguments.width, 3, padding=int(zero)) if arguments.decoder == "smooth" else None
        )
        self.embed, self.stages, self.decode = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for s, (width, stride) in enumerate(zip(widths, arguments.strides, strict=True)):
            self.embed.append(CrossEmbed(channels[s], width, arguments.kernels[s], stride, zero))
            self.stages.append(
                Stage(width, arguments.depth[s], arguments, arguments.global_window[s], self.maps[s + 1])
            )
        if arguments.decoder == "smooth":
            skips = [arguments.width, *widths]
            for s, (width, stride) in enumerate(zip(widths, arguments.strides, strict=True)):
                self.decode.append(Decode(width, skips[s], skips[s], stride, self.maps[s + 1], self.maps[s]))
            self.head: nn.Module = ZeroHead(skips[0], shape.out_channels)
        else:
            for s in range(1, len(widths)):
                joined = widths[s] * (1 if s == len(widths) - 1 else 2)
                self.decode.append(
                    Doubling(joined, widths[s - 1], widths[0], arguments.decoder, self.maps[s + 1], self.maps[s])
                )
            joined = widths[0] * (1 if len(widths) == 1 else 2)
            fine = (
                self.maps[0] if arguments.strides[0] == 2 else self.maps[1]
            )  # of these it needs no more than the edges
            self.head = doubling_head(joined, shape.out_channels, arguments.decoder, self.maps[1], fine)
        if arguments.spectral_norm:
            hold_spectral_norm(self, arguments.spectral_norm_except)

    def forward(self, x: Tensor) -> Tensor:
        grid = x.shape[-2:]
        if self.south_first:
            x = x.flip(-2)
        x = self.pad(x)
        skips = [] if self.fine is None else [self.fine(crop(x, max(self.halo - 1, 0)))]
        x = self.stages[0](self.embed[0](crop(x, self.halo - self.halos[0])))
        for s in range(1, len(self.stages)):
            skips.append(x)
            n = self.halos[s]
            x = self.stages[s](self.embed[s](self.maps[s].pad(x, n, n, n, n) if n else x))
        x = self._smooth(x, skips) if self.fine is not None else self._doubling(x, skips)
        top, bottom, left, right = self.margins
        x = x[..., top : x.shape[-2] - bottom, left : x.shape[-1] - right]
        x = x if x.shape[-2:] == grid else F.interpolate(x, grid, mode="bilinear", align_corners=False)
        return x.flip(-2) if self.south_first else x

    def _smooth(self, x: Tensor, skips: list[Tensor]) -> Tensor:
        for decode in reversed(self.decode):
            x = decode(x, skips.pop())
        return self.head(x)

    def _doubling(self, x: Tensor, skips: list[Tensor]) -> Tensor:
        for decode in reversed(self.decode):
            x = torch.cat([decode(x), skips.pop()], 1)
        return self.head(x)


def _strided(topology: Topology, stride: int) -> Topology:
    """Of the tokens: each is the middle of its cells, which no pole lies on."""
    return replace(
        topology,
        rows=topology.rows // stride,
        columns=topology.columns // stride,
        north_point=False,
        south_point=False,
    )
