"""Mean, deviation, one-step change, climatology, mask and identity of the training period, in one pass.

The pass is a map over runs of times and a sum: in this process where the data are small, by Ray tasks where they are not, with the same
result to the last bit, since the runs and the order of the sum are fixed. It is kept on disk by a key that says what it depends on.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
import zlib
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from credit_ray.cluster import ray_session
from credit_ray.config.experiment import Experiment
from credit_ray.data.dataset import Dataset, open_dataset
from credit_ray.data.moments import Moments, Partial, content_hash
from credit_ray.data.one_pass import Reduction, Sampling, by_ray, in_process, runs_of
from credit_ray.data.quantiles import Sample
from credit_ray.data.runs import Segments
from credit_ray.data.statistics_files import read_statistics_files
from credit_ray.data.transforming import formulas, quantile_transform, transform_kinds
from credit_ray.data.transforms import Transform
from credit_ray.errors import DataError
from credit_ray.state import Channels

log = logging.getLogger(__name__)

Progress = Callable[[int, int], None]

_FORMAT = 3
_LOCAL_BYTES = 2_000_000_000


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """Of the training period.

    Parameters
    ----------
    mean, std, low, high : dict of str to float
        By channel name, statics included.
    change_std : dict of str to float
        Deviation of the one-step change, by output channel.
    climatology : array [group, outputs, *grid]
        Mean of the outputs, one group, or one for each calendar month; NaN where a variable does not exist.
    mask : dict of str to array [*grid]
        Where a channel is never missing; only of channels that sometimes are.
    content : str
        Identity of the decoded values.
    key : str
        What all this depends on.
    transforms : dict of str to Transform
        By channel, what was taken before its moments.
    """

    mean: dict[str, float]
    std: dict[str, float]
    low: dict[str, float]
    high: dict[str, float]
    change_std: dict[str, float]
    climatology: NDArray[np.float32]
    mask: dict[str, NDArray[np.bool_]]
    content: str
    key: str
    transforms: dict[str, Transform] = field(default_factory=dict)

    @property
    def masked(self) -> bool:
        """Whether some channel does not exist everywhere."""
        return bool(self.mask)

    def mask_of(self, channels: Channels) -> NDArray[np.bool_]:
        """[channel, *grid], False where a channel does not exist."""
        everywhere = np.ones(self.climatology.shape[2:], bool)
        return np.stack([self.mask.get(name, everywhere) for name in channels.names])


def compute_statistics(
    dataset: Dataset,
    *,
    slab_bytes: int,
    reader: str = "auto",
    readers: int | None = None,
    progress: Progress | None = None,
) -> Statistics:
    """One pass over the training period.

    Parameters
    ----------
    dataset : Dataset
        Its config says period and climatology.
    slab_bytes : int
        Memory of one run of times.
    reader : {"auto", "local", "ray"}
        Who reads; `auto`: Ray tasks above 2 GB.
    readers : int, optional
        Reading tasks at a time.
    progress : callable, optional
        Called with (runs done, runs in all).
    """
    key = statistics_key(dataset)
    start, stop = dataset.span(dataset.period("train"))
    times = dataset.times[start:stop]
    adjacent = dataset.spec.step.between(times[:-1], times[1:], dataset.spec.calendar) == 1
    runs = runs_of(Segments.of(start, adjacent), dataset, slab_bytes)
    read = by_ray if _wants_ray(dataset, reader) else in_process
    kinds = transform_kinds(dataset)
    transforms, sampled = formulas(dataset), tuple(v for v, kind in kinds.items() if kind == "quantile")
    in_all, before = (2 * len(runs), len(runs)) if sampled else (len(runs), 0)
    samples: dict[str, Sample] = {}
    for done, found in enumerate(read(Sampling(sampled), dataset, runs, readers) if sampled else (), 1):
        samples = {name: samples[name] + sample if samples else sample for name, sample in found.items()}
        if progress:
            progress(done, in_all)
    transforms |= {name: quantile_transform(name, sample) for name, sample in samples.items()}
    partials: list[Partial] = []
    for done, partial in enumerate(read(Reduction(transforms), dataset, runs, readers), before + 1):
        partials = [reduce(add, [*partials, partial])]
        if progress:
            progress(done, in_all)
    return _statistics(dataset, partials[0], key, transforms)


def _wants_ray(dataset: Dataset, reader: str) -> bool:
    start, stop = dataset.span(dataset.period("train"))
    return reader == "ray" or (reader == "auto" and (stop - start) * dataset.state_bytes > _LOCAL_BYTES)


def _statistics(dataset: Dataset, total: Partial, key: str, transforms: dict[str, Transform]) -> Statistics:
    spec, statics = dataset.spec, dataset.statics()
    static = Moments.of(statics[None])
    names = (*spec.windowed.names, *spec.static.names)
    stored = set(dataset.stored_variables)
    fixed_fields = {f"static {c.name}": statics[i : i + 1] for i, c in enumerate(spec.static) if c.variable in stored}
    content = (total.content + content_hash(fixed_fields, np.zeros(1, np.int64))) % 2**128

    def by_name(values: NDArray[np.float64], fixed: NDArray[np.float64]) -> dict[str, float]:
        return dict(zip(names, map(float, (*values, *fixed)), strict=True))

    _refuse_absent(dataset, total)
    with np.errstate(invalid="ignore", divide="ignore"):
        climatology = total.climatology_sum / total.climatology_count[:, None, None, None]
    masked = {n: ~m for n, m in zip(spec.windowed.names, total.missing, strict=True) if m.any()}
    for name, valid in masked.items():
        log.info("%s exists at %d of %d places; elsewhere it is masked.", name, valid.sum(), valid.size)
    return Statistics(
        mean=by_name(total.state.mean, static.mean),
        std=by_name(total.state.std, static.std),
        low=by_name(total.state.low, static.low),
        high=by_name(total.state.high, static.high),
        change_std=dict(zip(spec.outputs.names, map(float, total.change.std), strict=True)),
        climatology=climatology.astype(np.float32),
        mask=masked,
        content=f"{content:032x}",
        key=key,
        transforms=transforms,
    )


def _refuse_absent(dataset: Dataset, total: Partial) -> None:
    """Refuse channels that exist at no place, and a climatology with empty months."""
    first, last = dataset.period("train")
    nowhere = [name for name, missing in zip(dataset.spec.windowed.names, total.missing, strict=True) if missing.all()]
    if nowhere:
        raise DataError(
            f"{', '.join(nowhere)}: each place is missing at some time of {first} … {last}, so a mask would leave none. "
            f"Give a period in which the places that exist are always there."
        )
    months = np.flatnonzero(total.climatology_count == 0) + 1
    if len(months):
        raise DataError(
            f"The training period {first} … {last} has nothing in the months {', '.join(map(str, months))}, for which "
            f"'data.climatology: monthly' needs a mean. Say 'mean', or give a period of whole years."
        )


def statistics_key(dataset: Dataset) -> str:
    """Digest of all that the statistics depend on: the data, as far as that shows without reading them, channels and training period."""
    depends = {
        "format": _FORMAT,
        "data": [dataset.data_id, *(source.fingerprint() for source in dataset.sources)],
        "channels": [dataset.spec.outputs.names, dataset.spec.forcing.names, dataset.spec.static.names],
        "period": dataset.period("train"),
        "climatology": dataset.config.climatology,
        "transforms": [transform_kinds(dataset), dataset.config.normalization.epsilon],
    }
    return hashlib.sha256(json.dumps(depends).encode()).hexdigest()


def cached_statistics(experiment: Experiment, dataset: Dataset, progress: Progress | None = None) -> Statistics:
    """The statistics of an experiment's training period: from `<output>/statistics`, or computed and kept there."""
    return with_statistics_files(_found_or_computed(experiment, dataset, progress), dataset)


