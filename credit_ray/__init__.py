"""AI Earth-system models on Ray: data in Zarr, training, tuning, forecasts, verification, service."""

from __future__ import annotations

__version__ = "0.1.0"
