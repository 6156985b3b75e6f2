"""The page: what was verified, how good it is, what made it. One file, which needs nothing else."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from credit_ray.verification.baselines import baseline_title
from credit_ray.verification.curves import LINES
from credit_ray.verification.leads import nearest_leads
from credit_ray.verification.metrics import METRICS
from credit_ray.verification.scores import MODEL, Scores, channel_title
from credit_ray.verification.styles import style_of, units_text


@dataclass(frozen=True, kw_only=True)
class Report:
    """All that the page shows.

    Parameters
    ----------
    model : str
        Name and version.
    scores : Scores
        Of the model and the baselines.
    grouping : str
        Of the climatology: "mean" or "monthly".
    summary : str
        A sentence: how many forecasts, from when to when, against what.
    notes : sequence of str
        What a reader must know first: what was left out.
    pictures : mapping of str to bytes
        PNG by caption.
    lineage : mapping of str to str
        Where the forecasts come from.
    attribution : str
        What the data's stores say of title, licence and origin.
    """

    model: str
    scores: Scores
    grouping: str
    summary: str
    notes: Sequence[str]
    pictures: Mapping[str, bytes]
    lineage: Mapping[str, str]
    attribution: str = ""

    def to_html(self) -> str:
        """One self-contained page."""
        scores = self.scores
        baselines = [name for name in scores.forecasters if name != MODEL]
        titles = {name: baseline_title(name, self.grouping) for name in baselines}
        parts = [
            f"<header><p class=kind>Forecast verification</p><h1>{escape(self.model)}</h1><p class=lede>{escape(self.summary)}</p></header>",
            *(f"<p class=note>{escape(note)}</p>" for note in self.notes),
        ]
        if "rmse" in scores.metrics:
            parts += ["<h2>At a glance</h2>", _legend(titles), _headline(scores, baselines)]
        parts += [_picture(caption, png) for caption, png in self.pictures.items()]
        if "rmse" in scores.metrics:
            parts += [_scorecard(scores, baseline) for baseline in baselines]
        parts += ["<h2>How it was scored</h2>", _method(scores, titles)]
        parts += ["<h2>Where it comes from</h2>", _pairs(self.lineage)]
        parts += [f"<p class=small>Data: {escape(self.attribution)}</p>"] if self.attribution else []
        title = f"Verification: {self.model}"
        return (
            f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
            + "\n".join(parts)
            + "\n</main>\n</body>\n</html>\n"
        )


def number(value: float) -> str:
    """Three or four significant digits, no exponent where it can be avoided; a dash for what is not defined."""
    if not np.isfinite(value):
        return "–"
    if value == 0 or not 1e-4 <= abs(value) < 1e6:
        return f"{value:.3g}"
    return f"{value:.{max(0, 2 - int(np.floor(np.log10(abs(value)))))}f}"


def percent(skill: float) -> str:
    """`+42 %`: how much smaller the error is than a baseline's."""
    return "–" if not np.isfinite(skill) else f"{100 * skill:+.0f} %".replace("-", "−")


def _headline(scores: Scores, baselines: Sequence[str]) -> str:
    leads = [scores.scored[i] for i in nearest_leads(scores.leads[scores.scored], scores.step)]
    head = "".join(f'<th colspan="{1 + len(baselines)}">{scores.lead_text(lead)}</th>' for lead in leads)
    below = "".join(
        "<th>RMSE</th>" + "".join(f'<th title="{name}">vs {name[:4]}.</th>' for name in baselines) for _ in leads
    )
    rows = []
    for channel in scores.headline():
        style = style_of(scores.channels[channel].variable, np.zeros(1))
        units = units_text(style.units or scores.channels[channel].units)
        cells = []
        for lead in leads:
            acc = scores.value(MODEL, "acc", lead, channel)
            hint = f' title="anomaly correlation {acc:.3f}"' if np.isfinite(acc) else ""
            cells.append(
                f"<td class=first{hint}>{number(scores.value(MODEL, 'rmse', lead, channel) * style.factor)}</td>"
            )
            cells += [_skill_cell(scores.skill(name, lead, channel)) for name in baselines]
        name = escape(channel_title(scores.channels[channel]))
        rows.append(f"<tr><th scope=row>{name} <span class=unit>{escape(units)}</span></th>{''.join(cells)}</tr>")
    return (
        f"<div class=wide><table class=headline><thead><tr><th rowspan=2></th>{head}</tr><tr>{below}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
        "<p class=small>RMSE of the model, and how much smaller it is than a baseline’s: 100 % would be perfect, below 0 % the baseline is better.</p>"
    )


