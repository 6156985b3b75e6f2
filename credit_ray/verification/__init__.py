"""From forecasts and truth to scores: statistic → weighted sum → metric.

forecasts.py     a forecast store as scores and plots read it
foreign.py       forecasts of other systems under our names
leads.py         lead times as people read them
statistics.py    what is summed: errors, anomalies and their products
aggregation.py   `WeightedSum`: sums that add up in any order
metrics.py       RMSE, bias, ACC from mean statistics
baselines.py     persistence and climatology: what a model must beat
scoring.py       one pass over a store, in bounded memory
scores.py        scores as a table
headline.py      the few that are shown first
styles.py        how variables are coloured, and their units set
projection.py    from a field on a grid to the pixels of a map
maps.py          one field as a picture
plot.py          `plot_field`: one field of a store
case.py          one forecast beside what happened
curves.py        scores by lead time as pictures
budget_meters.py what measures budgets: the constraints of physics
budgets.py       what forecasts hold of air, water, energy and tracers
budget_curves.py the same as a picture and a table
report.py        one self-contained page
folder.py        tables, pictures and the page, all of them or none
run.py           `run_verification`: all of it
api.py           `verify` for notebooks
datasets.py      an xarray data set as fields by channel and valid time
progress.py      a bar on a terminal, plain lines in a log
"""

from credit_ray.verification.run import VerificationResult, run_verification

__all__ = ["VerificationResult", "run_verification"]
