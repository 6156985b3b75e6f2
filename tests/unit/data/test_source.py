"""One store through the vocabulary: whatever the file's author liked, the same fields come out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray

from credit_ray.config.data import SourceConfig
from credit_ray.data.source import StoreSource, open_source
from credit_ray.errors import DataError
from credit_ray.times import Step, format_time
from tests.unit.data.conftest import LATITUDE, LEVELS, LONGITUDE, Make, value

Save = Callable[..., str]


def source(store: str, **config: Any) -> StoreSource:
    return open_source("atmosphere", SourceConfig(store=store, **({"prognostic": ["t"]} | config)))


def expected(
    times: NDArray[Any], levels: tuple[int, ...] = (0, 1, 2), longitude: NDArray[np.float64] = LONGITUDE
) -> NDArray[np.float32]:
    """`t` of the fixture, north to south, eastward from 0°."""
    t, k, i, j = np.meshgrid(times, levels, LATITUDE, longitude, indexing="ij")
    return np.asarray(value(t, k, i, j), np.float32)


def assert_reads(opened: StoreSource, longitude: NDArray[np.float64] = LONGITUDE) -> None:
    """All of `t`, some of it, and single times, are what the fixture wrote."""
    assert opened.times is not None
    for positions in (np.arange(12), np.array([3, 4, 5]), np.array([0, 5, 11]), np.array([7])):
        read = opened.read(["t"], opened.times[positions])["t"]
        assert read.dtype == np.float32
        assert read.flags.c_contiguous
        np.testing.assert_array_equal(read, expected(positions, longitude=longitude))


@pytest.mark.parametrize(
    "how",
    [
        {"zarr_format": 2},
        {"zarr_format": 3},
        {"zarr_format": 2, "consolidated": False},
        {"zarr_format": 3, "consolidated": False},
        {"zarr_format": 3, "encoding": {"t": {"chunks": (2, 1, 3, 4), "shards": (4, 3, 6, 8)}}},
        {"zarr_format": 3, "encoding": {"t": {"chunks": (1, 3, 6, 8)}}},
        {"zarr_format": 2, "encoding": {"t": {"chunks": (5, 2, 4, 8), "compressors": None}}},
        {"zarr_format": 2, "encoding": {"t": {"dtype": ">f4"}}},
        {"zarr_format": 3, "encoding": {"t": {"dtype": "float64"}}},
        {
            "zarr_format": 3,
            "encoding": {
                "t": {"dtype": "int32", "scale_factor": 2.0**-10, "add_offset": 500.0, "_FillValue": -(2**31)}
            },
        },
        {"zarr_format": 2, "encoding": {"t": {"dtype": "int32", "scale_factor": 2.0**-10, "_FillValue": -999}}},
    ],
    ids=str,
)
def test_zarr_is_read_in_every_form(make: Make, save: Save, how: dict[str, Any]) -> None:
    assert_reads(source(save(make(), **how)))


@pytest.mark.parametrize("form", ["NETCDF4", "NETCDF3_64BIT"])
def test_netcdf_is_read_in_every_form(make: Make, tmp_path: Path, form: Any) -> None:
    path = tmp_path / "all.nc"
    make().to_netcdf(path, format=form, engine="h5netcdf" if form == "NETCDF4" else "scipy")
    assert_reads(source(str(path)))


def test_netcdf_files_continue_each_other_whatever_they_count_from(make: Make, tmp_path: Path) -> None:
    whole = make()
    for name, part, origin in (
        ("b", slice(0, 5), "2000-01-01"),
        ("a", slice(5, 9), "1999-12-31"),
        ("c", slice(9, 12), "2000-01-02"),
    ):
        file = whole.isel(time=part).copy()
        shift = {"2000-01-01": 0, "1999-12-31": 24, "2000-01-02": -24}[origin]
        file["time"] = ("time", file["time"].values + shift, {"units": f"hours since {origin}", "calendar": "standard"})
        packed = {"dtype": "int32", "scale_factor": 2.0**-10, "add_offset": float(shift), "_FillValue": -7 - shift}
        file.to_netcdf(tmp_path / f"{name}.nc", engine="h5netcdf", encoding={"t": packed})
    opened = source(str(tmp_path / "*.nc"), static=["orography"])
    assert_reads(opened)
    np.testing.assert_array_equal(
        opened.read(["orography"], np.zeros(1, np.int64))["orography"], whole["orography"].values
    )


def test_netcdf_files_that_do_not_continue_each_other_are_refused(make: Make, tmp_path: Path) -> None:
    make().to_netcdf(tmp_path / "a.nc")
    make(range(72, 144, 6)).drop_vars("t").to_netcdf(tmp_path / "b.nc")
    with pytest.raises(DataError, match=r"b\.nc lacks the variable 't'"):
        source(str(tmp_path / "*.nc"))
    make(range(72, 144, 6), attributes={"t": {"units": "degC"}}).to_netcdf(tmp_path / "b.nc")
    with pytest.raises(DataError, match=r"b\.nc has 't' in 'degC'; .*a\.nc has it in 'K'"):
        source(str(tmp_path / "*.nc"))
    make(range(60, 120, 6)).to_netcdf(tmp_path / "b.nc")
    with pytest.raises(DataError, match="time goes back to 2000-01-03T12:00 after 2000-01-03T18:00"):
        source(str(tmp_path / "*.nc"))


@pytest.mark.parametrize(
    "dims",
    [
        ("longitude", "latitude", "time", "level"),
        ("time", "longitude", "latitude", "level"),
        ("level", "time", "latitude", "longitude"),
    ],
)
def test_any_order_of_dimensions_is_brought_into_ours(make: Make, save: Save, dims: tuple[str, ...]) -> None:
    assert_reads(source(save(make(dims=dims))))


def test_rows_from_south_to_north_are_turned(make: Make, save: Save) -> None:
    opened = source(save(make(latitude=LATITUDE[::-1])))
    np.testing.assert_array_equal(opened.grid.latitude, LATITUDE)
    assert_reads(opened)


def test_columns_from_180_west_are_rolled(make: Make, save: Save) -> None:
    opened = source(save(make(longitude=np.arange(-180.0, 180.0, 45.0))))
    np.testing.assert_array_equal(opened.grid.longitude, LONGITUDE)
    assert_reads(opened)


@pytest.mark.parametrize(
    ("stored", "read"),
    [
        ([330.0, 340.0, 350.0, 0.0, 10.0], [-30.0, -20.0, -10.0, 0.0, 10.0]),
        ([-30.0, -20.0, -10.0, 0.0, 10.0], [-30.0, -20.0, -10.0, 0.0, 10.0]),
        ([160.0, 170.0, -180.0, -170.0], [160.0, 170.0, 180.0, 190.0]),
        ([200.0, 210.0, 220.0], [-160.0, -150.0, -140.0]),
    ],
)
def test_a_region_stays_in_one_piece(make: Make, save: Save, stored: list[float], read: list[float]) -> None:
    opened = source(save(make(longitude=np.array(stored))))
    np.testing.assert_allclose(opened.grid.longitude, read)
    assert not opened.grid.periodic
    assert_reads(opened, longitude=np.mod(read, 360))


def test_levels_are_picked_by_value_in_the_order_asked_for(make: Make, save: Save) -> None:
    opened = source(save(make()), levels=[850, 200])
    assert opened.channels["prognostic"].names == ("t_850", "t_200")
    assert opened.times is not None
    np.testing.assert_array_equal(opened.read(["t"], opened.times)["t"], expected(np.arange(12), (2, 0)))


def test_levels_by_variable(make: Make, save: Save) -> None:
    dataset = make()
    dataset["q"] = dataset["t"].assign_attrs(units="kg kg-1")
    opened = source(save(dataset), prognostic=["t", "q", "sp"], levels={"t": [500], "q": [850, 500]})
    assert opened.channels["prognostic"].names == ("t_500", "q_850", "q_500", "sp")


def test_a_level_that_is_not_there_is_answered_with_those_that_are(make: Make, save: Save) -> None:
    with pytest.raises(DataError, match=r"'t' has no level 300; it has 200, 500, 850"):
        source(save(make()), levels=[300])


@pytest.mark.parametrize(
    ("attributes", "values", "names"),
    [
        ({"units": "hPa"}, LEVELS, ("t_200", "t_500", "t_850")),
        ({"units": "Pa"}, LEVELS * 100, ("t_200", "t_500", "t_850")),
        ({"units": "millibars"}, LEVELS, ("t_200", "t_500", "t_850")),
        (
            {"units": "", "long_name": "sigma (p / p_surface)"},
            np.array([0.1, 0.5, 0.835]),
            ("t_s0.1", "t_s0.5", "t_s0.835"),
        ),
        (
            {"units": "1", "standard_name": "atmosphere_hybrid_sigma_pressure_coordinate"},
            np.array([1, 2, 97]),
            ("t_m1", "t_m2", "t_m97"),
        ),
        ({"units": "1", "long_name": "model level number"}, np.array([1, 2, 97]), ("t_m1", "t_m2", "t_m97")),
        ({"units": "m", "standard_name": "depth"}, np.array([2.5, 10, 500]), ("t_d2.5", "t_d10", "t_d500")),
        (
            {"units": "cm", "long_name": "depth from surface to midpoint"},
            np.array([250, 1000, 50000]),
            ("t_d2.5", "t_d10", "t_d500"),
        ),
    ],
)
def test_what_levels_are_is_seen_from_their_attributes(
    make: Make, save: Save, attributes: dict[str, str], values: NDArray[np.float64], names: tuple[str, ...]
) -> None:
    dataset = make().assign_coords(level=("level", values, attributes))
    assert source(save(dataset)).channels["prognostic"].names == names


def test_levels_without_a_coordinate_are_numbered(make: Make, save: Save) -> None:
    assert source(save(make().drop_vars("level"))).channels["prognostic"].names == ("t_m1", "t_m2", "t_m3")


def test_levels_that_say_nothing_are_asked_for(make: Make, save: Save) -> None:
    store = save(make().assign_coords(level=("level", LEVELS)))
    with pytest.raises(DataError, match=r"'level' do not say what its levels \(200 … 850\) are; give 'vertical"):
        source(store)
    assert source(store, vertical="pressure").channels["prognostic"].names == ("t_200", "t_500", "t_850")


@pytest.mark.parametrize(
    ("variable", "units", "scale", "offset"),
    [("t", "degC", 1.0, 273.15), ("sp", "hPa", 100.0, 0.0), ("tp", "m", 1000.0, 0.0)],
)
def test_units_are_converted(make: Make, save: Save, variable: str, units: str, scale: float, offset: float) -> None:
    dataset = make(attributes={variable: {"units": units}})
    opened = source(save(dataset), prognostic=[variable])
    assert opened.times is not None
    read = opened.read([variable], opened.times)[variable]
    np.testing.assert_allclose(read, dataset[variable].values.astype(np.float64) * scale + offset, rtol=1e-7)


def test_missing_units_are_asked_for_but_not_of_a_fraction(make: Make, save: Save) -> None:
    dataset = make()
    del dataset["t"].attrs["units"]
    dataset["lsm"] = dataset["orography"].drop_attrs()
    store = save(dataset)
    with pytest.raises(DataError, match=r"'t' has no units; expected K. Say 'units: \{t: …\}'"):
        source(store)
    opened = source(store, units={"t": "degC"}, static=["lsm"])
    assert opened.times is not None
    assert opened.read(["t"], opened.times[:1])["t"][0, 0, 5, 0] == pytest.approx(273.15)


def test_wrong_units_are_refused_by_name(make: Make, save: Save) -> None:
    with pytest.raises(DataError, match=r"'t' is in 'Pa', which is not 'K'.* say 'units:'"):
        source(save(make(attributes={"t": {"units": "Pa"}})))


@pytest.mark.parametrize("stored", ["temperature", "T", "ta", "air_temperature"])
def test_variables_are_found_by_their_aliases(make: Make, save: Save, stored: str) -> None:
    opened = source(save(make().rename(t=stored)))
    assert opened.channels["prognostic"].variables == ("t",)
    assert_reads(opened)


def test_variables_are_asked_for_by_their_aliases(make: Make, save: Save) -> None:
    assert source(save(make()), prognostic=["temperature"]).channels["prognostic"].variables == ("t",)


def test_variables_are_found_by_their_standard_name(make: Make, save: Save) -> None:
    assert_reads(source(save(make(attributes={"t": {"standard_name": "air_temperature"}}).rename(t="var130"))))


def test_variables_are_found_by_the_configs_name(make: Make, save: Save) -> None:
    store = save(make().rename(t="var130"))
    assert_reads(source(store, rename={"t": "var130"}))
    with pytest.raises(DataError, match=r"no array 'var131', which 'rename' gives for 't'.*mean 'var130'"):
        source(store, rename={"t": "var131"})


def test_an_ambiguous_variable_is_asked_for(make: Make, save: Save) -> None:
    dataset = make().rename(t="ta")
    dataset["temperature"] = dataset["ta"]
    with pytest.raises(DataError, match=r"'t' may be ta or temperature: say which with 'rename: \{t: …\}'"):
        source(save(dataset))


def test_an_unknown_variable_is_answered_with_the_nearest_one(make: Make, save: Save) -> None:
    with pytest.raises(DataError, match=r"no variable 'temprature'.* mean 'temperature'"):
        source(save(make().rename(t="temperature")), prognostic=["temprature"])


def test_a_variable_that_the_vocabulary_lacks_means_itself(make: Make, save: Save) -> None:
    opened = source(save(make(attributes={"t": {"units": "parsec"}}).rename(t="spice")), prognostic=["spice"])
    assert opened.channels["prognostic"][0].units == "parsec"


def test_a_static_field_may_carry_one_time_but_not_several(make: Make, save: Save) -> None:
    dataset = make(1)
    dataset["orography"] = dataset["orography"].expand_dims("time")
    opened = source(save(dataset), prognostic=[], static=["orography"])
    assert opened.times is None
    assert opened.read(["orography"], np.zeros(1, np.int64))["orography"].shape == (6, 8)
    with pytest.raises(DataError, match=r"'sp' has dimensions \(time, latitude, longitude\); as static .* and no time"):
        source(save(make()), prognostic=[], static=["sp"])


def test_a_variable_without_time_is_not_prognostic(make: Make, save: Save) -> None:
    with pytest.raises(
        DataError, match=r"'orography' has dimensions \(latitude, longitude\); as prognostic it should have time"
    ):
        source(save(make()), prognostic=["orography"])


def test_variables_on_different_grids_of_one_store_are_refused(make: Make, save: Save) -> None:
    dataset = make()
    dataset["u"] = dataset["sp"].rename(longitude="slon").assign_attrs(units="m s-1")
    dataset = dataset.assign_coords(slon=("slon", LONGITUDE + 22.5, {"units": "degrees_east"}))
    with pytest.raises(DataError, match=r"'t' has 'longitude' and 'u' has 'slon'.*Make two sources"):
        source(save(dataset), prognostic=["t", "u"])


@pytest.mark.parametrize(
    ("hours", "said"),
    [
        ([0, 6, 6, 12], r"time repeats 2000-01-01T06:00 \(position 2 of 4\)"),
        ([0, 12, 6, 18], r"time goes back to 2000-01-01T06:00 after 2000-01-01T12:00 \(position 2 of 4\)"),
    ],
)
def test_times_that_do_not_ascend_are_refused_by_name(make: Make, save: Save, hours: list[int], said: str) -> None:
    with pytest.raises(DataError, match=said):
        source(save(make(hours)))


@pytest.mark.parametrize(
    ("units", "calendar", "last"),
    [
        ("days since 2000-02-27", "standard", "2000-03-01"),
        ("days since 2000-02-27", "noleap", "2000-03-02"),
        ("days since 2000-02-27", "360_day", "2000-02-30"),
        ("days since 0001-02-27 00:00:00", "365_day", "0001-03-02"),
    ],
)
def test_times_are_those_of_their_own_calendar(make: Make, save: Save, units: str, calendar: str, last: str) -> None:
    opened = source(save(make(4, units=units, calendar=calendar, step=1)))
    assert opened.times is not None
    assert format_time(opened.times[-1], opened.calendar or "") == f"{last}T00:00"


def test_months_are_known_by_any_of_their_days(make: Make, save: Save) -> None:
    middles = np.array(["2000-01-16T12", "2000-02-15", "2000-03-16T12", "2000-04-16"], "datetime64[h]").astype(int)
    store = save(make(middles, units="hours since 1970-01-01"))
    opened = open_source("ocean", SourceConfig(store=store, prognostic=["t"]), Step.parse("1MS"))
    assert opened.times is not None
    assert [format_time(t) for t in opened.times] == [f"2000-0{m}-01T00:00" for m in range(1, 5)]
    np.testing.assert_array_equal(opened.read(["t"], opened.times[2:3])["t"], expected(np.array([2])))
    with pytest.raises(DataError, match=r"several times in one month \(2000-01-01T00:00, 2000-01-01T06:00\)"):
        open_source("ocean", SourceConfig(store=save(make()), prognostic=["t"]), Step.parse("1MS"))


@pytest.mark.parametrize(
    ("variable", "methods", "kind"),
    [
        ("t", "time: mean", "mean"),
        ("tp", "area: mean time: sum", "accumulated"),
        ("tp", "time: point", "instantaneous"),
        ("tp", "area: mean", "accumulated"),
        ("tp", "time: mean", "accumulated"),  # in kg m-2, so whatever it was averaged over, it is an amount
    ],
)
def test_the_kind_of_a_variable_is_what_its_cell_methods_say_else_the_vocabulary(
    make: Make, save: Save, variable: str, methods: str, kind: str
) -> None:
    opened = source(save(make(attributes={variable: {"cell_methods": methods}})), prognostic=[variable])
    assert opened.channels["prognostic"][0].kind == kind


def test_only_forcings_have_a_time_of_forcing(make: Make, save: Save) -> None:
    opened = source(save(make()), forcing=["sp"], at="input")
    assert opened.channels["forcing"][0].at == "input"
    assert opened.channels["prognostic"][0].at == "target"


# What is missing


def with_gap(dataset: xr.Dataset, mark: float = np.nan) -> xr.Dataset:
    dataset["t"].values[4, 1, 2, 3:5] = mark
    dataset["t"].values[7, 0, 0, 0] = mark
    return dataset


def test_missing_values_are_an_error_that_names_variable_times_and_count(make: Make, save: Save) -> None:
    opened = source(save(with_gap(make())))
    assert opened.times is not None
    assert np.isfinite(opened.read(["t"], opened.times[:4])["t"]).all()
    said = r"'t' has 3 missing values at 2000-01-02T00:00, 2000-01-02T18:00\. .*'missing: mask' in data\.sources\.atmosphere"
    with pytest.raises(DataError, match=said):
        opened.read(["t"], opened.times)


@pytest.mark.parametrize(
    "how", [{"_FillValue": -999.0}, {"missing_value": 1e20}, {"_FillValue": -5e5, "missing_value": -999.0}]
)
def test_every_mark_of_a_missing_value_is_one(make: Make, tmp_path: Path, how: dict[str, float]) -> None:
    for mark in how.values():
        path = tmp_path / f"{mark}.nc"
        with_gap(make(), mark).to_netcdf(path, encoding={"t": {"_FillValue": None}})
        stored = xr.open_dataset(path, decode_cf=False).load()
        stored["t"].attrs |= {key: np.float32(number) for key, number in how.items()}
        stored.to_netcdf(tmp_path / f"marked{mark}.nc")
        opened = source(str(tmp_path / f"marked{mark}.nc"), missing="mask")
        assert opened.times is not None
        assert np.isnan(opened.read(["t"], opened.times)["t"]).sum() == 3


def test_missing_packed_values_are_marked_before_they_are_unpacked(make: Make, save: Save) -> None:
    encoding = {"t": {"dtype": "int32", "scale_factor": 2.0**-10, "add_offset": 7.0, "_FillValue": -999}}
    opened = source(save(with_gap(make()), encoding=encoding), missing="mask")
    assert opened.times is not None
    read = opened.read(["t"], opened.times)["t"]
    assert np.isnan(read).sum() == 3
    np.testing.assert_array_equal(read[0], expected(np.array([0]))[0])


def test_a_masked_variable_that_is_nowhere_is_an_error(make: Make, save: Save) -> None:
    dataset = with_gap(make())
    dataset["t"].values[9] = np.nan
    opened = source(save(dataset), missing="mask")
    assert opened.times is not None
    assert np.isnan(opened.read(["t"], opened.times[:9])["t"]).sum() == 3
    with pytest.raises(DataError, match=r"'t' is missing everywhere at 2000-01-03T06:00"):
        opened.read(["t"], opened.times)


def test_an_infinite_value_is_never_a_mask(make: Make, save: Save) -> None:
    opened = source(save(with_gap(make(), np.inf)), missing="mask")
    assert opened.times is not None
    with pytest.raises(DataError, match="'t' has 3 infinite values"):
        opened.read(["t"], opened.times)
