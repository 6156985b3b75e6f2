"""From initial states to forecast stores.

run.py      `run_forecast`: an experiment's forecasts, in this process or by Ray tasks
request.py  what is asked for, checked against the data before anything starts
fill.py     from a model to the fields of a store, for batch forecasts and the service alike
rollout.py  the one forecast loop
layout.py   what a forecast store looks like: dimensions, coordinates, CF attributes
fill.py     from a model to the fields of a store
chunks.py   how a store is cut
writer.py   the store, created whole and filled beside the computation; resumed where it stopped
api.py      `forecast` and `open_forecast` for notebooks
"""

from credit_ray.forecasting.run import ForecastResult, run_forecast

__all__ = ["ForecastResult", "run_forecast"]
