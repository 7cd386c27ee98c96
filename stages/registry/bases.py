"""Bases in the registry: the files of each pretrained model once, in a run of its own that is found by their digest.

The tag that calls them whole comes after the files, so that a registration that was killed in between is finished by
the next. Versions refer to them; deleting a version leaves them.
"""

from pathlib import Path
from typing import Any

from stages.base.addresses import shown
from stages.base.errors import InputError
from stages.base.store import bases_folder, locked, say
from stages.base.tracking import EXPERIMENT, experiment_id
from stages.pretrained.bases import Reference, filling, is_stored, missing, references
from stages.registry.lineage import PREFIX

RUNS = "bases.pretrained"  # MLflow's experiment of them; with its full stop no experiment's name
FILES = "base"  # folder of a run
DIGEST_TAG, WHOLE_TAG = f"{PREFIX}base", f"{PREFIX}base_is_whole"


def find_run(mlflow_client: Any, reference: Reference) -> Any:
    """Return the run that holds a base or will, the whole one before others; None where there is none."""
    runs = mlflow_client.get_experiment_by_name(f"{EXPERIMENT}/{RUNS}")
    wanted = f"tags.`{DIGEST_TAG}` = '{reference.digest}'"
    found = mlflow_client.search_runs([runs.experiment_id], wanted) if runs else []
    return next((run for run in found if _is_whole(run)), found[0] if found else None)


def _is_whole(run: Any) -> bool:
    return run is not None and WHOLE_TAG in run.data.tags


def upload_bases(mlflow_client: Any, folder: Path) -> None:
    """Log the bases that a trained model refers to, those that the registry lacks; the store has them.

    Raises:
        InputError: when neither has one.
    """
    for reference in {base.digest: base for base in references(folder).values()}.values():
        with locked("bases"):
            if fault_of_base(mlflow_client, reference) is None:
                continue
            if not is_stored(reference):
                raise missing(reference, [f"not in {_looked(mlflow_client)}"])
            _upload(mlflow_client, reference)


def _upload(mlflow_client: Any, reference: Reference) -> None:
    say(f"{reference} goes to the registry, once: {reference.num_bytes / 2**20:.0f} MB")
    about = {"model": reference.model, "revision": reference.revision, "licence": reference.licence}
    tags = {DIGEST_TAG: reference.digest, **{f"{PREFIX}base_{key}": value for key, value in about.items()}}
    run = find_run(mlflow_client, reference) or mlflow_client.create_run(
        experiment_id(mlflow_client, RUNS), run_name=reference.model, tags=tags
    )
    mlflow_client.log_artifacts(run.info.run_id, str(bases_folder() / reference.digest), FILES)
    mlflow_client.set_terminated(run.info.run_id)
    mlflow_client.set_tag(run.info.run_id, WHOLE_TAG, "true")


def fault_of_base(mlflow_client: Any, reference: Reference) -> str | None:
    """Say why a base cannot be had from the registry, or None where it is whole."""
    run = find_run(mlflow_client, reference)
    if not _is_whole(run):
        return f"its {reference} is not in the registry"
    sizes = {item.path: item.file_size for item in mlflow_client.list_artifacts(run.info.run_id, FILES)}
    for name, entry in reference.files.items():
        if (size := sizes.get(f"{FILES}/{name}")) != entry["bytes"]:
            return f"the file {name} of its {reference} has {size or 'no'} bytes in the registry, not {entry['bytes']}"
    return None


def bring_bases(folder: Path) -> None:
    """Put the bases that a version's files refer to into this machine's store, from the registry in use.

    Raises:
        InputError: when one is neither here nor there, or a file of it is changed.
    """
    for reference in references(folder).values():
        if not is_stored(reference):
            _download(reference)


def _download(reference: Reference) -> None:
    import mlflow

    if not mlflow.is_tracking_uri_set():
        raise missing(reference, ["no registry is named (MLFLOW_TRACKING_URI)"])
    place = _looked(mlflow_client := mlflow.MlflowClient())
    try:
        run = find_run(mlflow_client, reference)
        if not _is_whole(run):
            raise missing(reference, [f"not in {place}"])
        with filling(reference, place) as partial:
            if partial:
                uri = f"runs:/{run.info.run_id}/{FILES}"
                for path in Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(partial))).iterdir():
                    path.rename(partial / path.name)
                (partial / FILES).rmdir()
    except InputError:
        raise
    except Exception as error:  # the store's clients raise many kinds
        if getattr(error, "errno", None):  # such as a full disk
            raise
        raise missing(reference, [f"{place} does not give it ({str(error).splitlines()[0][:200]})"]) from None


def _looked(mlflow_client: Any) -> str:
    return f"the registry {shown(mlflow_client.tracking_uri)}"
