"""`data:` what is read, from where, in which role, and how it reaches the model."""

from __future__ import annotations

import re
from typing import Any, Literal, Self, TypeAlias

from pydantic import Field, field_validator, model_validator

from credit_ray.config.preset import on_preset
from credit_ray.config.section import Section
from credit_ray.errors import ConfigError
from credit_ray.state import ROLES
from credit_ray.times import Step, parse_end, parse_time
from credit_ray.variables import canonical_name

DERIVED = "derived"


Missing: TypeAlias = Literal["error", "mask", "interpolate"] | float


class SourceConfig(Section):
    """One store and what is taken from it."""

    preset: str | None = None
    """Name of an archive or a layout (`credit-ray data presets`) that stands for store, options, names, units and levels; what is said here
    stands over it."""
    store: str
    """URL or path of a Zarr store or a NetCDF file; a glob or a strftime template (`era5_%Y.zarr`) for a series of them that continues in
    time; `derived` for forcings that are computed from time and place."""
    storage_options: dict[str, Any] = Field(default_factory=dict, repr=False)
    """Options of the file system (fsspec's names). Never logged."""
    engine: Literal["auto", "obstore", "fsspec"] = "auto"
    """Who makes the requests to a store behind a URL. `auto`: obstore where it can, else fsspec; the log says which, and why."""
    retry_seconds: float = Field(default=120.0, ge=0)
    """How long a request that fails for a passing reason (429, 5xx, silence) is made again."""
    request_seconds: float = Field(default=60.0, gt=0)
    """How long one request may take."""
    levels: list[float] | dict[str, list[float]] | None = None
    """Levels of the variables that have some: one list for all, or by variable. Default: all that the store has."""
    vertical: Literal["pressure", "model", "sigma", "depth"] | None = None
    """What the levels are, where the store's attributes do not say."""
    prognostic: list[str] = []
    """Variables that the model reads and predicts."""
    diagnostic: list[str] = []
    """Variables that it predicts only."""
    forcing: list[str] = []
    """Variables that it reads only, known for the future."""
    static: list[str] = []
    """Variables without time."""
    rename: dict[str, str] = {}
    """Canonical name → the store's name, where the vocabulary does not know it."""
    units: dict[str, str] = {}
    """Units of the store's variables, where its attributes are missing or wrong."""
    regrid: Literal["bilinear", "conservative"] | None = None
    """How its fields come onto the experiment's grid, where their own is another one: `conservative` keeps area integrals."""
    positive: dict[str, Literal["down", "up"]] = {}
    """Direction that the store's fluxes count as positive, where its names and attributes do not say."""
    interval: dict[str, str] = {}
    """Interval that a stored value covers, by variable: `{tp: 1h}`. Default: what its name says (`…_6hr`), else the store's time step."""
    label: Literal["start", "middle", "end"] | None = None
    """Where in the interval of such a value its time lies. Default: what the time's `bounds` say, else its end."""
    time: Literal["exact", "persist", "cyclic"] = "exact"
    """How its times meet the experiment's: `exact`, it has each of them; `persist`, the latest value at or before; `cyclic`, each year is the same."""
    hold: str | None = None
    """Longest time that `persist` and `cyclic` use a value for: `10D`. Default: the step of the source's own times."""
    cycle_year: int | None = None
    """The year that `cyclic` repeats. Default: the only one that the source has."""
    dates: list[tuple[str, str]] = []
    """Periods, both ends included, whose times are used. Default: all."""
    at: Literal["target", "input"] = "target"
    """The time, of the two that a step joins, at which the network sees the forcings."""
    missing: Missing | dict[str, Missing] = "error"
    """What a missing value (NaN) is, for all variables or by variable: an `error`; `mask`, a place that the variable does not have (land, to an ocean);
    `interpolate` in time; or a number that is put there, for forcings and statics, with a channel `<name>_present` beside it that says where."""
    interpolate_within: str = "1D"
    """Longest time between two values that `interpolate` joins."""

    absent_chunks: Literal["error", "fill"] = "error"
    """What a chunk without a file is: an error, or the store's fill value (stores written without the chunks that hold nothing else)."""

    @property
    def variables(self) -> list[str]:
        """All variables, in the order of their roles."""
        return [*self.prognostic, *self.diagnostic, *self.forcing, *self.static]

    @model_validator(mode="before")
    @classmethod
    def _over_its_preset(cls, given: Any) -> Any:
        if not isinstance(given, dict) or given.get("preset") is None:
            return given
        try:
            return on_preset(given)
        except ConfigError as error:
            raise ValueError(str(error)) from None

    @field_validator("store")
    @classmethod
    def _holds_no_credentials(cls, store: str) -> str:
        if re.match(r"\w+://[^/@]*@", store):
            raise ValueError(
                "has credentials in its URL, which is logged: give them in storage_options, or in the environment"
            )
        if re.match(r"https?://[^?]*\?[^?]*=", store):
            raise ValueError(
                "has a query, perhaps a signature, in its URL, which is logged: give a token in storage_options: {headers: …}"
            )
        return store

    @field_validator("interval")
    @classmethod
    def _are_intervals(cls, intervals: dict[str, str]) -> dict[str, str]:
        for variable, text in intervals.items():
            if not _step(text).fixed:
                raise ValueError(f"the interval of {variable}, {text}, is no fixed length of time: write 1h, 6h, 1D")
        return intervals

    def policy(self, variable: str) -> Missing:
        """What a missing value of a variable, under its canonical name, is."""
        if not isinstance(self.missing, dict):
            return self.missing
        return next((policy for name, policy in self.missing.items() if canonical_name(name) == variable), "error")

    @model_validator(mode="after")
    def _missing_can_be_so(self) -> Self:
        named = self.missing if isinstance(self.missing, dict) else dict.fromkeys(self.variables, self.missing)
        if unknown := sorted(set(map(canonical_name, named)) - set(map(canonical_name, self.variables))):
            raise ValueError(f"'missing' names {', '.join(unknown)}, which the source does not take")
        roles = {canonical_name(v): role for role in ROLES for v in getattr(self, role)}
        for name, policy in named.items():
            role = roles[canonical_name(name)]
            if policy == "interpolate" and role == "static" and isinstance(self.missing, dict):
                raise ValueError(f"{name} is static: nothing to interpolate in time")
            if not isinstance(policy, str) and role in ("prognostic", "diagnostic"):
                raise ValueError(
                    f"{name} is predicted, and a filled-in number is no truth: 'mask' leaves those places out of the loss and the scores"
                )
        return self

    @field_validator("hold", "interpolate_within")
    @classmethod
    def _is_a_length_of_time(cls, text: str | None) -> str | None:
        if text is not None and not _step(text).fixed:
            raise ValueError(f"{text} is no fixed length of time: write 6h or 31D")
        return text

    @field_validator("dates")
    @classmethod
    def _are_dates(cls, dates: list[tuple[str, str]]) -> list[tuple[str, str]]:
        if dates and not any(_all_exist(dates, calendar) for calendar in ("standard", "all_leap", "360_day")):
            raise ValueError("write dates as [[2000-01-01, 2004-12-31], …]")
        return dates

    @model_validator(mode="after")
    def _time_fits(self) -> Self:
        if self.time != "exact" and (self.prognostic or self.diagnostic):
            raise ValueError(f"'time: {self.time}' repeats values, which is no truth to learn from: only forcings may")
        if self.time == "exact" and self.hold:
            raise ValueError("'hold' goes with 'time: persist' or 'cyclic'")
        if self.time != "cyclic" and self.cycle_year is not None:
            raise ValueError("'cycle_year' goes with 'time: cyclic'")
        return self

    @model_validator(mode="after")
    def _each_variable_has_one_role(self) -> Self:
        if not self.variables:
            raise ValueError("names no variable: give prognostic, diagnostic, forcing or static")
        twice = sorted({v for v in self.variables if self.variables.count(v) > 1})
        if twice:
            raise ValueError(f"has {', '.join(twice)} in more than one role")
        if self.store == DERIVED and (self.prognostic or self.diagnostic):
            raise ValueError("'derived' computes forcings and statics; it has nothing to predict")
        return self


