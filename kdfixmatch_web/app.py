"""The pages and answers of the labeling server."""

import base64
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import (
    FileResponse,
    JSONResponse,
    PlainTextResponse,
    Response,
)
from starlette.routing import Route

from kdfixmatch_web.label_store import Change, Conflict
from kdfixmatch_web.labeling import Labeling
from kdfixmatch_web.pictures import SIZES, UnreadableImage

_STATIC = Path(__file__).parent / "static"
# Each is served by its name: no path of a request leads to a file.
_FILES = {
    "/": ("label.html", "text/html"),
    "/label.css": ("label.css", "text/css"),
    "/label.js": ("label.js", "text/javascript"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
# A label for each of the images that one change may have, with long names.
MAX_BODY = 1 << 20

# A PNG file of one transparent pixel, for an image that cannot be shown.
_NOTHING = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVO"
    "RK5CYII="
)

Answer = Callable[[Request], Awaitable[Response]]


def new_app(labeling: Labeling) -> Starlette:
    """The application, which `Guard` has to guard.

    Args:
        labeling: What is labeled.
    """

    async def picture(request: Request) -> Response:
        name, size = (request.query_params.get(key, "") for key in ("file", "size"))
        if size not in SIZES:
            raise HTTPException(400, f"`size` must be one of {', '.join(SIZES)}.")
        try:
            found = await run_in_threadpool(labeling.pictures.get, name, size)
        except UnreadableImage:
            # The page asks why; an error would be one of the page in its console.
            return Response(_NOTHING, media_type="image/png")
        return Response(
            found.data,
            media_type=found.media_type,
            headers={"Cache-Control": "private, max-age=600"},
        )

    async def trouble(request: Request) -> Response:
        name, reason = request.query_params.get("file", ""), None
        try:
            await run_in_threadpool(labeling.pictures.get, name, "small")
        except UnreadableImage as error:
            reason = str(error)
        return JSONResponse({"reason": reason})

    async def state(request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(labeling.state))

    async def queue(request: Request) -> Response:
        start, count = (_number(request, name) for name in ("start", "count"))
        return JSONResponse(await run_in_threadpool(labeling.queue, start, count))

    async def labels(request: Request) -> Response:
        changes = _changes(await _sent(request))
        return JSONResponse(await run_in_threadpool(labeling.change, changes))

    async def item(request: Request) -> Response:
        name = request.query_params.get("file", "")
        return JSONResponse(await run_in_threadpool(labeling.item, name))

    async def label_studio(request: Request) -> Response:
        found = await run_in_threadpool(labeling.label_studio_tasks)
        name = "attachment; filename=label-studio.json"
        headers = {"Content-Disposition": name}
        return Response(found, media_type="application/json", headers=headers)

    async def similar(request: Request) -> Response:
        name = request.query_params.get("file", "")
        return JSONResponse(await run_in_threadpool(labeling.similar, name))

    async def taken_for(request: Request) -> Response:
        label, count = request.query_params.get("class", ""), _number(request, "count")
        return JSONResponse(await run_in_threadpool(labeling.taken_for, label, count))

    async def labeled_as(request: Request) -> Response:
        label, count = request.query_params.get("class", ""), _number(request, "count")
        return JSONResponse(await run_in_threadpool(labeling.labeled_as, label, count))

    async def train(request: Request) -> Response:
        sent = await _sent(request)
        wanted = {"minutes", "image_size", "goes_on"}
        if not isinstance(sent, dict) or set(sent) != wanted:
            raise HTTPException(400, f"Send {', '.join(sorted(wanted))}.")
        if not isinstance(sent["goes_on"], bool):
            raise HTTPException(400, "`goes_on` must be true or false.")
        return JSONResponse(await run_in_threadpool(labeling.train, **sent))

    async def stop(request: Request) -> Response:
        await _sent(request)
        return JSONResponse(await run_in_threadpool(labeling.stop))

    routes = [Route(path, _file(*file)) for path, file in _FILES.items()]
    routes += [
        Route("/picture", picture),
        Route("/trouble", trouble),
        Route("/state", state),
        Route("/queue", queue),
        Route("/labels", labels, methods=["POST"]),
        Route("/item", item),
        Route("/label-studio.json", label_studio),
        Route("/similar", similar),
        Route("/taken-for", taken_for),
        Route("/labeled-as", labeled_as),
        Route("/train", train, methods=["POST"]),
        Route("/stop", stop, methods=["POST"]),
    ]
    # Sentences for people; the page shows them as text.
    handlers: dict[Any, Any] = {
        HTTPException: _failed,
        Conflict: _conflict,
        KeyError: _unknown,
        ValueError: _refused,
        RuntimeError: _refused,
        OSError: _not_written,
    }
    app = Starlette(routes=routes, exception_handlers=handlers)
    app.router.redirect_slashes = False
    return app


def _file(name: str, media_type: str) -> Answer:
    async def answer(request: Request) -> Response:
        headers = {"Cache-Control": "no-cache"}
        return FileResponse(_STATIC / name, media_type=media_type, headers=headers)

    return answer


def _number(request: Request, name: str) -> int:
    text = request.query_params.get(name, "")
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise HTTPException(400, f"`{name}` must be a number.")
    return int(text)


async def _sent(request: Request) -> Any:
    """What a page sent as JSON."""
    # A form of another page cannot send this type.
    if request.headers.get("content-type") != "application/json":
        raise HTTPException(415, "Send JSON.")
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise HTTPException(413, "This is too much at once.")
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, "This is no JSON.") from error


def _changes(sent: Any) -> list[Change]:
    def is_text(value: Any) -> bool:
        return value is None or isinstance(value, str)

    changes = sent.get("changes") if isinstance(sent, dict) else None
    if not isinstance(changes, list) or not all(
        isinstance(change, dict)
        and set(change) == {"file", "label", "expected"}
        and isinstance(change["file"], str)
        and is_text(change["label"])
        and is_text(change["expected"])
        for change in changes
    ):
        raise HTTPException(
            400, "`changes` must be a list, each with `file`, `label` and `expected`."
        )
    return [Change(**change) for change in changes]


async def _failed(request: Request, error: HTTPException) -> Response:
    return PlainTextResponse(error.detail, error.status_code)


async def _conflict(request: Request, error: Conflict) -> Response:
    return JSONResponse({"labels": error.labels}, 409)


async def _unknown(request: Request, error: KeyError) -> Response:
    return PlainTextResponse("There is no such image in the folder.", 404)


async def _refused(request: Request, error: Exception) -> Response:
    return PlainTextResponse(str(error), 422)


async def _not_written(request: Request, error: OSError) -> Response:
    return PlainTextResponse(str(error).partition("] ")[2] or str(error), 507)