def _found_or_computed(experiment: Experiment, dataset: Dataset, progress: Progress | None) -> Statistics:
    key = statistics_key(dataset)
    path = Path(experiment.output) / "statistics" / f"{key[:24]}.npz"
    if path.exists():
        try:
            return _load(path)
        except (OSError, ValueError, KeyError, EOFError, BadZipFile, zlib.error) as error:
            log.warning("%s can't be read (%s); the statistics are computed again.", path, error)
    log.info("Statistics of %s … %s", *dataset.period("train"))
    readers = experiment.resources.readers
    reader = "ray" if _wants_ray(dataset, experiment.data.ingest.reader) else "local"
    with ray_session(experiment.resources) if reader == "ray" else nullcontext():
        found = compute_statistics(
            dataset,
            slab_bytes=experiment.data.ingest.slab_bytes,
            reader=reader,
            readers=None if readers == "auto" else readers,
            progress=progress,
        )
    _save(found, path)
    return found


def with_statistics_files(statistics: Statistics, dataset: Dataset) -> Statistics:
    """The statistics with mean and deviation from the config's files, where it names some."""
    normalization = dataset.config.normalization
    if normalization.mean_file is None or normalization.std_file is None:
        return statistics
    mean, std = read_statistics_files(normalization.mean_file, normalization.std_file, dataset)
    return replace(statistics, mean=statistics.mean | mean, std=statistics.std | std)


