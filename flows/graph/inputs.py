"""What DVC would meet before any stage, and say in its own words: names and files that it cannot take."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from flows.graph.dvc_stages import StageError
from stages.params import NONE, Inputs, wrong_inits, wrong_names

DATA = Path("data")
READ_BY_DVC = {  # of each entry of a section of params.yaml, where the stages have defaults and DVC has none
    "datasets": ("folder",),
    "features": ("dataset", "answers"),
    "experiments": ("dataset", "init", *(f"inputs.{modality}" for modality in Inputs.model_fields)),
}
MOST_NAMED = 5


def check_inputs(root: Path) -> None:
    """Look at the project's folder, the names in params.yaml, and what lies in the folders that DVC is to watch.

    Raises:
        StageError: naming what DVC cannot take, and the remedy.
    """
    if not os.access(root, os.W_OK):
        raise StageError("writing here", f"{root} is read-only for this user: copy the project to where it is not")
    params = _read(root / "params.yaml")
    lines = [line for key in READ_BY_DVC for line in wrong_names(key, params.get(key) or {})]
    experiments = params.get("experiments") or {}
    inits = {
        str(name): str(values.get("init", NONE)) for name, values in experiments.items() if isinstance(values, dict)
    }
    if lines := lines or list(wrong_inits(inits)) or list(_missing(params)):
        raise StageError("reading params.yaml", "\n".join(lines).strip())
    for name, section in (params.get("datasets") or {}).items():
        folder = section.get("folder", NONE) if isinstance(section, dict) else NONE
        if folder != NONE:
            _check_folder(root, name, DATA / str(folder))


def _read(path: Path) -> dict[str, Any]:
    """Return the params; nothing where they cannot be read, which DVC or a stage then says."""
    try:
        raw = YAML(typ="safe").load(path.read_text(encoding="utf8"))
    except (OSError, YAMLError, ValueError):
        return {}
    return raw if isinstance(raw, dict) else {}


def _missing(params: dict[str, Any]) -> Iterator[str]:
    """Yield, for each key of `READ_BY_DVC` that an entry lacks, what to add."""
    for section, keys in READ_BY_DVC.items():
        for name, values in (params.get(section) or {}).items():
            for key in keys if isinstance(values, dict) else ():
                *path, last = key.split(".")
                within: Any = values
                for part in path:
                    within = within.get(part, {})
                if isinstance(within, dict) and last not in within:
                    value = "the name of a data set" if last == "dataset" else NONE
                    yield f"params.yaml: {section}.{name}.{key} is missing, which dvc.yaml reads: add `{last}: {value}`"


def _check_folder(root: Path, name: str, folder: Path) -> None:
    if not (root / folder).exists():
        raise StageError(f"reading {folder}", f"there is no such folder: put your files there (datasets.{name}.folder)")
    faults = list(faults_in(str(root / folder), str(folder)))
    if faults:
        more = [f"and {len(faults) - MOST_NAMED} more"] if len(faults) > MOST_NAMED else []
        raise StageError(f"reading {folder}", "\n  ".join(["", *faults[:MOST_NAMED], *more]))


def faults_in(place: str, shown: str, above: tuple[tuple[int, int], ...] = ()) -> Iterator[str]:
    """Yield what DVC cannot read below a folder, each with its remedy; links are followed, as DVC does.

    Args:
        place: The folder.
        shown: What it is called in messages.
        above: The folders that it lies in, by device and inode.
    """
    try:
        entries = sorted(os.scandir(place), key=lambda entry: entry.name)
    except NotADirectoryError:
        return
    except OSError as error:
        yield f"{shown}: {error.strerror}: let this user read it"
        return
    found = os.stat(place)
    above = (*above, (found.st_dev, found.st_ino))
    for entry in entries:
        fault = _fault(entry, above)
        path = f"{shown}/{entry.name}"
        if fault:
            yield f"{ascii(path) if _is_odd(entry.name) else path}: {fault}"
        elif entry.is_dir():
            yield from faults_in(entry.path, path, above)


def _is_odd(name: str) -> bool:
    return any("\ud800" <= letter <= "\udfff" for letter in name)  # how Python shows bytes that are not UTF-8


def _fault(entry: "os.DirEntry[str]", above: tuple[tuple[int, int], ...]) -> str:
    """Return what is wrong with an entry; empty where nothing is."""
    if _is_odd(entry.name):
        return "its name is not UTF-8, as in old archives: rename it"
    if entry.is_dir():
        if entry.is_symlink() and (entry.stat().st_dev, entry.stat().st_ino) in above:
            return "it links back to a folder that it lies in: remove it"
        return ""
    if entry.is_file():
        return "" if os.access(entry.path, os.R_OK) else "this user may not read it: chmod it, or move it away"
    if entry.is_symlink() and not os.path.exists(entry.path):
        return f"it links to {os.readlink(entry.path)}, which is not there: remove it, or put the file there"
    kind = "fifo" if stat.S_ISFIFO(entry.stat().st_mode) else "socket or device"
    return f"it is a {kind} and no file: move it away"
