"""Means and deviations from files in CREDIT's layout: two files, one array for each variable, along its levels or without dimension.

They are in the units of the store that they were made from; what makes our units of the store's makes them of the files' too.
"""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import NDArray

from credit_ray.data.arrays import Store
from credit_ray.data.axes import Axes
from credit_ray.data.dataset import Dataset
from credit_ray.data.meaning import Meaning
from credit_ray.data.source import Source
from credit_ray.data.store import open_store
from credit_ray.errors import DataError
from credit_ray.state import ROLES, Channel
from credit_ray.variables import canonical_name

log = logging.getLogger(__name__)


def read_statistics_files(mean_file: str, std_file: str, dataset: Dataset) -> tuple[dict[str, float], dict[str, float]]:
    """Means and deviations by channel, of the channels that the files hold.

    Raises
    ------
    DataError
        For a level that a file lacks, a deviation that is not positive, a variable that only one of the files has, or one that is summed or
        averaged over other intervals than the store's.
    """
    means, deviations = open_store(mean_file), open_store(std_file)
    mean: dict[str, float] = {}
    std: dict[str, float] = {}
    for source in dataset.sources:
        for variable in (v for role in ROLES for v in source.channels[role].variables):
            channels = [c for role in ROLES for c in source.channels[role] if c.variable == variable]
            names = [name for name in (_name_in(store, variable, source) for store in (means, deviations)) if name]
            if not names:
                continue
            if len(names) == 1:
                raise DataError(f"Only one of {mean_file} and {std_file} has '{names[0]}'.")
            meaning = _meaning(source, variable)
            centre, spread = _values(means, names[0], channels), _values(deviations, names[1], channels)
            scale, offset = (meaning.scale, meaning.offset) if meaning else (1.0, 0.0)
            for channel, m, s in zip(channels, centre.tolist(), spread.tolist(), strict=True):
                if not (np.isfinite(m) and np.isfinite(s) and s > 0):
                    raise DataError(
                        f"{mean_file} and {std_file} give '{channel.name}' the mean {m:g} and deviation {s:g}."
                    )
                mean[channel.name], std[channel.name] = m * scale + offset, s * abs(scale)
    if missing := [name for name in (*dataset.spec.inputs.names, *dataset.spec.diagnostic.names) if name not in mean]:
        log.info("%s has no %s: they are scaled by the training period's.", mean_file, ", ".join(missing))
    return mean, std


def _name_in(store: Store, variable: str, source: Source) -> str | None:
    """The array of a variable: as its own store calls it, or by any name that the vocabulary knows."""
    located = source.stored.located.get(variable) if source.stored else None
    arrays = store.arrays()
    if located and located.array in arrays:
        return located.array
    return next((name for name in arrays if canonical_name(name) == variable), None)


def _meaning(source: Source, variable: str) -> Meaning | None:
    located = source.stored.located.get(variable) if source.stored else None
    if located is None:
        return None
    changed = source.identity().get("intervals", {})
    if variable in changed:
        raise DataError(
            f"data.sources.{source.name}: '{variable}' is made of values that cover other intervals ({changed[variable]}): "
            f"files of statistics that were made of those do not fit it."
        )
    return located.meaning


def _values(store: Store, name: str, channels: list[Channel]) -> NDArray[np.float64]:
    """One number for each channel: by the level's value, or in their order where the file has no coordinate."""
    info = store.arrays()[name]
    values = np.asarray(store.read(name, tuple(slice(None) for _ in info.dims)), np.float64)
    if values.size == 1 and len(channels) == 1:
        return values.reshape(1)
    if values.ndim != 1:
        raise DataError(
            f"{store.url}: '{name}' has dimensions ({', '.join(info.dims)}); expected one along levels, or none."
        )
    axes, dim = Axes(store), info.dims[0]
    if dim not in axes.arrays:
        if len(values) != len(channels):
            raise DataError(
                f"{store.url}: '{name}' has {len(values)} values and no levels; the data have {len(channels)}."
            )
        return values
    levels = axes.values(dim).astype(np.float64)
    picked = []
    for channel in channels:
        nearest = int(np.argmin(np.abs(levels - (channel.level or 0.0))))
        if not np.isclose(levels[nearest], channel.level or 0.0, rtol=1e-4, atol=1e-6):
            raise DataError(
                f"{store.url}: '{name}' has no level for '{channel.name}'; it has {', '.join(f'{level:g}' for level in levels)}."
            )
        picked.append(values[nearest])
    return np.array(picked)
