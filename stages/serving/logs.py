"""Logs: a JSON object a line, or on a terminal lines for people."""

import logging
import sys
from typing import Any

from pythonjsonlogger.json import JsonFormatter

FIELDS = ("method", "path", "status", "ms", "model", "version", "request_id")


class _ForPeople(logging.Formatter):
    """Message, then what came with it."""

    def format(self, record: logging.LogRecord) -> str:
        told = [str(getattr(record, field)) for field in FIELDS if hasattr(record, field)]
        message = " ".join(told) if record.getMessage() == "request" else " ".join([super().format(record), *told])
        return f"{self.formatTime(record, '%H:%M:%S')} {record.levelname.lower():7} {message}"


def set_up_logs(level: str = "INFO") -> None:
    """Send the service's log and uvicorn's errors to standard output."""
    sink = logging.StreamHandler(sys.stdout)
    json_lines: Any = JsonFormatter(["levelname", "message"], rename_fields={"levelname": "level"}, timestamp=True)
    sink.setFormatter(_ForPeople("%(message)s") if sys.stdout.isatty() else json_lines)
    logging.basicConfig(level=logging.WARNING, handlers=[sink], force=True)
    logging.getLogger("fuseline").setLevel(level)
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    logging.getLogger("uvicorn.access").disabled = True
