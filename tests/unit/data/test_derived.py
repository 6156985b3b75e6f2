"""Sunlight against published values and against brute force; calendar forcings; what can be asked for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from credit_ray.config.data import SourceConfig
from credit_ray.data.derived import DerivedSource, mean_solar_flux, open_derived, toa_solar_flux
from credit_ray.errors import DataError
from credit_ray.grid.latlon import LatLonGrid
from credit_ray.times import Step, parse_time

GRID = LatLonGrid(np.array([90.0, 45.0, 0.0, -45.0, -90.0]), np.arange(0.0, 360.0, 30.0))
DAY = Step.parse("1D")


def derived(
    *, forcing: tuple[str, ...] = (), static: tuple[str, ...] = (), step: str = "6h", calendar: str = "standard"
) -> DerivedSource:
    config = SourceConfig(store="derived", forcing=list(forcing), static=list(static))
    return open_derived("sky", config, grid=GRID, step=Step.parse(step), calendar=calendar)


@pytest.mark.parametrize(
    ("noon", "latitude", "published"),
    [
        ("2020-03-20T04", 0.0, 436.7),  # the moment of the equinox or solstice; at 1361 W m⁻²
        ("2020-12-21T10", -90.0, 559.4),
        ("2020-06-20T22", 45.0, 483.4),
    ],
)
def test_daily_mean_sunlight_agrees_with_published_values(noon: str, latitude: float, published: float) -> None:
    day = mean_solar_flux(np.array([parse_time(noon) + 43200]), DAY, GRID)[0]
    assert day[GRID.latitude.tolist().index(latitude), 0] == pytest.approx(published, rel=1e-3)


@settings(max_examples=15, deadline=None)
@given(
    start=st.integers(parse_time("1950-01-01"), parse_time("2050-01-01")),
    step=st.sampled_from(["1h", "3h", "6h", "7h", "12h", "1D", "30h", "2D"]),
)
def test_mean_sunlight_is_the_integral_of_sunlight(start: int, step: str) -> None:
    span = Step.parse(step).seconds
    times = start + np.arange(0, span + 1, 60)
    flux = toa_solar_flux(times, GRID)
    by_trapezoids = ((flux[1:] + flux[:-1]) / 2).mean(0)
    in_closed_form = mean_solar_flux(np.array([start + span]), Step.parse(step), GRID)[0]
    np.testing.assert_allclose(
        in_closed_form, by_trapezoids, atol=0.5
    )  # W m⁻²: what the declination moves within six hours


def test_the_means_of_six_hours_add_up_to_the_mean_of_the_day() -> None:
    midnight = parse_time("2001-05-02")
    quarters = mean_solar_flux(midnight - np.arange(4) * 21600, Step.parse("6h"), GRID)
    np.testing.assert_allclose(quarters.mean(0), mean_solar_flux(np.array([midnight]), DAY, GRID)[0], atol=0.5)


def test_a_monthly_mean_is_that_of_its_own_month() -> None:
    june = mean_solar_flux(np.array([parse_time("2001-06-01")]), Step.parse("1MS"), GRID)[0]
    days = mean_solar_flux(parse_time("2001-06-02") + 86400 * np.arange(30), DAY, GRID).mean(0)
    np.testing.assert_allclose(june.mean(1), days.mean(1), atol=0.5)
    np.testing.assert_allclose(june, june[:, :1].repeat(12, 1), rtol=1e-9)  # the same at all longitudes


@settings(max_examples=10, deadline=None)
@given(time=st.integers(-(10**9), 3 * 10**9), calendar=st.sampled_from(["standard", "noleap", "360_day"]))
def test_the_sun_is_never_negative_nor_brighter_than_at_its_nearest(time: int, calendar: str) -> None:
    flux = mean_solar_flux(np.array([time]), Step.parse("6h"), GRID, calendar)
    assert flux.min() >= 0
    assert flux.max() < 1361 * 1.035


def test_accumulated_sunlight_is_the_mean_times_the_seconds_of_the_step() -> None:
    times = np.array([parse_time("2000-02-03T06"), parse_time("2000-02-03T12")])
    fields = derived(forcing=("rsdt", "tisr")).read(["rsdt", "tisr"], times)
    np.testing.assert_allclose(fields["tisr"], fields["rsdt"] * 21600, rtol=1e-6)


@pytest.mark.parametrize("calendar", ["standard", "noleap", "360_day", "all_leap"])
def test_the_season_turns_once_a_year(calendar: str) -> None:
    names = ["cos_day_of_year", "sin_day_of_year"]
    source = derived(forcing=tuple(names), calendar=calendar)
    starts = np.array([parse_time(f"{year}-01-01", calendar) for year in range(1999, 2004)])
    for name in names:
        values = source.read([name], starts)[name]
        np.testing.assert_allclose(values, values[:1].repeat(5, 0), atol=1e-6)
    within = np.linspace(starts[0], starts[1], 1000).astype(np.int64)
    angle = np.unwrap(
        np.arctan2(
            source.read(["sin_day_of_year"], within)["sin_day_of_year"][:, 0, 0],
            source.read(["cos_day_of_year"], within)["cos_day_of_year"][:, 0, 0],
        )
    )
    assert (np.diff(angle) >= 0).all()
    assert angle[-1] - angle[0] == pytest.approx(2 * np.pi, abs=1e-3)


def test_local_time_turns_with_the_day_and_with_longitude() -> None:
    source = derived(forcing=("cos_local_time", "sin_local_time"))
    at_midnight = source.read(
        ["cos_local_time", "sin_local_time"], np.array([parse_time("2000-01-01"), parse_time("2003-07-09")])
    )
    np.testing.assert_allclose(at_midnight["cos_local_time"][0], at_midnight["cos_local_time"][1], atol=1e-6)
    assert at_midnight["cos_local_time"][0, 0, 0] == pytest.approx(1.0)  # midnight at Greenwich
    assert at_midnight["cos_local_time"][0, 0, 6] == pytest.approx(-1.0)  # noon at 180°
    six_later = source.read(["cos_local_time"], np.array([parse_time("2000-01-01T06")]))["cos_local_time"][0]
    np.testing.assert_allclose(six_later, np.roll(at_midnight["cos_local_time"][0], -3, -1), atol=1e-6)


def test_places_are_derived_as_statics() -> None:
    fields = derived(static=("sin_latitude", "cos_longitude")).read(
        ["sin_latitude", "cos_longitude"], np.zeros(1, np.int64)
    )
    assert fields["sin_latitude"].shape == GRID.shape
    np.testing.assert_allclose(fields["sin_latitude"][:, 0], np.sin(np.radians(GRID.latitude)), atol=1e-7)
    np.testing.assert_allclose(fields["cos_longitude"][0], np.cos(np.radians(GRID.longitude)), atol=1e-7)


def test_a_misspelled_forcing_is_answered_with_the_nearest_one() -> None:
    with pytest.raises(DataError, match=r"no forcing 'rsdtt'.*mean 'rsdt'"):
        derived(forcing=("rsdtt",))


def test_a_place_is_no_forcing() -> None:
    with pytest.raises(DataError, match="sin_latitude"):
        derived(forcing=("sin_latitude",))


def test_sunlight_of_an_instant_is_the_cosine_of_its_zenith_times_what_arrives_at_that_distance() -> None:
    noon = np.array([parse_time("2020-03-20T12:07"), parse_time("2020-07-04T12")])
    fields = derived(forcing=("rsdt_now", "cos_zenith")).read(["rsdt_now", "cos_zenith"], noon)
    assert fields["cos_zenith"][0, 2, 0] == pytest.approx(
        1.0, abs=1e-4
    )  # overhead at the equator, at noon, at the equinox
    assert fields["cos_zenith"][0, 2, 6] == 0.0  # midnight on the other side
    reached = fields["rsdt_now"][:, 2, 0] / fields["cos_zenith"][:, 2, 0]
    assert reached[1] == pytest.approx(1361 / 1.0167**2, rel=1e-3)  # the aphelion of 2020, 1.0167 AU
    assert reached[0] > reached[1]


@pytest.mark.parametrize("year", [1950, 2050])
def test_the_sun_keeps_its_time_far_from_2000(year: int) -> None:
    # an hour angle in float32 days would be off by a third of a degree
    second = parse_time(f"{year}-03-01T11:59") + np.arange(120)
    afternoon = derived(forcing=("cos_zenith",)).read(["cos_zenith"], second)["cos_zenith"][:, 1, 1]
    assert (np.diff(afternoon) < 0).all()
