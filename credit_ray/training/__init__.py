"""Training by Ray Train.

run.py         the driver: from a config to a registered model
loop.py        one worker's life
trainer.py     what an optimiser step is: loss, gradient, schedule, average
validation.py  rollouts from the validation period
checkpoint.py  what is saved, and how it comes back
parallel.py    sums over workers
progress.py    what the driver sees while workers train
"""

from credit_ray.training.run import TrainResult, run_training

__all__ = ["TrainResult", "run_training"]
