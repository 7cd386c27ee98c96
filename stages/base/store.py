"""Artifact folders that are complete or absent.

A stage writes beside its place and moves the finished folder in, `manifest.json` last, under a lock; readers
refuse a folder without a manifest or with files of another size. No time, host, path or random id goes inside.
"""

import base64
import contextlib
import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from stages.base.errors import InputError

ARTIFACTS = Path("artifacts")
SCRATCH = Path(".fuseline")  # caches, partial downloads, checkpoints, locks, lists of failed runs: never tracked
BASES_PLACE = "FUSELINE_BASES"  # environment variable that names another place for pretrained models
MANIFEST = "manifest.json"
SCHEMA_VERSION = 1

# The files that one stage writes and another reads.
VOCABULARY = "vocabulary.json"
FIELDS_FILE = "fields.json"
USERS_FILE, USER_COLUMNS = "users.parquet", "user_fields.json"  # what is told of who rates
QUARANTINE_FILE = "quarantine.parquet"
FEATURES = "features.npy"
INDEX = "index.parquet"
ANSWERS = "answers.parquet"  # texts that an experiment wrote, of all samples, in a features artifact
CURVES = "curves.csv"
METRICS = "metrics.json"
PREDICTIONS = "predictions.parquet"
VERSION_FILE = "version.json"
START_MODEL = "model"  # folder, beside a VERSION_FILE, of the champion that a training starts from

SPLITS = ("train", "val", "test")
MEDIA = ("image", "audio", "video")  # modalities whose samples are encoded bytes
FIELDS = "fields"  # the modality whose samples are cells of a table
USER_FIELDS = "user_fields"  # such cells of who rates
MEDIA_TYPES = {b"\x89PNG": "image/png", b"\xff\xd8": "image/jpeg", b"RIFF": "audio/wav", b"fLaC": "audio/flac"}
MATROSKA = b"\x1aE\xdf\xa3"


def media_type(data: bytes) -> str:
    """Return the media type of an image, a sound or a video, as `prepare` writes them."""
    if data[4:8] == b"ftyp":
        return "video/mp4"
    if data.startswith(MATROSKA):
        return "video/webm" if b"webm" in data[:64] else "video/x-matroska"
    return next((kind for start, kind in MEDIA_TYPES.items() if data.startswith(start)), "application/octet-stream")


def data_url(data: bytes) -> str:
    """Return an image or a sound as a URL that holds it, for pages of one file."""
    return f"data:{media_type(data)};base64,{base64.b64encode(data).decode()}"


@dataclass
class Draft:
    """An artifact being written: `folder` for its files, the rest for its manifest."""

    folder: Path
    counts: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)


def artifact_path(stage: str, name: str) -> Path:
    """Return the place of a stage's artifact."""
    return ARTIFACTS / stage / name


def bases_folder() -> Path:
    """Return where this machine keeps pretrained models by digest: of the project, else of the user."""
    if named := os.environ.get(BASES_PLACE):
        return Path(named)
    if SCRATCH.is_dir():
        return SCRATCH / "bases"
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "fuseline" / "bases"


def start_version(name: str, root: Path = Path()) -> int | None:
    """Return the version of its own model that an experiment's next training starts from, or None."""
    path = root / artifact_path("start", name) / VERSION_FILE
    return json.loads(path.read_text(encoding="utf8"))["version"] if path.exists() else None


