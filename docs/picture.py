"""Draws docs/path.svg, the picture of the README, from what `make demo` leaves: its weather, its forecast, its scores.

python docs/picture.py [DEMO]
"""

from __future__ import annotations

import base64
import csv
import io
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr
from matplotlib import colors, image
from numpy.typing import NDArray

STYLE = """
  .ink { fill: #1f2328 } .soft { fill: #59636e } .box { fill: #f6f8fa; stroke: #d1d9e0 } .paper { fill: #ffffff; stroke: #d1d9e0 }
  .line, .frame { stroke: #59636e; fill: none } .tip { fill: #59636e } .model { stroke: #0b6bcb; fill: none } .mark { fill: #0b6bcb }
  .persistence { stroke: #b35900; fill: none } .climatology { stroke: #8c959f; fill: none } .onmark { fill: #ffffff }
  @media (prefers-color-scheme: dark) {
    .ink { fill: #f0f6fc } .soft { fill: #9198a1 } .box { fill: #151b23; stroke: #3d444d } .paper { fill: #0d1117; stroke: #3d444d }
    .line, .frame { stroke: #9198a1 } .tip { fill: #9198a1 } .model { stroke: #4c9dff } .mark { fill: #4c9dff }
    .persistence { stroke: #e09b4d } .climatology { stroke: #6e7781 } .onmark { fill: #0d1117 }
  }
  text { font-family: ui-sans-serif, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; font-size: 13px }
  .name { font-weight: 600; font-size: 15px } .small { font-size: 11.5px } .code { font-family: ui-monospace, Menlo, Consolas, monospace; font-size: 10.5px }
  .frame { stroke-width: 0.7 }
  .line, .model, .persistence, .climatology { stroke-width: 1.6; stroke-linecap: round; stroke-linejoin: round }
"""
WEATHER = colors.LinearSegmentedColormap.from_list(
    "weather", ["#0b2e59", "#2f6fb0", "#8fbbe0", "#f4f6f5", "#f3c08a", "#d9742b", "#7f2f10"]
)
SLABS = ("#2f6fb0", "#8fbbe0", "#f3c08a", "#d9742b", "#6c8a7d")


def picture(demo: Path) -> str:
    """The SVG."""
    sample = xr.open_zarr(demo / "sample.zarr")
    forecast = xr.open_zarr(demo / "forecast.zarr")
    vorticity = forecast["vo"].isel(init_time=0).values  # [lead, lat, lon]
    scale = float(np.percentile(np.abs(vorticity), 98))
    start = sample["vo"].sel(time=forecast["init_time"][0])
    if start["latitude"][0] < start["latitude"][-1]:
        start = start.isel(latitude=slice(None, None, -1))
    before = sample["vo"].sel(time=slice(None, forecast["init_time"][0].values)).isel(time=[-9, -5])
    stored = [before.isel(time=0).values, before.isel(time=1).values, start.values]

    shapes = [
        # what there is
        *(field(values, 14 + 14 * i, 168 + 20 * i, 130, 65, scale) for i, values in enumerate(stored)),
        *(rule(42 + 130 * k / 4, 208, 42 + 130 * k / 4, 273) for k in (1, 2, 3)),
        *(rule(42, 208 + 65 * k / 2, 172, 208 + 65 * k / 2) for k in (1,)),
        caption(93, 306, "Zarr, NetCDF", "on disk, or at any URL"),
        # learning
        arrow([(120, 158), (120, 110), (236, 110)]),
        text(178, 99, "Ray Data", "small soft", "middle"),
        *windows(246, 73),
        caption(298, 164, "Windows", "planned, shuffled, dealt out"),
        arrow([(360, 110), (398, 110)]),
        *stepper(404, 62, "Ray Train: workers · Ray Tune: trials"),
        arrow([(646, 110), (692, 110)]),
        *package(698, 68),
        caption(747, 172, "Model package", "weights, scales, lineage"),
        arrow([(802, 110), (836, 110)]),
        *registry(844, 68),
        caption(918, 172, "MLflow", "runs, registry, cards"),
        # forecasting
        arrow([(918, 204), (918, 226), (522, 226), (522, 276)]),
        text(720, 219, "models:/sample@champion", "code soft", "middle"),
        arrow([(178, 252), (206, 252), (206, 334), (236, 334)]),
        field(start.values, 246, 308, 104, 52, scale),
        caption(298, 382, "State", "where a forecast starts"),
        arrow([(360, 334), (398, 334)]),
        *stepper(404, 286, "the same object, step by step"),
        arrow([(646, 334), (680, 334)]),
        *(field(vorticity[k], 688 + 12 * i, 290 + 14 * i, 104, 52, scale) for i, k in enumerate((-1, 7, 3))),
        caption(752, 392, "Forecasts", "Zarr, CF, traceable"),
        arrow([(826, 324), (841, 324), (841, 288), (852, 288)]),
        arrow([(826, 344), (841, 344), (841, 374), (852, 374)]),
        *scorecard(demo / "verification/scores.csv", 860, 252, 124, 68),
        text(922, 338, "Scores", "name ink", "middle"),
        *service(860, 352),
        text(922, 414, "Ray Serve", "name ink", "middle"),
    ]
    body = "\n".join(shapes)
    title = "From Zarr stores through Ray Data, Ray Train and MLflow to forecasts, scores and Ray Serve"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 40 1000 385" width="1000" height="385" role="img" aria-label="{title}">\n'
        f"<title>{title}</title>\n<style>{STYLE}</style>\n"
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="6.5" markerHeight="6.5" orient="auto">'
        '<path class="tip" d="M0 0.6 L7 4 L0 7.4 Z"/></marker></defs>\n'
        f"{body}\n</svg>\n"
    )


