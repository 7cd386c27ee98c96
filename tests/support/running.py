"""A real server in a thread of the test process, so that torch is not imported again for each."""

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

START_S = 60


@dataclass
class Running:
    """A server at work: its address, the project it serves, and its models."""

    url: str
    project: Path
    models: Any
    server: Any
    thread: threading.Thread

    def stop(self) -> None:
        """End it as SIGTERM does."""
        self.server.should_exit = True
        self.thread.join(START_S)
        assert not self.thread.is_alive()


@contextlib.contextmanager
def serving(project: Path, token: str | None = None, **changes: Any) -> Iterator[Running]:
    """Serve the champions of the tracking store in use, with values of the section `serve` changed."""
    from stages.base.tracking import client
    from stages.params import ServeParams, load_params
    from stages.serve import listen, make_server
    from stages.serving.served import Models

    given = load_params(project / "params.yaml").serve.model_dump() | {"port": 0, "refresh_seconds": 0.2}
    params = ServeParams(**(given | changes))
    listening = listen(params)
    models = Models(client(), params)
    server = make_server(models, params, token)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    running = Running(f"http://127.0.0.1:{listening.getsockname()[1]}", project, models, server, thread)
    try:
        wait_until(lambda: httpx.get(f"{running.url}/ready").status_code == 200)
        yield running
    finally:
        running.stop()


def wait_until(true: Any) -> None:
    """Wait for something to become true; a server that does not listen yet is not."""
    deadline = time.monotonic() + START_S
    while True:
        with contextlib.suppress(httpx.TransportError):
            if true():
                return
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)
