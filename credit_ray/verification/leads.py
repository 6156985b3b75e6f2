"""Lead times as people read them, as commands take them, and which of them a short table shows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from credit_ray.times import Step


def lead_text(lead: int, step: Step) -> str:
    """A lead of so many steps, for people: `6 h`, `3 d`, `2 months`."""
    if not step.fixed:
        months = lead * step.months
        return f"{months} month{'s' * (months != 1)}"
    seconds = lead * step.seconds
    if seconds % 86400 == 0 and seconds:
        return f"{seconds // 86400} d"
    return f"{seconds // 3600} h" if seconds % 3600 == 0 else f"{seconds / 60:g} min"


def lead_argument(lead: int, step: Step) -> str:
    """The same as commands take it: `6h`, `3d`, `2mo`."""
    return f"{lead * step.months}mo" if not step.fixed else lead_text(lead, step).replace(" ", "")


def nearest_leads(leads: Sequence[int] | NDArray[np.int64], step: Step) -> list[int]:
    """Positions of the leads that a short table shows: 6 h, 1 d, 3 d and the last; of months 1, 3, 6 and the last."""
    wanted = [Step(seconds=s) for s in (21600, 86400, 259200)] if step.fixed else [Step(months=m) for m in (1, 3, 6)]
    numbers = [int(lead) * (step.seconds or step.months) for lead in leads]
    found = [numbers.index(w.seconds or w.months) for w in wanted if (w.seconds or w.months) in numbers]
    shown = sorted({*found, len(numbers) - 1})
    return shown if len(found) >= 1 else sorted({next((i for i, n in enumerate(numbers) if n > 0), 0), *shown})