def _skill_cell(skill: float, hint: str = "", text: bool = True) -> str:
    background, ink = _colour(skill)
    title = f' title="{escape(hint)}"' if hint else ""
    return f'<td class=skill style="background:{background};color:{ink}"{title}>{percent(skill) if text else ""}</td>'


def _colour(skill: float) -> tuple[str, str]:
    """From brick red (as bad again as the baseline) over white to deep teal (perfect); and the ink that is legible on it."""
    if not np.isfinite(skill):
        return "#f4f6f8", "#8a94a0"
    strength = float(np.clip(abs(skill), 0, 1)) ** 0.8
    end = (13, 115, 119) if skill >= 0 else (178, 60, 44)
    mixed = [round(255 + (part - 255) * strength) for part in end]
    return f"rgb({mixed[0]},{mixed[1]},{mixed[2]})", "#ffffff" if strength > 0.55 else "#1c2733"


def _scorecard(scores: Scores, baseline: str) -> str:
    leads = scores.scored
    shown = leads if len(leads) <= 41 else [leads[i] for i in np.linspace(0, len(leads) - 1, 41).round().astype(int)]
    wide = len(shown) <= 12
    labelled = set(shown) if wide else _round_leads(scores, shown)
    head = "".join(f"<th>{scores.lead_text(lead) if lead in labelled else ''}</th>" for lead in shown)
    rows = []
    for channel, what in enumerate(scores.channels):
        cells = []
        for lead in shown:
            values = [scores.value(name, "rmse", lead, channel) for name in (MODEL, baseline)]
            hint = (
                f"{channel_title(what)}, {scores.lead_text(lead)}: RMSE {number(values[0])}, {baseline} {number(values[1])} {units_text(what.units)}, "
                f"{percent(scores.skill(baseline, lead, channel))}"
            )
            cells.append(_skill_cell(scores.skill(baseline, lead, channel), hint, text=wide))
        rows.append(f"<tr><th scope=row>{escape(channel_title(what))}</th>{''.join(cells)}</tr>")
    return (
        f"<h2>Scorecard against {escape(baseline)}</h2>"
        f'<div class=wide><table class="card{"" if wide else " dense"}"><thead><tr><th></th>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
        f"<p class=scale><span>worse than {escape(baseline)}</span><i></i><span>better</span></p>"
    )