class Splits(Section):
    """Periods, both ends included, that share no time."""

    train: tuple[str, str]
    """Fits the weights and the statistics."""
    validation: tuple[str, str] | None = None
    """Chooses among models and checkpoints."""
    test: tuple[str, str] | None = None
    """Scored once, at the end."""

    @model_validator(mode="after")
    def _do_not_overlap(self) -> Self:
        spans = {}
        given = [period for period in (self.train, self.validation, self.test) if period]
        # The data's calendar is not known yet: the first in which all dates exist will do to compare them.
        calendar = next((c for c in ("standard", "all_leap", "360_day") if _all_exist(given, c)), "standard")
        for name in ("train", "validation", "test"):
            if period := getattr(self, name):
                try:
                    first, last = parse_time(period[0], calendar), parse_end(period[1], calendar)
                except ConfigError as error:
                    raise ValueError(f"{name}: {error}") from None
                if first > last:
                    raise ValueError(f"{name} ends ({period[1]}) before it begins ({period[0]})")
                spans[name] = (first, last, period)
        names = list(spans)
        for i, a in enumerate(names):
            for b in names[i + 1 :]:
                if spans[a][0] <= spans[b][1] and spans[b][0] <= spans[a][1]:
                    raise ValueError(
                        f"{a} ({' … '.join(spans[a][2])}) and {b} ({' … '.join(spans[b][2])}) overlap: scores on {b} would be worthless"
                    )
        return self


