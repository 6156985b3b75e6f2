"""NetCDF files: one, or a series of them that continue each other in time."""

from __future__ import annotations

from collections.abc import Mapping
from glob import glob
from typing import Any

import numpy as np
from numpy.typing import NDArray

from credit_ray.data.arrays import ArrayInfo, Index, by_slices, files_fingerprint, first_line
from credit_ray.errors import DataError
from credit_ray.times import decode_times


class NetCDFStore:
    """One NetCDF file, or several that continue each other in time.

    Files of a series often count time from their own first day, and pack their fields with their own scale; where they differ, values are
    brought into one form here, and the attributes say which.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        paths = sorted(glob(url, recursive=True)) if any(c in url for c in "*?[") else [url]
        if not paths:
            raise DataError(f"No file matches {url}.")
        self._paths, self._files = paths, [_open_netcdf(path) for path in paths]
        self.format = "NetCDF" + (f", {len(paths)} files" if len(paths) > 1 else "")
        self._record = _record_dimension(self._files[0]) if len(paths) > 1 else None
        if len(paths) > 1:
            self._in_order_of_time()
        self._ends = np.cumsum([file.sizes.get(self._record, 0) for file in self._files])
        self._decoded: set[str] = set()  # variables whose encoding differs among the files
        self._info = {str(name): self._array_info(str(name)) for name in self._files[0].variables}

    def _in_order_of_time(self) -> None:
        if self._record is None:
            raise DataError(
                f"{self.url} matches {len(self._paths)} files, but {self._paths[0]} has no time dimension along which they could continue."
            )
        for path, file in zip(self._paths, self._files, strict=True):
            if self._record not in file.variables or not file.sizes.get(self._record):
                raise DataError(f"{path} has no times along '{self._record}', unlike {self._paths[0]}.")
        first = [_decode(f.variables[self._record][:1].values, f.variables[self._record].attrs)[0] for f in self._files]
        order = np.argsort(first, kind="stable").tolist()
        self._paths, self._files = [self._paths[i] for i in order], [self._files[i] for i in order]

    def _continues(self, name: str) -> bool:
        return self._record is not None and self._files[0].variables[name].dims[:1] == (self._record,)

    def _array_info(self, name: str) -> ArrayInfo:
        variable = self._files[0].variables[name]
        shape, attributes = list(variable.shape), dict(variable.attrs)
        if self._continues(name):
            for path, file in zip(self._paths[1:], self._files[1:], strict=True):
                if name not in file.variables:
                    raise DataError(f"{path} lacks the variable '{name}', which {self._paths[0]} has.")
                other = file.variables[name]
                if other.dims != variable.dims or other.shape[1:] != variable.shape[1:]:
                    raise DataError(
                        f"{path} has '{name}' with shape {other.shape}; {self._paths[0]} has {variable.shape}."
                    )
                if "since" not in str(attributes.get("units")) and other.attrs.get("units") != variable.attrs.get(
                    "units"
                ):
                    raise DataError(
                        f"{path} has '{name}' in '{other.attrs.get('units')}'; {self._paths[0]} has it in '{variable.attrs.get('units')}'."
                    )
                if any(str(other.attrs.get(key)) != str(variable.attrs.get(key)) for key in _ENCODING):
                    self._decoded.add(name)
                shape[0] += other.shape[0]
            if name in self._decoded:
                attributes = {k: v for k, v in attributes.items() if k not in _ENCODING} | {
                    "units": _decoded_units(attributes)
                }
        chunks = variable.encoding.get("chunksizes") or variable.shape
        return ArrayInfo(
            tuple(map(str, variable.dims)), tuple(shape), tuple(chunks), attributes, variable.dtype.itemsize
        )

    def arrays(self) -> Mapping[str, ArrayInfo]:
        return self._info

    def read(self, name: str, index: Index) -> NDArray[Any]:
        return by_slices(lambda slices: self._read(name, slices), index, self._info[name].chunks)

    def _read(self, name: str, slices: tuple[slice, ...]) -> NDArray[Any]:
        if not self._continues(name):
            return np.asarray(self._files[0].variables[name][slices].values)
        start, stop, _ = slices[0].indices(self._info[name].shape[0])
        parts: list[NDArray[Any]] = []
        for file, end in zip(self._files, self._ends.tolist(), strict=True):
            variable = file.variables[name]
            begin = end - variable.shape[0]
            a, b = max(start - begin, 0), min(stop, end) - begin
            if a < b or (start == stop and not parts):
                raw = np.asarray(variable[(slice(a, max(a, b)), *slices[1:])].values)
                parts.append(_decode(raw, variable.attrs) if name in self._decoded else raw)
        return np.concatenate(parts)

    def filled_in(self, name: str, index: Index, values: NDArray[Any]) -> str | None:
        return None  # what NetCDF never wrote reads as _FillValue, which is missing

    def attributes(self) -> Mapping[str, Any]:
        return dict(self._files[0].attrs)

    def fingerprint(self) -> str:
        return files_fingerprint(*self._paths)


_ENCODING = ("units", "calendar", "scale_factor", "add_offset", "_FillValue", "missing_value")


def _record_dimension(file: Any) -> str | None:
    """The dimension along which files continue each other: the one that counts time."""
    for name in file.sizes:
        if name in file.variables and " since " in str(file.variables[name].attrs.get("units", "")):
            return str(name)
    return None


def _decode(values: NDArray[Any], attributes: Mapping[str, Any]) -> NDArray[Any]:
    """Packed values unpacked, missing ones NaN; times in seconds since 1970 in their own calendar."""
    units = str(attributes.get("units", ""))
    if " since " in units:
        return decode_times(values, units, str(attributes.get("calendar", "standard")))
    decoded = values.astype(np.float64)
    for key in ("_FillValue", "missing_value"):
        if key in attributes:
            decoded[values == attributes[key]] = np.nan
    return decoded * float(attributes.get("scale_factor", 1)) + float(attributes.get("add_offset", 0))


def _decoded_units(attributes: Mapping[str, Any]) -> str:
    units = str(attributes.get("units", ""))
    return "seconds since 1970-01-01" if " since " in units else units


def _open_netcdf(path: str) -> Any:
    import xarray

    try:
        return xarray.open_dataset(path, decode_cf=False, cache=False)
    except Exception as error:  # the engines raise anything on a broken file
        raise DataError(f"{path} can't be read as NetCDF: {first_line(error)}") from error
