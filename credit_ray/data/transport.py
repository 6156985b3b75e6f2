"""A URL → bytes by key: who makes the requests, and why.

obstore is several times as fast as fsspec where a store has thousands of chunks, so it is preferred wherever it can do the same; where it
can't (profiles of AWS, options that it has no word for, file systems that only fsspec knows), fsspec does, and the log says why.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from credit_ray.data.access import Access
from credit_ray.data.patience import Patience
from credit_ray.errors import DataError

_SCHEMES = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs", "http": "http", "https": "http", "file": "file"}


class _NotForObstore(Exception):
    """Why obstore can't read a URL in the way that is asked for."""


@dataclass(frozen=True)
class Transport:
    """A way to the bytes of a store.

    Parameters
    ----------
    store : zarr.abc.store.Store
        Read-only.
    engine : str
        Who makes the requests: `files`, `obstore` or `fsspec`.
    why : str
        Why not the engine that is faster; empty where there is none.
    patience : Patience
        Counts the requests.
    """

    store: Any
    engine: str
    why: str
    patience: Patience


def is_remote(url: str) -> bool:
    """Whether a URL names more than a path of this machine."""
    return "://" in url


def open_transport(url: str, access: Access) -> Transport:
    """The bytes behind a URL, by key.

    Raises
    ------
    DataError
        Where the engine that is forced can't do it, or a package is missing.
    """
    from zarr.storage import FsspecStore, LocalStore, ObjectStore, ZipStore

    patience = Patience(access)
    if url.endswith(".zip") and not is_remote(url):
        return Transport(ZipStore(url, mode="r", read_only=True), "files", "", patience)
    if not is_remote(url) and access.engine == "auto":
        return Transport(LocalStore(url, read_only=True), "files", "", patience)
    why = "engine: fsspec" if access.engine == "fsspec" else ""
    if access.engine != "fsspec":
        try:
            store: Any = ObjectStore(_object_store(url, access), read_only=True)
            return Transport(_patient(store, patience), "obstore", "", patience)
        except _NotForObstore as reason:
            if access.engine == "obstore":
                raise DataError(f"{url}: obstore can't read it: {reason}. Leave out 'engine: obstore'.") from None
            why = str(reason)
    try:
        store = FsspecStore.from_url(_for_fsspec(url), storage_options=dict(access.options), read_only=True)
    except ImportError as error:
        raise DataError(
            f"{url} needs a package that is not installed ({error}). For Google: pip install 'credit-ray[gcs]'."
        ) from None
    return Transport(_patient(store, patience), "fsspec", why, patience)


def open_writable(url: str, access: Access) -> Any:
    """A Zarr store to write to, its requests made again where they fail in passing.

    Raises
    ------
    DataError
        Where nothing can be written there.
    """
    from zarr.storage import FsspecStore, LocalStore, ObjectStore

    if not is_remote(url):
        return LocalStore(url)
    if url.startswith("http"):
        raise DataError(f"{url}: nothing can be written by HTTP. Give a path, or an s3:// or gs:// URL.")
    store: Any
    try:
        if access.engine == "fsspec":
            raise _NotForObstore
        store = ObjectStore(_object_store(url, access))
    except _NotForObstore:
        store = FsspecStore.from_url(url, storage_options=dict(access.options))
    return _patient(store, Patience(access))


def _for_fsspec(url: str) -> str:
    return url if is_remote(url) else f"file://{Path(url).absolute()}"


def _patient(store: Any, patience: Patience) -> Any:
    """The store, its requests made again where they fail in passing."""
    from zarr.storage import WrapperStore

    class PatientStore(WrapperStore[Any]):
        def __init__(self, store: Any) -> None:
            super().__init__(store)

        async def get(self, key: str, prototype: Any, byte_range: Any = None) -> Any:
            value = await patience.ask(key, lambda: self._store.get(key, prototype, byte_range))
            patience.traffic.bytes += 0 if value is None else len(value)
            return value

        async def set(self, key: str, value: Any) -> None:
            await patience.ask(key, lambda: self._store.set(key, value))

        async def exists(self, key: str) -> bool:
            return bool(await patience.ask(key, lambda: self._store.exists(key)))

        async def list_dir(self, prefix: str) -> Any:
            async def collected() -> list[str]:
                return [key async for key in self._store.list_dir(prefix)]

            for key in await patience.ask(f"the list of '{prefix or '/'}'", collected):
                yield key

    return PatientStore(store)


