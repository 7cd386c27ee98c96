"""A trained model on disk: `model.json`, `model.safetensors` and the extractors of its inputs."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from safetensors.torch import load_file, save
from torch import Tensor

from stages.base.device import Device
from stages.base.errors import InputError
from stages.base.store import ANSWERS, FEATURES, INDEX, MANIFEST, VOCABULARY, artifact_path, write_json
from stages.models.encoders.base import FeatureSpec
from stages.models.pool import Pool
from stages.models.tables import Reading, feature_spec
from stages.models.tasks import TASKS, Task, task_of
from stages.models.tasks.base import ModelConfig
from stages.params import BackboneParams, ExperimentBase, experiment_params
from stages.pretrained import bases
from stages.pretrained.bases import Base, Named
from stages.pretrained.torchvision import read_weights

MODEL, WEIGHTS = "model.json", "model.safetensors"
BASES = "bases"  # folder, in a model's, of the pretrained models that parts of it stand on, or references to them
ANSWERING = "answering"  # folder, beside an extractor, of the trained model that writes the texts it reads
NOT_OF_THE_EXTRACTOR = (FEATURES, INDEX, ANSWERS, MANIFEST)  # of the files in a features artifact


def build(config: ModelConfig) -> Task:
    """Make an untrained task."""
    return task_of(config.experiment)(config)


def config_of(experiment: ExperimentBase, rows: list[dict[str, Any]], bases: dict[str, Base]) -> ModelConfig:
    """Return what builds a new model of an experiment: its features, the prepared vocabularies, training `rows`.

    Raises:
        InputError: when an artifact is missing, or the rows lack what the task learns its model's shape from.
    """
    task = TASKS[experiment.task]
    known = json.loads((artifact_path("prepare", experiment.dataset) / VOCABULARY).read_text("utf8"))
    return ModelConfig(
        experiment,
        {modality: feature_spec(feature) for modality, feature in experiment.inputs.used().items()},
        {column: known[column] for column in task.vocabularies} | task.learn(experiment, rows),
        bases,
    )


def reading_of(experiment: ExperimentBase) -> Reading:
    """Return what an experiment's task reads of its data set."""
    task = TASKS[experiment.task]
    return (Pool if task.pooled else Reading)(
        experiment.dataset, experiment.inputs.used(), task.columns, task.needed, task.several
    )


def load_pretrained(task: Task, key: str) -> None:
    """Give backbones that are trained end to end the weights that the experiment names; `key` is its section."""
    for modality, encoder in getattr(task, "encoders", {}).items():
        named = getattr(task.config.experiment.encoders, modality)
        if isinstance(named, BackboneParams):
            encoder.load_weights(read_weights(named, f"{key}.encoders.{modality}"))


def find_bases(experiment: ExperimentBase, key: str) -> dict[str, Base]:
    """Return, by their place in an experiment's section, the pretrained models that it stands on.

    Raises:
        InputError: naming the place below `key`, the section, when one cannot be had.
    """
    found = {}
    for place, named in experiment.bases().items():
        try:
            found[place] = bases.find(named)
        except InputError as error:
            raise InputError(f"{key}.{place}.model: {named.model}: {error}") from None
    return found


def keep_bases(config: ModelConfig) -> None:
    """Put the bases of a model that is built into the project's store."""
    for base in config.bases.values():
        bases.keep(base)


def named_bases(experiment: ExperimentBase, key: str) -> dict[str, tuple[str, Named]]:
    """Return, by its place in a model's folder, what names each base: its key and section in the params."""
    return {f"{BASES}/{place}": (f"{key}.{place}", named) for place, named in experiment.bases().items()}


def answering_of(folder: Path) -> Path | None:
    """Return the folder of the model that writes the texts which an extractor's folder reads; None where none does."""
    return folder / ANSWERING if (folder / ANSWERING).is_dir() else None


def save_model(
    folder: Path,
    config: ModelConfig,
    weights: dict[str, Tensor],
    feature_folders: dict[str, Path],
    columns: dict[str, str],
) -> None:
    """Write the model, and beside it what turns raw media into its features.

    `columns` are, by modality, those of the prepared rows that its media come from, but for texts that another
    experiment writes: its model comes with their extractor.
    """
    write_json(
        folder / MODEL,
        {
            "experiment": config.experiment.model_dump(exclude={"train", "init"}),
            "features": {modality: dataclasses.asdict(spec) for modality, spec in config.features.items()},
            "vocabularies": config.vocabularies,
            "columns": columns,
        },
    )
    contiguous = {key: value.contiguous() for key, value in weights.items()}
    (folder / WEIGHTS).write_bytes(save(contiguous))  # `save_file` would shut other users out, whatever the umask
    for place, base in config.bases.items():
        assert base.reference, "a model that was found is described"
        (folder / BASES / place).mkdir(parents=True)
        bases.write_reference(folder / BASES / place, base.reference)
    for modality, source in feature_folders.items():
        shutil.copytree(source, folder / modality, ignore=shutil.ignore_patterns(*NOT_OF_THE_EXTRACTOR))


def load_config(folder: Path) -> ModelConfig:
    """Read a model's configuration."""
    raw: dict[str, Any] = json.loads((folder / MODEL).read_text(encoding="utf8"))
    experiment = experiment_params(raw["experiment"] | {"train": {}})
    found = {m: raw["features"][m] for m in experiment.inputs.used()}  # JSON's order is another; that of parts counts
    features = {m: FeatureSpec(**spec | {"shape": tuple(spec["shape"])}) for m, spec in found.items()}
    named = {place: Base(folder / BASES / place) for place in experiment.bases()}
    return ModelConfig(experiment, features, raw["vocabularies"], named, {m: folder / m for m in features})


def columns_of(folder: Path) -> dict[str, str]:
    """Return, by modality, the column of the prepared rows that a model's media come from."""
    return json.loads((folder / MODEL).read_text(encoding="utf8"))["columns"]


def load_model(folder: Path, device: Device) -> Task:
    """Read a model, ready to predict; what is frozen of its bases is shared with other models in this process.

    Raises:
        InputError: when a base is missing or changed.
    """
    config = load_config(folder)
    found = {place: bases.locate(base.folder) for place, base in config.bases.items()}
    task = build(dataclasses.replace(config, bases=found, shared_on=device.device))
    task.load_state_dict(load_file(folder / WEIGHTS))
    return task.to(device.device).eval()


def read_answers(folder: Path) -> dict[str, str]:
    """Return the texts of a features artifact by sample id; nothing where its texts are the source's."""
    if not (folder / ANSWERS).exists():
        return {}
    table = pq.read_table(folder / ANSWERS, columns=["sample_id", "text"])
    return {sample_id: text for sample_id, text in zip(*(c.to_pylist() for c in table.columns), strict=True) if text}