def _round_leads(scores: Scores, leads: Sequence[int]) -> set[int]:
    """About ten leads that are worth a label: whole days or years, where there are some."""
    whole = [lead for lead in leads if scores.lead_number(lead) % (24 if scores.step.fixed else 12) == 0]
    candidates = whole or leads
    return set(candidates[:: -(-len(candidates) // 12)])


def _legend(titles: Mapping[str, str]) -> str:
    items = (
        f'<li><b style="background:{LINES[name]["color"]}"></b>{escape(title)}</li>' for name, title in titles.items()
    )
    return f"<ul class=legend>{''.join(items)}</ul>"


def _picture(caption: str, png: bytes) -> str:
    data = base64.b64encode(png).decode()
    return f'<figure><img src="data:image/png;base64,{data}" alt="{escape(caption)}"><figcaption>{escape(caption)}</figcaption></figure>'


def _method(scores: Scores, titles: Mapping[str, str]) -> str:
    said = {
        "rmse": "RMSE is √⟨(f − t)²⟩, in the units of the field",
        "bias": "bias is ⟨f − t⟩",
        "acc": "anomaly correlation is ⟨f′t′⟩ / √(⟨f′²⟩⟨t′²⟩), with f′ and t′ the departures of forecast and truth from climatology, not centred",
    }
    metrics = "; ".join(said[name] for name in METRICS if name in scores.metrics)
    count = scores.count[scores.scored]
    low, high = int(count.min()), int(count.max())
    of = f"{high}" if low == high else f"{low} to {high}"
    text = (
        f"⟨ ⟩ is the mean over the area of the sphere and over {of} forecasts of each lead time; the root is taken last. {metrics[:1].upper()}{metrics[1:]}. "
        "Places that a variable does not have count for nothing. The lead time 0 is not scored."
    )
    lines = "".join(f"<li>{escape(title)}; scored on the same times and places.</li>" for title in titles.values())
    return f"<p>{escape(text)}</p><ul>{lines}</ul><p>All numbers: <a href=scores.csv>scores.csv</a>, <a href=scores.json>scores.json</a>.</p>"


def _pairs(lineage: Mapping[str, str]) -> str:
    rows = "".join(
        f"<tr><th scope=row>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in lineage.items()
    )
    return f"<table class=lineage>{rows}</table>"


_STYLE = """
:root { --ink: #1c2733; --muted: #5d6b7a; --line: #e3e8ee; --soft: #f5f7fa; --accent: #0d7377; }
* { box-sizing: border-box; }
html { background: var(--soft); }
body { margin: 0; color: var(--ink); font: 15.5px/1.6 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 1080px; margin: 32px auto; padding: 44px 52px 60px; background: #fff; border: 1px solid var(--line); border-radius: 12px; }
header { border-bottom: 3px solid var(--accent); padding-bottom: 20px; margin-bottom: 24px; }
.kind { margin: 0; color: var(--accent); font-weight: 600; font-size: 13px; letter-spacing: .09em; text-transform: uppercase; }
h1 { margin: 2px 0 8px; font-size: 34px; line-height: 1.2; letter-spacing: -.015em; }
h2 { margin: 44px 0 12px; font-size: 20px; letter-spacing: -.005em; }
.lede { margin: 0; font-size: 17px; color: var(--muted); max-width: 62em; }
.note { margin: 12px 0; padding: 10px 14px; background: #fff8e6; border-left: 3px solid #d9a520; border-radius: 0 6px 6px 0; font-size: 14px; }
.small, figcaption { color: var(--muted); font-size: 13px; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
.headline { width: 100%; }
.headline th, .headline td { padding: 7px 8px; text-align: right; white-space: nowrap; }
.headline thead th { font-weight: 600; font-size: 14px; text-align: center; }
.headline thead tr + tr th { font-weight: 400; font-size: 12px; color: var(--muted); text-align: right; border-bottom: 1px solid var(--line); padding-top: 0; }
.headline tbody th { text-align: left; font-weight: 600; }
.headline tbody tr { border-bottom: 1px solid var(--line); }
.headline .first { padding-left: 14px; font-weight: 600; }
.unit { font-weight: 400; color: var(--muted); font-size: 12.5px; margin-left: 4px; }
.skill { border: 2px solid #fff; border-radius: 5px; font-size: 13.5px; }
.legend { list-style: none; padding: 0; margin: 0 0 10px; display: flex; gap: 24px; flex-wrap: wrap; font-size: 13px; color: var(--muted); }
.legend b { display: inline-block; width: 18px; height: 4px; border-radius: 2px; margin-right: 8px; vertical-align: middle; }
.card th { font-size: 12px; font-weight: 400; color: var(--muted); padding: 2px 6px; text-align: center; white-space: nowrap; }
.card tbody th { text-align: right; color: var(--ink); padding-right: 10px; }
.card td { min-width: 58px; padding: 4px 6px; text-align: center; font-size: 12.5px; border: 1.5px solid #fff; }
.dense { width: 100%; }
.dense thead th { text-align: left; padding: 2px 0; max-width: 20px; overflow: visible; }
.dense td { min-width: 14px; height: 21px; padding: 0; border-width: 1px; }
.scale { display: flex; align-items: center; gap: 10px; font-size: 12.5px; color: var(--muted); }
.scale i { width: 180px; height: 10px; border-radius: 5px; }
.scale i { border: 1px solid var(--line); background: linear-gradient(90deg, rgb(178,60,44), #fff 50%, rgb(13,115,119)); }
figure { margin: 36px 0 0; }
figure img { display: block; max-width: 100%; height: auto; }
figcaption { margin-top: 4px; }
.lineage th { text-align: left; font-weight: 400; color: var(--muted); padding: 3px 24px 3px 0; vertical-align: top; white-space: nowrap; font-size: 14px; }
.lineage td { padding: 3px 0; font: 13px/1.6 ui-monospace, "SF Mono", Menlo, Consolas, monospace; overflow-wrap: anywhere; }
a { color: var(--accent); }
@media (max-width: 720px) { main { margin: 0; padding: 24px 18px 40px; border: 0; border-radius: 0; } h1 { font-size: 27px; } }
@media print { html { background: #fff; } main { border: 0; margin: 0; padding: 0; max-width: none; } figure, table { break-inside: avoid; } }
"""
