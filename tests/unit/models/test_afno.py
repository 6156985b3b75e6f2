"""AFNO's mixing in spectral space, against loops over wavenumbers, blocks and channels."""

from __future__ import annotations

import cmath
import itertools

import pytest
import torch
from torch import Tensor

from credit_ray.errors import ConfigError
from credit_ray.models.afno import SpectralMixer
from credit_ray.models.arguments import AFNOArguments
from credit_ray.models.conformance import global_shape

ROWS, COLUMNS, WIDTH, BLOCKS = 4, 6, 4, 2


def shrunk(value: float, by: float) -> float:
    return max(abs(value) - by, 0.0) * (1 if value > 0 else -1)


def by_loops(mixer: SpectralMixer, x: Tensor, mixed: set[tuple[int, int]]) -> Tensor:
    """One map [lat, lon, channel]: the discrete Fourier sum itself, two layers for each wavenumber and block, and the sum back."""
    weights, biases = torch.view_as_complex(mixer.weights).tolist(), torch.view_as_complex(mixer.biases).tolist()
    size = WIDTH // BLOCKS
    places = list(itertools.product(range(ROWS), range(COLUMNS)))

    def wave(k: tuple[int, int], place: tuple[int, int]) -> complex:
        return cmath.exp(2j * cmath.pi * (k[0] * place[0] / ROWS + k[1] * place[1] / COLUMNS)) / (ROWS * COLUMNS) ** 0.5

    out = torch.zeros(ROWS, COLUMNS, WIDTH, dtype=torch.float64)
    for k in mixed:
        modes = [sum(x[p][c].item() * wave(k, p).conjugate() for p in places) for c in range(WIDTH)]
        for block in range(BLOCKS):
            layer: list[complex] = [complex(value) for value in modes[block * size : (block + 1) * size]]
            for depth in range(2):
                layer = [
                    sum(layer[i] * weights[depth][block][i][o] for i in range(size)) + biases[depth][block][o]
                    for o in range(size)
                ]
                if depth == 0:
                    layer = [complex(max(z.real, 0.0), max(z.imag, 0.0)) for z in layer]
            for channel, z in enumerate(layer, block * size):
                z = complex(shrunk(z.real, mixer.shrink), shrunk(z.imag, mixer.shrink))
                own = k[1] in (0, COLUMNS // 2)  # a mode that stands for no conjugate one
                for place in places:
                    out[place][channel] += (z * wave(k, place)).real * (1 if own else 2)
    return out


@pytest.mark.parametrize("kept", [1.0, 0.5])
def test_mixing_is_two_layers_on_the_blocks_of_each_wavenumber(kept: float) -> None:
    torch.manual_seed(0)
    mixer = SpectralMixer(WIDTH, BLOCKS, kept, shrink=0.02).double()
    with torch.no_grad():
        mixer.weights.normal_()
        mixer.biases.normal_(std=0.3)
    x = torch.randn(1, ROWS, COLUMNS, WIDTH, dtype=torch.float64)
    all_of_them = itertools.product(range(ROWS), range(COLUMNS // 2 + 1))
    mixed = set(all_of_them if kept == 1.0 else itertools.product((0, -1), (0, 1)))
    torch.testing.assert_close(mixer(x)[0], by_loops(mixer, x[0], mixed), rtol=1e-10, atol=1e-10)


def test_channels_of_different_blocks_do_not_meet() -> None:
    torch.manual_seed(0)
    mixer = SpectralMixer(WIDTH, BLOCKS, 1.0, 0.0).double()
    x = torch.randn(1, ROWS, COLUMNS, WIDTH, dtype=torch.float64)
    other = x.clone()
    other[..., :2] += 1.0
    assert torch.equal(mixer(x)[..., 2:], mixer(other)[..., 2:])
    assert not torch.allclose(mixer(x)[..., :2], mixer(other)[..., :2])


def test_a_strong_shrinkage_silences_the_mixing() -> None:
    mixer = SpectralMixer(WIDTH, BLOCKS, 1.0, shrink=1e3)
    assert not mixer(torch.randn(2, ROWS, COLUMNS, WIDTH)).any()


def test_a_patch_that_does_not_divide_the_columns_is_refused_with_those_that_do() -> None:
    with pytest.raises(ConfigError, match=r"model\.patch: 4 does not divide the 70 columns: 2 or 5 would do"):
        AFNOArguments(patch=4).check(global_shape(33, 70, kind="points"))
    for patch in (2, 5):
        AFNOArguments(patch=patch).check(global_shape(33, 70, kind="points"))
    with pytest.raises(ValueError, match="width is 50, no multiple of blocks 8: 48 or 56 would do"):
        AFNOArguments(width=50)
