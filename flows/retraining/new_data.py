"""What is new of a data set: files in its folder under data/, and its upstream, an archive or a mirror.

DVC watches the folder itself; what it cannot see is an upstream that changed, for which the stage download is
forced. A fingerprint is noted under .fuseline/fingerprints/ once that stage has succeeded with it, so what a
killed run had only seen is new again. Of a file whose sha256 stands in params.yaml nothing is asked: it cannot
change.
"""

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import requests
from pydantic import TypeAdapter, ValidationError

from stages.base.addresses import Place, RemoteFile, places, shown
from stages.base.errors import InputError
from stages.base.store import SCRATCH, artifact_path, read_manifest, sha256_file, write_json
from stages.params import NONE, DatasetParams
from stages.raw.fetch import reason_of

FOLDER = SCRATCH / "fingerprints"
HEAD_TIMEOUT_S = (3.0, 5.0)  # to connect, to answer
NAMES_SHOWN = 3


@dataclass(frozen=True)
class FileMark:
    """A file that is at hand; it is read again only when its size or time differ from those noted."""

    bytes: int
    mtime_ns: int
    sha256: str


@dataclass(frozen=True)
class RemoteMark:
    """A file behind an address, as its server describes it; what the server does not say is None."""

    place: str
    bytes: int | None
    version: str | None
    """ETag, else Last-Modified."""


@dataclass(frozen=True)
class Fingerprint:
    """What was seen of a data set: its folder, by path, and its upstream, by file name."""

    folder: dict[str, FileMark] = field(default_factory=dict)
    mirror: dict[str, FileMark] = field(default_factory=dict)
    remote: dict[str, RemoteMark] = field(default_factory=dict)


@dataclass(frozen=True)
class Look:
    """A data set's fingerprint, and what differs from the one noted before."""

    dataset: str
    fingerprint: Fingerprint
    is_first: bool
    new: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    upstream: tuple[str, ...] = ()
    """Upstream files that are others than those downloaded: DVC would not fetch them again."""
    unknown: tuple[str, ...] = ()
    """Sentences on upstream files that could not be asked about."""

    def words(self) -> list[str]:
        """Return what is new in sentences; none when nothing is."""
        kinds = {"new": self.new, "changed": self.changed, "removed": self.removed}
        parts = [f"{len(names)} {kind} ({named(names)})" for kind, names in kinds.items() if names]
        if self.is_first and self.new:
            parts = [f"first look, {len(self.new)} files ({named(self.new)})"]
        if self.upstream:
            parts.append(f"changed upstream ({named(self.upstream)})")
        return [f"data set {self.dataset}: {', '.join(parts)}"] if parts else []


def named(names: Iterable[str]) -> str:
    """Return the first names, and how many there are beside them."""
    names = list(names)
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(names[:NAMES_SHOWN]) + more


def look(root: Path, name: str, section: DatasetParams) -> Look:
    """Take a data set's fingerprint and compare it with the noted one.

    Raises:
        InputError: The data set's section of params.yaml cannot be used.
    """
    noted = noted_fingerprint(root, name)
    before = noted or Fingerprint()
    folder = _file_marks(_watched(root, section.folder), before.folder)
    mirror, remote, unknown = _upstream(root, name, section, before)
    downloaded = _downloaded(root, name)
    both = folder.keys() & before.folder.keys()
    changed = [file for file, mark in mirror.items() if downloaded.get(file, {}).get("sha256") != mark.sha256]
    changed += [file for file, mark in remote.items() if _differs(mark, before.remote.get(file), downloaded.get(file))]
    return Look(
        dataset=name,
        fingerprint=Fingerprint(folder, mirror, remote),
        is_first=noted is None,
        new=tuple(sorted(folder.keys() - before.folder.keys())),
        changed=tuple(sorted(path for path in both if folder[path].sha256 != before.folder[path].sha256)),
        removed=tuple(sorted(before.folder.keys() - folder.keys())),
        upstream=tuple(file for file in changed if file in downloaded),
        unknown=tuple(unknown),
    )


def _watched(root: Path, folder: str) -> dict[str, Path]:
    """Return the files of a data set's own folder by their path below it."""
    if folder == NONE:
        return {}
    top = root / "data" / folder
    return {path.relative_to(top).as_posix(): path for path in sorted(top.rglob("*")) if path.is_file()}


def _file_marks(paths: dict[str, Path], noted: dict[str, FileMark]) -> dict[str, FileMark]:
    marks = {}
    for name, path in paths.items():
        try:
            stat, before = path.stat(), noted.get(name)
            same = before and (before.bytes, before.mtime_ns) == (stat.st_size, stat.st_mtime_ns)
            sha256 = before.sha256 if before and same else sha256_file(path)
        except FileNotFoundError:  # removed while we look
            continue
        marks[name] = FileMark(stat.st_size, stat.st_mtime_ns, sha256)
    return marks


