"""Environment defaults for the tools that run here: where Prefect keeps its state, and that none calls home.

They are defaults: a variable that is set already wins. Apply them before Prefect is imported, which reads
them once.
"""

import os
from pathlib import Path

from stages.base.terminal import escape_what_cannot_be_shown

DEFAULTS = {
    "DO_NOT_TRACK": "true",  # MLflow ignores `1`
    "DVC_NO_ANALYTICS": "1",
    "GRADIO_ANALYTICS_ENABLED": "False",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    # kept in memory, they die with the server, and Prefect then ends the run that held one within five minutes
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",  # 20 s is too short on a busy machine
    "RAY_USAGE_STATS_ENABLED": "0",
}

NO_PROXY = ("127.0.0.1", "localhost", "::1")  # servers of our own are never behind a company's proxy


def project_root() -> Path:
    """Return the nearest folder, from the current one upwards, that holds a `.dvc` folder.

    Without any, it is the current folder: DVC then says what is missing.
    """
    here = Path.cwd().resolve()
    return next((folder for folder in (here, *here.parents) if (folder / ".dvc").is_dir()), here)


def apply() -> None:
    """Set each default that the environment does not set itself; let neither a letter nor a proxy end a command."""
    escape_what_cannot_be_shown()
    os.environ.setdefault("PREFECT_HOME", str(project_root() / ".prefect"))
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    for name in ("NO_PROXY", "no_proxy"):
        known = [host for host in os.environ.get(name, "").split(",") if host.strip()]
        os.environ[name] = ",".join([*known, *(host for host in NO_PROXY if host not in known)])
