"""What MLflow keeps of a trained model: one run with its numbers and files, and the model as code."""

import csv
import json
import re
import tempfile
from collections.abc import Iterator
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

from stages.base.store import CURVES, FIELDS, METRICS, artifact_path, digest, read_manifest, write_json
from stages.base.tracking import KEY_TAG, experiment_id, find_run, log_params
from stages.extractors.batches import media_of
from stages.models.model import ANSWERING, named_bases
from stages.models.tasks import task_of
from stages.packaging.gallery import fields_text
from stages.packaging.searched import searched_files
from stages.params import Params
from stages.pretrained.bases import bring
from stages.registry.bases import upload_bases
from stages.registry.lineage import DIGEST_TAG, lineage_tags
from stages.registry.lineage_files import LINEAGE, write_lineage

MAX_NAME_CHARS = 250  # of a metric, in MLflow
REQUIREMENTS = (
    "av",
    "faiss-cpu",
    "filelock",
    "jinja2",
    "jiwer",
    "mlflow",
    "nltk",
    "numpy",
    "pandas",
    "pillow",
    "pyarrow",
    "pydantic",
    "regex",
    "ruamel.yaml",
    "safetensors",
    "scikit-learn",
    "scipy",
    "soundfile",
    "torch",
    "torchmetrics",
    "torchvision",
)


def log_bases(mlflow_client: Any, params: Params, name: str) -> None:
    """Log the pretrained models that the trained one stands on, those that the registry lacks."""
    trained = artifact_path("train", name)
    bring(trained, _named(params, name))
    upload_bases(mlflow_client, trained)


def log_run(mlflow_client: Any, params: Params, name: str) -> str:
    """Log metrics and files to the run of this version; return its id."""
    import mlflow

    tags = lineage_tags(params, name)
    run = _own_run(mlflow_client, name, tags[DIGEST_TAG])
    evaluated = artifact_path("evaluate", name)
    metrics = json.loads((evaluated / METRICS).read_text(encoding="utf8"))
    metrics.pop("settings")
    with mlflow.start_run(run_id=run.info.run_id), tempfile.TemporaryDirectory() as folder:
        mlflow.log_metrics(metric_names(metrics))
        mlflow.set_tags(tags)
        mlflow.log_artifacts(str(evaluated), "evaluate")
        write_lineage(Path(folder), params, name, _packages(params, name))
        mlflow.log_artifacts(folder, LINEAGE)
        _log_curves(mlflow, mlflow_client, name, run.info.run_id)
    return run.info.run_id


def _own_run(mlflow_client: Any, name: str, digest: str) -> Any:
    """Return the training's live run, or a new one where it is lost or belongs to a version evaluated otherwise."""
    manifest = read_manifest(artifact_path("train", name))
    key = manifest["settings"]["train_key"]
    run = find_run(mlflow_client, name, key)
    if run is not None and run.data.tags.get(DIGEST_TAG, digest) == digest:
        return run
    run = mlflow_client.create_run(experiment_id(mlflow_client, name), run_name=name, tags={KEY_TAG: key})
    log_params(mlflow_client, run.info.run_id, manifest["params"])
    return run


def metric_names(metrics: dict[str, Any]) -> dict[str, float]:
    """Return numbers by names that MLflow takes, whatever groups or kinds of question are called; none is lost.

    Nested keys are joined by slashes. A letter that MLflow refuses becomes `_`; a name that is too long, or stands for
    another number already, gets the start of its digest. metrics.json keeps the names as they are.
    """
    named: dict[str, float] = {}
    for keys, value in _numbers(metrics):
        name = "test_" + "/".join(_accepted(key) for key in keys)
        if name in named or len(name) > MAX_NAME_CHARS:
            name = f"{name[: MAX_NAME_CHARS - 9]}-{digest(keys)[:8]}"
        named[name] = value
    return named


def _numbers(values: dict[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], float]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _numbers(value, (*above, key))
        else:
            yield (*above, key), float(value)


def _accepted(key: str) -> str:
    """Return one key without what MLflow refuses, or reads as a path."""
    part = re.sub(r"[^\w.\- :]", "_", key)
    return part if part.strip(". ") else re.sub(r"[. ]", "_", part) or "_"


def _log_curves(mlflow: Any, mlflow_client: Any, name: str, run_id: str) -> None:
    """Log the curves that training could not send."""
    if mlflow_client.get_metric_history(run_id, "val_loss"):
        return
    with (artifact_path("train", name) / CURVES).open(encoding="utf8") as file:
        for row in csv.DictReader(file):
            step = int(row.pop("epoch"))
            mlflow.log_metrics({key: float(value) for key, value in row.items()}, step=step)


