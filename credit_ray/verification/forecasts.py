"""A forecast store, or an xarray data set of forecasts, as scores and plots read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from credit_ray.errors import ConfigError, DataError, did_you_mean
from credit_ray.grid.latlon import LatLonGrid
from credit_ray.state import Channel, Channels, Vertical
from credit_ray.times import STANDARD_CALENDARS, Step, Times, format_time, format_times, parse_time
from credit_ray.verification.foreign import under_our_names
from credit_ray.verification.leads import lead_text

if TYPE_CHECKING:
    import xarray

LEVEL_ATTRIBUTES: dict[Vertical, dict[str, str]] = {
    "pressure": {"standard_name": "air_pressure", "long_name": "pressure level", "units": "hPa", "positive": "down"},
    "model": {"standard_name": "model_level_number", "long_name": "model level", "units": "1", "positive": "down"},
    "sigma": {
        "standard_name": "atmosphere_sigma_coordinate",
        "long_name": "sigma level",
        "units": "1",
        "positive": "down",
    },
    "depth": {"standard_name": "depth", "long_name": "depth", "units": "m", "positive": "down"},
}
"""CF attributes of a level coordinate, by what its levels are."""

_VERTICAL: dict[str, Vertical] = {
    attributes["standard_name"]: vertical for vertical, attributes in LEVEL_ATTRIBUTES.items()
}


@dataclass(frozen=True)
class Forecasts:
    """Forecasts by initial time and lead time.

    Parameters
    ----------
    dataset : xarray.Dataset
        Variables (init_time, lead_time, [level,] latitude, longitude).
    where : str
        Its URL, for messages.
    """

    dataset: xarray.Dataset
    where: str

    def __post_init__(self) -> None:
        absent = [dim for dim in ("init_time", "lead_time", "latitude", "longitude") if dim not in self.dataset.coords]
        if absent:
            raise DataError(
                f"{self.where} is not a forecast: it lacks the coordinate '{absent[0]}'; it has {', '.join(map(str, self.dataset.coords))}."
            )

    @cached_property
    def variables(self) -> tuple[str, ...]:
        """Names of the forecast fields."""
        of_a_field = {"init_time", "lead_time", "latitude", "longitude"}
        return tuple(str(n) for n, v in self.dataset.data_vars.items() if of_a_field <= set(v.dims))

    @cached_property
    def channels(self) -> Channels:
        """Every variable at every level."""
        return Channels(channel for variable in self.variables for channel in self._channels_of(variable))

    def _channels_of(self, variable: str) -> list[Channel]:
        array = self.dataset[variable]
        units = str(array.attrs.get("units", ""))
        dim = self.level_dim(variable)
        if dim is None:
            return [Channel(variable=variable, units=units)]
        vertical = _VERTICAL.get(str(array[dim].attrs.get("standard_name", "")), "pressure")
        return [Channel(variable=variable, units=units, level=float(v), vertical=vertical) for v in array[dim].values]

    def level_dim(self, variable: str) -> str | None:
        """Name of the level dimension of a variable, or None."""
        others = [
            d for d in self.dataset[variable].dims if d not in ("init_time", "lead_time", "latitude", "longitude")
        ]
        if len(others) > 1:
            raise DataError(
                f"{self.where}: '{variable}' has dimensions {others} besides time and place; one, of levels, is understood."
            )
        return str(others[0]) if others else None

    @cached_property
    def grid(self) -> LatLonGrid:
        """The horizontal grid."""
        return LatLonGrid(self.dataset["latitude"].values, self.dataset["longitude"].values)

    @cached_property
    def calendar(self) -> str:
        """CF calendar of the times."""
        return calendar_of(self.dataset["init_time"])

    @cached_property
    def init_times(self) -> Times:
        """[init]."""
        return to_times(self.dataset["init_time"])

    @cached_property
    def step(self) -> Step:
        """The unit in which leads are counted: the model's step, where the store says it, else the first lead or spacing."""
        if given := self.dataset.attrs.get("timestep"):
            return Step.parse(str(given))
        lead = self.dataset["lead_time"].values
        unit = int(np.gcd.reduce(self._lead_numbers(lead)))
        return Step(seconds=max(unit, 1)) if _is_duration(lead) else Step(months=max(unit, 1))

    @cached_property
    def leads(self) -> NDArray[np.int64]:
        """[lead], in steps."""
        numbers = self._lead_numbers(self.dataset["lead_time"].values)
        return numbers // (self.step.seconds or self.step.months)

    def _lead_numbers(self, lead: NDArray[Any]) -> NDArray[np.int64]:
        """Seconds, or months."""
        if _is_duration(lead):
            return lead.astype("timedelta64[s]").astype(np.int64)
        if self.dataset["lead_time"].attrs.get("units") != "months":
            raise DataError(f"{self.where}: lead_time is neither a duration nor a number of months.")
        return lead.astype(np.int64)

    @cached_property
    def valid_times(self) -> Times:
        """[init, lead]."""
        return self.step.add(self.init_times[:, None], self.leads[None, :], self.calendar)

    @property
    def attributes(self) -> Mapping[str, Any]:
        """Lineage and the like."""
        return self.dataset.attrs

    @property
    def model(self) -> str:
        """A short name of what made it: `quickstart v3`."""
        name = str(self.attributes.get("model_name") or "model")
        version = self.attributes.get("model_version")
        return f"{name} v{version}" if version else name

    def refuse_incomplete(self) -> None:
        """Scores of half a store would change as it grows.

        Raises
        ------
        DataError
            Saying how far it is.
        """
        if self.attributes.get("complete", True):
            return
        written = self.dataset["steps_written"].values if "steps_written" in self.dataset.coords else np.zeros(1)
        whole = int((written >= len(self.leads)).sum())
        raise DataError(
            f"{self.where} is not complete: {whole} of {len(self.init_times)} forecasts are whole. "
            f"Run the same forecast again with the same store, and it goes on where it stopped."
        )

    def read(
        self, variable: str, init: slice | int, lead: slice | int, level: slice | int = slice(None)
    ) -> NDArray[np.float32]:
        """Fields [init, lead, level, *grid] (one level, where it has none), as far as slices were given."""
        index: dict[str, Any] = {"init_time": init, "lead_time": lead}
        dim = self.level_dim(variable)
        if dim:
            index[dim] = level
        array = self.dataset[variable].isel(index)
        dims = [d for d in ("init_time", "lead_time", dim, "latitude", "longitude") if d in array.dims]
        values = np.asarray(array.transpose(*dims).values, np.float32)
        if dim is None and isinstance(level, slice):
            values = np.expand_dims(values, -3)
        return values

    def find_lead(self, lead: str) -> int:
        """Position of a lead such as `24h`, `3d`, `12mo` or `4steps`.

        Raises
        ------
        ConfigError
            For a lead that it does not have; lists some of those it has.
        """
        count = 0 if lead.strip() in ("0", "0h", "0d") else self.step.count_in(lead)
        found = np.flatnonzero(self.leads == count)
        if not len(found):
            have = [self.lead_text(i) for i in range(len(self.leads))]
            shown = ", ".join(have[:6]) + (f", … {have[-1]}" if len(have) > 6 else "")
            raise ConfigError(f"{self.where} has no lead of {lead}. It has: {shown}.")
        return int(found[0])

    def find_init(self, init: str | None) -> int:
        """Position of an initial time; of the first by default.

        Raises
        ------
        ConfigError
            For a time that it does not start from.
        """
        if init is None:
            return 0
        found = np.flatnonzero(self.init_times == parse_time(init, self.calendar))
        if not len(found):
            raise ConfigError(
                f"{self.where} has no forecast from {init}; it has {format_times(self.init_times, self.calendar)}, "
                f"the last {format_time(self.init_times[-1], self.calendar)}."
            )
        return int(found[0])

    def find_channel(self, variable: str, level: float | None) -> tuple[Channel, int]:
        """A channel and the position of its level; a variable on one level needs none.

        Raises
        ------
        ConfigError
            For a variable or level that it does not have, or a level that is not given.
        """
        if variable in self.channels and variable not in self.variables and level is None:
            channel = self.channels[self.channels.index(variable)]  # z_500
            return channel, self._channels_of(channel.variable).index(channel)
        if variable not in self.variables:
            raise ConfigError(f"{self.where} has no variable '{variable}'.{did_you_mean(variable, self.variables)}")
        have = self._channels_of(variable)
        found = [
            i
            for i, channel in enumerate(have)
            if channel.level is None or channel.level == level or (level is None and len(have) == 1)
        ]
        if not found:
            levels = ", ".join(f"{channel.level:g}" for channel in have)
            raise ConfigError(
                f"{self.where}: '{variable}' is on levels {levels}; "
                + ("say which." if level is None else f"not on {level:g}.")
            )
        return have[found[0]], found[0]

    def lead_text(self, position: int) -> str:
        """`6 h`, `3 d`, `2 months`: for a title."""
        return lead_text(int(self.leads[position]), self.step)


