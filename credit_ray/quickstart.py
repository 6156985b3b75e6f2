"""The whole path in minutes, with nothing but this package: simulated weather → model → forecast → scores."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from credit_ray.errors import ConfigError


@dataclass(frozen=True)
class QuickstartResult:
    """Where everything is.

    Parameters
    ----------
    scores : str
        The table.
    model, forecast, report, plot, tracking_uri : str
        What was made, and the database that knows of it.
    config : str
        The experiment that ran.
    seconds : float
        In all.
    """

    scores: str
    model: str
    forecast: str
    report: str
    plot: str
    tracking_uri: str
    config: str
    seconds: float

    def __str__(self) -> str:
        environment = f"CREDIT_RAY_SAMPLE={Path(self.config_folder) / 'sample.zarr'} CREDIT_RAY_OUTPUT={Path(self.config_folder) / 'runs'}"
        return f"""{self.scores}

All of it in {self.seconds:.0f} s. What there is to see:
  scores and plots   {self.report}
  one field          {self.plot}
  the forecast       python -c "import xarray; print(xarray.open_zarr('{self.forecast}'))"
  the model          credit-ray models list --tracking-uri {self.tracking_uri}
  all runs           mlflow ui --backend-store-uri {self.tracking_uri}
  serve it           {environment} credit-ray serve {self.config}"""

    @property
    def config_folder(self) -> str:
        """Where sample data and runs are."""
        return str(Path(self.forecast).parents[0])


def sample_config() -> Path:
    """The experiment on the sample data: in the source tree, or in an installed package."""
    here = Path(__file__).parent
    for candidate in (here.parent / "configs/experiments/sample.yaml", here / "experiments/sample.yaml"):
        if candidate.exists():
            return candidate
    raise ConfigError("The sample experiment is missing from this installation: reinstall credit-ray.")
