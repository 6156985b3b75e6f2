"""Searches over any keys of the config, by Ray Tune.

space.py   what is searched: dotted keys and their values
trial.py   one trial: the same training that `credit-ray train` runs
run.py     the search: from a config to the best trial, registered
"""

from credit_ray.tuning.run import TuneResult, run_tuning

__all__ = ["TuneResult", "run_tuning"]
