"""From the registry and the data to a model in memory."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

import credit_ray
from credit_ray.data.dataset import Dataset, open_dataset
from credit_ray.errors import DataError
from credit_ray.package import inspect_package, load_package
from credit_ray.serving.engine import Loaded
from credit_ray.serving.served import ServedModel
from credit_ray.times import Times, format_time
from credit_ray.tracking import page
from credit_ray.tracking.client import tracking_uri
from credit_ray.tracking.fetching import FetchedModel, fetch_model
from credit_ray.tracking.revision import code_revision

if TYPE_CHECKING:
    from credit_ray.config.experiment import Experiment


class Checked(NamedTuple):
    """A model that can be served: its version's URI, and the last time that it can start from."""

    uri: str
    last_initial_time: str


@dataclass(frozen=True)
class RegistrySource:
    """The version that an alias means, with the experiment's data to start from.

    Parameters
    ----------
    experiment : Experiment
        Its data and its tracking.
    name, alias : str
        In the registry.
    """

    experiment: Experiment
    name: str
    alias: str

    def check(self) -> Checked:
        """Whether the model can be served, without loading its weights.

        Raises
        ------
        ModelNotFoundError, PackageError, DataError, SpecMismatchError
            Naming what is missing, or does not fit.
        """
        fetched = self._fetch()
        info = inspect_package(fetched.directory, digest=fetched.digest)
        times = initial_times(open_dataset(self.experiment.data).for_model(info.spec))
        return Checked(fetched.uri, format_time(times[-1], info.spec.calendar))

    def load(self, current: Loaded | None) -> Loaded | None:
        """The model that the alias means now; None if it is still `current`."""
        fetched = self._fetch()
        if current is not None and (current.served.version, current.served.digest) == (fetched.version, fetched.digest):
            return None
        package = load_package(fetched.directory, digest=fetched.digest)
        data = open_dataset(self.experiment.data).for_model(package.stepper.spec)
        served = ServedModel(
            name=self.name,
            alias=self.alias,
            version=fetched.version,
            digest=package.digest,
            run_id=fetched.run_id,
            card=package.info.card or "",
            spec=package.stepper.spec,
            lineage=package.lineage,
            init_times=initial_times(data),
            forcing_times=forcing_times(data),
        )
        return Loaded(served=served, stepper=package.stepper, data=data, lineage=_lineage(fetched, data))

    def _fetch(self) -> FetchedModel:
        return fetch_model(f"models:/{self.name}@{self.alias}", tracking_uri(self.experiment))


def _lineage(fetched: FetchedModel, data: Dataset) -> dict[str, str]:
    attribution = "; ".join(f"{name}: {', '.join(said.values())}" for name, said in page.attribution(data).items())
    return {
        "title": f"Forecast by {fetched.name} version {fetched.version}",
        **fetched.lineage(),
        "data_digest": data.data_id,
        "code_revision": str(code_revision()),
        "software": f"credit_ray {credit_ray.__version__}",
        **({"attribution": attribution} if attribution else {}),
    }


def initial_times(data: Dataset) -> Times:
    """Times that have the history which the model reads.

    Raises
    ------
    DataError
        Where there is none.
    """
    spec, times = data.spec, data.times
    found = times[
        np.logical_and.reduce([data.has(spec.step.add(times, -k, spec.calendar)) for k in range(spec.history)])
    ]
    if not len(found):
        raise DataError(
            f"The data have no {spec.history} consecutive times at steps of {spec.step}: there is nothing to start from."
        )
    return found


def forcing_times(data: Dataset) -> Times | None:
    """Times of the forcings that come from stores; None where all are computed."""
    wanted = set(data.spec.forcing.variables)
    have = [s.times for s in data.sources if s.times is not None and wanted & set(s.channels["forcing"].variables)]
    return reduce(np.intersect1d, have) if have else None
