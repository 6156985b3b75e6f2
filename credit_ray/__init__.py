"""AI Earth-system models on Ray: data in Zarr, training, tuning, forecasts, verification, service.

What notebooks and scripts need; each name is loaded when it is first used, so that `import credit_ray` costs nothing.

* `load(model)`: the stepper of a registered model, a run, a package's folder or URL.
* `forecast(model, initial, lead)`: roll it out from an xarray data set.
* `open_forecast(url)`: a forecast store as an xarray data set.
* `verify(forecast, truth)`: scores by variable and lead time.
* `Experiment`: the config of an experiment, typed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from credit_ray.config.experiment import Experiment
    from credit_ray.forecasting.api import forecast
    from credit_ray.stepper import Stepper
    from credit_ray.verification.api import verify
    from credit_ray.verification.forecasts import open_forecast

__version__ = "0.1.0"

__all__ = ["Experiment", "__version__", "forecast", "load", "open_forecast", "verify"]

_WHERE = {
    "Experiment": "credit_ray.config.experiment",
    "forecast": "credit_ray.forecasting.api",
    "open_forecast": "credit_ray.verification.forecasts",
    "verify": "credit_ray.verification.api",
}


def load(model: str, *, tracking_uri: str | None = None) -> Stepper:
    """A trained model, ready to step: in evaluation mode, on the CPU.

    Parameters
    ----------
    model : str
        `models:/name@alias`, `models:/name/3`, `runs:/run_id`, a package's folder, or a URL of one (fsspec).
    tracking_uri : str, optional
        Of the registry; default: MLFLOW_TRACKING_URI, else the database in a folder `runs` here.

    Raises
    ------
    ModelNotFoundError
        For an unknown name, version or alias; lists those that exist.
    PackageError
        Where the package is damaged, or needs a network or constraint that is not installed.
    """
    from credit_ray.package import load_package
    from credit_ray.tracking.registry import fetch_model

    fetched = fetch_model(model, tracking_uri)
    return load_package(fetched.directory, digest=fetched.digest).stepper


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'credit_ray' has no attribute '{name}'")
    value = getattr(import_module(_WHERE[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
