"""The tracking server: where it is, and a live run that training may lose without stopping."""

import contextlib
import os
import re
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stages.base.addresses import shown, without_credentials
from stages.base.errors import InputError
from stages.base.local_store import FILES, LOCK, SQLITE, is_local, local_database, ready, trouble
from stages.base.store import locked, say

EXPERIMENT = "fuseline"
KEY_TAG = "fuseline.train_key"  # joins a training's live run with its later registration
FLUSH_S = 5.0


def tracking_uri() -> str:
    """Return `MLFLOW_TRACKING_URI`, or a SQLite store under `artifacts/`."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}{local_database()}"


def quiet_environment() -> None:
    """Keep MLflow from calling home and from waiting minutes for a server that is away."""
    defaults = {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
        "MLFLOW_SKIP_PIP_REQUIREMENTS_CHECK": "true",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "GIT_PYTHON_REFRESH": "quiet",
    }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)


def client() -> Any:
    """Return an MLflow client of the tracking store; the project's own is made first where it is absent.

    Raises:
        InputError: when the project's own store is damaged.
    """
    quiet_environment()
    import logging

    import mlflow

    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    ready(tracking_uri())
    mlflow.set_tracking_uri(tracking_uri())
    return mlflow.MlflowClient()


@contextlib.contextmanager
def needs_server() -> Iterator[None]:
    """Turn the many errors of a tracking server that is away, or dies in between, into one message.

    Raises:
        InputError: naming the server without credentials, or the project's own store, and what to do.
    """
    try:
        yield
    except Exception as error:  # the store's clients raise many kinds; what is of another cause goes on
        cause = _cause_away(error)
        if cause is None:
            raise
        if is_local(tracking_uri()):
            told = trouble(_reason(error), local_database())
            raise InputError(f"the tracking store {local_database()} {told}") from None
        raise InputError(
            f"the MLflow server at {shown(tracking_uri())} does not answer "
            f"({without_credentials(cause)[:200]}). Nothing is half moved: start it, or set MLFLOW_TRACKING_URI to "
            "where it is, and run the same command again"
        ) from None


def _chain(error: BaseException) -> list[BaseException]:
    """Return an error and those that it came from."""
    chain: list[BaseException] = []
    found: BaseException | None = error
    while found is not None and found not in chain:
        chain.append(found)
        found = found.__cause__ or found.__context__
    return chain


def _reason(error: BaseException) -> str:
    """Return what the database itself said, which stands deep in MLflow's message."""
    own = [str(link) for link in _chain(error) if isinstance(link, sqlite3.Error)]
    return own[0] if own else str(error).splitlines()[0]


def _cause_away(error: BaseException) -> str | None:
    """Return the cause in words when an error, or one that it came from, says that the server is away."""
    import requests
    from sqlalchemy.exc import OperationalError

    for link in _chain(error):
        refused = isinstance(link, requests.HTTPError) and link.response is not None and link.response.status_code < 500
        if isinstance(link, requests.RequestException | OperationalError) and not refused:
            return type(link).__name__
        if re.search(r"failed with error code 5\d\d", str(link)):  # a proxy's answer
            return str(link).splitlines()[0]
    return None


def experiment_id(mlflow_client: Any, name: str) -> str:
    """Return the MLflow experiment of an experiment, made on first use; its files lie beside the store."""
    full = f"{EXPERIMENT}/{name}"
    found = mlflow_client.get_experiment_by_name(full)
    if found:
        return found.experiment_id
    local = tracking_uri().startswith(SQLITE)
    location = Path(tracking_uri().removeprefix(SQLITE)).parent.as_uri() + f"/{FILES}/{name}" if local else None
    return mlflow_client.create_experiment(full, artifact_location=location)


def find_run(mlflow_client: Any, name: str, key: str) -> Any:
    """Return the newest run of this training, or None."""
    runs = mlflow_client.search_runs([experiment_id(mlflow_client, name)], f"tags.`{KEY_TAG}` = '{key}'", max_results=1)
    return runs[0] if runs else None


class LiveRun:
    """Curves while training runs; when the server is away it says so once and training goes on."""

    def __init__(self, name: str, key: str, params: dict[str, Any]) -> None:
        """Open the run of this training, or go on with the one that a killed run left."""
        self._pending: list[Any] = []
        self._last_flush = time.monotonic()
        self._client: Any = None
        try:
            mlflow_client = client()
            with locked(LOCK):  # two trainings would both make the experiment, in a store elsewhere the tables too
                run = find_run(mlflow_client, name, key) or mlflow_client.create_run(
                    experiment_id(mlflow_client, name), run_name=name, tags={KEY_TAG: key}
                )
            self._run_id = run.info.run_id
            self._client = mlflow_client
            if not run.data.params:
                log_params(mlflow_client, self._run_id, params)
        except Exception as error:  # the store's clients raise many kinds; none may stop a training
            self._lost(error)

    def log(self, metrics: dict[str, float], step: int) -> None:
        """Take metrics of a step; they are sent every few seconds."""
        if self._client is None:
            return
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self._pending += [Metric(key, value, now, step) for key, value in metrics.items()]
        if time.monotonic() - self._last_flush > FLUSH_S:
            self.flush()

    def flush(self) -> None:
        """Send what waits."""
        if self._client is not None and self._pending:
            try:
                _send(self._client, self._run_id, "metrics", self._pending, 1000)
            except Exception as error:  # as above
                self._lost(error)
        self._pending = []
        self._last_flush = time.monotonic()

    def log_file(self, place: str, content: bytes) -> None:
        """Send a file to its place, such as `samples/epoch-0001.png`, among the run's artifacts."""
        if self._client is None:
            return
        folder, _, name = place.rpartition("/")
        try:
            with tempfile.TemporaryDirectory() as temporary:
                (Path(temporary) / name).write_bytes(content)
                self._client.log_artifact(self._run_id, str(Path(temporary) / name), folder or None)
        except Exception as error:  # as above
            self._lost(error)

    def _lost(self, error: Exception) -> None:
        self._client = None
        if isinstance(error, InputError):
            say(f"{error}; training goes on without live curves")
            return
        reason = without_credentials(str(error).splitlines()[0])[:200]
        say(f"tracking server {shown(tracking_uri())} is away ({reason}); training goes on without live curves")


def log_params(mlflow_client: Any, run_id: str, params: dict[str, Any]) -> None:
    """Log params to a run, nested keys joined by dots, long values cut."""
    from mlflow.entities import Param

    found = [Param(key, str(value)[:500]) for key, value in flatten(params).items()]
    _send(mlflow_client, run_id, "params", found, 100)


def _send(mlflow_client: Any, run_id: str, kind: str, items: list[Any], size: int) -> None:
    """Send items in batches as large as MLflow takes."""
    for start in range(0, len(items), size):
        mlflow_client.log_batch(run_id, **{kind: items[start : start + size]})


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Join nested keys by dots."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