def _upstream(
    root: Path, name: str, section: DatasetParams, before: Fingerprint
) -> tuple[dict[str, FileMark], dict[str, RemoteMark], list[str]]:
    """Return the marks of the upstream files in local mirrors, those behind addresses, and what is not known."""
    local: dict[str, Path] = {}
    remote: dict[str, RemoteMark] = {}
    unknown = []
    for file, candidates in _unpinned(root, name, section):
        reasons = []
        for place in candidates:
            if isinstance(place, Path):
                if (root / place).is_file():
                    local[file.name] = root / place
                    break
                reasons.append(f"{place}: no such file")
            else:
                mark = _ask(place)
                if isinstance(mark, RemoteMark):
                    remote[file.name] = mark
                    break
                reasons.append(f"{shown(place)}: {mark}")
        else:
            unknown.append(f"data set {name}: not known whether {file.name} changed ({'; '.join(reasons)})")
    return _file_marks(local, before.mirror), remote, unknown


def _unpinned(root: Path, name: str, section: DatasetParams) -> Iterator[tuple[RemoteFile, list[Place]]]:
    """Yield the upstream files of which any bytes are accepted, with the places they would come from."""
    mirror = getattr(section, "mirror", None)
    if mirror is None:  # such a data set fetches nothing
        return
    for file in _remote_files(root, name):
        if not file.sha256:
            yield file, places(file, (mirror,) if mirror else ())


def _remote_files(root: Path, name: str) -> list[RemoteFile]:
    """Ask the stage which files a data set fetches: sources are the stages' own.

    Raises:
        InputError: The data set's section of params.yaml cannot be used.
    """
    command = [sys.executable, "-m", "stages.download", name, "--files"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    if done.returncode:
        raise InputError(done.stderr.strip().removeprefix("error: "))
    return TypeAdapter(list[RemoteFile]).validate_json(done.stdout)


def _ask(address: str) -> RemoteMark | str:
    """Ask a server what it says of a file now; return the reason when it does not answer."""
    try:
        answer = requests.head(address, timeout=HEAD_TIMEOUT_S, allow_redirects=True)
    except requests.Timeout:
        return f"no answer in {HEAD_TIMEOUT_S[1]:g} s"
    except (requests.RequestException, ValueError) as error:
        return reason_of(error)
    if not answer.ok:
        return f"HTTP {answer.status_code} {answer.reason}"
    length = answer.headers.get("Content-Length", "")
    version = answer.headers.get("ETag") or answer.headers.get("Last-Modified")
    return RemoteMark(shown(address), int(length) if length.isdecimal() else None, version)


def _differs(mark: RemoteMark, noted: RemoteMark | None, downloaded: dict[str, Any] | None) -> bool:
    """Return whether the server has another file: by its own word where we have the last one, else by its size."""
    if noted is not None and noted.place == mark.place and noted.version:
        return (mark.bytes, mark.version) != (noted.bytes, noted.version)
    return downloaded is not None and mark.bytes is not None and mark.bytes != downloaded["bytes"]


def _downloaded(root: Path, name: str) -> dict[str, dict[str, Any]]:
    """Return the files of the data set that were downloaded, with size and sha256; none when it is not complete."""
    try:
        return read_manifest(root / artifact_path("download", name))["files"]
    except InputError:
        return {}


def noted_fingerprint(root: Path, name: str) -> Fingerprint | None:
    """Return the noted fingerprint; None when there is none, or none that can be read."""
    try:
        return TypeAdapter(Fingerprint).validate_python(json.loads((root / FOLDER / f"{name}.json").read_text("utf8")))
    except (FileNotFoundError, ValueError, ValidationError):
        return None


def note(root: Path, look: Look) -> None:
    """Keep a fingerprint for the next look, with what was known before of files that could not be asked about."""
    before = noted_fingerprint(root, look.dataset) or Fingerprint()
    values = asdict(look.fingerprint)
    values["remote"] = {**asdict(before)["remote"], **values["remote"]}
    (root / FOLDER).mkdir(parents=True, exist_ok=True)
    write_json(root / FOLDER / f"{look.dataset}.json", values)


def forget_partial(root: Path, look: Look) -> None:
    """Remove what a killed download kept complete of files that have changed since, so that they are fetched anew."""
    for file in look.upstream:
        (root / SCRATCH / "downloads" / look.dataset / file).unlink(missing_ok=True)
