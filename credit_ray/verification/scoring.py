"""One pass over a forecast store: every field is read once, and memory is bounded whatever the number of forecasts.

The store is taken in pieces (some levels of a variable, some lead times) and each piece in blocks of initial times, in order. Truth
is kept as long as a later forecast of the piece needs it, so that overlapping forecasts share its reading. The next block is read
while this one is summed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from credit_ray.data.ahead import ahead
from credit_ray.errors import DataError, NotFiniteError
from credit_ray.state import Channels
from credit_ray.times import Times, format_time
from credit_ray.verification.aggregation import WeightedSum
from credit_ray.verification.baselines import Climatology
from credit_ray.verification.forecasts import Forecasts
from credit_ray.verification.metrics import METRICS, Metric
from credit_ray.verification.statistics import Pair, Reference, Statistic, inner

BLOCK_BYTES = 128 << 20
_PART_POINTS = 2048
_CACHE_VALUES = 1 << 17  # fields that are compared at a time stay in the processor's cache

Array = NDArray[np.float32]
Progress = Callable[[int, int], None]


class Truth(Protocol):
    """The seam: fields by valid time; `credit_ray.data.dataset.Dataset` is one."""

    def has(self, times: Times) -> NDArray[np.bool_]:
        """Which of these times there are."""
        ...

    def fields(self, times: Times, channels: Channels) -> Array:
        """[time, channel, *grid]; NaN where a channel does not exist."""
        ...


@dataclass(frozen=True)
class Totals:
    """What a pass gives.

    Parameters
    ----------
    sums : mapping of str to WeightedSum
        By forecaster: "model", "persistence", "climatology".
    used : bool array [init, lead]
        Which fields were scored: those whose truth there is.
    """

    sums: Mapping[str, WeightedSum]
    used: NDArray[np.bool_]

    def left_out(self, forecasts: Forecasts) -> int:
        """Fields, of all lead times, that have no truth."""
        return int((~self.used[:, forecasts.leads > 0]).sum())


@dataclass(frozen=True)
class _Piece:
    """Some levels of a variable at some lead times."""

    variable: str
    level: slice
    lead: slice
    channels: Channels
    column: slice


@dataclass(frozen=True)
class _Block:
    """A piece at some initial times, read."""

    piece: _Piece
    init: slice
    forecast: Array  # [init, lead, channel, *grid]
    truth: Mapping[int, Array]  # valid time → [channel, *grid]
    gaps: bool  # whether some of the truth is missing at some place


def score_forecasts(
    forecasts: Forecasts,
    truth: Truth,
    *,
    metrics: Sequence[str],
    baselines: Sequence[str] = (),
    climatology: Climatology | None = None,
    progress: Progress | None = None,
) -> Totals:
    """Sum what the metrics need, for the model and for the baselines at the same times.

    Parameters
    ----------
    metrics : sequence of str
        Names of `METRICS`.
    baselines : sequence of str
        "persistence", "climatology".
    climatology : Climatology, optional
        Its channels are the forecasts' own, in order; metrics of anomalies and the baseline of that name need it.
    progress : callable, optional
        Called with (fields done, fields in all).

    Raises
    ------
    DataError
        Where there is truth for none of the valid times.
    NotFiniteError
        For a missing value in a forecast where there should be none.
    """
    used = truth.has(forecasts.valid_times) & (forecasts.leads > 0)
    if "persistence" in baselines:
        used &= truth.has(forecasts.init_times)[:, None]
    if not used.any():
        first, last = forecasts.valid_times.min(), forecasts.valid_times.max()
        raise DataError(
            f"The data have none of the times for which {forecasts.where} has forecasts: "
            f"{format_time(first, forecasts.calendar)} … {format_time(last, forecasts.calendar)}."
        )
    chosen = [METRICS[name] for name in metrics]
    shape = (*used.shape, len(forecasts.channels))
    sums = {
        name: WeightedSum.zero([s.name for s in _statistics(chosen, name)], shape) for name in ("model", *baselines)
    }
    weights = np.sqrt(forecasts.grid.area_weights() / np.prod(forecasts.grid.shape)).astype(
        np.float32
    )  # their squares sum to 1
    done, total = 0, int(used.sum()) * len(forecasts.channels)
    for block in ahead(_blocks(forecasts, truth, used, "persistence" in baselines), depth=1):
        compared = {name: (total, _statistics(chosen, name)) for name, total in sums.items()}
        _add_block(block, forecasts, used, weights, climatology, compared)
        done += int(used[block.init, block.piece.lead].sum()) * len(block.piece.channels)
        if progress:
            progress(done, total)
    return Totals(sums, used)


def _statistics(metrics: Sequence[Metric], forecaster: str) -> list[Statistic]:
    """Each once; climatology has no anomaly of its own."""
    chosen = [m for m in metrics if not (forecaster == "climatology" and m.needs_climatology)]
    return list({s.name: s for m in chosen for s in m.statistics}.values())


def _pieces(forecasts: Forecasts) -> Iterator[_Piece]:
    """All levels of a variable at all lead times, or as much of it as one initial time may hold."""
    field, leads, column = 4 * int(np.prod(forecasts.grid.shape)), len(forecasts.leads), 0
    for variable in forecasts.variables:
        own = forecasts.channels.of(variable)
        levels = max(min(BLOCK_BYTES // (field * leads), len(own)), 1)
        span = max(min(BLOCK_BYTES // (field * levels), leads), 1)
        for start in range(0, len(own), levels):
            stop = min(start + levels, len(own))
            channels = Channels(forecasts.channels[i] for i in own[start:stop])
            for lead in range(0, leads, span):
                yield _Piece(
                    variable,
                    slice(start, stop),
                    slice(lead, min(lead + span, leads)),
                    channels,
                    slice(column + start, column + stop),
                )
        column += len(own)


def _blocks(forecasts: Forecasts, truth: Truth, used: NDArray[np.bool_], persistence: bool) -> Iterator[_Block]:
    field = 4 * int(np.prod(forecasts.grid.shape))
    for piece in _pieces(forecasts):
        leads = piece.lead.stop - piece.lead.start
        inits = max(BLOCK_BYTES // (field * leads * len(piece.channels)), 1)
        kept: dict[int, Array] = {}
        gaps: set[int] = set()
        for init in (slice(a, b) for a, b in pairwise([*range(0, len(used), inits), len(used)])):
            here = used[init, piece.lead]
            if not here.any():
                continue
            needed = set(forecasts.valid_times[init, piece.lead][here].tolist())
            needed |= set(forecasts.init_times[init][here.any(1)].tolist()) if persistence else set()
            earliest = min(needed)
            kept = {time: fields for time, fields in kept.items() if time >= earliest}
            missing = sorted(needed - kept.keys())
            if missing:
                kept |= zip(missing, truth.fields(np.array(missing, np.int64), piece.channels), strict=True)
            gaps |= {time for time in missing if np.isnan(kept[time].min())}
            forecast = forecasts.read(piece.variable, init, piece.lead, piece.level)
            yield _Block(piece, init, forecast, dict(kept), not gaps.isdisjoint(kept))


def _add_block(
    block: _Block,
    forecasts: Forecasts,
    used: NDArray[np.bool_],
    weights: Array,
    climatology: Climatology | None,
    compared: Mapping[str, tuple[WeightedSum, list[Statistic]]],
) -> None:
    piece = block.piece
    average = None if climatology is None else climatology.fields[:, piece.column]  # [group, channel, *grid]
    everywhere = _common(block, average, forecasts.where)
    for i in range(block.init.start, block.init.stop):
        first = block.truth.get(int(forecasts.init_times[i])) if "persistence" in compared else None
        for rows in _rows(used[i, piece.lead], max(_CACHE_VALUES // (weights.size * len(piece.channels)), 1)):
            leads = slice(piece.lead.start + rows.start, piece.lead.start + rows.stop)
            times = forecasts.valid_times[i, leads]
            fields = {
                "model": block.forecast[i - block.init.start, rows],
                "truth": np.stack([block.truth[int(time)] for time in times]),
            }
            if first is not None:
                fields["persistence"] = first[None]
            if climatology is not None and average is not None:
                fields["climatology"] = average[climatology.groups(times)] if len(average) > 1 else average
            one: Array = weights
            if block.gaps or not everywhere.all():
                known = [np.isfinite(f) for name, f in fields.items() if name != "model"]
                exists = np.logical_and.reduce(np.broadcast_arrays(everywhere, *known))  # [row, channel, *grid]
                fields = {name: np.where(exists, f, np.float32(0)) for name, f in fields.items()}
                one = weights * exists
            fields = {name: _in_parts(f) for name, f in fields.items()}
            one = _in_parts(one)
            weight = inner(one, one)
            reference = Reference(fields["truth"], fields.get("climatology"), one)
            for name, (total, statistics) in compared.items():
                pair = Pair(fields[name], reference)
                parts = {s.name: s.sums(pair) for s in statistics}
                if name == "model":
                    _refuse_not_finite(parts, piece, forecasts, i, leads)
                total.add_at((i, leads, piece.column), parts, weight)


def _in_parts(fields: Array) -> Array:
    """[..., latitude, longitude] → [..., part, point]."""
    circles, points = fields.shape[-2:]
    together = _circles_together(circles, points)
    return fields.reshape(*fields.shape[:-2], circles // together, together * points)


@cache
def _circles_together(circles: int, points: int) -> int:
    """As many whole circles of latitude as a float32 sum may well run over."""
    return max((n for n in range(1, circles + 1) if circles % n == 0 and n * points <= _PART_POINTS), default=1)


def _rows(used: NDArray[np.bool_], at_most: int) -> Iterator[slice]:
    """Consecutive lead times that are scored, a few at a time."""
    start = 0
    for stop in range(1, len(used) + 1):
        if stop == len(used) or stop - start == at_most or not (used[stop] and used[start]):
            if used[start]:
                yield slice(start, stop)
            start = stop


def _common(block: _Block, average: Array | None, where: str) -> NDArray[np.bool_]:
    """[channel, *grid]: where the model has values at all, and the climatology. Places that it does not have are the same at all times."""
    exists = np.isfinite(block.forecast[0, -1])
    absent = [channel.name for channel, there in zip(block.piece.channels, exists, strict=True) if not there.any()]
    if absent:
        raise NotFiniteError(
            f"{where}: forecasts of {', '.join(absent)} have no values at all: part of the store is missing."
        )
    return exists if average is None else exists & np.isfinite(average).all(0)


def _refuse_not_finite(
    parts: Mapping[str, NDArray[np.float64]], piece: _Piece, forecasts: Forecasts, init: int, leads: slice
) -> None:
    for sums in parts.values():
        if np.isfinite(sums).all():
            continue
        row, channel = np.argwhere(~np.isfinite(sums))[0]
        raise NotFiniteError(
            f"{forecasts.where}: the forecast of {piece.channels[int(channel)].name} from "
            f"{format_time(forecasts.init_times[init], forecasts.calendar)} for {forecasts.lead_text(leads.start + int(row))} has values "
            f"that are missing or not finite, where others of its lead times have some. Make it again."
        )
