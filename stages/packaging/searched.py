"""What a version is searched in: the gallery of `retrieve`, the shelf of a recommender; with an index where many."""

import shutil
from pathlib import Path

from stages.base.device import set_up
from stages.base.store import artifact_path
from stages.models.model import load_model
from stages.models.tasks import task_of
from stages.packaging.gallery import write_gallery
from stages.packaging.posters import write_posters
from stages.params import Params
from stages.registry.lineage import PREFIX


def searched_files(params: Params, name: str, folder: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Return the model's folder with what is searched, by names of files of a version, and tags that tell of indexes.

    `folder` is for what is written on the way.
    """
    experiment, trained, built = params.experiments[name], artifact_path("train", name), {}
    files = {"model": str(trained)}
    if experiment.task == "retrieve":
        files["gallery"] = str(folder / "gallery")
        built = write_gallery(params, name, folder / "gallery")
    elif task_of(experiment).pooled:
        files |= {"model": str(shutil.copytree(trained, folder / "model")), "posters": str(folder / "posters.arrow")}
        write_posters(experiment.dataset, folder / "posters.arrow")
        task = load_model(folder / "model", set_up(*params.base.hardware()))
        built = task.index_beside(folder / "model", params.register_.exact_below, params.register_.index_recall)
    return files, {f"{PREFIX}search.{kind}": str(index) for kind, index in built.items()}
