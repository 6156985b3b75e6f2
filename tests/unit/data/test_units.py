"""Spellings of units that real files have, and what they become."""

from __future__ import annotations

import pytest

from credit_ray.data.units import conversion, dimensionless
from credit_ray.errors import DataError


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("m s**-1", "m s-1"),
        ("m/s", "m s-1"),
        ("m.s-1", "m s-1"),
        ("m s^-1", "m s-1"),
        ("m**2 s**-2", "m2 s-2"),
        ("W/m2", "W m-2"),
        ("kg/kg", "kg kg-1"),
        ("kg m**-2 s**-1", "kg m-2 s-1"),
        ("mm", "kg m-2"),
        ("mm/s", "kg m-2 s-1"),
        ("(0 - 1)", "1"),
        ("0-1", "1"),
        ("", "1"),
        ("psu", "1e-3"),
        ("g kg-1", "1e-3"),
        ("0.001", "1e-3"),
        ("gpm", "m"),
        ("Pa s**-1", "Pa s-1"),
        ("degrees_C", "degC"),
        ("kelvin", "K"),
    ],
)
def test_spellings_of_the_same_unit_need_no_conversion(given: str, wanted: str) -> None:
    assert conversion(given, wanted, "x") == pytest.approx((1.0, 0.0))


@pytest.mark.parametrize(
    ("given", "wanted", "scale", "offset"),
    [
        ("degC", "K", 1.0, 273.15),
        ("C", "K", 1.0, 273.15),
        ("degree_Celsius", "K", 1.0, 273.15),
        ("K", "degC", 1.0, -273.15),
        ("hPa", "Pa", 100.0, 0.0),
        ("mb", "Pa", 100.0, 0.0),
        ("millibars", "Pa", 100.0, 0.0),
        ("m", "kg m-2", 1000.0, 0.0),
        ("m of water equivalent", "kg m-2", 1000.0, 0.0),
        ("mm/day", "kg m-2 s-1", 1 / 86400, 0.0),
        ("g/kg", "kg kg-1", 1e-3, 0.0),
        ("%", "1", 0.01, 0.0),
        ("kg/kg", "1e-3", 1000.0, 0.0),
        ("J m**-2", "J m-2", 1.0, 0.0),
        ("cm", "m", 0.01, 0.0),
        ("km s-1", "m s-1", 1000.0, 0.0),
    ],
)
def test_units_are_converted(given: str, wanted: str, scale: float, offset: float) -> None:
    assert conversion(given, wanted, "x") == pytest.approx((scale, offset))


@pytest.mark.parametrize(
    ("given", "wanted"),
    [("kg m-2", "m"), ("W m-2", "J m-2"), ("m", "m2 s-2"), ("kg m-2 s-1", "kg m-2"), ("bananas", "m"), ("K", "Pa")],
)
def test_units_of_something_else_are_refused_by_name(given: str, wanted: str) -> None:
    with pytest.raises(DataError, match=r"store: 'x' is in .* say 'units:'"):
        conversion(given, wanted, "store: 'x'")


def test_a_number_without_units_may_stand_for_a_fraction_but_not_for_a_pressure() -> None:
    assert dimensionless("1")
    assert dimensionless("(0 - 1)")
    assert not dimensionless("Pa")