def _save(statistics: Statistics, path: Path) -> None:
    """All or nothing: a reader never sees half a file."""
    scalars = {
        name: getattr(statistics, name) for name in ("mean", "std", "low", "high", "change_std", "content", "key")
    }
    scalars["transforms"] = {name: asdict(transform) for name, transform in statistics.transforms.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = {f"mask/{name}": mask for name, mask in statistics.mask.items()}
    arrays |= {"scalars": np.array(json.dumps(scalars)), "climatology": statistics.climatology}
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as file:
        try:
            np.savez_compressed(file, **arrays)
        except BaseException:
            os.unlink(file.name)
            raise
    os.replace(file.name, path)


def _load(path: Path) -> Statistics:
    with np.load(path, allow_pickle=False) as file:
        masks = {name.removeprefix("mask/"): file[name] for name in file.files if name.startswith("mask/")}
        scalars = json.loads(str(file["scalars"]))
        transforms = {name: Transform(**plain) for name, plain in scalars.pop("transforms").items()}
        return Statistics(**scalars, climatology=file["climatology"], mask=masks, transforms=transforms)


@dataclass(frozen=True)
class StatisticsResult:
    """What `credit-ray data statistics` reports."""

    channels: dict[str, dict[str, float]]
    content: str
    key: str

    def __str__(self) -> str:
        width = max(map(len, self.channels))
        lines = [f"{'channel':{width}}  {'mean':>12} {'std':>12} {'low':>12} {'high':>12} {'change std':>12}"]
        for name, row in self.channels.items():
            cells = " ".join(
                f"{row[k]:12.5g}" if k in row else " " * 12 for k in ("mean", "std", "low", "high", "change_std")
            )
            lines.append(f"{name:{width}}  {cells}")
        return "\n".join([*lines, f"content {self.content}, key {self.key[:24]}"])


def run_statistics(experiment: Experiment, progress: Progress | None = None) -> StatisticsResult:
    """Compute, or find, the statistics of an experiment."""
    found = cached_statistics(experiment, open_dataset(experiment.data), progress)
    kinds = ("mean", "std", "low", "high", "change_std")
    channels = {name: {k: getattr(found, k)[name] for k in kinds if name in getattr(found, k)} for name in found.mean}
    return StatisticsResult(channels, found.content, found.key)
