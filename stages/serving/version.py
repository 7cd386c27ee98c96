"""A registered version as the server holds it: its files, its own code, and what answers.

A version brings the code it was trained with, and several versions live in one process. So each one's package
`stages` is imported under a name made of its digest, its imports of itself rewritten; equal code is shared.
"""

import hashlib
import importlib
import json
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

from stages.base.errors import InputError
from stages.registry.lineage import PREFIX

CODE = "code/stages"
GALLERY = "gallery.parquet"
IMPORTS_ITSELF = re.compile(rb"^(\s*(?:from|import) )stages\b", re.MULTILINE)
NOT_LINEAGE = ("decision", "digest", "headline", "task")  # of a version's tags: shown elsewhere, or not at all

_packages: list[tempfile.TemporaryDirectory[str]] = []  # one folder, made when the first version comes


@dataclass(frozen=True)
class Input:
    """One input of a model."""

    name: str
    required: bool


@dataclass(frozen=True)
class Card:
    """What people see of a version."""

    name: str
    version: str
    alias: str | None
    task: str
    inputs: tuple[Input, ...]
    target: str | None
    score: dict[str, Any] | None
    lineage: dict[str, str]
    run_id: str | None
    searchable: bool
    max_audio_seconds: float


@dataclass
class Version:
    """A version that can answer."""

    card: Card
    predictor: Any
    gallery: Any
    wrong_input: type[Exception]  # the version's own InputError
    folder: tempfile.TemporaryDirectory[str] | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Place:
    """Where a version is: its name and number in the registry, and the alias that led there."""

    name: str
    version: str
    alias: str | None = None

    def __str__(self) -> str:
        """Return it as people write it."""
        return f"{self.name} {self.version}" + (f" ({self.alias})" if self.alias else "")


def load_version(mlflow_client: Any, place: Place) -> Version:
    """Bring a version's files here and make it ready.

    Raises:
        InputError: when it is no model of this project.
    """
    from mlflow.artifacts import download_artifacts

    found = mlflow_client.get_model_version(place.name, place.version)
    kept = tempfile.TemporaryDirectory(prefix=f"fuseline-{place.name}-")
    try:
        uri = f"models:/{place.name}/{place.version}"
        folder = Path(download_artifacts(artifact_uri=uri, dst_path=kept.name))
        tags = {key.removeprefix(PREFIX): text for key, text in found.tags.items() if key.startswith(PREFIX)}
        metrics = mlflow_client.get_run(found.run_id).data.metrics if found.run_id else {}
        return _open(folder, place, tags | {"run_id": found.run_id or ""}, metrics, kept)
    except BaseException:
        kept.cleanup()
        raise


def load_folder(folder: Path) -> Version:
    """Make ready a model folder that was copied out of the registry."""
    return _open(folder, Place(folder.resolve().name, "0"), {}, {}, None)


def _open(folder: Path, place: Place, tags: dict[str, str], metrics: dict[str, float], kept: Any) -> Version:
    from mlflow.models import Model

    files = _files(folder)
    settings = json.loads(files["settings"].read_text(encoding="utf8"))
    package = import_code(folder / CODE)
    predictor = _predictor(package, files["model"], settings)
    if not hasattr(predictor, "read"):
        raise InputError(f"{place}: its own code is from before there was a server; train and register it again")
    experiment = predictor.task.config.experiment
    gallery = None
    if "gallery" in files:
        gallery = _module(package, "packaging.gallery").Gallery(files["gallery"], predictor)
    card = Card(
        name=place.name,
        version=place.version,
        alias=place.alias,
        task=experiment.task,
        inputs=tuple(Input(spec.name, spec.required) for spec in Model.load(str(folder)).get_input_schema().inputs),
        target=getattr(experiment, "target", None),
        score=_score(tags, metrics),
        lineage={key: text for key, text in sorted(tags.items()) if key not in (*NOT_LINEAGE, "run_id")},
        run_id=tags.get("run_id"),
        searchable=gallery is not None,
        max_audio_seconds=settings["max_audio_seconds"],
    )
    return Version(card, predictor, gallery, _module(package, "base.errors").InputError, kept)


def _files(folder: Path) -> dict[str, Path]:
    """Return the files and folders that travel with a model, by name."""
    path = folder / "MLmodel"
    try:
        described = yaml.safe_load(path.read_text(encoding="utf8"))
        artifacts = described["flavors"]["python_function"]["artifacts"]
        files = {name: folder / entry["path"] for name, entry in artifacts.items()}
    except (OSError, LookupError, TypeError, yaml.YAMLError):
        files = {}
    if not {"model", "settings"} <= files.keys() or not (folder / CODE).is_dir():
        raise InputError(
            f"{folder}: not a model that `register` logged: its MLmodel, model, settings or code is missing"
        )
    return files


def _predictor(package: ModuleType, folder: Path, settings: dict[str, Any]) -> Any:
    params, predictor = _module(package, "params"), _module(package, "packaging.predictor")
    device = _module(package, "base.device").set_up(params.BaseParams(**settings["base"]))
    limits = {key: settings[key] for key in ("max_image_megapixels", "max_audio_seconds")}
    return predictor.Predictor.load(
        folder, predictor.PredictSettings(params.EvaluateParams(**settings["evaluate"]), **limits), device
    )


def _score(tags: dict[str, str], metrics: dict[str, float]) -> dict[str, Any] | None:
    metric = tags.get("headline", "")
    value = metrics.get(f"test_{metric}")
    return None if value is None else {"metric": metric, "value": value}


def import_code(folder: Path) -> ModuleType:
    """Import a package `stages` under a name of its own; equal code is imported once."""
    files = {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*.py"))}
    digest = hashlib.sha256()
    for name, data in files.items():
        digest.update(name.as_posix().encode() + b"\0" + hashlib.sha256(data).digest())
    package = f"stages_{digest.hexdigest()[:16]}"
    if package in sys.modules:
        return sys.modules[package]
    if not _packages:
        _packages.append(tempfile.TemporaryDirectory(prefix="fuseline-code-"))
        sys.path.append(_packages[0].name)
    target = Path(_packages[0].name) / package
    shutil.copytree(folder, target, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    for name, data in files.items():
        (target / name).write_bytes(IMPORTS_ITSELF.sub(rb"\1" + package.encode(), data))
    importlib.invalidate_caches()
    return importlib.import_module(package)


def _module(package: ModuleType, name: str) -> Any:
    return importlib.import_module(f"{package.__name__}.{name}")
