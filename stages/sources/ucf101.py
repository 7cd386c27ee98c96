"""UCF-101 (Soomro et al. 2012): short videos of 101 things that people do, with three public splits.

Clips of one group are cut from one video, so the part that becomes validation is taken by group. The public archive
is a .rar, which is not read here: unpacked, it is zipped again, or its folder is the user's own.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Protocol

from stages.base.errors import InputError
from stages.raw.archive import JUDGED, Archive, open_archive, write_stored
from stages.sources.base import Fault, RawSample, RemoteFile, Source
from stages.sources.splits import completed_split

HOME = "https://www.crcv.ucf.edu/data/UCF101"
LISTS_HOME = f"{HOME}/UCF101TrainTestSplits-RecognitionTask.zip"
PACKED = "videos.zip"
CLASSES = "classInd.txt"
PARTS = ("train", "test")
SUFFIXES = (".avi", ".mp4")
NAME = re.compile(r"v_.+_(?P<group>g\d+)_c\d+")


class Ucf101Params(Protocol):
    """What the source reads from its section of `datasets` in params.yaml."""

    @property
    def folder(self) -> str:
        """The user's own folder of videos and lists, below `data/`; or none."""

    @property
    def archive(self) -> str:
        """The file name of a zip in the mirror, or empty."""

    @property
    def sha256(self) -> str:
        """The digest of that zip; empty accepts any."""

    @property
    def split_list(self) -> int:
        """Which of the three public splits."""

    @property
    def val_fraction(self) -> float:
        """The part of the training groups that is kept for validation, by hash."""


class Ucf101(Source):
    """One sample is one clip; its label is the class in whose folder it lies."""

    fields = ("video", "label", "group")
    required = ("video", "label")

    def __init__(self, params: Ucf101Params) -> None:
        """Keep the params.

        Raises:
            InputError: the clips come from nowhere or from two places.
        """
        if bool(params.archive) == (params.folder != "none"):
            raise InputError(
                f"the source ucf101 has {'both an archive and a folder' if params.archive else 'no clips'}: give "
                f"either archive (a zip in the mirror: unpack {HOME}/UCF101.rar and {LISTS_HOME}, and zip both) or "
                "folder (the two unpacked below data/); leave the other at '' or none"
            )
        self.params = params

    def remote_files(self) -> tuple[RemoteFile, ...]:
        """Name the mirror's zip, if there is one."""
        accepted = tuple(filter(None, (self.params.sha256,)))
        return (RemoteFile(self.params.archive, (), accepted),) if self.params.archive else ()

    def generate(self, folder: Path, seed: int) -> None:
        """Pack the user's own clips and lists into one stored zip in order of their names."""
        if self.params.folder != "none":
            write_stored(folder / PACKED, own_files(Path("data") / self.params.folder))

    def read(self, folder: Path) -> Iterator[RawSample | Fault]:
        """Yield what is wrong with the lists, then the clips in order of their classes and names."""
        with open_archive(folder / (self.params.archive or PACKED), JUDGED) as archive:
            listed, faults = self._read_lists(archive)
            clips, doubled = _find_clips(archive)
            yield from faults + doubled
            for key in sorted(clips.keys() | listed.keys()):
                yield self._sample(key, archive, clips.get(key), listed.get(key))

    def _read_lists(self, archive: Archive) -> tuple[dict[str, str], list[Fault]]:
        """Return the part of each clip, `<class>/<name>` without an ending, by the lists of the chosen split."""
        numbers = _read_classes(archive)
        parts: dict[str, str] = {}
        faults: list[Fault] = []
        for part in PARTS:
            file = f"{part}list{self.params.split_list:02d}.txt"
            for row, line in enumerate(_text(archive, file).splitlines(), start=1):
                if not line.strip():
                    continue
                path, *number = line.split()
                key = str(PurePosixPath(path).with_suffix(""))
                if reason := _line_fault(key, number, numbers, parts):
                    faults.append(Fault(f"{archive.path.name}: {file}: row {row}", reason))
                else:
                    parts[key] = part
        return parts, faults

    def _sample(self, key: str, archive: Archive, member: str | None, part: str | None) -> RawSample:
        label, _, stem = key.rpartition("/")
        name, fault = NAME.fullmatch(stem), None
        if member is None:
            fault = "named on a list, but the source has no such clip"
        elif name is None:
            fault = f"{member}: expected a name v_<class>_g<number>_c<number>{SUFFIXES[0]}"
        group = f"{label}_{name['group']}" if name else None  # groups are counted within a class
        split = part and completed_split(part, group or key, PARTS, self.params.val_fraction)
        video = archive.read(member) if member and not fault else None
        return RawSample(key, split, video=video, label=label, group=group, fault=fault)


def own_files(root: Path) -> list[tuple[str, Path]]:
    """Name the clips and lists below a folder, links followed.

    Raises:
        InputError: no such folder, or no clip in it.
    """
    found = (Path(folder, name) for folder, _, names in os.walk(root, followlinks=True) for name in names)
    files = sorted((path.relative_to(root).as_posix(), path) for path in found if path.name[0] != ".")
    if not any(path.suffix.lower() in SUFFIXES for _, path in files):
        raise InputError(
            f"{root}: no clip ({' or '.join(SUFFIXES)}) in it: unpack {HOME}/UCF101.rar and {LISTS_HOME} there"
        )
    return [(name, path) for name, path in files if path.suffix.lower() in (*SUFFIXES, ".txt")]


def _text(archive: Archive, file: str) -> str:
    for name in archive.names():
        if PurePosixPath(name).name == file:
            return archive.read(name).decode("utf8", errors="replace")
    raise InputError(f"{archive.path}: no {file} in it: put the lists of {LISTS_HOME} beside the clips")


def _read_classes(archive: Archive) -> dict[str, str]:
    """Return the number of each class."""
    rows = [line.split() for line in _text(archive, CLASSES).splitlines() if line.strip()]
    wrong = [" ".join(row) for row in rows if len(row) != 2 or not row[0].isdecimal()]
    if wrong or not rows:
        found = repr(wrong[0]) if wrong else "nothing"
        raise InputError(f"{archive.path}: {CLASSES}: expected rows of <number> <class>, found {found}")
    return {name: number for number, name in rows}


def _line_fault(key: str, number: list[str], numbers: dict[str, str], parts: dict[str, str]) -> str | None:
    """Say what is wrong with a line of a list, or None; the test lists have no numbers."""
    label, slash, _ = key.partition("/")
    if not slash or len(number) > 1:
        return "expected <class>/<clip> or <class>/<clip> <number of the class>"
    if label not in numbers:
        return f"{label} is no class of {CLASSES}"
    if number and number[0] != numbers[label]:
        return f"{label} has the number {number[0]}, in {CLASSES} it is {numbers[label]}"
    return f"{key} is listed again" if key in parts else None


def _find_clips(archive: Archive) -> tuple[dict[str, str], list[Fault]]:
    """Return the members of the clips by `<class>/<name>` without an ending, and what has no place."""
    clips: dict[str, str] = {}
    faults = []
    for member in archive.names():
        path = PurePosixPath(member)
        if path.suffix.lower() not in SUFFIXES:
            continue
        where = f"{archive.path.name}: {member}"
        if not path.parent.name:
            faults.append(Fault(where, "expected it in the folder of its class"))
        elif clips.setdefault(f"{path.parent.name}/{path.stem}", member) != member:
            faults.append(Fault(where, "a second clip of this name"))
    return clips, faults
