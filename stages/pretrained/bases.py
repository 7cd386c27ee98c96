"""Bases: pretrained models that others stand on, kept once and found by the digest of their files.

A base is a folder with a model's files and `base.json`, which names them with their sha256. `base.json` alone is a
reference: it stands in a trained model's folder where the files would, and the files lie in this machine's store,
`<store>/<digest>`, or in the registry (`registry.bases`). Folders from before that have the files and no `base.json`.
"""

import contextlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from filelock import FileLock
from ruamel.yaml import YAML, YAMLError

from stages.base.errors import InputError
from stages.base.store import BASES_PLACE, SCRATCH, bases_folder, digest, sha256_file, write_json

REFERENCE = "base.json"
UNKNOWN = "unknown, see the model's page"
_FRONT = re.compile(r"\A---\n(.*?)\n---", re.DOTALL)  # of a model card


class Named(Protocol):
    """A section of params.yaml that names a model."""

    model: str
    revision: str


@dataclass(frozen=True)
class Reference:
    """What `base.json` says of a base."""

    model: str
    """Its name on the hub, or that of the folder which it came from."""
    revision: str
    licence: str
    files: dict[str, dict[str, Any]]
    """By name, `sha256` and `bytes`."""

    @property
    def digest(self) -> str:
        """What names the bytes of all files."""
        return digest({name: entry["sha256"] for name, entry in self.files.items()})

    @property
    def num_bytes(self) -> int:
        """The bytes of all files."""
        return sum(entry["bytes"] for entry in self.files.values())

    def __str__(self) -> str:
        """Return it as messages name it."""
        return f"base {self.digest[:12]} ({self.model})"


@dataclass(frozen=True)
class Base:
    """A base's folder, and what it is; None for one from before there were references."""

    folder: Path
    reference: Reference | None = None


def find(named: Named) -> Base:
    """Return the model that a section names, fetched where it is not yet there.

    Raises:
        InputError: when it cannot be had.
    """
    from stages.pretrained import huggingface  # it needs torch, which doors that only look at references do without

    folder = huggingface.fetch(named.model, named.revision)
    name = Path(named.model).name if Path(named.model).is_dir() else named.model
    files = {
        path.name: {"sha256": sha256_file(path), "bytes": path.stat().st_size} for path in huggingface.files(folder)
    }
    return Base(folder, Reference(name, named.revision, _licence(folder, folder / huggingface.CARD), files))


def _licence(folder: Path, card: Path) -> str:
    """Return the licence that a model's card or config states."""
    with contextlib.suppress(OSError, YAMLError, AttributeError):
        front = _FRONT.match(card.read_text(encoding="utf8"))
        if front and (stated := YAML(typ="safe").load(front[1]).get("license")):
            return str(stated)
    with contextlib.suppress(OSError, ValueError, AttributeError):
        if stated := json.loads((folder / "config.json").read_text(encoding="utf8")).get("license"):
            return str(stated)
    return UNKNOWN


def keep(base: Base) -> None:
    """Put a base that `find` gave into the project's store, where it is not there yet.

    Files of the hub's cache, which nobody edits, become hard links; others are copied, by reference where the file
    system can.

    Raises:
        InputError: when the files are changed meanwhile.
    """
    assert base.reference, "a model that was found is described"
    SCRATCH.mkdir(exist_ok=True)
    with filling(base.reference, str(base.folder)) as partial:
        for name in base.reference.files if partial else ():
            _bring(base.folder / name, partial / name)  # type: ignore[operator]


@contextlib.contextmanager
def filling(reference: Reference, source: str) -> Iterator[Path | None]:
    """Yield a folder to bring a base's files into; if the block ends well and they are right, they are in the store.

    None where they are there already. What a killed process left is removed; a second process waits.

    Raises:
        InputError: when a file is another than the reference says, naming it and the source.
    """
    place = bases_folder() / reference.digest
    partial = place.with_name(f".{place.name}.partial")
    bases_folder().mkdir(parents=True, exist_ok=True)
    with FileLock(place.with_name(f".{place.name}.lock")):
        if place.is_dir():
            yield None
            return
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        try:
            yield partial
            if fault := _fault(partial, reference):
                raise InputError(f"{reference}: {fault} in {source}; put the right file there")
            write_reference(partial, reference)
            os.replace(partial, place)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _bring(source: Path, target: Path) -> None:
    if source.is_symlink():  # of the hub's cache, to a file named by its digest
        with contextlib.suppress(OSError):
            os.link(source.resolve(), target)
            return
    with contextlib.suppress(OSError, AttributeError), source.open("rb") as old, target.open("wb") as new:
        while os.copy_file_range(old.fileno(), new.fileno(), 2**30):
            pass
        return
    shutil.copyfile(source, target)


