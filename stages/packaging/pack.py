"""Pack: one version as a single file tree with its bases in it, for a place without registry and store."""

import os
import shutil
from pathlib import Path
from typing import Any

from stages.base.errors import InputError
from stages.base.store import say
from stages.pretrained.bases import put_files
from stages.registry.bases import bring_bases
from stages.registry.registry import CHAMPION, champion_of, require_model, require_version


def pack(mlflow_client: Any, name: str | None, number: int | None, target: Path) -> None:
    """Write a version, by default the champion, to a new folder, whole or not at all.

    Raises:
        InputError: when there is no such version, the folder is there already, or a base cannot be had.
    """
    from mlflow.artifacts import download_artifacts

    name = require_model(mlflow_client, name)
    number = champion_of(mlflow_client, name) if number is None else number
    if number is None:
        raise InputError(f"no version of {name} is {CHAMPION}; name one: --version <number>")
    require_version(mlflow_client, name, number)
    if target.exists():
        raise InputError(f"{target} is there already; name a new folder")
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        folder = Path(download_artifacts(artifact_uri=f"models:/{name}/{number}", dst_path=str(partial)))
        bring_bases(folder)
        put_files(folder)
        os.replace(folder, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    num_bytes = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    say(f"{name}: version {number} with all that it needs is in {target}, {num_bytes / 2**20:.0f} MB")
    say(f"ask it: mlflow.pyfunc.load_model({str(target)!r}); serve it: python -m stages.serve --model {target}")
