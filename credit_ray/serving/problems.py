"""Errors as RFC 9457 problem documents: what, which field, what is allowed; never a traceback or a process number."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException
from starlette.responses import Response

from credit_ray.errors import CreditRayError, did_you_mean

if TYPE_CHECKING:
    from fastapi import FastAPI
    from fastapi.exceptions import RequestValidationError
    from starlette.requests import Request

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 5


class Problem(CreditRayError):
    """An answer that refuses.

    Parameters
    ----------
    status : int
        HTTP status.
    kind : str
        Short slug of the problem (`unknown-model`): its type, and, in words, its title.
    detail : str
        What is wrong with this request, and what would be right.
    retry_after : int, optional
        Seconds after which the same request may succeed.
    headers : mapping, optional
        More response headers.
    **more
        Further members of the document, of plain values.
    """

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        *,
        retry_after: int | None = None,
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(detail)
        self.status, self.kind, self.detail, self.more = status, kind, detail, more
        self.headers = dict(headers or {}) | ({"Retry-After": str(retry_after)} if retry_after is not None else {})

    def response(self, path: str) -> Response:
        """The document, for the request to `path`."""
        document = {
            "type": f"urn:credit-ray:problem:{self.kind}",
            "title": self.kind.replace("-", " ").capitalize(),
            "status": self.status,
            "detail": self.detail,
            "instance": path,
            **self.more,
        }
        # what a caller sent may hold half a surrogate pair, which JSON allows and UTF-8 does not
        body = json.dumps(document, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")
        return Response(body, self.status, self.headers, MEDIA_TYPE)


def field_problem(field: str, detail: str, **more: Any) -> Problem:
    """422 about one field of the request."""
    return Problem(422, "invalid-request", detail, errors=[{"field": field, "detail": detail}], **more)


def internal_problem() -> Problem:
    """500, which says nothing about our insides: those are in the log."""
    return Problem(500, "internal-error", "Something went wrong on our side; the server's log has the details.")


def add_problem_handlers(app: FastAPI, known_fields: Sequence[str]) -> None:
    """Make every refusal of the framework a problem document too: routes, methods, validation."""
    from fastapi.exceptions import RequestValidationError

    def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, Problem)
        return error.response(request.url.path)

    def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return _of_http(request, error).response(request.url.path)

    def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return _of_validation(error, known_fields).response(request.url.path)

    app.add_exception_handler(Problem, refused)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(RequestValidationError, invalid)


def _of_http(request: Request, error: HTTPException) -> Problem:
    method, path, headers = request.method, request.url.path, error.headers
    if error.status_code == 404:
        return Problem(404, "not-found", f"There is nothing at {path}; /docs lists what there is.", headers=headers)
    if error.status_code == 405:
        allowed = (headers or {}).get("Allow", "other methods")
        return Problem(
            405, "method-not-allowed", f"{path} does not answer {method}; it answers {allowed}.", headers=headers
        )
    if error.status_code == 400:
        return Problem(400, "malformed-request", "The body can't be read as JSON.", headers=headers)
    return Problem(error.status_code, "refused", str(error.detail), headers=headers)


def _of_validation(error: RequestValidationError, known_fields: Sequence[str]) -> Problem:
    found = error.errors()
    if broken := next((e for e in found if e["type"] == "json_invalid"), None):
        why = broken.get("ctx", {}).get("error", "it ends too early")
        return Problem(400, "malformed-json", f"The body is not JSON: {why} (character {broken['loc'][-1]}).")
    errors = [{"field": _field(e["loc"]), "detail": _explain(e, known_fields)} for e in found]
    return Problem(422, "invalid-request", " ".join(e["detail"] for e in errors), errors=errors)


def _field(location: Sequence[Any]) -> str:
    """`lead`, `levels.2`; `body` for the body as a whole."""
    inner = location[1:] or location
    return ".".join(map(str, inner))


def _explain(error: Mapping[str, Any], known_fields: Sequence[str]) -> str:
    field = _field(error["loc"])
    if error["type"] == "extra_forbidden":
        return f"There is no field '{field}'.{did_you_mean(field, known_fields)}"
    if field == "body":
        return "The body must be a JSON object, sent with Content-Type: application/json."
    if error["type"] == "missing":
        return f"'{field}' is missing."
    return f"'{field}': {error['msg']}."
