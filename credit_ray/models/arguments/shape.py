"""What a network may know of the data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class NetworkShape:
    """What a network may know of the data: counts and geometry, never names or units.

    Parameters
    ----------
    history, in_channels, out_channels : int
        Input times; channels of each of them (prognostic, forcing, static); channels out (prognostic, diagnostic).
    grid : tuple of int
        Rows and columns.
    periodic, poles, pole_points : bool
        Whether columns go round the circle; rows reach both poles; the first and last row are the poles themselves.
    pole_sign, pole_offset : tuple of float
        [in_channels]: a normalised input channel z becomes sign·z + offset where a path crosses a pole.
    """

    history: int
    in_channels: int
    out_channels: int
    grid: tuple[int, ...]
    periodic: bool
    poles: bool
    pole_points: bool
    pole_sign: tuple[float, ...]
    pole_offset: tuple[float, ...]