def text(x: float, y: float, words: str, style: str, anchor: str = "start") -> str:
    return f'<text x="{x:g}" y="{y:g}" class="{style}" text-anchor="{anchor}">{words}</text>'


def caption(x: float, y: float, name: str, remark: str) -> str:
    return text(x, y, name, "name ink", "middle") + text(x, y + 16, remark, "small soft", "middle")


def box(x: float, y: float, width: float, height: float, style: str = "box", radius: float = 8) -> str:
    return f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="{radius:g}" class="{style}"/>'


def rule(x0: float, y0: float, x1: float, y1: float) -> str:
    """An edge of a chunk."""
    return f'<path d="M{x0:g} {y0:g} L{x1:g} {y1:g}" stroke="#ffffff" stroke-width="0.8" stroke-opacity="0.8"/>'


def arrow(points: Sequence[tuple[float, float]]) -> str:
    path = " L".join(f"{x:g} {y:g}" for x, y in points)
    return f'<path class="line" d="M{path}" marker-end="url(#tip)"/>'


def field(values: NDArray[np.float32], x: float, y: float, width: float, height: float, scale: float) -> str:
    """A map [lat, lon], north first, as an image in the file; the browser interpolates."""
    buffer = io.BytesIO()
    image.imsave(buffer, WEATHER(colors.Normalize(-scale, scale)(values))[..., :3], format="png")
    data = base64.b64encode(buffer.getvalue()).decode()
    place = f'x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}"'
    return (
        f'<image {place} preserveAspectRatio="none" href="data:image/png;base64,{data}"/><rect {place} class="frame"/>'
    )


def windows(x: float, y: float) -> list[str]:
    """Four lanes, whose windows come from several open slabs."""
    order = ((0, 1, 0, 2, 1, 2, 3, 2), (4, 3, 4, 3, 0, 4, 0, 1), (2, 2, 1, 3, 1, 3, 4, 3), (1, 0, 4, 0, 4, 2, 2, 0))
    return [
        f'<rect x="{x + 13.2 * i:g}" y="{y + 19 * lane:g}" width="10.5" height="14" rx="2.5" fill="{SLABS[slab]}"/>'
        for lane, slabs in enumerate(order)
        for i, slab in enumerate(slabs)
    ]


def stepper(x: float, y: float, below: str) -> list[str]:
    """Three stages, and the way back of a rollout."""
    names = ("normalise", "network", "constrain")
    parts = [box(x, y, 236, 96)]
    for i, name in enumerate(names):
        left = x + 12 + 74 * i
        parts += [box(left, y + 46, 64, 30, "paper", 6), text(left + 32, y + 65, name, "small ink", "middle")]
        if i:
            parts.append(f'<path class="line" d="M{left - 9:g} {y + 61:g} h5"/>')
    parts += [
        arrow([(x + 192, y + 46), (x + 192, y + 33), (x + 44, y + 33), (x + 44, y + 43)]),
        text(x + 118, y + 21, "Stepper", "name ink", "middle"),
        text(x + 118, y + 114, below, "small soft", "middle"),
    ]
    return parts


def package(x: float, y: float) -> list[str]:
    files = ("package.json", "weights", "constants", "card.md")
    return [
        box(x, y, 98, 84, "paper"),
        *(text(x + 9, y + 21 + 18 * i, name, "code ink") for i, name in enumerate(files)),
    ]


def registry(x: float, y: float) -> list[str]:
    rows = (("3", "candidate", "box"), ("2", "champion", "mark"), ("1", "previous", "box"))
    parts = [box(x, y, 148, 84, "paper")]
    for i, (version, alias, style) in enumerate(rows):
        top = y + 8 + 24 * i
        parts += [
            text(x + 10, top + 14, f"sample/{version}", "code ink"),
            box(x + 70, top + 1, 70, 18, style, 9),
            text(x + 105, top + 14, alias, f"code {'onmark' if style == 'mark' else 'ink'}", "middle"),
        ]
    return parts


def scorecard(scores: Path, x: float, y: float, width: float, height: float) -> list[str]:
    """RMSE by lead time of the geopotential: the model's below those of what it must beat."""
    curves: dict[str, list[tuple[float, float]]] = {}
    for row in csv.DictReader(scores.open()):
        if row["variable"] == "z" and row["metric"] == "rmse":
            who = row["model"] if row["model"] in ("persistence", "climatology") else "model"
            curves.setdefault(who, []).append((float(row["lead_hours"]), float(row["value"])))
    far = max(lead for points in curves.values() for lead, _ in points)
    high = 1.08 * max(value for points in curves.values() for _, value in points)
    parts = [box(x, y, width, height, "paper", 6)]
    for who in ("climatology", "persistence", "model"):
        points = [(0.0, 0.0)] * (who != "climatology") + curves[who]
        path = " L".join(
            f"{x + 7 + (width - 14) * lead / far:.1f} {y + height - 6 - (height - 12) * value / high:.1f}"
            for lead, value in points
        )
        parts.append(f'<path class="{who}" d="M{path}"/>')
    return parts


def service(x: float, y: float) -> list[str]:
    return [
        box(x, y, 124, 44, "paper", 6),
        text(x + 8, y + 18, "POST", "code mark"),
        text(x + 38, y + 18, "/v1/forecasts", "code ink"),
        text(x + 8, y + 35, "202", "code mark"),
        text(x + 38, y + 35, "data.zarr", "code ink"),
    ]


if __name__ == "__main__":
    root = Path(__file__).resolve().parent
    demo = Path(sys.argv[1]) if len(sys.argv) > 1 else root.parent / "demo"
    (root / "path.svg").write_text(picture(demo), encoding="utf-8")
    print(root / "path.svg")
