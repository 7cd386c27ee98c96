"""What every request passes on its way in and out: an id, the token, limits of size and time, a log line, figures.

Plain ASGI around the application, so that an answer is refused before its body is read.
"""

import asyncio
import contextlib
import hmac
import logging
import re
import time
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse, Response

from stages.params import ServeParams
from stages.serving.errors import Refused
from stages.serving.metrics import Metrics

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

LINGER_S = 2.0
HELD_BODIES = 8  # as many of the largest size may be in memory at once
UNREAD = (400, 401, 408, 413, 415, 503)  # after these the rest of the body is not read: the connection ends
SANE_ID = re.compile(r"[\w.:-]{1,64}$")
SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob: data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
}
DOCS, DOCS_FILES = "/docs", "/static-offline-docs/"  # its scripts stand in the page
METHODS = ("GET", "HEAD", "POST")  # that pages of other origins may use
TAKEN = ("Authorization", "Content-Type", "X-Request-ID")  # headers that they may send
SHOWN = ("X-Request-ID", "Retry-After", "WWW-Authenticate")  # headers that they may read
DOCS_POLICY = "default-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'"

log = logging.getLogger("fuseline.serve")


class Edge:
    """The layer around the service that every request passes; `Origins` alone is around it."""

    def __init__(
        self, app: Any, params: ServeParams, metrics: Metrics, token: str | None, open_paths: frozenset[str]
    ) -> None:
        """Take the application inside, the limits, the figures, and the token that clients must show, if any.

        `open_paths` need no token.
        """
        self._app, self._params, self._metrics = app, params, metrics
        self._token, self._open_paths = token, open_paths
        self._held_bytes = 0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass one request through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = _Body(self, receive, time.monotonic() + self._params.max_seconds)
        passage = _Passage(scope, send, body)
        try:
            self._check(scope, passage.headers)
            # a HEAD is answered as a GET; uvicorn leaves the body out
            inside = {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope
            await self._app(inside, body.receive, passage.send)
        except Refused as refused:
            await refusal(refused, passage.request_id)(scope, receive, passage.send)
        except Exception:  # a defect: the client has its answer already, the log gets the rest
            log.exception("request failed", extra={"request_id": passage.request_id})
        finally:
            self._held_bytes -= body.held
            self._tell(scope, passage)

    def _check(self, scope: Message, headers: dict[str, str]) -> None:
        """Refuse what need not be read: without the token, compressed, or announced as too large."""
        is_open = scope["path"] in self._open_paths or scope["path"].startswith(DOCS_FILES)
        if self._token and not is_open:
            given = headers.get("authorization", "").removeprefix("Bearer ")
            if not hmac.compare_digest(given.encode(), self._token.encode()):
                raise Refused(401, "no_token", "a bearer token is wanted in the header Authorization")
        encoding = headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("identity", ""):
            raise Refused(
                415, "encoded_body", f"a body as {encoding[:80]} is not read; send it without Content-Encoding"
            )
        length = headers.get("content-length", "0")
        if not length.isdecimal():
            raise Refused(400, "bad_length", "the header Content-Length is no number")
        self.take(0, int(length[:18]))

    def take(self, num_bytes: int, total: int) -> None:
        """Count bytes that come in, of a body of `total` so far.

        Raises:
            Refused: 413 when the body is too large, 503 when all bodies together are.
        """
        most = int(self._params.max_body_mb * 2**20)
        if total > most:
            raise Refused(413, "too_large", f"the body is larger than {self._params.max_body_mb:g} MB")
        if self._held_bytes + num_bytes > HELD_BODIES * most:
            raise Refused(503, "busy", "too many large requests at once; try again", 1)
        self._held_bytes += num_bytes

    def _tell(self, scope: Message, passage: "_Passage") -> None:
        seconds = time.monotonic() - passage.start
        model = scope.get("state", {}).get("model", "")
        self._metrics.requests.labels(model, str(passage.status)).inc()
        if model:
            self._metrics.seconds.labels(model).observe(seconds)
        told = {
            "request_id": passage.request_id,
            "method": scope["method"],
            "path": scope["path"],
            "status": passage.status,
            "ms": round(1e3 * seconds, 1),
            "model": model,
            "version": scope.get("state", {}).get("version", ""),
        }
        level = logging.DEBUG if scope["path"] in ("/health", "/ready", "/metrics") else logging.INFO
        log.log(level, "request", extra={key: value for key, value in told.items() if value != ""})


class _Body:
    """The body of a request as it comes in, counted and with a deadline."""

    def __init__(self, edge: Edge, receive: Receive, deadline: float) -> None:
        self._edge, self._receive, self._deadline = edge, receive, deadline
        self.held = 0
        self._complete = False

    async def receive(self) -> Message:
        if self._complete:
            return await self._receive()
        try:
            async with asyncio.timeout(self._deadline - time.monotonic()):
                message = await self._receive()
        except TimeoutError:
            raise Refused(408, "too_slow", "the body did not arrive in time") from None
        size = len(message.get("body", b""))
        self._edge.take(size, self.held + size)
        self.held += size
        self._complete = not message.get("more_body", False)
        return message

    async def discard(self) -> None:
        """Read on for a moment: a client that still sends would lose the answer if the connection ended now."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S):
                while not self._complete:
                    message = await self._receive()
                    self._complete = not message.get("more_body", False)


class _Passage:
    """The answer to one request on its way out."""

    def __init__(self, scope: Message, send: Send, body: _Body) -> None:
        self._body = body
        self.start = time.monotonic()
        self.status = 0
        self.headers = {key.decode("latin1"): value.decode("latin1") for key, value in scope["headers"]}
        given = self.headers.get("x-request-id", "")
        self.request_id = given if SANE_ID.match(given) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = self.request_id
        policy = {"Content-Security-Policy": DOCS_POLICY} if scope["path"].startswith(DOCS) else {}
        self._added = {**SECURITY, **policy, "X-Request-ID": self.request_id}
        self._send = send

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            added = [(key.lower().encode(), value.encode()) for key, value in self._added.items()]
            message["headers"] = [*message.get("headers", []), *added]
        elif self.status in UNREAD and not message.get("more_body", False):
            await self._send({**message, "more_body": True})
            await self._body.discard()
            message = {"type": "http.response.body", "body": b""}
        await self._send(message)


class Origins(CORSMiddleware):
    """The rule for pages of other origins: around the edge, as a refusal is read, too, and a preflight has no token."""

    def __init__(self, app: Any, allowed: list[str]) -> None:
        """Take the application inside and the origins that may ask."""
        super().__init__(app, allowed, METHODS, TAKEN, expose_headers=SHOWN)

    def preflight_response(self, request_headers: Headers) -> Response:
        """Answer a preflight; one of another origin is refused in words, and logged."""
        origin = request_headers["origin"][:200]
        if self.is_allowed_origin(origin):
            return super().preflight_response(request_headers)
        message = f"pages of {origin} may not ask; serve.allow_origins in params.yaml lists those that may"
        request_id = uuid.uuid4().hex
        log.info("preflight refused: %s", message, extra={"status": 403, "request_id": request_id})
        return refusal(Refused(403, "other_origin", message), request_id)


def refusal(refused: Refused, request_id: str) -> JSONResponse:
    """Return the answer that says why there is none."""
    headers = {"Connection": "close"} if refused.status in UNREAD else {}
    if refused.retry_after_s:
        headers["Retry-After"] = str(refused.retry_after_s)
    if refused.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    error = {"code": refused.code, "message": refused.message, "request_id": request_id}
    return JSONResponse({"error": error}, refused.status, headers)
