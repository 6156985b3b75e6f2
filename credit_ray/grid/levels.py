"""Vertical coordinates from their levels: pressure, sigma, hybrid, height, depth; all of a model's levels, or some, in any order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from credit_ray.errors import ConfigError, did_you_mean
from credit_ray.grid.level_tables import HALF_LEVELS
from credit_ray.grid.vertical import Array, Coordinate, Integral, VerticalCoordinate

_REFERENCE_PRESSURE = (
    101_325.0  # where levels are put in order; no coordinate in use changes its order with the weather
)


def pressure_levels(levels_hpa: ArrayLike, edges_hpa: ArrayLike | None = None) -> VerticalCoordinate:
    """Levels of constant pressure.

    Parameters
    ----------
    levels_hpa : array [level]
        In any order.
    edges_hpa : array, optional
        Interfaces of the layers whose means the values are; without them values are points, and integrals trapezoids from the first
        level to the last.
    """
    levels = _levels("pressure", levels_hpa)
    edges = None if edges_hpa is None else 100 * _edges("pressure", edges_hpa)
    return _fixed("pressure", levels, 100 * levels, edges)


def depth_levels(levels_m: ArrayLike, edges_m: ArrayLike | None = None) -> VerticalCoordinate:
    """Depths below the surface of the sea, as layers.

    Without `edges_m` the layers are those of which the levels are the middles, counted from the surface, where there are such (as in most
    ocean models); else they meet halfway between levels, from the surface to half a step below the last.
    """
    levels = _levels("depth", levels_m)
    if edges_m is None:
        ordered = np.sort(levels)
        below = 1.5 * ordered[-1] - 0.5 * ordered[-2] if len(ordered) > 1 else 2 * ordered[-1]
        edges = _edges_of_middles(ordered, 0.0, None, otherwise_last=below)
    else:
        edges = _edges("depth", edges_m)
    return _fixed("depth", levels, levels, edges)


def height_levels(levels_m: ArrayLike, edges_m: ArrayLike | None = None) -> VerticalCoordinate:
    """Heights above the sea or the ground; with edges layers, without them points joined by trapezoids."""
    levels = _levels("height", levels_m)
    return _fixed("height", levels, levels, None if edges_m is None else _edges("height", edges_m))


def sigma_levels(levels: ArrayLike, edges: ArrayLike | None = None) -> VerticalCoordinate:
    """Levels of constant p/p_s, as layers that reach from the top of the atmosphere to the surface.

    Parameters
    ----------
    levels : array [level]
        In any order; some of a model's levels, too.
    edges : array, optional
        Interfaces of all of the model's layers. Without them they are those of which the levels are the middles, where there are
        such; else they lie halfway between the levels.
    """
    levels = _levels("sigma", levels)
    if levels.max() > 1:
        raise ConfigError(f"sigma lies between 0 and 1; there is a level at {levels.max():g}. Are these hPa?")
    half = _edges_of_middles(np.sort(levels), 0.0, 1.0) if edges is None else _edges("sigma", edges)
    return _layers("sigma", levels, levels, np.zeros_like(half), half)


def hybrid_levels(
    numbers: ArrayLike, a_half: ArrayLike, b_half: ArrayLike, integral: Integral = "layers"
) -> VerticalCoordinate:
    """Levels of a hybrid sigma-pressure model, from the coefficients at its half levels.

    Parameters
    ----------
    numbers : array [level]
        Numbers of the levels in the model, 1 at the top; some of them, in any order. A full level lies halfway between its half
        levels (Simmons and Burridge 1981).
    a_half, b_half : array [model levels + 1]
        Pa, and dimensionless; from the top down.
    integral : {"layers", "trapezoid"}
        As layers, some of a model's levels share the whole column among them: two neighbours meet halfway between the half levels
        that face each other. By trapezoids the integral ends at the first and the last level.
    """
    levels = _levels("model", numbers)
    a, b = np.asarray(a_half, np.float64), np.asarray(b_half, np.float64)
    _refuse_unordered_coefficients(a, b, "half levels")
    index = levels.astype(np.int64) - 1
    if np.any(index + 1 != levels) or index.max() >= len(a) - 1:
        raise ConfigError(
            f"model levels are numbered 1 to {len(a) - 1} from the top; there is one at {levels[np.argmax(levels)]:g}. Is it another model's table?"
        )
    a_full, b_full = (a[index] + a[index + 1]) / 2, (b[index] + b[index + 1]) / 2
    if integral == "trapezoid":
        return _points("hybrid", levels, a_full, b_full)
    order = np.argsort(index)
    above, below = index[order][1:], index[order][:-1] + 1  # half levels that face each other across a gap
    a_mid, b_mid = (np.concatenate([c[:1], (c[above] + c[below]) / 2, c[-1:]]) for c in (a, b))
    return VerticalCoordinate(
        coordinate="hybrid", integral="layers", levels=levels, a_full=a_full, b_full=b_full, a_half=a_mid, b_half=b_mid, from_top=order
    )  # fmt: skip


def hybrid_full_levels(numbers: ArrayLike, a_full: ArrayLike, b_full: ArrayLike) -> VerticalCoordinate:
    """The same where only the coefficients at full levels are known: integrals are trapezoids."""
    levels = _levels("model", numbers)
    a, b = np.asarray(a_full, np.float64), np.asarray(b_full, np.float64)
    _refuse_unordered_coefficients(a, b, "full levels")
    index = levels.astype(np.int64) - 1
    if np.any(index + 1 != levels) or index.max() >= len(a):
        raise ConfigError(f"model levels are numbered 1 to {len(a)} from the top; there is one at {levels.max():g}.")
    return _points("hybrid", levels, a[index], b[index])


def table(name: str) -> tuple[Array, Array]:
    """Half-level coefficients (a in Pa, b) of a known model, from the top down.

    Raises
    ------
    ConfigError
        For an unknown name, with the nearest known one.
    """
    if name not in HALF_LEVELS:
        raise ConfigError(f"There is no table of hybrid levels '{name}'.{did_you_mean(name, HALF_LEVELS)}")
    a, b = HALF_LEVELS[name]
    return np.array(a), np.array(b)


def _fixed(coordinate: Coordinate, levels: Array, at: Array, edges: Array | None) -> VerticalCoordinate:
    """A coordinate that does not depend on surface pressure."""
    if edges is None:
        return _points(coordinate, levels, at, np.zeros_like(at))
    return _layers(coordinate, levels, at, edges, np.zeros_like(edges))


def _points(coordinate: Coordinate, levels: Array, a: Array, b: Array) -> VerticalCoordinate:
    """Trapezoids: interfaces halfway between levels, and at the ends."""
    if len(levels) < 2:
        raise ConfigError(f"A trapezoid needs two levels; there is one, {levels[0]:g}: give the edges of its layer.")
    order = _from_top(coordinate, a, b)
    halves = (np.concatenate([c[:1], (c[1:] + c[:-1]) / 2, c[-1:]]) for c in (a[order], b[order]))
    a_half, b_half = halves
    return VerticalCoordinate(
        coordinate=coordinate, integral="trapezoid", levels=levels, a_full=a, b_full=b, a_half=a_half, b_half=b_half, from_top=order
    )  # fmt: skip


def _layers(coordinate: Coordinate, levels: Array, at: Array, a_edges: Array, b_edges: Array) -> VerticalCoordinate:
    """Layers between edges (of all of a model's layers, ascending); each level must lie in one of its own.

    Some of a model's levels share the whole column: neighbours meet halfway between the edges that face each other.
    """
    edges = a_edges + b_edges
    inside = np.searchsorted(edges, at, side="right") - 1
    if at.min() < edges[0] or at.max() > edges[-1] or len(set(inside.tolist())) < len(at):
        raise ConfigError(
            f"The edges {_listed(edges)} are not those of the {coordinate} levels {_listed(at)}: each level must lie in a layer of its own."
        )
    order = np.argsort(inside)
    above, below = inside[order][1:], inside[order][:-1] + 1
    a_half, b_half = (np.concatenate([c[:1], (c[above] + c[below]) / 2, c[-1:]]) for c in (a_edges, b_edges))
    if coordinate == "height":  # from the top down
        order, a_half, b_half = order[::-1], a_half[::-1], b_half[::-1]
    a_full, b_full = (at, np.zeros_like(at)) if not b_edges.any() else (np.zeros_like(at), at)
    return VerticalCoordinate(
        coordinate=coordinate, integral="layers", levels=levels, a_full=a_full, b_full=b_full, a_half=a_half, b_half=b_half, from_top=order
    )  # fmt: skip


def _edges_of_middles(middles: Array, first: float, last: float | None, otherwise_last: float | None = None) -> Array:
    """Edges, from `first` on, of the layers that have these middles; halfway between them where there are no such layers."""
    edges = [first]
    for middle in middles:
        edges.append(2 * middle - edges[-1])
    found = np.array(edges)
    ends_there = last is None or abs(found[-1] - last) < 1e-6
    if ends_there and np.all(np.diff(found) > 0):
        if last is not None:
            found[-1] = last
        return found
    end = last if last is not None else otherwise_last
    return np.concatenate([[first], (middles[1:] + middles[:-1]) / 2, [end]])


def _from_top(coordinate: Coordinate, a: Array, b: Array) -> NDArray[np.int64]:
    order = np.argsort(a + b * _REFERENCE_PRESSURE)
    return order[::-1] if coordinate == "height" else order


def _levels(what: str, values: ArrayLike) -> Array:
    levels: Array = np.array(values, np.float64, ndmin=1)
    if not levels.size or not np.isfinite(levels).all() or (what != "height" and np.any(levels <= 0)):
        raise ConfigError(f"{what} levels are positive numbers, not {_listed(levels)}.")
    if len(np.unique(levels)) < len(levels):
        raise ConfigError(f"{what} levels {_listed(levels)}: one is there twice.")
    return levels


def _edges(what: str, values: ArrayLike) -> Array:
    edges = np.array(values, np.float64)
    steps = np.diff(edges)
    if edges.ndim != 1 or len(edges) < 2 or not (np.all(steps > 0) or np.all(steps < 0)):
        raise ConfigError(f"edges of {what} layers must go one way; they are {_listed(edges)}.")
    return edges if steps[0] > 0 else edges[::-1]


def _refuse_unordered_coefficients(a: Array, b: Array, what: str) -> None:
    if a.shape != b.shape or a.ndim != 1 or len(a) < 2:
        raise ConfigError(
            f"hybrid coefficients at {what}: a has shape {a.shape}, b {b.shape}; they are two lists of one length."
        )
    if np.any(np.diff(a + b * _REFERENCE_PRESSURE) <= 0):
        raise ConfigError(
            f"hybrid coefficients at {what} must give a pressure that grows downwards: a in Pa (not hPa, not divided by 1000 hPa), "
            f"from the top down. With p_s = 1013.25 hPa they give {_listed((a + b * _REFERENCE_PRESSURE) / 100)} hPa."
        )


def _listed(values: Sequence[float] | Array, show: int = 8) -> str:
    text = [f"{float(v):g}" for v in values]
    return ", ".join(text if len(text) <= show else [*text[: show // 2], "…", *text[-show // 2 :]])
