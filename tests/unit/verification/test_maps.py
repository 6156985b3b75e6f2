"""Pictures of fields: they come out, and they show what they should."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from credit_ray.errors import ConfigError
from credit_ray.grid.latlon import LatLonGrid
from credit_ray.verification import plot as plot_module
from credit_ray.verification.maps import common_limits, render_field
from credit_ray.verification.plot import plot_field
from credit_ray.verification.styles import style_of, units_text

GRID = LatLonGrid.gaussian(16)


def pixels(png: bytes) -> NDArray[np.float64]:
    """[y, x, RGB]."""
    from matplotlib.image import imread

    return np.asarray(imread(io.BytesIO(png), format="png"))[..., :3]


def test_a_field_becomes_a_png_of_the_width_that_was_asked_for() -> None:
    png = render_field(
        np.random.default_rng(0).random(GRID.shape), GRID, title="A field", units="K", variable="t", width_px=500
    )
    assert png.startswith(b"\x89PNG")
    assert pixels(png).shape[1] == 500


def test_warm_is_red_and_cold_is_blue() -> None:
    values = np.repeat(np.linspace(220, 300, 16)[:, None], 32, 1)  # cold in the north
    picture = pixels(render_field(values, GRID, title="", units="K", variable="t", width_px=400))
    height, width = picture.shape[:2]
    north, south = picture[int(0.3 * height), width // 2], picture[int(0.62 * height), width // 2]
    assert north[2] > north[0]
    assert south[0] > south[2]


def test_the_error_of_a_field_is_white_where_there_is_none() -> None:
    values = np.zeros(GRID.shape)
    values[:, :8] = 4.0
    values[:, 8:16] = -4.0
    picture = pixels(render_field(values, GRID, title="", units="K", variable="t", error=True, width_px=400))
    middle = picture[int(0.45 * picture.shape[0]), int(0.3 * picture.shape[1])]  # 72° W
    assert middle.min() > 0.85


@pytest.mark.parametrize("kind", ["constant", "gaps", "only gaps at a pole", "region"])
def test_odd_fields_are_drawn_too(kind: str) -> None:
    grid, values = GRID, np.full(GRID.shape, 280.0)
    if kind == "gaps":
        values[4:9, 5:12] = np.nan
    elif kind == "only gaps at a pole":
        values[0] = np.nan
    elif kind == "region":
        grid = LatLonGrid(np.linspace(60, 30, 9), np.linspace(0, 40, 11))
        values = np.random.default_rng(0).random(grid.shape)
    png = render_field(
        values,
        grid,
        title="t",
        units="K",
        variable="t",
        land=np.round(np.random.default_rng(1).random(grid.shape)),
        width_px=300,
    )
    assert pixels(png).std() > 0.01


def test_pressure_is_shown_in_hectopascal_and_limits_are_too() -> None:
    assert (style_of("msl", np.zeros(1)).factor, style_of("msl", np.zeros(1)).units) == (0.01, "hPa")
    low, high = common_limits([np.array([98000.0, 99000.0]), np.array([101000.0, 103000.0])], "msl")
    assert (round(low), round(high)) == (980, 1030)


def test_a_field_of_both_signs_gets_a_diverging_map() -> None:
    assert style_of("anything", np.array([-3.0, 4.0])).centre == 0
    assert style_of("anything", np.array([1.0, 4.0])).centre is None


@pytest.mark.parametrize(
    ("units", "shown"),
    [("m2 s-2", "m² s⁻²"), ("kg m-2", "kg m⁻²"), ("1", ""), ("K", "K"), ("1e-5 s-1", "10⁻⁵ s⁻¹"), ("degC", "°C")],
)
def test_units_are_set_as_in_print(units: str, shown: str) -> None:
    assert units_text(units) == shown


def test_a_field_of_a_store_is_plotted_with_what_it_is(
    world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = world.forecasts(model_name="unet", model_version="3").dataset
    monkeypatch.setattr(plot_module, "open_forecast", lambda url: dataset)
    result = plot_field("f.zarr", "t", "18h", level=850, out=tmp_path / "sub" / "t.png", width_px=300)
    assert (tmp_path / "sub" / "t.png").read_bytes().startswith(b"\x89PNG")
    assert "Air temperature at 850 hPa: unet v3" in str(result)
    assert "lead 18 h" in str(result)
    with pytest.raises(ConfigError, match="no lead of 9d"):
        plot_field("f.zarr", "t_850", "9d", out=tmp_path / "no.png")
    assert not (tmp_path / "no.png").exists()
