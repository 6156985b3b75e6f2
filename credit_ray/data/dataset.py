"""Sources joined on their common times: what training, forecasting and verification read from.

Small and picklable: handles open in the process that reads.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from credit_ray.config.data import DERIVED, DataConfig
from credit_ray.data.derived import open_derived
from credit_ray.data.join import aligned, common_times, read_bytes, refuse_repetition
from credit_ray.data.source import FieldsByVariable, Source, StoreSource, open_source
from credit_ray.errors import ConfigError, DataError, SpecMismatchError, did_you_mean
from credit_ray.state import ROLES, Channels, State, StateSpec
from credit_ray.times import Times, format_time, format_times, parse_end, parse_time

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Dataset:
    """Fields by channel and valid time.

    Parameters
    ----------
    config : DataConfig
        What was asked for.
    sources : tuple of Source
        Opened.
    spec : StateSpec
        The channels, by role, and the grid, step and calendar that all sources share.
    times : Times
        The common times, ascending.
    rows : (int, int), optional
        First and last + 1 of the grid's rows that are read; default: all.
    """

    config: DataConfig
    sources: tuple[Source, ...]
    spec: StateSpec
    times: Times
    rows: tuple[int, int] | None = None

    def for_model(self, spec: StateSpec) -> Dataset:
        """The same data with a model's channels.

        Raises
        ------
        SpecMismatchError
            Where the data lack what the model reads; names what differs.
        """
        spec.check(self.spec, "The data of " + ", ".join(f"data.sources.{s.name}" for s in self.sources))
        return replace(self, spec=spec)

    def band(self, start: int, stop: int) -> Dataset:
        """The same data, of which these rows of the grid are read."""
        sources = tuple(s.band(start, stop) if isinstance(s, StoreSource) else s for s in self.sources)
        return replace(self, sources=sources, rows=(start, stop))

    def decodes(self, bounds: Sequence[int]) -> float:
        """How often a chunk is decoded where bands of latitude between these rows are read apart, the mean over variables.

        What lies over a store (regridding, filled gaps) needs all of its rows for each band.
        """
        stored = [(source, len(source.located)) for source in (s.stored for s in self.sources) if source is not None]
        direct = {id(source) for source in self.sources}
        each = [s.decodes(bounds) if id(s) in direct else len(bounds) - 1.0 for s, _ in stored]
        return float(np.average(each, weights=[count for _, count in stored]))

    @property
    def places(self) -> tuple[int, int]:
        """Rows and columns that are read."""
        rows, columns = self.spec.grid.shape
        return (rows if self.rows is None else self.rows[1] - self.rows[0]), columns

    def _read(self, source: Source, variables: Sequence[str], times: Times) -> FieldsByVariable:
        fields = source.read(variables, times)
        if self.rows is None or isinstance(source, StoreSource):
            return fields
        rows = slice(*self.rows)
        return {name: np.ascontiguousarray(field[..., rows, :]) for name, field in fields.items()}

    def columns(self, times: Times, channels: Channels) -> FieldsByVariable:
        """Fields by variable, [time, (level,) *grid] float32, at times that the common axis has, or that are only derived.

        A variable comes with all of its levels, in the order of its source's channels.
        """
        fields: FieldsByVariable = {}
        wanted = set(channels.variables)
        for source in self.sources:
            here = [v for role in ROLES if role != "static" for v in source.channels[role].variables if v in wanted]
            if here:
                self._refuse_absent(source, times)
                fields |= self._read(source, here, times)
        if absent := [v for v in channels.variables if v not in fields]:
            have = [
                v
                for source in self.sources
                for role in ROLES
                if role != "static"
                for v in source.channels[role].variables
            ]
            raise SpecMismatchError(
                f"The data have no variable '{absent[0]}' with time.{did_you_mean(absent[0], have)}"
            )
        return fields

    def stack(
        self, columns: Mapping[str, NDArray[np.float32]], channels: Channels, out: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """Columns as one array [time, channel, *grid], each channel where `channels` has it."""
        count = len(next(iter(columns.values()))) if columns else 0
        if out is None:
            out = np.empty((count, len(channels), *self.places), np.float32)
        for variable, start, stop, picked in self._layout(channels):
            column = columns[variable]
            out[:, start:stop] = column[:, None] if column.ndim == 3 else column[:, picked]
        return out

    def fields(self, times: Times, channels: Channels) -> NDArray[np.float32]:
        """Fields [time, channel, *grid] at these valid times, in any order; NaN at places that a variable does not have.

        Raises
        ------
        DataError
            For a time that the data do not have, by name.
        """
        times = np.asarray(times, np.int64)
        unique, inverse = np.unique(times, return_inverse=True)
        if not len(channels) or not len(times):
            return np.empty((len(times), len(channels), *self.places), np.float32)
        stacked = self.stack(self.columns(unique, channels), channels)
        return stacked if np.array_equal(unique, times) else stacked[inverse]

    def statics(self) -> NDArray[np.float32]:
        """[static, *grid] of the spec's static channels."""
        fields: FieldsByVariable = {}
        for source in self.sources:
            here = [v for v in source.channels["static"].variables if v in self.spec.static.variables]
            fields |= self._read(source, here, np.zeros(1, np.int64)) if here else {}
        if not self.spec.static:
            return np.empty((0, *self.places), np.float32)
        stacked = self.stack({name: field[None] for name, field in fields.items()}, self.spec.static)[0]
        if not np.isfinite(stacked).all():
            bad = [
                name
                for name, field in zip(self.spec.static.names, stacked, strict=True)
                if not np.isfinite(field).all()
            ]
            raise DataError(f"The static fields {', '.join(bad)} have missing values.")
        return stacked

    def initial_state(self, init_times: Times) -> State:
        """What a rollout starts from: the prognostic channels at each initial time and the history before it.

        Parameters
        ----------
        init_times : Times
            [trajectory], the newest input time of each.
        """
        import torch

        spec = self.spec
        back = np.arange(1 - spec.history, 1)
        input_times = spec.step.add(np.asarray(init_times)[:, None], back[None, :], spec.calendar)  # [trajectory, time]
        fields = self.fields(input_times.ravel(), spec.prognostic).reshape(
            *input_times.shape, len(spec.prognostic), *self.places
        )
        older = [self._forcing(np.asarray(init_times), step) for step in range(1 - spec.history, 0)]
        forcing = (
            np.stack(older, 1) if older else np.empty((len(init_times), 0, len(spec.forcing), *self.places), np.float32)
        )
        return State(
            fields=torch.from_numpy(fields),
            forcing=torch.from_numpy(forcing),
            valid_time=np.asarray(init_times, np.int64),
        )

    def forcings(self, init_times: Times, steps: int) -> Iterator[Tensor]:
        """Forcing of each step from these initial times on: [trajectory, forcing, *grid], each channel at its declared time."""
        import torch

        for step in range(steps):
            yield torch.from_numpy(self._forcing(np.asarray(init_times), step))

    def _forcing(self, init_times: Times, step: int) -> NDArray[np.float32]:
        spec = self.spec
        out = np.empty((len(init_times), len(spec.forcing), *self.places), np.float32)
        for at, later in (("input", 0), ("target", 1)):
            picked = [i for i, channel in enumerate(spec.forcing) if channel.at == at]
            if picked:
                times = spec.step.add(init_times, step + later, spec.calendar)
                out[:, picked] = self.fields(times, Channels(spec.forcing[i] for i in picked))
        return out

    def period(self, split: str) -> tuple[str, str]:
        """First and last time of a split, as the config has them."""
        period = getattr(self.config.splits, split)
        if period is None:
            raise ConfigError(f"data.splits.{split} is not given.")
        return period

    def span(self, period: tuple[str, str]) -> tuple[int, int]:
        """Positions [first, last + 1) on the common axis that a period covers."""
        calendar = self.spec.calendar
        first, last = parse_time(period[0], calendar), parse_end(period[1], calendar)
        start, stop = np.searchsorted(self.times, [first, last + 1])
        if start == stop:
            raise DataError(
                f"The period {period[0]} … {period[1]} holds none of the data's {len(self.times)} times, "
                f"which go from {format_time(self.times[0], calendar)} to {format_time(self.times[-1], calendar)}."
            )
        return int(start), int(stop)

    def inits(self, period: tuple[str, str], lead_steps: int, at_most: int | None = None) -> Times:
        """Initial times inside a period whose history and whole lead the data have, evenly spread.

        Raises
        ------
        DataError
            Where there is none.
        """
        start, stop = self.span(period)
        spec = self.spec
        times = self.times[start:stop]
        offsets = range(1 - spec.history, lead_steps + 1)
        whole = np.logical_and.reduce([self.has(spec.step.add(times, k, spec.calendar)) for k in offsets])
        inside = spec.step.add(times, lead_steps, spec.calendar) <= self.times[stop - 1]
        found = times[whole & inside]
        if not len(found):
            raise DataError(
                f"No initial time in {period[0]} … {period[1]} has truth for all of its {lead_steps} steps of {spec.step}."
            )
        if at_most and len(found) > at_most:
            found = found[np.linspace(0, len(found) - 1, at_most).round().astype(int)]
        return found

    def has(self, times: Times) -> NDArray[np.bool_]:
        """Which of these times the common axis has."""
        position = np.searchsorted(self.times, times).clip(max=len(self.times) - 1)
        return self.times[position] == times

    @cached_property
    def time_chunk(self) -> int:
        """Most times of the axis that one read decodes at least, over all sources."""
        chunks = [1]
        for source in self.sources:
            if source.times is not None:
                span = np.searchsorted(source.times, self.times[[0, -1]])
                finer = (span[1] - span[0]) / max(len(self.times) - 1, 1)  # times of the source for each that is used
                chunks.append(round(source.time_chunk / max(finer, 1)))
        return max(chunks)

    @cached_property
    def read_bytes(self) -> int:
        """What is decoded for one time of all channels with time: the stores' own grids, and all the values that a step adds up."""
        wanted = set(self.spec.windowed.variables)
        return sum(read_bytes(source, wanted.intersection(v)) for source in self.sources for v in [_timed(source)])

    @cached_property
    def stored_variables(self) -> tuple[str, ...]:
        """Variables that are read from a store, not computed."""
        stores = [source for source in self.sources if source.stored is not None]
        return tuple(v for source in stores for role in ROLES for v in source.channels[role].variables)

    @cached_property
    def state_bytes(self) -> int:
        """Memory of one time of all channels with time."""
        return 4 * len(self.spec.windowed) * int(np.prod(self.spec.grid.shape))

    @cached_property
    def data_id(self) -> str:
        """Digest of what the data are: names, units, coordinates and times; never of where they lie, how they are chunked, or what for."""
        identity = [
            self.spec.calendar,
            str(self.spec.step),
            *sorted(json.dumps(s.identity(), sort_keys=True) for s in self.sources),
        ]
        digest = hashlib.sha256(json.dumps(identity).encode())
        digest.update(np.ascontiguousarray(self.times, "<i8").tobytes())
        return digest.hexdigest()

    def describe(self) -> str:
        """One line for people."""
        calendar = self.spec.calendar
        return f"{len(self.times)} times, {format_time(self.times[0], calendar)} … {format_time(self.times[-1], calendar)}; {self.spec.describe()}"

    def _refuse_absent(self, source: Source, wanted: Times) -> None:
        absent = wanted[~source.covers(wanted)]
        if len(absent):
            calendar, have = self.spec.calendar, source.times if source.times is not None else self.times
            raise DataError(
                f"data.sources.{source.name} has nothing at {format_times(absent, calendar)}; "
                f"it goes from {format_time(have[0], calendar)} to {format_time(have[-1], calendar)}, step {self.spec.step}."
            )

    def _layout(self, channels: Channels) -> list[tuple[str, int, int, Any]]:
        """Runs of channels of the same variable: (variable, start, stop, which of its column's levels)."""
        if channels not in self._layouts:
            self._layouts[channels] = self._lay_out(channels)
        return self._layouts[channels]

    @cached_property
    def _layouts(self) -> dict[Channels, list[tuple[str, int, int, Any]]]:
        return {}

    def _lay_out(self, channels: Channels) -> list[tuple[str, int, int, Any]]:
        runs: list[tuple[str, int, int, list[int]]] = []
        for i, channel in enumerate(channels):
            level = self._held_channel(channel.variable, channel.name)
            if runs and runs[-1][0] == channel.variable:
                variable, start, _, levels = runs.pop()
                runs.append((variable, start, i + 1, [*levels, level]))
            else:
                runs.append((channel.variable, i, i + 1, [level]))
        return [(v, a, b, slice(p[0], p[-1] + 1) if p == list(range(p[0], p[-1] + 1)) else p) for v, a, b, p in runs]

    def _held_channel(self, variable: str, name: str) -> int:
        """Where a channel lies among the levels of its variable's column."""
        held = [
            c.name for source in self.sources for role in ROLES for c in source.channels[role] if c.variable == variable
        ]
        if name not in held:
            have = [c.name for source in self.sources for role in ROLES for c in source.channels[role]]
            raise SpecMismatchError(f"The data have no channel '{name}'.{did_you_mean(name, have)}")
        return held.index(name)