def read_reference(folder: Path) -> Reference | None:
    """Return what a folder's `base.json` says; None where there is none."""
    path = folder / REFERENCE
    return Reference(**json.loads(path.read_text(encoding="utf8"))) if path.is_file() else None


def write_reference(folder: Path, reference: Reference) -> None:
    """Write `base.json`."""
    write_json(folder / REFERENCE, asdict(reference))


def references(folder: Path) -> dict[Path, Reference]:
    """Return what stands below a trained model's folder in the place of files, by the folders it stands in."""
    found = {path.parent: read_reference(path.parent) for path in sorted(folder.rglob(REFERENCE))}
    return {place: base for place, base in found.items() if base and not _has_files(place, base)}


def _has_files(folder: Path, reference: Reference) -> bool:
    return any((folder / name).is_file() for name in reference.files)


def locate(folder: Path) -> Base:
    """Return the base that a trained model's folder carries or refers to, with where its files are.

    Raises:
        InputError: when the store does not have it.
    """
    reference = read_reference(folder)
    if reference is None or _has_files(folder, reference):
        return Base(folder, reference)
    if is_stored(reference):
        return Base(bases_folder() / reference.digest, reference)
    raise missing(reference, ())


def put_files(folder: Path) -> None:
    """Put the files of the store in the place of each reference below a trained model's folder.

    Raises:
        InputError: when the store does not have a base, or a file of it is changed.
    """
    for place, reference in references(folder).items():
        base = locate(place)
        for name in reference.files:
            shutil.copyfile(base.folder / name, place / name)
        verify(place)


def is_stored(reference: Reference) -> bool:
    """Tell whether the store has a base."""
    return (bases_folder() / reference.digest).is_dir()


def missing(reference: Reference, elsewhere: Iterable[str]) -> InputError:
    """Return the error of a base that is nowhere; `elsewhere` is where it was looked for beside the store."""
    looked = ", ".join([f"not in {bases_folder().absolute()} ({BASES_PLACE} names another place)", *elsewhere])
    return InputError(
        f"{reference}, digest {reference.digest}, is missing: {looked}. Bring it there: run the stage that made the "
        "model where its files are, or copy that folder of the store; a model that must do without store and registry "
        "is made by `python -m stages.register <name> --pack FOLDER`"
    )


def verify(folder: Path, weights: bool = True) -> None:
    """Compare a base's files with its `base.json`, where it has one; without `weights` only the small ones.

    Raises:
        InputError: naming the first file that is missing or another.
    """
    reference = read_reference(folder)
    if reference and (fault := _fault(folder, reference, weights)):
        is_kept = folder.parent == bases_folder()
        remedy = f"remove {folder.absolute()} and run the command again, which brings the base anew"
        raise InputError(f"{reference}: {fault} in {folder.absolute()}; {remedy if is_kept else 'pack the model anew'}")


def _fault(folder: Path, reference: Reference, weights: bool = True) -> str:
    """Say which file is missing or another; empty where all are right."""
    for name, entry in reference.files.items():
        path = folder / name
        if not path.is_file():
            return f"its file {name} is missing"
        if (weights or path.suffix != ".safetensors") and (found := sha256_file(path)) != entry["sha256"]:
            return f"its file {name} is changed (sha256 {found[:12]}, trained on was {entry['sha256'][:12]})"
    return ""


def bring(folder: Path, named: Mapping[str, tuple[str, Named]]) -> None:
    """Put the bases that a trained model refers to into the store, where they are not, from what the params name.

    `named` are, by place below the model's folder, the keys of params.yaml and their sections; other places are left.

    Raises:
        InputError: when a section names another model now, or one that cannot be had.
    """
    for place, reference in references(folder).items():
        key, section = named.get(place.relative_to(folder).as_posix(), ("", None))
        if section is None or is_stored(reference):
            continue
        try:
            base = find(section)
        except InputError as error:
            raise missing(reference, [f"{key}.model: {section.model}: {error}"]) from None
        if base.reference and base.reference.digest != reference.digest:
            raise missing(reference, [f"{key}.model: {section.model} is {base.reference} now"])
        keep(base)
