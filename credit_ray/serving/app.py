"""The routes: each hands its arguments to the service, and the answer back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Header, Query, Request, Response
from fastapi.responses import PlainTextResponse, StreamingResponse
from fastapi.security import HTTPBearer

from credit_ray.errors import did_you_mean
from credit_ray.serving.door import Door
from credit_ray.serving.problems import add_problem_handlers, field_problem
from credit_ray.serving.requests import FIELDS, ForecastRequest
from credit_ray.serving.results import FIELD_MEDIA_TYPE
from credit_ray.serving.service import ForecastService

SWEEP_SECONDS = 60.0


def _refuse_unknown_query(request: Request) -> None:
    """A parameter that nothing reads would be a wish that nobody grants."""
    known = [parameter.alias for parameter in request.scope["route"].dependant.query_params]
    for name in request.query_params:
        if name not in known:
            raise field_problem(name, f"There is no parameter '{name}'.{did_you_mean(name, known)}")


router = APIRouter(dependencies=[Depends(_refuse_unknown_query)])
bearer = HTTPBearer(auto_error=False)  # for the documentation's sake: the service itself says who may ask


def _service(request: Request) -> ForecastService:
    service: ForecastService = request.app.state.service
    return service


Service = Annotated[ForecastService, Depends(_service)]


def _owner(request: Request, service: Service, _: Annotated[Any, Depends(bearer)]) -> str:
    return service.tokens.owner(request.headers.get("authorization"))


Owner = Annotated[str, Depends(_owner)]


def create_app(service: ForecastService) -> FastAPI:
    """The API as an ASGI application, for Ray Serve, any other server, or a test client."""

    @asynccontextmanager
    async def sweeping(app: FastAPI) -> AsyncIterator[None]:
        async def sweep() -> None:
            while True:
                await asyncio.to_thread(service.sweep)
                await asyncio.sleep(SWEEP_SECONDS)

        task = asyncio.create_task(sweep())
        yield
        task.cancel()

    app = FastAPI(
        title="credit_ray", description="Forecasts by AI Earth-system models.", lifespan=sweeping, redoc_url=None
    )
    app.state.service = service
    app.include_router(router)
    add_problem_handlers(app, FIELDS)
    app.add_middleware(Door, body_bytes=service.limits.body_bytes, counts=service.requests)
    return app


@router.get("/healthz", tags=["service"])
async def healthz() -> dict[str, str]:
    """The service answers."""
    return {"status": "ok"}


@router.get("/readyz", tags=["service"])
async def readyz(service: Service) -> dict[str, str]:
    """All models are loaded."""
    await service.ready()
    return {"status": "ready"}


@router.get("/metrics", tags=["service"])
async def metrics(service: Service, _: Owner) -> PlainTextResponse:
    """Counters, as Prometheus reads them."""
    return PlainTextResponse(await service.metrics(), media_type="text/plain; version=0.0.4; charset=utf-8")


@router.get("/v1/models", tags=["models"])
async def models(service: Service, _: Owner) -> dict[str, Any]:
    """The served models."""
    return {"models": [model.summary(service.limits) for model in await service.models()]}


@router.get("/v1/models/{name}", tags=["models"])
async def model(name: str, service: Service, _: Owner) -> dict[str, Any]:
    """One model: version, card, spec, grid, limits."""
    return (await service.model(name)).details(service.limits)


@router.get("/v1/models/{name}/initial-times", tags=["models"])
async def initial_times(
    name: str,
    service: Service,
    _: Owner,
    offset: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> dict[str, Any]:
    """What it can start from: runs of consecutive steps."""
    return (await service.model(name)).initial_times(offset, limit)


@router.post("/v1/forecasts", status_code=202, tags=["forecasts"])
async def submit(
    asked: ForecastRequest,
    service: Service,
    owner: Owner,
    response: Response,
    idempotency_key: Annotated[str | None, Header()] = None,
) -> dict[str, Any]:
    """Ask for a forecast. It is accepted, and will be made."""
    status = await service.submit(owner, asked, idempotency_key)
    response.headers["Location"] = status["links"]["self"]
    return status


@router.get("/v1/forecasts", tags=["forecasts"])
def forecasts(service: Service, owner: Owner, limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> dict[str, Any]:
    """Your forecasts, newest first."""
    return service.forecasts(owner, limit)


@router.get("/v1/forecasts/{id}", tags=["forecasts"])
def forecast(id: str, service: Service, owner: Owner) -> dict[str, Any]:
    """How far it is."""
    return service.status(owner, id)


@router.delete(
    "/v1/forecasts/{id}",
    tags=["forecasts"],
    status_code=202,
    responses={204: {"description": "It had ended, and is removed."}},
)
async def delete(id: str, service: Service, owner: Owner) -> Any:
    """Cancel it; or, if it has ended, remove it."""
    status = await service.delete(owner, id)
    return Response(status_code=204) if status is None else status


@router.get("/v1/forecasts/{id}/events", tags=["forecasts"], response_class=StreamingResponse)
async def progress(
    id: str, service: Service, owner: Owner, last_event_id: Annotated[str | None, Header()] = None
) -> StreamingResponse:
    """Server-sent events: one per lead time, then `done`, `failed` or `cancelled`."""
    after = int(last_event_id) if last_event_id and last_event_id.isdecimal() else 0
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(service.events(owner, id, after), media_type="text/event-stream", headers=headers)


@router.head("/v1/forecasts/{id}/data.zarr/{path:path}", include_in_schema=False)
@router.get("/v1/forecasts/{id}/data.zarr/{path:path}", tags=["results"], response_class=Response)
def data(id: str, path: str, request: Request, service: Service, owner: Owner) -> Response:
    """The result as a Zarr store, for `xarray.open_zarr(url)`; it can be read while it grows. 404: an absent chunk."""
    return service.data(owner, id, path, request.headers.get("range"), head=request.method == "HEAD")


@router.get("/v1/forecasts/{id}/fields/{variable}", tags=["results"], response_class=Response)
def field(
    id: str,
    variable: str,
    lead: str,
    service: Service,
    owner: Owner,
    level: float | None = None,
    accept: Annotated[str, Header()] = "*/*",
) -> Response:
    """One field, as numbers or as a picture.

    By default: uint32 length of a JSON header, the header padded to four bytes, then float32 north to south, all little-endian.
    With `Accept: image/png`: a map.
    """
    found = service.field(owner, id, variable, lead, level)
    headers = {"Vary": "Accept"}
    if _prefers_png(accept):
        return Response(found.to_png(), media_type="image/png", headers=headers)
    return Response(found.to_bytes(), media_type=FIELD_MEDIA_TYPE, headers=headers)


@router.get("/v1/forecasts/{id}/point", tags=["results"])
def point(
    id: str,
    service: Service,
    owner: Owner,
    latitude: Annotated[float, Query(ge=-90, le=90)],
    longitude: Annotated[float, Query(ge=-360, le=360)],
) -> dict[str, Any]:
    """All channels at the grid point nearest to a place."""
    return service.point(owner, id, latitude, longitude)


def _prefers_png(accept: str) -> bool:
    """Whether the Accept header names images before, or above, anything that numbers would meet."""
    weights = {"image": 0.0, "numbers": 0.0}
    for part in accept.split(","):
        media, *parameters = (piece.strip() for piece in part.split(";"))
        quality = next((p[2:] for p in parameters if p.startswith("q=")), "1")
        kind = (
            "image"
            if media in ("image/png", "image/*")
            else "numbers"
            if media in (FIELD_MEDIA_TYPE, "application/*")
            else None
        )
        if kind:
            weights[kind] = max(weights[kind], float(quality) if quality.replace(".", "", 1).isdigit() else 0.0)
    return weights["image"] > weights["numbers"]
