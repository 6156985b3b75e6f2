"""Which channels are transformed before their moments are taken, and how."""

from __future__ import annotations

from credit_ray.data.dataset import Dataset
from credit_ray.data.quantiles import Sample
from credit_ray.data.transforms import Kind, Transform
from credit_ray.errors import ConfigError, DataError, did_you_mean
from credit_ray.variables import canonical_name


def transform_kinds(dataset: Dataset) -> dict[str, Kind]:
    """By canonical variable.

    Raises
    ------
    ConfigError
        For a variable that the experiment does not have, or whose sign turns at the poles.
    """
    kinds = {canonical_name(name): kind for name, kind in dataset.config.normalization.transform.items()}
    have = {channel.variable: channel for channel in (*dataset.spec.windowed, *dataset.spec.static)}
    for variable in kinds:
        if variable not in have:
            raise ConfigError(
                f"data.normalization.transform: there is no variable '{variable}'.{did_you_mean(variable, have)}"
            )
        if have[variable].flips_across_pole or variable in dataset.spec.static.variables:
            what = "a static field" if variable in dataset.spec.static.variables else "a component of a vector"
            raise ConfigError(f"data.normalization.transform: '{variable}' is {what}, which is not transformed.")
    return kinds


def formulas(dataset: Dataset) -> dict[str, Transform]:
    """The transforms that need no data, by channel."""
    kinds = transform_kinds(dataset)
    epsilon = {canonical_name(name): value for name, value in dataset.config.normalization.epsilon.items()}
    found: dict[str, Transform] = {}
    for channel in dataset.spec.windowed:
        kind = kinds.get(channel.variable)
        if kind is not None and kind != "quantile":
            found[channel.name] = Transform(kind=kind, epsilon=epsilon.get(channel.variable, 1e-8))
    return found


def quantile_transform(name: str, sample: Sample) -> Transform:
    """The transform of a channel by the quantiles of its sample.

    Raises
    ------
    DataError
        Where it has one value only.
    """
    transform = sample.transform()
    if len(transform.knots[0]) < 2:
        raise DataError(f"{name} has one value only: there are no quantiles to take.")
    return transform
