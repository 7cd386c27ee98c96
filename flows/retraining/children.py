"""The children of `make schedule`: a Prefect server and the served deployment, each in a session of its own.

They are started again when they die, and ended with the command; what a killed command left is ended by the next.
It imports no Prefect itself.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

from flows.graph.sessions import OWNER_VARIABLE, end_child, end_session, is_running, process_mark
from flows.retraining.at_work import end_orphans

HOST, DEFAULT_PORT = "127.0.0.1", "4200"
HEALTHY_S = 180.0  # that a server may take to its first answer, on a busy machine with a new database
STOP_S = 30.0  # that the served run may take to end by itself
SHORT_LIFE_S = 60.0  # a child that fails sooner after its start, or is killed so often in a row, is not started again
MOST_SHORT_LIVES = 3
LAST_BYTES = 2000
CHILDREN = Path(".prefect/children.json")
SERVER_LOG = Path(".prefect/server.log")


class ChildError(RuntimeError):
    """A child does not run; the text says why."""


class Child:
    """A command in a session of its own, which is noted so that a later start can end what a kill left."""

    def __init__(self, name: str, command: list[str], root: Path, log: Path | None = None) -> None:
        """Start it; its lines go to `log`, else to ours."""
        self.name, self._command, self._root, self._log = name, command, root, log
        self._short_lives = 0
        self.start()

    def start(self) -> None:
        """Start it, again where it ran before."""
        self._since = time.monotonic()
        with open(self._log, "ab") if self._log else nullcontext() as out:
            self.process = subprocess.Popen(
                self._command,
                cwd=self._root,
                env={**os.environ, OWNER_VARIABLE: process_mark()},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT if self._log else None,
                start_new_session=True,
            )
        _note_child(self._root, self.name, process_mark(self.process.pid))

    def restart_if_dead(self) -> bool:
        """Start it again when it has died; return whether it had.

        Raises:
            ChildError: It failed soon after its start, or was killed again and again: another start would not help.
        """
        code = self.process.poll()
        if code is None:
            return False
        self._short_lives = self._short_lives + 1 if time.monotonic() - self._since < SHORT_LIFE_S else 0
        if self._short_lives >= (MOST_SHORT_LIVES if code < 0 else 1):
            raise ChildError(f"the {self.name} ended with exit code {code}{self._last_lines()}")
        self.start()
        return True

    def _last_lines(self) -> str:
        if self._log is None:
            return ""
        return f"; the end of {self._log}:\n{self._log.read_bytes()[-LAST_BYTES:].decode(errors='replace')}"

    def stop(self) -> None:
        """Ask it to end, wait, and end whatever is left of its session."""
        with suppress(ProcessLookupError, subprocess.TimeoutExpired):
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(STOP_S)
        end_child(self.process)


def _note_child(root: Path, name: str, mark: str) -> None:
    path = root / CHILDREN
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({**_noted_children(root), name: mark}))


def _noted_children(root: Path) -> dict[str, str]:
    try:
        return json.loads((root / CHILDREN).read_text())
    except (FileNotFoundError, ValueError):
        return {}


def end_left_children(root: Path) -> None:
    """End the children of a command that was killed, the run among them last."""
    for mark in reversed(_noted_children(root).values()):
        if is_running(mark):
            end_session(int(mark.split()[0]))
    (root / CHILDREN).unlink(missing_ok=True)
    end_orphans(root)


@contextmanager
def prefect_server(root: Path) -> Iterator[Child | None]:
    """Run a server on the loopback and name it in the environment, unless that names one already.

    Raises:
        ChildError: It does not start, or its port is taken.
    """
    if os.environ.get("PREFECT_API_URL"):
        yield None
        return
    port = int(os.environ.get("PREFECT_SERVER_API_PORT", DEFAULT_PORT))
    with socket.socket() as probe:
        if probe.connect_ex((HOST, port)) == 0:
            raise ChildError(
                f"port {port} is taken: set PREFECT_SERVER_API_PORT to a free one, or PREFECT_API_URL to use the "
                "Prefect server that answers there"
            )
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", HOST, "--port", str(port)]
    (root / SERVER_LOG).parent.mkdir(exist_ok=True)
    os.environ["PREFECT_API_URL"] = f"http://{HOST}:{port}/api"
    server = Child("Prefect server", command, root, root / SERVER_LOG)
    try:
        wait_until_healthy(server)
        yield server
    finally:
        server.stop()


def wait_until_healthy(server: Child) -> None:
    """Wait for the server's first answer.

    Raises:
        ChildError: It has ended, or does not answer in time.
    """
    deadline = time.monotonic() + HEALTHY_S
    while time.monotonic() < deadline:
        server.restart_if_dead()
        with suppress(urllib.error.URLError, OSError):
            urllib.request.urlopen(f"{os.environ['PREFECT_API_URL']}/health", timeout=5).close()
            return
        time.sleep(0.2)
    raise ChildError(f"the Prefect server does not answer after {HEALTHY_S:g} s; see {SERVER_LOG}")
