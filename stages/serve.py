"""Serve: registered models over HTTP, with a page at `/` and the API's description at `/docs`.

`python -m stages.serve` serves every experiment's champion; `--model models:/caption@champion` names one, and may
be repeated. A model follows its alias: when it moves, the next requests are answered by the new version. With
FUSELINE_TOKEN in the environment clients must show it; the server listens on loopback unless told otherwise.
"""

import ipaddress
import os
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import ValidationError

from stages.base.errors import InputError, explain
from stages.params import ServeParams, load_params
from stages.params.cli import main, stage_parser

if TYPE_CHECKING:
    import uvicorn

    from stages.serving.served import Models

TOKEN = "FUSELINE_TOKEN"
DRAIN_S = 30  # for begun requests to end after a signal
HEAD_S = 10.0  # for the head of a request to arrive


def run(params: ServeParams) -> None:
    """Serve until a signal; requests that have begun are answered first.

    Raises:
        InputError: when a model is not there, the registry does not answer, or the port is taken.
    """
    from stages.base.tracking import client
    from stages.serving.logs import set_up_logs
    from stages.serving.served import Models

    os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"
    models = Models(client(), params)
    places = models.places()
    if not places:
        raise InputError("no version is champion; `dvc repro` registers models, `--model` names others")
    listening = listen(params)
    set_up_logs()
    _greet(params, listening, [str(place) for place in places])
    make_server(models, params, os.environ.get(TOKEN) or None).run(sockets=[listening])


def make_server(models: "Models", params: ServeParams, token: str | None) -> "uvicorn.Server":
    """Return the server around models that it loads itself when it starts."""
    import uvicorn

    from stages.serving.app import make_app
    from stages.serving.protocol import impatient_protocol

    config = uvicorn.Config(
        make_app(models, params, token),
        http=impatient_protocol(min(HEAD_S, params.max_seconds)),
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=DRAIN_S,
    )
    return uvicorn.Server(config)


def listen(params: ServeParams) -> socket.socket:
    """Take the port before models are loaded, which takes seconds."""
    family = socket.AF_INET6 if ":" in params.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((params.host, params.port))
    except OSError as error:
        raise InputError(f"serve: cannot listen on {params.host}:{params.port}: {error.strerror}; see --port") from None
    return listening


def _greet(params: ServeParams, listening: socket.socket, places: list[str]) -> None:
    import logging

    log = logging.getLogger("fuseline.serve")
    host, port = listening.getsockname()[:2]
    log.info("http://%s:%s serves %s", f"[{host}]" if ":" in host else host, port, ", ".join(places))
    if not _is_loopback(params.host) and not os.environ.get(TOKEN):
        log.warning("%s is not loopback and %s is not set: whoever reaches the port may ask", params.host, TOKEN)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def command(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    parser = stage_parser("serve", __doc__, named=False)
    models = "models:/<name>@<alias>, models:/<name>/<n> or the folder of a packed model"
    parser.add_argument("--model", action="append", metavar="URI", help=models)
    parser.add_argument("--host", help="address to listen on")
    parser.add_argument("--port", type=int, help="port to listen on; 0 takes a free one")
    args = parser.parse_args(argv)
    given = {"models": args.model, "host": args.host, "port": args.port}
    changes = {key: value for key, value in given.items() if value is not None}
    try:
        run(ServeParams(**(load_params(args.params).serve.model_dump() | changes)))
    except ValidationError as error:
        raise InputError("\n".join(["serve:", *explain(ServeParams, "serve.", error)])) from None


if __name__ == "__main__":
    main(command)