def open_forecast(url: str) -> xarray.Dataset:
    """Open a forecast store, complete or still growing; or forecasts of another system, Zarr or NetCDF, under our names.

    Raises
    ------
    DataError
        Where there is none at the URL.
    """
    import xarray
    import zarr

    # Rust codecs decode three times as fast as zarr-python's; they read local files only
    codecs = {} if "://" in url else {"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"}
    try:
        if url.endswith((".nc", ".nc4")):
            return under_our_names(xarray.open_dataset(url))
        with zarr.config.set(codecs):
            return under_our_names(xarray.open_zarr(url, chunks=None))
    except Exception as error:  # file systems and codecs raise anything
        first = (str(error).strip() or "no details").splitlines()[0]
        raise DataError(f"{url} can't be opened as a forecast store: {type(error).__name__}: {first}") from error


def to_times(array: xarray.DataArray | Any) -> Times:
    """Decoded times (datetime64 or cftime) as seconds since 1970 in their own calendar."""
    values = np.asarray(array.values)
    if np.issubdtype(values.dtype, np.datetime64):
        return values.astype("datetime64[s]").astype(np.int64)
    import cftime

    calendar = calendar_of(array)
    numbers = cftime.date2num(values.ravel(), "seconds since 1970-01-01", calendar)
    return np.rint(np.asarray(numbers, np.float64)).astype(np.int64).reshape(values.shape)


def calendar_of(array: xarray.DataArray | Any) -> str:
    """CF calendar of decoded times, `standard` where dates are the world's."""
    values = np.asarray(array.values)
    calendar = "standard" if np.issubdtype(values.dtype, np.datetime64) else str(values.flat[0].calendar)
    return "standard" if calendar in STANDARD_CALENDARS else calendar


def _is_duration(lead: NDArray[Any]) -> bool:
    return bool(np.issubdtype(lead.dtype, np.timedelta64))
