"""The key of a training: a digest of all that decides its weights, for checkpoints and to find its run again."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from stages.base.store import MANIFEST, START_MODEL, artifact_path, digest, read_manifest, sha256_file, start_version
from stages.params import NONE, ExperimentBase

STAGES = Path(__file__).parents[1]
ENTRY = STAGES / "train.py"


@dataclass(frozen=True)
class Start:
    """A trained model to begin with: another experiment's, for its encoders, or a version of its own."""

    experiment: str
    version: int | None
    folder: Path


def start_of(name: str, experiment: ExperimentBase) -> Start | None:
    """Return what a training begins with: what retraining has put there, else what the params say; None for nothing."""
    version = start_version(name)
    if version is not None:
        return Start(name, version, artifact_path("start", name) / START_MODEL)
    if experiment.init != NONE:
        return Start(experiment.init, None, artifact_path("train", experiment.init))
    return None


def training_key(used: dict[str, Any], dataset: str, inputs: dict[str, str], start: Start | None = None) -> str:
    """Return a digest of params, inputs, what it starts from, and the code that training imports.

    Args:
        used: The params that training reads.
        dataset: A data set that is prepared.
        inputs: Names of features that are there, by modality.
        start: What it begins with.
    """
    artifacts = [
        artifact_path("prepare", dataset),
        *(artifact_path("features", name) for name in inputs.values()),
        *([start.folder] if start else []),
    ]
    for folder in artifacts:
        read_manifest(folder)
    return digest(
        {
            "params": used,
            "inputs": [sha256_file(folder / MANIFEST) for folder in artifacts],
            "code": {path.relative_to(STAGES).as_posix(): sha256_file(path) for path in sorted(imported_files(ENTRY))},
        }
    )


def imported_files(entry: Path) -> set[Path]:
    """Return the files of `stages/` that running one of them can import, itself included.

    Imports count wherever they stand, also in functions and for types alone; of a package its `__init__.py`.
    """
    found, waiting = {entry}, [entry]
    while waiting:
        new = _imports(waiting.pop()) - found
        found |= new
        waiting += new
    return found


@cache
def _imports(path: Path) -> frozenset[Path]:
    return frozenset(_imported(path))


def _imported(path: Path) -> Iterator[Path]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.module, f"{path}: a relative import"
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            package, *parts = name.split(".")
            if package == STAGES.name:
                yield from _files(parts)


def _files(parts: list[str]) -> Iterator[Path]:
    """Yield the module of a dotted name where it is one, and the packages above it."""
    place = STAGES.joinpath(*parts)
    if parts and (module := place.with_suffix(".py")).exists():
        yield module
    for folder in (place, *place.parents):
        if not folder.is_relative_to(STAGES) or folder == STAGES:
            return
        if (init := folder / "__init__.py").exists():
            yield init
