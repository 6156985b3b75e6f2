"""What a model must beat: nothing changes (persistence), or the season's mean (climatology)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from credit_ray.times import Times, month_of_year


@dataclass(frozen=True)
class Climatology:
    """The mean of the training period, or its mean by calendar month of the valid time.

    Parameters
    ----------
    fields : array [group, channel, *grid]
        One group, or twelve; NaN where a channel does not exist.
    grouping : {"mean", "monthly"}
        What the groups are.
    calendar : str
        Of the times.
    """

    fields: NDArray[np.float32]
    grouping: Literal["mean", "monthly"]
    calendar: str

    def groups(self, valid_times: Times) -> NDArray[np.int64]:
        """Which group belongs to each time."""
        if self.grouping == "mean":
            return np.zeros(valid_times.shape, np.int64)
        return month_of_year(valid_times, self.calendar)


def baseline_title(name: str, grouping: str) -> str:
    """What a baseline is, for a reader; `grouping` is the climatology's."""
    months = ", by calendar month" if grouping == "monthly" else ""
    return {
        "persistence": "Persistence: the initial state, kept",
        "climatology": f"Climatology: the mean of the training period{months}",
    }[name]
