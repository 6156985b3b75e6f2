"""What a network may know of the data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


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
    latitude, longitude : tuple of float
        Degrees of the rows, north to south, and of the columns, eastward; empty where the grid has no such axes.
    prognostic : int
        The first so many channels, in and out, are the same variables.
    change : tuple of float
        [prognostic]: what a unit of each output adds to the normalised value of the same channel in the newest input; empty where outputs
        are values rather than changes.
    mask : array of bool, optional
        [out_channels, *grid], False where an output does not exist (land, to an ocean).
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
    latitude: tuple[float, ...] = ()
    longitude: tuple[float, ...] = ()
    prognostic: int = 0
    change: tuple[float, ...] = ()
    mask: NDArray[np.bool_] | None = field(default=None, compare=False, repr=False)
