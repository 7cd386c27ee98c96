"""A registered version as the server holds it: its files, what answers (by its own code), and what people see of it."""

import json
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from stages.base.errors import InputError
from stages.base.store import FIELDS, USER_FIELDS
from stages.registry.lineage import PREFIX
from stages.serving.code import import_code, module, open_model

CODE = "code/stages"
NOT_LINEAGE = ("decision", "digest", "headline", "task")  # of a version's tags: shown elsewhere, or not at all


@dataclass(frozen=True)
class Input:
    """One input of a model."""

    name: str
    required: bool
    fields: tuple[dict[str, Any], ...] = ()  # of fields, of a sample or a user, what each is


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
    num_items: int | None  # that can be recommended and liked; None where nothing is
    max_audio_seconds: float
    max_video_seconds: float | None  # None of versions from before there were videos


@dataclass
class Version:
    """A version that can answer."""

    card: Card
    predictor: Any
    gallery: Any
    posters: Any
    wrong_input: type[Exception]  # the version's own InputError
    folder: tempfile.TemporaryDirectory[str] | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Place:
    """Where a version is: its name and number in the registry, and the alias that led there."""

    name: str
    version: str
    alias: str | None = None
    folder: Path | None = None  # of one that was packed

    def __str__(self) -> str:
        """Return it as people write it."""
        return f"{self.name} {self.version}" + (f" ({self.alias})" if self.alias else "")


def load_version(mlflow_client: Any, place: Place) -> Version:
    """Bring a version's files here, where they are not, and make it ready.

    Raises:
        InputError: when it is no model of this project.
    """
    from mlflow.artifacts import download_artifacts

    if place.folder:
        return _open(place.folder, place, {}, {}, None)
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


def _open(folder: Path, place: Place, tags: dict[str, str], metrics: dict[str, float], kept: Any) -> Version:
    from mlflow.models import Model

    files = _files(folder)
    settings = json.loads(files["settings"].read_text(encoding="utf8"))
    package = import_code(folder / CODE)
    predictor = open_model(package, files["model"], settings)
    if not hasattr(predictor, "read"):
        raise InputError(f"{place}: its own code is from before there was a server; train and register it again")
    experiment = predictor.task.config.experiment
    gallery = None
    if "gallery" in files:
        gallery = module(package, "packaging", "gallery").Gallery(files["gallery"], predictor)
    posters = module(package, "packaging", "posters").Posters(files["posters"]) if "posters" in files else None
    shelf = getattr(predictor.task, "shelf", None)
    card = Card(
        name=place.name,
        version=place.version,
        alias=place.alias,
        task=experiment.task,
        inputs=tuple(
            Input(spec.name, spec.required, tuple(_fields_of(predictor, spec.name)))
            for spec in Model.load(str(folder)).get_input_schema().inputs
        ),
        target=getattr(experiment, "target", None),
        score=_score(tags, metrics),
        lineage={key: text for key, text in sorted(tags.items()) if key not in (*NOT_LINEAGE, "run_id")},
        run_id=tags.get("run_id"),
        searchable=gallery is not None,
        num_items=len(shelf.items) if shelf and hasattr(shelf, "find") else None,
        max_audio_seconds=settings["max_audio_seconds"],
        max_video_seconds=settings.get("max_video_seconds"),
    )
    return Version(card, predictor, gallery, posters, module(package, "base", "errors").InputError, kept)


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


def _fields_of(predictor: Any, name: str) -> list[dict[str, Any]]:
    """Return what an input of fields asks for; empty of other inputs."""
    if name == USER_FIELDS:
        return predictor.task.asked_of_users()
    return predictor.fields_asked() if name == FIELDS else []


def _score(tags: dict[str, str], metrics: dict[str, float]) -> dict[str, Any] | None:
    metric = tags.get("headline", "")
    value = metrics.get(f"test_{metric}")
    return None if value is None else {"metric": metric, "value": value}
