"""The routes of the service, as `/docs` and `/openapi.json` describe them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response, Security
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse
from fastapi.security import HTTPBearer
from fastapi.sse import EventSourceResponse, ServerSentEvent
from fastapi_offline import FastAPIOffline
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException

from stages.base.store import MEDIA, media_type
from stages.params import ServeParams
from stages.serving.bodies.inputs import read_inputs
from stages.serving.bodies.schemas import (
    ANSWERED,
    INPUT_BODY,
    STREAMED,
    Found,
    Items,
    Limits,
    ModelCard,
    ModelCards,
    Prediction,
    Search,
    State,
    problems,
)
from stages.serving.bodies.stream import Begun, begin
from stages.serving.edge import DOCS, DOCS_FILES, Edge, Origins, refusal
from stages.serving.errors import Refused
from stages.serving.items import items_of, looks
from stages.serving.served import Answer, Models
from stages.serving.version import Version

PAGE = Path(__file__).parent / "page"
PAGE_TYPES = {".css": "text/css", ".js": "text/javascript"}
OPEN_PATHS = ("/health", "/ready", DOCS, "/openapi.json")  # without the token, beside the page
MOST_RESULTS = 100
MOST_SOUGHT_CHARS = 200
LOOKED_AT = ("attention", "grid", "frames", "frame_seconds")  # of an answer, where it is asked for
ABOUT = (
    "`GET /models` lists the models with their inputs. `predict` answers one sample, as parts of a form or keys of a "
    "JSON object, and `stream` a long sound as it goes; `search` looks among the samples of a `retrieve` model, "
    "`items` among those of a `recommend` model. "
    "Each answer names its version."
)


def make_app(models: Models, params: ServeParams, token: str | None) -> Origins:
    """Return the service around models that are loaded when it starts."""

    @contextlib.asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        following = asyncio.create_task(models.follow())
        yield
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await models.close()

    app = FastAPIOffline(
        title="Fuseline",
        description=ABOUT,
        lifespan=lifespan,
        docs_url=DOCS,
        static_url=DOCS_FILES.rstrip("/"),
        redoc_url=None,
    )
    app.add_exception_handler(Refused, _on_refused)
    app.add_exception_handler(RequestValidationError, _on_wrong_query)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(Exception, _on_defect)
    _add_states(app, models)
    page = _add_page(app)
    closed = APIRouter(dependencies=[Security(HTTPBearer(auto_error=False))] if token else [])  # `Edge` wants the token
    _add_metrics(closed, models)
    _add_models(closed, models)
    _add_searches(closed, models)
    app.include_router(closed)
    edge = Edge(app, params, models.metrics, token, frozenset({*OPEN_PATHS, *page}))
    return Origins(edge, params.allow_origins)


def _add_states(app: FastAPI, models: Models) -> None:
    @app.get("/health", tags=["state"])
    async def health() -> State:
        """Tell that the process is alive."""
        return State(status="alive")

    @app.get("/ready", tags=["state"], responses=problems(503))
    async def ready() -> State:
        """Tell whether all models are loaded."""
        if not models.ready:
            raise Refused(503, "loading", "models are being loaded", 1)
        return State(status="ready")


def _add_metrics(app: APIRouter, models: Models) -> None:
    @app.get(
        "/metrics",
        tags=["state"],
        response_class=Response,
        responses=problems(401) | {200: {"content": {"text/plain": {}}}},
    )
    async def metrics() -> Response:
        """Return figures for Prometheus."""
        return Response(generate_latest(models.metrics.registry), media_type=CONTENT_TYPE_LATEST)


def _add_models(app: APIRouter, models: Models) -> None:
    @app.get("/models", tags=["models"], responses=problems(401))
    async def list_models() -> ModelCards:
        """List the models in service, their versions and where they come from."""
        cards = [ModelCard(**asdict(card)) for card in models.cards()]
        return ModelCards(models=cards, limits=Limits(max_body_mb=models.params.max_body_mb))

    @app.post("/models/{name}/predict", tags=["models"], responses=ANSWERED, openapi_extra=INPUT_BODY)
    async def predict(request: Request, name: str, attention: bool = False) -> Prediction:
        """Answer one sample: a part or a key for each input; with `attention`, what it looked at."""
        found = await _ask(models, request, name)
        task = found.version.predictor.task
        values = {key: found.values.get(key) for key in task.answer_types} | task.details(found.values)
        values |= await asyncio.to_thread(looks, found.version, values)  # it looks through all ids
        if not attention:
            values = {key: value for key, value in values.items() if key not in LOOKED_AT}
        return Prediction(**_head(request, found.version), answer=values)

    async def begun(request: Request, name: str) -> AsyncIterator[Begun]:
        async for found in begin(models, request, name):
            yield found

    @app.post(
        "/models/{name}/stream",
        tags=["models"],
        response_class=EventSourceResponse,
        responses=STREAMED,
        openapi_extra=INPUT_BODY,
    )
    async def stream(found: Annotated[Begun, Depends(begun)]) -> AsyncIterator[ServerSentEvent]:
        """Answer a sample as `predict`, a long sound part by part: events `part`, then `answer` with the whole."""
        async for event in found.events():
            yield event


def _add_searches(app: APIRouter, models: Models) -> None:
    """Add what is looked for among the samples or items of a version, and their media."""

    @app.post("/models/{name}/search", tags=["models"], responses=ANSWERED, openapi_extra=INPUT_BODY)
    async def search(request: Request, name: str, limit: Annotated[int, Query(ge=1, le=MOST_RESULTS)] = 12) -> Search:
        """Find samples of a `retrieve` model: a target given looks for the others, the others for targets."""
        gallery = models.get(name).version.gallery
        if gallery is None:
            raise Refused(422, "not_searchable", f"{name} is no retrieval model with samples to search")
        found, given = await _ask_with(models, request, name)
        looked_for, results = await asyncio.to_thread(found.version.gallery.search, found.values, given, limit)
        for result in results:
            media = result.pop("media")
            base = f"/models/{name}/gallery/{quote(result['sample_id'], safe='')}"
            result |= {m: f"{base}/{m}" if m in media else None for m in MEDIA}
        return Search(**_head(request, found.version), looked_for=looked_for, results=[Found(**r) for r in results])

    @app.get("/models/{name}/items", tags=["models"], responses=problems(401, 404, 422))
    def items(  # in a thread: it looks through all titles
        request: Request,
        name: str,
        search: Annotated[str, Query(max_length=MOST_SOUGHT_CHARS)] = "",
        limit: Annotated[int, Query(ge=1, le=MOST_RESULTS)] = 12,
    ) -> Items:
        """Find items of a `recommend` model by words of their titles, the most rated first."""
        version = models.get(name).version
        return Items(**_head(request, version), items=items_of(version, search, limit))

    @app.get(
        "/models/{name}/gallery/{sample_id:path}/{modality}",
        tags=["models"],
        response_class=Response,
        responses=problems(401, 404) | {200: {"content": {"image/*": {}, "audio/*": {}, "video/*": {}}}},
    )
    async def gallery(name: str, sample_id: str, modality: str) -> Response:
        """Return the image, sound or video of a sample that a search found, or of an item."""
        version = models.get(name).version
        shown = version.gallery or version.posters
        data = await asyncio.to_thread(shown.medium, sample_id, modality) if shown else None
        if data is None:
            raise Refused(404, "no_such_sample", "there is no such sample or medium")
        return Response(data, media_type=media_type(data), headers={"Cache-Control": "private, max-age=300"})


async def _ask(models: Models, request: Request, name: str) -> Answer:
    return (await _ask_with(models, request, name))[0]


async def _ask_with(models: Models, request: Request, name: str) -> tuple[Answer, set[str]]:
    """Read a request's inputs and answer them; return the names of those given, too."""
    served = models.get(name)
    request.state.model, request.state.version = name, served.version.card.version
    async with served.request() as asking:
        inputs = await read_inputs(request, (i.name for i in served.version.card.inputs))
        answer = await asking.ask(inputs)
    return answer, {modality for modality, data in inputs.items() if data is not None}


