"""What a stopped trial had reserved, freed.

A trial that the search stops dies with its Ray Train controller, which then can not free the CPUs and GPUs that it reserved for its workers. Ray
Train has a watchman for that, but it may look before the reservation is made, and leave (Ray 2.60): the next trial would wait for ever.
"""

from __future__ import annotations

import contextlib
import time
from typing import Any

from ray.tune import Callback

_GRACE_SECONDS = 5.0  # for a controller that ends by itself, and frees them itself


class FreeReservations(Callback):
    """Removes the placement groups of trials that have ended."""

    def __init__(self) -> None:
        self._ended: list[tuple[float, str]] = []

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial came to its end, or was stopped."""
        self._ends(trial)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial failed."""
        self._ends(trial)

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """The search looks around."""
        self._free(_GRACE_SECONDS)

    def on_experiment_end(self, trials: list[Any], **info: Any) -> None:
        """The search is over."""
        self._free(0.0)

    def _ends(self, trial: Any) -> None:
        if group := (trial.last_result or {}).get("placement_group"):
            self._ended.append((time.monotonic(), group))

    def _free(self, grace: float) -> None:
        from ray._raylet import PlacementGroupID
        from ray.util.placement_group import PlacementGroup, remove_placement_group

        for ended, group in list(self._ended):
            if time.monotonic() - ended >= grace:
                self._ended.remove((ended, group))
                with contextlib.suppress(ValueError):  # it is gone
                    remove_placement_group(PlacementGroup(PlacementGroupID(bytes.fromhex(group))))
