"""xarray in, xarray out: any names, units and orders; CF attributes; the simulation's own geopotential."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from credit_ray.errors import ConfigError, DataError
from credit_ray.grid.latlon import LatLonGrid
from credit_ray.grid.levels import sigma_levels
from credit_ray.physics.constants import GRAVITY
from credit_ray.physics.diagnostics.dataset import diagnose, on_heights, on_pressure_levels, spectrum

GRID = LatLonGrid.gaussian(8)
SIGMA = np.array([0.1, 0.3, 0.5, 0.7, 0.9, 0.98])


def isothermal(kelvin: float = 260.0) -> xr.Dataset:
    """At rest over hills, on sigma levels, at two times; pressures follow the hills."""
    height = 1500 * np.random.default_rng(0).random(GRID.shape)
    sp = np.stack([1e5 * np.exp(-GRAVITY * height / (287.0597 * kelvin))] * 2)
    dims = ("time", "level", "latitude", "longitude")
    full = np.ones((2, 6, *GRID.shape))
    z = GRAVITY * height - 287.0597 * kelvin * np.log(SIGMA)[:, None, None]
    return xr.Dataset(
        {
            "t": (dims, kelvin * full, {"units": "K"}),
            "q": (dims, 0 * full, {"units": "kg kg-1"}),
            "u": (dims, 10 * full, {"units": "m s-1"}),
            "v": (dims, 0 * full, {"units": "m s-1"}),
            "z": (dims, np.stack([z, z]), {"units": "m2 s-2"}),
            "sp": ((dims[0], *dims[2:]), sp, {"units": "Pa"}),
            "orography": (dims[2:], height, {"units": "m"}),
        },
        {
            "time": np.array(["2000-01-01", "2000-01-02"], "datetime64[ns]"),
            "level": ("level", SIGMA, {"standard_name": "atmosphere_sigma_coordinate", "units": "1"}),
            "latitude": GRID.latitude,
            "longitude": GRID.longitude,
        },
    )


def test_geopotential_of_an_isothermal_atmosphere_is_its_own() -> None:
    data = isothermal()
    found = diagnose(data, ["z", "tv", "rho"])
    xr.testing.assert_allclose(found["z"].drop_attrs(), data["z"].transpose(*found["z"].dims).drop_attrs())
    assert found["z"].attrs == {"units": "m2 s-2", "long_name": "geopotential", "standard_name": "geopotential"}
    assert list(found["rho"].coords) == ["time", "level", "latitude", "longitude"]


def test_other_names_units_and_orders_give_the_same() -> None:
    data = isothermal()
    other = data.assign(
        t=(data["t"] - 273.15).assign_attrs(units="degC"), sp=(data["sp"] / 100).assign_attrs(units="hPa")
    )
    other = other.rename(t="air_temperature", sp="PS", q="specific_humidity", latitude="lat", longitude="lon")
    other = other.isel(lat=slice(None, None, -1), level=slice(None, None, -1)).transpose("lon", "level", "lat", "time")
    names = ["z", "msl", "theta", "ivt"]
    expected, found = diagnose(data, names), diagnose(other, names)
    for name in names:
        aligned = found[name].sortby("latitude", ascending=False)
        aligned = aligned.sortby("level") if "level" in aligned.dims else aligned
        np.testing.assert_allclose(aligned.transpose(*expected[name].dims), expected[name], rtol=1e-9)


def test_heights_and_pressures_of_an_isothermal_atmosphere() -> None:
    data, scale = isothermal(), 287.0597 * 260
    there = on_pressure_levels(data, [300.0, 700.0])
    np.testing.assert_allclose(
        there["z"], -scale * np.log(np.array([0.3, 0.7]))[None, :, None, None] + 0 * there["z"], rtol=1e-9
    )
    assert there["level"].attrs["units"] == "hPa"
    high = on_heights(data, [3000.0, 5000.0], above="sea")
    np.testing.assert_allclose(
        high["z"], GRAVITY * high["altitude"].values[None, :, None, None] + 0 * high["z"], rtol=1e-9
    )
    near = on_heights(data.drop_vars("z"), [1000.0])  # geopotential is then integrated
    np.testing.assert_allclose(near["t"], 260.0, rtol=1e-9)
    assert near["height"].attrs["units"] == "m"


def test_the_spectrum_has_the_winds_energy() -> None:
    data = isothermal()
    latitude: Any = np.radians(data["latitude"])
    u = (30 * np.cos(latitude) + 0 * data["u"]).assign_attrs(units="m s-1")
    found = spectrum(data.assign(u=u))
    assert found.dims == ("component", "time", "level", "wavenumber")
    np.testing.assert_allclose(found.sel(component="rotational").isel(wavenumber=1), 300.0, rtol=1e-9)
    np.testing.assert_allclose(found.sum(("component", "wavenumber")), 300.0, rtol=1e-9)


def test_levels_that_are_not_known_are_refused_and_can_be_given() -> None:
    data = isothermal()
    unknown = data.assign_coords(level=("level", SIGMA))
    with pytest.raises(ConfigError, match="need the vertical coordinate of the levels"):
        diagnose(unknown, ["theta"])
    given = diagnose(unknown, ["theta"], vertical=sigma_levels(SIGMA))
    xr.testing.assert_identical(
        given["theta"].drop_vars("level"), diagnose(data, ["theta"])["theta"].drop_vars("level")
    )
    with pytest.raises(ConfigError, match="has 6 levels, its vertical coordinate 5"):
        diagnose(unknown, ["theta"], vertical=sigma_levels(SIGMA[:5]))
    with pytest.raises(DataError, match="has no variable 'u'"):
        diagnose(data.drop_vars("u"), ["ws"])
    with pytest.raises(ConfigError, match="above='trees'"):
        on_heights(data, [10.0], above="trees")


def test_a_simulations_geopotential_follows_from_its_other_fields(real_data: Path) -> None:
    data: Any = xr.open_zarr(real_data / "speedy_t21l8_6h.zarr").isel(time=slice(0, None, 200)).load()
    # The model's own surface geopotential, which the stored orography differs from, from the level next to the ground.
    lowest = data.isel(level=-1)
    tv = lowest["temperature"] * (1 + 0.608 * lowest["specific_humidity"])
    ground = lowest["geopotential"] + 287.0597 * tv * np.log(0.95)
    stored = data.drop_vars(["orography", "land_sea_mask", "a_half", "b_half"])
    vertical = sigma_levels(data["level"].values)
    found = diagnose(stored.assign(z_sfc=ground.assign_attrs(units="m2 s-2")), ["z", "msl", "tcwv"], vertical=vertical)
    error = found["z"] - data["geopotential"]
    assert float(np.sqrt((error.isel(level=slice(1, None)) ** 2).mean(("time", "latitude", "longitude"))).max()) < 50
    # the simulation holds 1.5 % more air than the Earth, whose mean is 1011 hPa
    assert 1020e2 < float(found["msl"].weighted(np.cos(np.radians(data["latitude"]))).mean()) < 1032e2
    assert 15 < float(found["tcwv"].mean()) < 30
