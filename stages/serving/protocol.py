"""uvicorn's protocol with a bound on how long a client may take to send the head of a request."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MESSAGE = b'{"error": {"code": "too_slow", "message": "the head did not arrive in time", "request_id": ""}}'
LATE = b"\r\n".join(
    [
        b"HTTP/1.1 408 Request Timeout",
        b"content-type: application/json",
        b"connection: close",
        b"content-length: %d" % len(MESSAGE),
        b"",
        MESSAGE,
    ]
)


class _Impatient(HttpToolsProtocol):
    """Ends a connection whose request does not begin, or whose headers do not end, in time."""

    head_s: float
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for the first head."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Wait for the rest of a head that has begun."""
        self._wait()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Stop waiting: the service bounds the body itself."""
        self._stop()
        super().on_headers_complete()

    def _wait(self) -> None:
        self._stop()
        self._timer = self.loop.call_later(self.head_s, self._late)

    def _stop(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _late(self) -> None:
        if not self.transport.is_closing():
            self.transport.write(LATE)
            self.transport.close()


def impatient_protocol(head_s: float) -> type[HttpToolsProtocol]:
    """Return the protocol with this bound."""
    return type("ImpatientProtocol", (_Impatient,), {"head_s": head_s})
