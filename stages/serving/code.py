"""A version's own code, beside that of others in one process.

A version brings the code it was trained with. Its package `stages` is imported under a name made of its digest, its
imports of itself rewritten; equal code is shared.
"""

import hashlib
import importlib
import importlib.util
import re
import shutil
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

IMPORTS_ITSELF = re.compile(rb"^(\s*(?:from|import) )stages\b", re.MULTILINE)

_packages: list[tempfile.TemporaryDirectory[str]] = []  # one folder, made when the first version comes


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


def module(package: ModuleType, room: str, name: str) -> Any:
    """Return a module of a version's code; in versions from before there were rooms, all lie in one folder."""
    has_rooms = importlib.util.find_spec(f"{package.__name__}.{room}") is not None
    return importlib.import_module(f"{package.__name__}.{room}.{name}" if has_rooms else f"{package.__name__}.{name}")


def open_model(package: ModuleType, folder: Path, settings: dict[str, Any]) -> Any:
    """Return the predictor of a version's model folder, made by its own code."""
    predictor = module(package, "packaging", "predictor")
    if hasattr(predictor, "open_model"):
        return predictor.open_model(folder, settings)
    params = importlib.import_module(f"{package.__name__}.params")
    device = module(package, "base", "device").set_up(params.BaseParams(**settings["base"]))
    limits = {key: settings[key] for key in ("max_image_megapixels", "max_audio_seconds")}
    evaluate = params.EvaluateParams(**settings["evaluate"])
    return predictor.Predictor.load(folder, predictor.PredictSettings(evaluate, **limits), device)