def _head(request: Request, version: Version) -> dict[str, str]:
    return {"model": version.card.name, "version": version.card.version, "request_id": request.state.request_id}


def _add_page(app: FastAPI) -> list[str]:
    """Serve the page and its files; return their paths."""

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(PAGE / "index.html", headers={"Cache-Control": "no-cache"})

    found = sorted(path for path in PAGE.rglob("*.*") if path.suffix in PAGE_TYPES)
    files = {f"/{path.relative_to(PAGE).as_posix()}": path for path in found}
    for address, path in files.items():
        app.add_api_route(address, _file(path), include_in_schema=False)
    return ["/", *files]


def _file(path: Path) -> Any:
    async def send() -> FileResponse:
        return FileResponse(path, media_type=PAGE_TYPES[path.suffix], headers={"Cache-Control": "no-cache"})

    return send


async def _on_refused(request: Request, refused: Any) -> Response:
    return refusal(refused, request.state.request_id)


async def _on_wrong_query(request: Request, error: Any) -> Response:
    finding = error.errors()[0]
    return await _on_refused(request, Refused(422, "wrong_query", f"{finding['loc'][-1]}: {finding['msg']}"))


async def _on_http(request: Request, error: Any) -> Response:
    known = {
        404: ("no_such_path", "there is nothing at this path; /docs lists what there is"),
        405: ("wrong_method", "this path takes another method"),
    }
    refused = Refused(error.status_code, *known.get(error.status_code, ("refused", str(error.detail))))
    response = refusal(refused, request.state.request_id)
    response.headers.update(error.headers or {})
    return response


async def _on_defect(request: Request, error: Exception) -> Response:
    message = "the server failed; its log has more under this request id"
    return await _on_refused(request, Refused(500, "internal", message))
