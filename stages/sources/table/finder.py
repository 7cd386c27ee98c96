"""The file that a cell means: as written or, if only one fits, without ending or folders, or in another case."""

import os
import unicodedata
from collections import Counter, defaultdict
from functools import cached_property
from pathlib import Path, PurePosixPath

LFS = b"version https://git-lfs"
NAMED = 3  # files that fit, in messages


class Finder:
    """Finds files below the folder of a table; `said` counts what was found otherwise than as written."""

    def __init__(self, root: Path, loose: bool = True) -> None:
        """Take the folder; its files are listed when one is first missed, unless only what is written counts."""
        self.root, self.loose = root, loose
        self.said: Counter[str] = Counter()

    def locate(self, cell: str) -> Path:
        """Find the file that a cell names below the folder.

        Raises:
            ValueError: with the reason when there is none, more than one fits, or it may not be read.
        """
        path = PurePosixPath(cell.replace("\\", "/"))
        if ".." in path.parts:
            raise ValueError(f"{cell} leads out by '..'; allowed are paths below {self.root}")
        if path.is_absolute():
            tops = [top.as_posix() for top in (self.root.absolute(), self.root.resolve())]
            tops = [top for top in tops if path.is_relative_to(top)]
            if not tops:
                raise ValueError(f"{cell} lies outside; allowed are paths below {self.root}")
            path = path.relative_to(tops[0])
        found = self._as_written(str(path)) or (self._otherwise(cell, path) if self.loose else None)
        if found is None:
            raise ValueError(f"no file {cell}")
        return found

    def _as_written(self, name: str) -> Path | None:
        for form in (name, unicodedata.normalize("NFC", name), unicodedata.normalize("NFD", name)):
            try:
                if (self.root / form).is_file():
                    return self.root / form
            except (OSError, ValueError):  # too long, or a zero byte
                break
        return None

    def _otherwise(self, cell: str, path: PurePosixPath) -> Path | None:
        """Find the one file that fits in a looser way; the first way in which any fits decides."""
        folder = self.root.parts
        for length in range(len(folder), 0, -1):
            if path.parts[:length] == folder[-length:]:
                found = self._as_written(str(PurePosixPath(*path.parts[length:])))
                if found and found != self.root:
                    self.said["with the folder's own name in front"] += 1
                    return found
        for way, fits in self._files.items():
            here = fits.get(_key(path.as_posix()), [])
            if len(here) == 1:
                self.said[way] += 1
                return self.root / here[0]
            if here:
                raise ValueError(f"no file {cell}; {len(here)} fit: {', '.join(sorted(here)[:NAMED])}")
        return None

    @cached_property
    def _files(self) -> dict[str, dict[str, list[str]]]:
        """Names of all files, by way of finding and key."""
        ways = ("in another case", "without their ending", "without their subfolder", "without subfolder and ending")
        found: dict[str, dict[str, list[str]]] = {way: defaultdict(list) for way in ways}
        for top, _, names in os.walk(self.root):
            for name in names:
                path = PurePosixPath(Path(top, name).relative_to(self.root).as_posix())
                stem, bare = path.with_suffix(""), PurePosixPath(path.name)
                for way, key in zip(ways, (path, stem, bare, bare.with_suffix("")), strict=True):
                    found[way][_key(key.as_posix())].append(str(path))
        return found


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def pointer(path: Path) -> str | None:
    """Return the fault of a file that Git LFS has not fetched, or None."""
    with path.open("rb") as file:
        is_pointer = file.read(len(LFS)) == LFS
    return "is a Git LFS pointer, not the file: run `git lfs pull` where it comes from" if is_pointer else None
