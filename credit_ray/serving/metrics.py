"""What the service counts, as Prometheus reads it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from credit_ray.serving.served import ServedModel

Labels = Mapping[str, str]


@dataclass(kw_only=True)
class EngineNumbers:
    """What one engine has done since it started.

    Parameters
    ----------
    steps : int
        Of the model.
    step_seconds : float
        That they took.
    finished : Counter
        Forecasts by the state in which they ended.
    """

    steps: int = 0
    step_seconds: float = 0.0
    finished: Counter[str] = field(default_factory=Counter)

    def count(self, seconds: float) -> None:
        """One more step, that took so long."""
        self.steps += 1
        self.step_seconds += seconds

    @property
    def mean_step_seconds(self) -> float | None:
        """Mean time of a step; None before the first."""
        return self.step_seconds / self.steps if self.steps else None


@dataclass(frozen=True, kw_only=True)
class Depth:
    """Forecasts of one model that wait, and that are being made."""

    queued: int = 0
    running: int = 0


def render(
    requests: Mapping[int, int],
    depths: Mapping[str, Depth],
    engines: Mapping[str, EngineNumbers],
    models: Sequence[ServedModel],
) -> str:
    """The Prometheus text format, version 0.0.4; an engine that does not answer is left out."""
    info = [({"model": m.name, "version": m.version or "", "alias": m.alias, "digest": m.digest}, 1) for m in models]
    lines = [
        *_metric(
            "http_requests_total",
            "counter",
            "Requests by status.",
            (({"status": str(k)}, n) for k, n in sorted(requests.items())),
        ),
        *_metric(
            "forecasts_queued",
            "gauge",
            "Accepted forecasts that wait.",
            (({"model": k}, d.queued) for k, d in depths.items()),
        ),
        *_metric(
            "forecasts_running",
            "gauge",
            "Forecasts that are being made.",
            (({"model": k}, d.running) for k, d in depths.items()),
        ),
        *_metric(
            "forecasts_finished_total",
            "counter",
            "Forecasts by how they ended.",
            (({"model": k, "state": state}, n) for k, e in engines.items() for state, n in sorted(e.finished.items())),
        ),
        *_metric("model_steps_total", "counter", "Steps done.", (({"model": k}, e.steps) for k, e in engines.items())),
        *_metric(
            "model_step_seconds_total",
            "counter",
            "Time that steps took.",
            (({"model": k}, e.step_seconds) for k, e in engines.items()),
        ),
        *_metric("model_info", "gauge", "The loaded version of each model.", info),
    ]
    return "\n".join(lines) + "\n"


def _metric(name: str, kind: str, help: str, samples: Iterable[tuple[Labels, float]]) -> list[str]:
    full = f"credit_ray_{name}"
    values = [f"{full}{{{_labels(labels)}}} {value}" for labels, value in samples]
    return [f"# HELP {full} {help}", f"# TYPE {full} {kind}", *values]


def _labels(labels: Labels) -> str:
    return ",".join(f'{key}="{_escape(value)}"' for key, value in labels.items())


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
