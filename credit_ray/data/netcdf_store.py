"""NetCDF files, on disk or behind a URL."""

from __future__ import annotations

import hashlib
import io
import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from credit_ray.data.access import Access
from credit_ray.data.arrays import ArrayInfo, Index, by_slices, files_fingerprint
from credit_ray.data.patience import Patience, StoreFailure
from credit_ray.data.transport import is_remote
from credit_ray.errors import DataError

log = logging.getLogger(__name__)

_BLOCK_BYTES = 4 * 1024**2  # of a remote file, read at a time: HDF5 asks for many small neighbours


class NetCDFStore:
    """One NetCDF file.

    Parameters
    ----------
    url : str
        Path, or a URL that fsspec knows; remote ones have to be NetCDF-4.
    access : Access, optional
        Options and patience for a URL.
    """

    def __init__(self, url: str, access: Access | None = None) -> None:
        self.url, self.access = url, access or Access()
        self.format, self.remote = "NetCDF", is_remote(url)
        if self.remote and self.access.engine == "obstore":
            raise DataError(f"{url}: NetCDF is read by fsspec only. Leave out 'engine: obstore'.")
        self._file = self._open()
        self._info = {str(name): _array_info(variable) for name, variable in self._file.variables.items()}

    def _open(self) -> Any:
        import xarray

        try:
            file = _remote_file(self.url, self.access) if self.remote else self.url
            engine = "h5netcdf" if self.remote else None
            return xarray.open_dataset(file, engine=engine, decode_cf=False, cache=False)
        except StoreFailure as failure:
            raise DataError(f"{self.url} can't be read ({failure.why}). {failure.hint}") from failure
        except ImportError as error:
            raise DataError(f"{self.url} needs a package that is not installed ({error}).") from None
        except FileNotFoundError:
            raise DataError(f"There is no {self.url}.") from None
        except Exception as error:  # the engines raise anything on a broken file
            raise DataError(f"{self.url} can't be read as NetCDF: {self.access.said(error)}") from error

    def arrays(self) -> Mapping[str, ArrayInfo]:
        return self._info

    def read(self, name: str, index: Index) -> NDArray[Any]:
        variable = self._file.variables[name]
        return by_slices(lambda slices: np.asarray(variable[slices].values), index, self._info[name].chunks)

    def filled_in(self, name: str, index: Index, values: NDArray[Any]) -> str | None:
        return None  # what NetCDF never wrote reads as _FillValue, which is missing

    def attributes(self) -> Mapping[str, Any]:
        return dict(self._file.attrs)

    def fingerprint(self) -> str:
        if not self.remote:
            return files_fingerprint(self.url)
        described = {name: (i.dims, i.shape, i.attributes) for name, i in self._info.items()}
        return hashlib.sha256(repr(described).encode()).hexdigest()


def _array_info(variable: Any) -> ArrayInfo:
    chunks = variable.encoding.get("chunksizes") or variable.shape
    return ArrayInfo(
        tuple(map(str, variable.dims)),
        tuple(variable.shape),
        tuple(chunks),
        dict(variable.attrs),
        variable.dtype.itemsize,
    )


def _remote_file(url: str, access: Access) -> io.BufferedReader:
    import fsspec

    patience = Patience(access)
    system, path = fsspec.core.url_to_fs(url, **access.options)
    file = patience.ask_now(path, lambda: system.open(path, "rb", cache_type="none"))
    log.info("%s: read by fsspec, not obstore: a file is read in places.", url)
    return io.BufferedReader(_PatientFile(file, path, patience), _BLOCK_BYTES)


class _PatientFile(io.RawIOBase):
    """A remote file whose reads are made again where they fail in passing."""

    def __init__(self, file: Any, path: str, patience: Patience) -> None:
        super().__init__()
        self._file, self._path, self._patience = file, path, patience

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        return int(self._file.tell())

    def readinto(self, buffer: Any) -> int:
        at = self.tell()

        def read() -> bytes:
            self._file.seek(at)
            return bytes(self._file.read(len(buffer)))

        content = self._patience.ask_now(self._path, read)
        buffer[: len(content)] = content
        return len(content)
