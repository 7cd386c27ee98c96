"""What the next training of an experiment starts from: `artifacts/start/<experiment>`, which DVC watches.

It has nothing but a line about itself, which DVC's stage `start` writes, or beside it the champion's model as `train`
wrote it, with its version and what that was trained on. Only retraining (`retrain.init`) and
`python -m stages.register <name> --start` put it there.
"""

import shutil
import tempfile
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from stages.base.errors import InputError
from stages.base.store import START_MODEL, VERSION_FILE, artifact_path, replace_folder, start_version, write_json
from stages.registry.lineage_files import LINEAGE
from stages.registry.registry import fault_of
from stages.registry.trained_on import TRAINED_ON


def start_from(mlflow_client: Any, name: str, number: int | None, root: Path = Path()) -> None:
    """Let the next training of an experiment start from a version of it, or from nothing.

    Raises:
        InputError: when the version is not whole.
    """
    final = root / artifact_path("start", name)
    if final.exists() and start_version(name, root) == number:
        return
    partial = final.with_name(f".{name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    if number is not None:
        if fault := fault_of(mlflow_client, name, number):
            raise InputError(f"{name}: nothing can start from version {number}: {fault}")
        _fetch(mlflow_client, name, number, partial)
    replace_folder(partial, final)


def _fetch(mlflow_client: Any, name: str, number: int, folder: Path) -> None:
    import mlflow

    run_id = mlflow_client.get_model_version(name, str(number)).run_id
    kept = f"{LINEAGE}/{TRAINED_ON}"
    with tempfile.TemporaryDirectory() as temporary:
        package = Path(mlflow.artifacts.download_artifacts(f"models:/{name}/{number}", dst_path=temporary))
        flavors = YAML(typ="safe").load((package / "MLmodel").read_text(encoding="utf8"))["flavors"]
        shutil.copytree(package / flavors["python_function"]["artifacts"]["model"]["path"], folder / START_MODEL)
        if run_id and any(item.path == kept for item in mlflow_client.list_artifacts(run_id, LINEAGE)):
            found = mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path=kept, dst_path=temporary)
            shutil.copyfile(found, folder / TRAINED_ON)
    write_json(folder / VERSION_FILE, {"version": number, "run_id": run_id})
