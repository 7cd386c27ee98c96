"""One run of a flow: on the server that the environment names, or on Prefect's temporary one."""

# ruff: noqa: E402 - Prefect reads its settings when it is imported, so they come first

import signal
import threading
from collections.abc import Callable

from flows.graph import settings

settings.apply()

from prefect.client.schemas.objects import State
from prefect.server.api.server import SubprocessASGIServer
from prefect.settings import PREFECT_API_URL

from flows.graph.terminal import EXIT_INTERRUPTED, console, end_on_signals


class ServerError(RuntimeError):
    """Prefect's temporary server did not start; the message is the reason."""


def run_once(run: Callable[[], State]) -> int:
    """Run a flow on the server that the environment names, or on a temporary one; return the exit code."""
    end_on_signals()
    try:
        if not PREFECT_API_URL.value():
            start_temporary_server()
        state = run()
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except ServerError as error:
        console().print(f"error: {error}", markup=False, highlight=False, soft_wrap=True)
        return 1
    if not state.is_completed():
        console().print(state.message, markup=False, highlight=False, soft_wrap=True)
    return 0 if state.is_completed() else 1


def start_temporary_server() -> None:
    """Start Prefect's temporary server so that a Ctrl-C in the terminal, sent to all, does not end it.

    It has to outlive the flow, whose end it stores; it is stopped when this process exits. It inherits the
    blocked signals of the thread that starts it, and the thread leaves Ctrl-C working here meanwhile.

    Raises:
        ServerError: when it does not start or answer; none is left running then.
    """
    reasons: list[str] = []

    def start() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
        server = SubprocessASGIServer()
        try:
            server.start()
        except Exception as error:  # of many kinds
            server.stop()
            reasons.append(f"{type(error).__name__}: {error}")

    thread = threading.Thread(target=start, daemon=True)
    thread.start()
    thread.join()
    if reasons:
        raise ServerError(f"Prefect's temporary server does not answer: {reasons[0]}; `make repro` needs none")
