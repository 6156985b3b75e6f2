"""Forecast into a Zarr store: ray job submit --working-dir . -- python jobs/forecast.py --config configs/experiments/sample.yaml"""

import sys
from pathlib import Path

# Python puts this folder first on the path, where statistics.py would hide the standard library's; the project belongs there.
sys.path[0] = str(Path(__file__).resolve().parents[1])

from credit_ray.cli import main  # noqa: E402

if __name__ == "__main__":
    main("forecast")
