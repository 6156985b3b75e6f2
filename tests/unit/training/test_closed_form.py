"""Networks that are solved rather than trained."""

from __future__ import annotations

import torch

from credit_ray.models.linear import Linear
from credit_ray.normalizer import Normalizer
from credit_ray.state import StateSpec, Window
from credit_ray.stepper import Recipe, Stepper
from credit_ray.training.loop import _solve
from credit_ray.training.parallel import Workers


def test_a_solution_counts_places_and_channels_as_the_loss_does(spec: StateSpec, alone: Workers) -> None:
    """Wild targets where the loss has no weight change nothing; where it has, they do."""
    random = torch.Generator().manual_seed(0)
    fields = torch.randn(6, 2, 2, *spec.grid.shape, generator=random)
    times = torch.arange(12).view(6, 2).numpy() * 21600
    weights = torch.from_numpy(spec.grid.area_weights()).float().repeat(2, 1, 1)
    weights[1, :, :5] = 0.0

    def solved(wild: tuple[int, slice]) -> torch.Tensor:
        two, changed = torch.ones(2), fields.clone()
        channel, columns = wild
        changed[:, 1, channel, :, columns] += 100.0
        normalizer = Normalizer(
            spec, input_mean=0 * two, input_std=two, output_mean=0 * two, output_std=two, residual=True
        )
        recipe = Recipe(spec=spec, network="linear", arguments={"stencil": 1}, residual=True)
        stepper = Stepper(recipe, normalizer, torch.empty(0, *spec.grid.shape))
        assert isinstance(stepper.network, Linear)
        _solve(stepper, stepper.network, [Window(fields=changed, times=times, spec=spec)], weights, alone)
        return stepper.network.coefficients

    untouched = solved((0, slice(0, 0)))
    assert torch.equal(solved((1, slice(0, 5))), untouched)
    assert not torch.allclose(solved((0, slice(0, 5))), untouched)
    assert not torch.allclose(solved((1, slice(5, 9))), untouched)