def _timed(source: Source) -> set[str]:
    return {v for role in ROLES if role != "static" for v in source.channels[role].variables}


def open_dataset(config: DataConfig) -> Dataset:
    """Open every source and join them on their common times.

    Raises
    ------
    DataError
        For what is missing in a source.
    SpecMismatchError
        For sources that do not fit together: grids, calendars, times.
    """
    stores = {
        name: open_source(name, source, config.step)
        for name, source in config.sources.items()
        if source.store != DERIVED
    }
    if not stores:
        raise ConfigError("data.sources has only derived ones: there are no data.")
    joined = aligned(stores, config)
    reference = next(source for source in joined.values() if source.channels["prognostic"])
    grid, calendar = reference.grid, reference.calendar or "standard"
    times = common_times(list(joined.values()), config.step, calendar)
    sources: list[Source] = []
    for name, source in config.sources.items():
        if source.store == DERIVED:
            sources.append(open_derived(name, source, grid=grid, step=config.step, calendar=calendar))
        else:
            sources.append(joined[name])
    channels = {role: Channels(c for source in sources for c in source.channels[role]) for role in ROLES}
    refuse_repetition(channels)
    spec = StateSpec(**channels, history=config.history, step=config.step, grid=grid, calendar=calendar)
    return Dataset(config, tuple(sources), spec, times)