@contextlib.contextmanager
def writing(stage: str, name: str, params: dict[str, Any]) -> Iterator[Draft]:
    """Yield a draft and, if the block ends well, put it in its place as one complete artifact.

    A second writer of the same artifact waits for the first. What a killed writer left is removed.
    """
    final = artifact_path(stage, name)
    partial = final.with_name(f".{name}.partial")
    with locked(f"{stage}-{name}"):
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        try:
            draft = Draft(partial)
            yield draft
            write_json(partial / MANIFEST, _manifest(stage, name, params, draft))
            replace_folder(partial, final)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT) and not error.filename:
                raise OSError(error.errno, error.strerror, str(final)) from error
            raise
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _manifest(stage: str, name: str, params: dict[str, Any], draft: Draft) -> dict[str, Any]:
    files = sorted(path for path in draft.folder.rglob("*") if path.is_file())
    return {
        "schema_version": SCHEMA_VERSION,
        "stage": stage,
        "name": name,
        "params": params,
        "counts": draft.counts,
        "settings": draft.settings,
        "files": {
            path.relative_to(draft.folder).as_posix(): {
                "sha256": sha256_file(path),
                "bytes": path.stat().st_size,
            }
            for path in files
        },
    }


def replace_folder(source: Path, target: Path) -> None:
    """Move a folder into a place that may hold an older one; a kill in between leaves the place empty."""
    old = target.with_name(f".{target.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        os.replace(target, old)
    os.replace(source, target)
    shutil.rmtree(old, ignore_errors=True)


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of a complete artifact.

    Raises:
        InputError: when the folder has no whole manifest, another schema version, or files of another size.
    """
    again = f"remove {folder} and run `dvc repro`"
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf8"))
        version = manifest["schema_version"]
    except FileNotFoundError:
        raise InputError(f"{folder}: no complete artifact there; run `dvc repro` to make it") from None
    except (ValueError, LookupError, TypeError) as error:
        raise InputError(f"{folder / MANIFEST} is damaged ({error}); {again}") from None
    if version != SCHEMA_VERSION:
        raise InputError(f"{folder}: written with schema version {version}, this code reads {SCHEMA_VERSION}; {again}")
    for name, entry in manifest["files"].items():
        path = folder / name
        size = path.stat().st_size if path.exists() else None
        if size != entry["bytes"]:
            found = "is missing" if size is None else f"has {size} bytes"
            raise InputError(f"{path} {found}, the manifest says {entry['bytes']}; {again}")
    return manifest


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold a lock of the project by name; say so when another process has it, and wait."""
    path = SCRATCH / "locks" / f"{name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        say(f"another process is writing {name}; waiting for it to end")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def dvc_locked(root: Path, name: str = "lock") -> Iterator[None]:
    """Hold one of the locks that DVC holds when it writes its own files: `lock`, or `rwlock.lock`.

    `root` is the folder of a DVC project. Waits for whoever has the lock.
    """
    from dvc.config import Config
    from dvc.lock import make_lock

    folder = root / ".dvc"
    (folder / "tmp").mkdir(exist_ok=True)
    hard = Config(str(folder.resolve()))["core"].get("hardlink_lock", False)
    with make_lock(str(folder / "tmp" / name), str(folder / "tmp"), hardlink_lock=hard, wait=True):
        yield


def reserve(path: Path, num_bytes: int) -> None:
    """Give a file this size with room on the disk: a disk found full later would crash a memory map.

    Raises:
        OSError: ENOSPC or EDQUOT, naming the file, when there is no room; nothing is left.
    """
    with path.open("ab") as file:
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, num_bytes)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):  # others: the file system cannot reserve
                path.unlink()
                raise OSError(error.errno, error.strerror, str(path)) from None


def say(line: str) -> None:
    """Print a line for the person who watches, at once."""
    print(line, flush=True)  # noqa: T201


def sha256_file(path: Path) -> str:
    """Return the hex digest of a file, read in chunks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(value: object) -> str:
    """Return the hex digest of a JSON value, independent of key order."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def write_json(path: Path, value: object) -> None:
    """Write a JSON file that is the same bytes for the same value, whole or not at all."""
    write_text(path, json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text as UTF-8, as `write_bytes` does."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, data: bytes | memoryview) -> None:
    """Write a file, whole or not at all.

    Raises:
        OSError: naming the file, such as ENOSPC when the disk is full; an older file stays.
    """
    partial = path.with_name(f"{path.name}.partial")
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    finally:
        partial.unlink(missing_ok=True)