def _object_store(url: str, access: Access) -> Any:
    """The URL's obstore.

    Raises
    ------
    _NotForObstore
        Saying why there is none.
    """
    from obstore.store import GCSStore, HTTPStore, LocalStore, S3Store

    scheme, _, rest = url.partition("://") if is_remote(url) else ("file", "", url)
    kind = _SCHEMES.get(scheme)
    if kind is None:
        raise _NotForObstore(f"it knows no {scheme}://")
    options = dict(access.options)
    bucket, _, prefix = rest.partition("/")
    how: dict[str, Any] = {
        "client_options": {
            "timeout": timedelta(seconds=access.request_seconds),
            "connect_timeout": timedelta(seconds=min(access.request_seconds, 10.0)),
            "allow_http": True,  # only a URL or an endpoint that says http:// makes use of it
        },
        "retry_config": {"max_retries": 0},  # ours counts and is the same for all engines
    }
    if kind == "file":
        _refuse_others(options)
        return LocalStore(Path(rest).absolute())
    if kind == "http":
        how["client_options"]["default_headers"] = _headers(options)
        _refuse_others(options)
        return HTTPStore.from_url(url, **how)
    if kind == "gs":
        token = options.pop("token", None)
        if token == "anon":
            how["skip_signature"] = True
        elif isinstance(token, str) and token.endswith(".json"):
            how["service_account_path"] = token
        elif token is not None:
            raise _NotForObstore("it takes no such 'token'")
        _refuse_others(options)
        return GCSStore(bucket, prefix=prefix or None, **how)
    how |= _s3(options)
    _refuse_others(options)
    return S3Store(bucket, prefix=prefix or None, **how)


def _s3(options: dict[str, Any]) -> dict[str, Any]:
    """Options of s3fs in obstore's words; takes those that it knows out of `options`."""
    client = dict(options.pop("client_kwargs", None) or {})
    how: dict[str, Any] = {"region": client.pop("region_name", None) or _region()}
    endpoint = options.pop("endpoint_url", None) or client.pop("endpoint_url", None)
    if endpoint:
        how["endpoint"] = endpoint
    if client:
        raise _NotForObstore(f"it has no word for client_kwargs.{next(iter(client))}")
    if options.pop("requester_pays", False):
        how["request_payer"] = True
    names = {"key": "access_key_id", "secret": "secret_access_key", "token": "session_token"}
    given = {names[name]: options.pop(name) for name in names if options.get(name) is not None}
    if options.pop("anon", False):
        how["skip_signature"] = True
    elif not given and (profile := _profile()):
        raise _NotForObstore(f"credentials come from {profile}, which it does not read")
    return how | given


def _region() -> str:
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"


def _profile() -> str | None:
    """Where boto would find credentials and obstore would not."""
    if "AWS_PROFILE" in os.environ:
        return "AWS_PROFILE"
    files = [Path(os.environ.get("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials")).expanduser()]
    return next((str(f) for f in files if f.exists()), None) if "AWS_ACCESS_KEY_ID" not in os.environ else None


def _headers(options: dict[str, Any]) -> dict[str, str]:
    headers = dict(options.pop("headers", None) or {})
    client = dict(options.pop("client_kwargs", None) or {})
    headers |= client.pop("headers", None) or {}
    if client:
        raise _NotForObstore(f"it has no word for client_kwargs.{next(iter(client))}")
    return {str(name): str(value) for name, value in headers.items()}


def _refuse_others(options: Mapping[str, Any]) -> None:
    left = [name for name, value in options.items() if value is not None]
    if left:
        raise _NotForObstore(f"it has no word for the option {left[0]}")