def _step(text: str) -> Step:
    try:
        return Step.parse(text)
    except ConfigError as error:
        raise ValueError(str(error)) from None


def _all_exist(periods: list[tuple[str, str]], calendar: str) -> bool:
    try:
        return bool([parse_time(time, calendar) for period in periods for time in period])
    except ConfigError:
        return False


class Normalization(Section):
    """How fields are scaled for the network."""

    kind: Literal["standard", "residual", "minmax"] = "standard"
    """`standard`: (x − μ)/σ. `residual`: σ is scaled by each channel's one-step difference, relative to the geometric mean over channels.
    `minmax`: (x − low)/(high − low)."""
    transform: dict[str, Literal["log", "sqrt", "quantile"]] = {}
    """By variable, what is taken before that: for amounts that are mostly small and sometimes large."""
    epsilon: dict[str, float] = {}
    """By variable, in its units, what `log` and `sqrt` count as small. Default: 1e-8."""
    mean_file: str | None = None
    """NetCDF file of means by variable and level, in CREDIT's layout, in place of the training period's."""
    std_file: str | None = None
    """NetCDF file of deviations, likewise. What it holds for a channel scales its input and its full output."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.mean_file is None) != (self.std_file is None):
            raise ValueError("mean_file and std_file go together")
        if self.mean_file and (self.kind != "standard" or self.transform):
            raise ValueError(
                "files of statistics are means and deviations as they are: they go with 'kind: standard' and no transform"
            )
        small = {canonical_name(n) for n, t in self.transform.items() if t != "quantile"}
        if wrong := sorted(n for n, e in self.epsilon.items() if canonical_name(n) not in small or not e > 0):
            raise ValueError(f"epsilon of {', '.join(wrong)}: positive numbers for variables with 'log' or 'sqrt'")
        return self


class Ingest(Section):
    """How the reading is laid out."""

    lanes: int | None = Field(default=None, ge=1)
    """Streams that the plan deals its runs to; divides training.batch_size and bounds the number of workers. Default: its largest divisor up to 4."""
    slab_bytes: int = Field(default=256_000_000, ge=1_000_000)
    """Most memory that one run of consecutive times takes."""
    shuffle_slabs: int = Field(default=4, ge=1)
    """Runs, per lane, that windows are drawn from at a time: more mixes better and takes more memory."""
    prefetch: int = Field(default=2, ge=1)
    """Batches assembled ahead of the step."""
    reader: Literal["ray", "local", "auto"] = "auto"
    """Who reads: Ray Data tasks, or a thread of the training process. `auto`: Ray, unless a run exceeds 500 MB or no CPU is left to read with."""


class DataConfig(Section):
    """Sources, time step, splits, normalisation, reading."""

    timestep: str
    """Of the model: `6h`, `1D`, `1MS`."""
    history: int = Field(default=1, ge=1)
    """Number of input times."""
    sources: dict[str, SourceConfig] = Field(min_length=1)
    """By a name of your choice; they are joined on their common times."""
    grid: str | None = None
    """Of all fields: the name of a source, or a global grid, `181x360` or `gaussian 32x64`. Default: that of the first source that is predicted."""
    splits: Splits
    """Periods for training, validation and test."""
    normalization: Normalization = Normalization()
    """Scaling."""
    ingest: Ingest = Ingest()
    """Reading."""
    climatology: Literal["mean", "monthly"] = "mean"
    """What anomalies are taken from: the training period's mean, or its mean by calendar month."""

    @field_validator("timestep")
    @classmethod
    def _is_a_step(cls, text: str) -> str:
        try:
            Step.parse(text)
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return text

    @model_validator(mode="after")
    def _something_to_predict(self) -> Self:
        if not any(source.prognostic for source in self.sources.values()):
            raise ValueError("no source has a prognostic variable: there is nothing to step forward")
        return self

    @property
    def step(self) -> Step:
        """The time step."""
        return Step.parse(self.timestep)
