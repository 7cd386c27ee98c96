"""What `make schedule` runs: a Prefect server on this machine, and the deployment `retrain/nightly` beside it.

Where PREFECT_API_URL names a server, that one is used. Both are children of this
command (`flows.retraining.children`). It imports no Prefect itself.

Run it: `python -m flows.schedule`.
"""

import argparse
import os
import sys
import time
from pathlib import Path

from flows.graph import settings
from flows.graph.terminal import EXIT_INTERRUPTED, console, end_on_signals
from flows.retraining.at_work import Refused, end_orphans, sole
from flows.retraining.children import Child, ChildError, end_left_children, prefect_server, wait_until_healthy
from flows.retraining.names import EVENT, FLOW, NAME
from stages.base.errors import InputError
from stages.params import RetrainParams, load_params

POLL_S = 1.0


def run(root: Path, params: RetrainParams) -> None:
    """Serve until interrupted.

    Raises:
        ChildError: The server or the served deployment does not run.
    """
    end_left_children(root)
    with prefect_server(root) as server:
        served = Child("served deployment", [sys.executable, "-m", "flows.retraining.deployment"], root)
        try:
            _say_how(params)
            while True:
                time.sleep(POLL_S)
                if server and server.restart_if_dead():
                    console().print("the Prefect server had died and was started again")
                    wait_until_healthy(server)
                if served.restart_if_dead():
                    console().print("the served deployment had died and was started again")
        finally:
            served.stop()
            end_orphans(root)


def _say_how(params: RetrainParams) -> None:
    """Print where to look and how to start a run by hand."""
    address = os.environ["PREFECT_API_URL"]
    prefect = f"PREFECT_API_URL={address} .venv/bin/prefect"
    for line in (
        f"{FLOW}/{NAME} runs at `{params.cron}` {params.timezone} (params.yaml, section retrain)",
        f"see it:         {address.removesuffix('/api')}",
        f"run it now:     {prefect} deployment run {FLOW}/{NAME}",
        f"data arrived:   {prefect} event emit {EVENT} --resource-id fuseline.dataset",
        "Ctrl-C ends it; the schedule goes on when it is started again",
    ):
        console().print(line, markup=False, highlight=False, soft_wrap=True)


def main(arguments: list[str] | None = None) -> int:
    """Serve the schedule until interrupted; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m flows.schedule", description=(__doc__ or "").partition("\n")[0])
    parser.parse_args(arguments)
    settings.apply()
    end_on_signals()
    root = settings.project_root()
    try:
        with sole(root, "schedule", "make schedule"):
            run(root, load_params(root / "params.yaml").retrain)
    except (ChildError, InputError, Refused) as error:
        console().print(f"error: {error}", markup=False, highlight=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
