"""A real MLflow registry with versions of no model, for tests of what moves between them."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from stages.base.store import MANIFEST
from stages.base.tracking import client

NAME = "toy"
BYTES = 7  # of the one file of a version


@contextmanager
def toy_registry(store: str, folder: Path, monkeypatch: pytest.MonkeyPatch, versions: int) -> Iterator[Any]:
    """Yield a client of a store with so many versions of a model, in a folder of its own; the model goes at the end."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ann")
    mlflow_client = client()
    for _ in range(versions):
        add_version(mlflow_client, NAME, folder)
    yield mlflow_client
    mlflow_client.delete_registered_model(NAME)


def add_version(mlflow_client: Any, name: str, folder: Path) -> int:
    """Make a whole version whose files lie in a folder; return its number."""
    number = len(list(folder.glob(f"{name}-*"))) + 1
    files = folder / f"{name}-{number}" / "artifacts" / name
    files.mkdir(parents=True)
    (files / "weights").write_bytes(b"x" * BYTES)
    (files / MANIFEST).write_text(json.dumps({"files": {"weights": {"bytes": BYTES}}}))
    package = {"flavors": {"python_function": {"artifacts": {"model": {"path": f"artifacts/{name}"}}}}}
    (files.parents[1] / "MLmodel").write_text(json.dumps(package))
    if not mlflow_client.search_registered_models(f"name = '{name}'"):
        mlflow_client.create_registered_model(name)
    version = mlflow_client.create_model_version(name, (folder / f"{name}-{number}").as_uri())
    return int(version.version)


class Cut(Exception):
    """The registry went away."""


class CutClient:
    """A client whose registry goes away just before one of its changes, by number from 0."""

    def __init__(self, mlflow_client: Any, at: int) -> None:
        self._client, self._at, self.changes = mlflow_client, at, 0

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._client, name)
        return real if name.startswith(("get", "search", "list")) else lambda *a, **k: self._change(real, *a, **k)

    def _change(self, real: Any, *arguments: Any, **named: Any) -> Any:
        if self.changes == self._at:
            raise Cut
        self.changes += 1
        return real(*arguments, **named)
