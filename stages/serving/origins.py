"""Pages of other origins: which may ask, by `serve.allow_origins`; browsers ask that first, in a preflight."""

import logging
import uuid
from typing import Any

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response

from stages.serving.edge import refusal
from stages.serving.errors import Refused

METHODS = ("GET", "HEAD", "POST")
HEADERS = ("Authorization", "Content-Type", "X-Request-ID")
SHOWN = ("X-Request-ID", "Retry-After", "WWW-Authenticate")  # headers that such a page may read

log = logging.getLogger("fuseline.serve")


class Origins(CORSMiddleware):
    """Around the edge, so that refusals can be read, too, and a preflight needs no token."""

    def __init__(self, app: Any, allowed: list[str]) -> None:
        """Take the application inside and the origins that may ask."""
        super().__init__(app, allowed, METHODS, HEADERS, expose_headers=SHOWN)

    def preflight_response(self, request_headers: Headers) -> Response:
        """Answer a preflight; one of another origin is refused in words, and logged."""
        origin = request_headers["origin"][:200]
        if self.is_allowed_origin(origin):
            return super().preflight_response(request_headers)
        message = f"pages of {origin} may not ask; serve.allow_origins in params.yaml lists those that may"
        request_id = uuid.uuid4().hex
        log.info("preflight refused: %s", message, extra={"status": 403, "request_id": request_id})
        return refusal(Refused(403, "other_origin", message), request_id)