def create_version(mlflow_client: Any, params: Params, name: str, run_id: str) -> Any:
    """Log the model as code with its files, and make a version of it; its tags come last."""
    import mlflow

    with tempfile.TemporaryDirectory() as folder:
        settings = Path(folder) / "settings.json"
        write_json(
            settings,
            {
                "base": params.base.model_dump(),
                "evaluate": params.evaluate.model_dump(exclude={"recogniser"}),
                "max_image_megapixels": params.prepare.max_image_megapixels,
                "transparent_on": params.prepare.transparent_on,
                "max_audio_seconds": params.prepare.max_audio_seconds,
                "max_video_seconds": params.prepare.max_video_seconds,
                "max_video_megapixels": params.prepare.max_video_megapixels,
                "modalities": list(_inputs(params, name)),
            },
        )
        files, told = searched_files(params, name, Path(folder))
        signature, example = _signature(params, name)
        with mlflow.start_run(run_id=run_id):
            logged = mlflow.pyfunc.log_model(
                name="model",
                python_model=str(Path(__file__).with_name("served_model.py")),
                artifacts=files | {"settings": str(settings)},
                code_paths=[str(Path(__file__).parents[1])],
                signature=signature,
                input_example=example,
                pip_requirements=_requirements(params, name),
            )
    if not mlflow_client.search_registered_models(f"name = '{name}'"):
        mlflow_client.create_registered_model(name)
    tags = lineage_tags(params, name) | told
    return mlflow_client.create_model_version(name, logged.model_uri, run_id, tags, model_id=logged.model_id)


def _signature(params: Params, name: str) -> tuple[Any, Any]:
    """Return the signature, and one real sample as input example (media as base64, so that it can stand in JSON)."""
    import base64

    import pandas as pd
    from mlflow.models import ModelSignature
    from mlflow.types.schema import AnyType, Array, ColSpec, DataType, Schema

    experiment = params.experiments[name]
    columns = params.given_columns(name)
    sample = _first_whole_sample(experiment.dataset, set(columns.values()))
    media = {m: media_of(column, sample[column]) for m, column in columns.items()}
    values = {m: found[0] if found else None for m, found in media.items()}
    if values.get(FIELDS):
        values[FIELDS] = fields_text(artifact_path("prepare", experiment.dataset), sample[FIELDS])
    example = {m: base64.b64encode(v).decode() if isinstance(v, bytes) else v for m, v in values.items()}
    kinds: dict[str, Any] = {
        "string": DataType.string,
        "double": DataType.double,
        "strings": Array(DataType.string),
        "doubles": Array(DataType.double),
    }
    required = set(experiment.required()) - set(params.answering(name))
    inputs = Schema([ColSpec(AnyType(), m, required=m in required) for m in _inputs(params, name)])
    answers = task_of(experiment).answer_types
    outputs = Schema([ColSpec(kinds[kind], column, required=False) for column, kind in answers.items()])
    return ModelSignature(inputs, outputs), pd.DataFrame([example])


def _inputs(params: Params, name: str) -> list[str]:
    """Return what a version can be given: also texts that another model may write, and what else its task is told."""
    experiment = params.experiments[name]
    return [*params.given_columns(name), *params.answering(name), *task_of(experiment).beside(experiment)]


def _first_whole_sample(dataset: str, columns: set[str]) -> dict[str, Any]:
    """Return the first test sample that lacks nothing, or the first one."""
    import pyarrow.parquet as pq

    first: dict[str, Any] | None = None
    for path in sorted(artifact_path("prepare", dataset).glob("test-*.parquet")):
        for batch in pq.ParquetFile(path).iter_batches(64, columns=sorted(columns)):
            for row in batch.to_pylist():
                first = first or row
                if all(row.values()):
                    return row
    assert first is not None, "an evaluated model has test samples"
    return first


def _named(params: Params, name: str) -> dict[str, tuple[str, Any]]:
    """Return what the params name of each base, by its place in the trained model."""
    features = params.experiments[name].inputs.used().items()
    found = {modality: (f"features.{feature}", params.features[feature]) for modality, feature in features}
    for modality, other in params.answering(name).items():
        found |= {f"{modality}/{ANSWERING}/{place}": base for place, base in _named(params, other).items()}
    return found | named_bases(params.experiments[name], f"experiments.{name}")


def _packages(params: Params, name: str) -> list[str]:
    """Return what a version imports: with pretrained models of Hugging Face the extra packages too."""
    asked = [params.experiments[other] for other in (name, *params.answering(name).values())]
    learns = any(experiment.bases() for experiment in asked)
    features = [params.features[feature] for experiment in asked for feature in experiment.inputs.used().values()]
    reads = any(section.extractor == "huggingface" for section in features)
    return sorted([*REQUIREMENTS, *(["transformers"] if reads or learns else []), *(["peft"] if learns else [])])


def _requirements(params: Params, name: str) -> list[str]:
    return [f"{package}=={installed_version(package)}" for package in _packages(params, name)]
