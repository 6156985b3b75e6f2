"""Scores as the registry keeps them: few numbers, comparable between versions."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

SCORE_METRIC = "validation/score"
"""Training's own measure: RMSE relative to persistence, mean over channels and leads."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """One channel at one lead.

    Parameters
    ----------
    channel : str
        Of the model's outputs.
    lead : str
        As text: `6h`, `5D`, `12MS`.
    rmse : float
        Area-weighted, physical units.
    persistence, climatology : float, optional
        The same of these baselines.
    """

    channel: str
    lead: str
    rmse: float
    persistence: float | None = None
    climatology: float | None = None


def leads(scores: Iterable[Score]) -> list[str]:
    """The leads, in the order in which they come."""
    return list(dict.fromkeys(score.lead for score in scores))


def over_persistence(scores: Iterable[Score], lead: str) -> float | None:
    """Geometric mean over channels of RMSE relative to persistence; below 1 is skill."""
    ratios = [s.rmse / s.persistence for s in scores if s.lead == lead and s.persistence and s.rmse > 0]
    return math.exp(sum(map(math.log, ratios)) / len(ratios)) if ratios else None


def headline(scores: Sequence[Score], metrics: Mapping[str, float]) -> str:
    """What a list of models shows: `6h 0.31, 5D 0.77` of verified forecasts, else `0.42 (validation)`; empty where nothing is known."""
    found = {lead: ratio for lead in leads(scores) if (ratio := over_persistence(scores, lead)) is not None}
    ends = list(dict.fromkeys([*list(found)[:1], *list(found)[-1:]]))
    if ends:
        return ", ".join(f"{lead} {found[lead]:.2f}" for lead in ends)
    return f"{metrics[SCORE_METRIC]:.3f} (validation)" if SCORE_METRIC in metrics else ""


def to_tag(scores: Sequence[Score], longest: int = 5000) -> str:
    """Scores as a tag's text; where it would be too long, only of the first and last lead, then of as many channels as fit."""
    ends = leads(scores)[:1] + leads(scores)[-1:]
    for kept in (scores, [s for s in scores if s.lead in ends]):
        if len(text := _text(kept)) <= longest:
            return text
    channels = list(dict.fromkeys(s.channel for s in kept))
    while len(text := _text([s for s in kept if s.channel in channels])) > longest:
        channels.pop()
    return text


def from_tag(text: str) -> list[Score]:
    """The inverse of `to_tag`."""
    return [Score(**entry) for entry in json.loads(text)]


def _text(scores: Sequence[Score]) -> str:
    rounded = [
        {k: float(f"{v:.5g}") if isinstance(v, float) else v for k, v in asdict(s).items() if v is not None}
        for s in scores
    ]
    return json.dumps(rounded, separators=(",", ":"))
