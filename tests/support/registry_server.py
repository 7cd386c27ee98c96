"""A real MLflow server for tests, and a way to it that counts changes and strikes at a chosen one."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

READS = ("/search", "/get", "/list", "/health", "/version", "/server-info")  # POST, but changing nothing


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class RegistryServer:
    """An MLflow server on a SQLite store and a folder for files, both of which outlive it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--backend-store-uri", f"sqlite:///{self.folder}/mlflow.db", "--workers", "1"]
        command += ["--artifacts-destination", str(self.folder / "files")]
        environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "PYTHONWARNINGS": "ignore"}
        environment.pop("MLFLOW_TRACKING_URI", None)
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, env=environment, stdout=log, stderr=log, cwd=self.folder, start_new_session=True
            )
        deadline = time.monotonic() + 120
        while not self._answers():
            assert self._process.poll() is None and time.monotonic() < deadline, "the server did not start"
            time.sleep(0.1)

    def _answers(self) -> bool:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        except OSError:
            return False

    def kill(self) -> None:
        """Kill it and its workers, as a power cut would."""
        if self._process:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._process = None


class Way:
    """The way of a client to the server: it strikes at a planned change, just before or after the server made it.

    The client never hears of that change.
    """

    def __init__(self, server: RegistryServer) -> None:
        self.server, self.changes = server, list[str]()
        self._part, self._nth, self._is_after, self._strike = "", -1, False, server.kill
        self._lock = threading.Lock()
        self._listener = ThreadingHTTPServer(("127.0.0.1", 0), self._requests())
        self._listener.daemon_threads = True
        threading.Thread(target=self._listener.serve_forever, daemon=True).start()
        self.uri = f"http://127.0.0.1:{self._listener.server_address[1]}"

    def plan(self, part: str, nth: int, is_after: bool, strike: Callable[[], None] | None = None) -> None:
        """Note changes anew, and strike at the one number `nth` (from 0; -1: never) whose path has this part."""
        self.changes = []
        self._part, self._nth, self._is_after, self._strike = part, nth, is_after, strike or self.server.kill

    def close(self) -> None:
        self._listener.shutdown()
        self._listener.server_close()

    def _pass_on(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        path = request.path.partition("?")[0]
        with self._lock:
            struck = False
            if request.command != "GET" and not any(part in path for part in READS):
                earlier = sum(self._part in change for change in self.changes)
                struck = self._part in path and earlier == self._nth
                self.changes.append(f"{request.command} {path}")
        if struck and not self._is_after:
            self._strike()
            return
        answer = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=60)
        answer.request(request.command, request.path, body, dict(request.headers))
        response = answer.getresponse()
        content = response.read()
        if struck:
            self._strike()
            return
        request.send_response(response.status)
        for key, value in response.getheaders():
            if key.lower() not in ("transfer-encoding", "content-length", "connection", "date", "server"):
                request.send_header(key, value)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)

    def _requests(self) -> type[BaseHTTPRequestHandler]:
        way = self

        class Request(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.0"

            def _any(self) -> None:
                try:
                    way._pass_on(self)
                except (OSError, http.client.HTTPException):
                    self.close_connection = True

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _any

            def log_message(self, *_: object) -> None:
                pass

        return Request
