"""Model versions and their aliases in the MLflow registry: what there is, and whether a version is whole."""

import shutil
from pathlib import PurePosixPath
from typing import Any

from stages.base.errors import InputError
from stages.base.store import MANIFEST, artifact_path
from stages.pretrained.bases import REFERENCE, Reference
from stages.registry.bases import fault_of_base
from stages.registry.lineage import DIGEST_TAG

CHAMPION, CHALLENGER = "champion", "challenger"
READY = "READY"
NOT_THERE = "RESOURCE_DOES_NOT_EXIST"  # MLflow's code


def find_version(mlflow_client: Any, name: str, digest: str) -> Any:
    """Return the finished version with this digest, or None."""
    found = mlflow_client.search_model_versions(f"name = '{name}' and tags.`{DIGEST_TAG}` = '{digest}'")
    return min(found, key=lambda version: int(version.version)) if found else None


def aliases(mlflow_client: Any, name: str) -> dict[str, str]:
    """Return the version behind each alias; none when nothing is registered under the name."""
    found = mlflow_client.search_registered_models(f"name = '{name}'")
    return dict(mlflow_client.get_registered_model(name).aliases) if found else {}


def aliases_of(mlflow_client: Any, name: str, version: str | int) -> list[str]:
    """Return the aliases of a version, sorted."""
    found = aliases(mlflow_client, name).items()
    return sorted(alias for alias, number in found if int(number) == int(version))


def champion_of(mlflow_client: Any, name: str) -> int | None:
    """Return the number of the champion, or None."""
    number = aliases(mlflow_client, name).get(CHAMPION)
    return None if number is None else int(number)


def require_model(mlflow_client: Any, name: str | None) -> str:
    """Return the name, if something is registered under it.

    Raises:
        InputError: naming what is registered.
    """
    names = sorted(model.name for model in mlflow_client.search_registered_models())
    if name is None or name not in names:
        wrong = "give a name" if name is None else f"no model {name!r} is registered"
        raise InputError(f"{wrong}; expected one of {', '.join(names) or 'none: nothing is registered yet'}")
    return name


def require_version(mlflow_client: Any, name: str, number: int) -> Any:
    """Return a version.

    Raises:
        InputError: naming the versions there are.
    """
    found = get_version(mlflow_client, name, number)
    if found is None:
        there = sorted(int(v.version) for v in mlflow_client.search_model_versions(f"name = '{name}'"))
        raise InputError(f"{name} has no version {number}; expected one of {', '.join(map(str, there))}")
    return found


def get_version(mlflow_client: Any, name: str, number: int) -> Any:
    """Return a version, or None when it is not there."""
    from mlflow.exceptions import MlflowException

    try:
        return mlflow_client.get_model_version(name, str(number))
    except MlflowException as error:
        if error.error_code != NOT_THERE:
            raise
        return None


def fault_of(mlflow_client: Any, name: str, number: int) -> str | None:
    """Say why no alias may point to a version, or None when it is whole.

    A whole version is ready, the files of its trained model are there with the sizes that their manifest says, and the
    registry has the bases that it refers to.
    """
    import mlflow

    version = get_version(mlflow_client, name, number)
    if version is None:
        return "it is not there"
    if version.status != READY:
        return f"its status is {version.status}"
    uri = f"models:/{name}/{number}"
    folders = [item.path for item in mlflow.artifacts.list_artifacts(f"{uri}/artifacts") if item.is_dir]
    sizes = {path: size for folder in folders for path, size in _sizes(uri, folder).items()}
    manifests = [path for path in sizes if PurePosixPath(path).name == MANIFEST]
    if not manifests:
        return "its trained model is not there"
    for path in manifests:
        wanted = mlflow.artifacts.load_dict(f"{uri}/{path}")["files"]
        for file, entry in wanted.items():
            place = str(PurePosixPath(path).parent / file)
            if sizes.get(place) != entry["bytes"]:
                return f"its file {place} has {sizes.get(place, 'no')} bytes, the manifest says {entry['bytes']}"
    for path in sizes:
        if PurePosixPath(path).name == REFERENCE:
            reference = Reference(**mlflow.artifacts.load_dict(f"{uri}/{path}"))
            if fault := fault_of_base(mlflow_client, reference):
                return fault
    return None


def _sizes(uri: str, folder: str) -> dict[str, int]:
    """Return the sizes of a version's files under one of its folders, by path."""
    import mlflow

    found: dict[str, int] = {}
    for item in mlflow.artifacts.list_artifacts(f"{uri}/{folder}"):
        found |= _sizes(uri, item.path) if item.is_dir else {item.path: item.file_size or 0}
    return found


def forget_record(name: str) -> None:
    """Remove what the stage register wrote of a model whose aliases were moved; its next run writes it anew."""
    shutil.rmtree(artifact_path("register", name), ignore_errors=True)
