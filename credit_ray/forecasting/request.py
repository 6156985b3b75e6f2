"""What `forecast:` asks for, checked against the data before anything starts: initial times, leads, coverage."""

from __future__ import annotations

import numpy as np

from credit_ray.config.forecast import ForecastConfig, InitRange
from credit_ray.data.dataset import Dataset
from credit_ray.errors import ConfigError, DataError
from credit_ray.times import Step, Times, format_time, parse_end, parse_time


def requested_inits(config: ForecastConfig, dataset: Dataset, steps: int) -> Times:
    """The initial times, ascending, each once.

    Raises
    ------
    ConfigError
        For a range that is empty.
    DataError
        For a split from which no whole lead can be forecast and scored.
    """
    calendar = dataset.spec.calendar
    if isinstance(config.inits, str):
        return dataset.inits(dataset.period(config.inits), steps, config.max_inits)
    if isinstance(config.inits, InitRange):
        found = _range(config.inits, calendar)
    else:
        found = np.unique(np.array([parse_time(text, calendar) for text in config.inits], np.int64))
    if not len(found):
        raise ConfigError("forecast.inits is empty: give at least one initial time.")
    if config.max_inits and len(found) > config.max_inits:
        found = found[np.linspace(0, len(found) - 1, config.max_inits).round().astype(int)]
    return found


def _range(inits: InitRange, calendar: str) -> Times:
    first, last, every = parse_time(inits.start, calendar), parse_end(inits.end, calendar), Step.parse(inits.every)
    times: list[int] = []
    while (time := int(every.add(first, len(times), calendar))) <= last:
        times.append(time)
    if not times:
        raise ConfigError(f"forecast.inits ends ({inits.end}) before it starts ({inits.start}).")
    return np.array(times, np.int64)


def kept_leads(steps: int, every: int, initial: bool) -> tuple[int, ...]:
    """Steps that are written: each `every`-th, from the first, and the initial state if asked for.

    Raises
    ------
    ConfigError
        Where none is left.
    """
    if every > steps:
        raise ConfigError(
            f"forecast.output.every is {every}, but the lead has {steps} steps: nothing would be written."
        )
    return ((0,) if initial else ()) + tuple(range(every, steps + 1, every))


def refuse_uncovered(dataset: Dataset, init_times: Times, steps: int) -> None:
    """Whether the data have what these forecasts read: the input times, and forcings over the whole lead.

    Raises
    ------
    DataError
        Naming the first time that is missing, and for which forecast.
    """
    spec = dataset.spec
    known = dataset.times
    reach = f"The data go from {format_time(known[0], spec.calendar)} to {format_time(known[-1], spec.calendar)}"
    for back in range(spec.history):
        times = spec.step.add(init_times, -back, spec.calendar)
        absent = np.flatnonzero(~dataset.has(times))
        if len(absent):
            init, time = (format_time(t[absent[0]], spec.calendar) for t in (init_times, times))
            what = "initial time" if back == 0 else f"input time {time} of the forecast from"
            raise DataError(
                f"The data have nothing at the {what} {init}. {reach}, at steps of {spec.step}, with or without gaps."
            )
    for source in dataset.sources:
        mine = [c for c in spec.forcing if c.name in source.channels["forcing"].names]
        for channel in mine:
            later = int(channel.at == "target")
            for k in range(1 - spec.history + later, steps + later):
                times = spec.step.add(init_times, k, spec.calendar)
                absent = np.flatnonzero(~source.covers(times))
                if len(absent):
                    init, time = (format_time(t[absent[0]], spec.calendar) for t in (init_times, times))
                    raise DataError(
                        f"data.sources.{source.name} has no '{channel.name}' at {time}, which the forecast from {init} needs as forcing. "
                        f"{reach}: take earlier initial times, or a shorter lead."
                    )
