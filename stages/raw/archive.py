"""Read a zip archive where it lies: nothing is spread over the disk, and nothing that it says is trusted.

The whole table of contents is judged when the archive is opened, so that reading starts only on an archive of
plain files within the limits; every read is then bounded by those sizes and checked against them and the CRC.
Only stored and deflated members are read: the decoders of the other methods cannot be bounded.
"""

import io
import re
import shutil
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from stages.base.errors import InputError

CHUNK_BYTES = 1 << 20
DIRECTORY_BYTES_PER_MEMBER = 512  # 46 fixed, then name and extra fields; bounds what opening may hold
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
ENCRYPTED_FLAGS = 0x1 | 0x40
DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OverflowError,
    ValueError,
    NotImplementedError,
    OSError,
)
AGAIN = "delete it and run the stage again"


@dataclass(frozen=True)
class ArchiveLimits:
    """What an archive may hold at most; anything above is refused before it is read."""

    max_members: int = 200_000
    max_total_bytes: int = 64 << 30
    """All members together, decompressed."""
    max_member_bytes: int = 256 << 20
    """One member, decompressed: it is held in memory when it is read."""


JUDGED = ArchiveLimits(max_members=10_000_000, max_total_bytes=1 << 43, max_member_bytes=1 << 43)
"""For archives that the stage download has judged by its params, or has written itself."""

OWN_FILE_BYTES = 256 << 20
"""The most that one of a user's own files may have: it is held in memory when it is read."""


class Archive:
    """An open archive whose members are known to be plain files within the limits.

    Threads may share one; a process that is forked opens its own.
    """

    def __init__(self, path: Path, file: io.BufferedReader, members: zipfile.ZipFile) -> None:
        """Take an open, judged archive; use `open_archive`."""
        self.path = path
        self._file = file
        self._zip = members
        self._names = tuple(sorted(info.filename for info in members.filelist if _is_listed(info)))

    def names(self) -> tuple[str, ...]:
        """Name the files, sorted; folders and what macOS adds (`__MACOSX/`, `.DS_Store`) are left out."""
        return self._names

    def __contains__(self, name: str) -> bool:
        """Tell whether `names()` has this name, without a search."""
        info = self._zip.NameToInfo.get(name)
        return info is not None and _is_listed(info)

    def read(self, name: str) -> bytes:
        """Decompress one file.

        Raises:
            InputError: the archive has no such file, or it is damaged.
        """
        if name not in self:
            examples = ", ".join(map(repr, self._names[:3])) or "none"
            raise InputError(
                f"{self.path} has no file {name!r} among its {len(self._names)} ({examples}, ...): "
                "put the right archive in its place"
            )
        return b"".join(self._chunks(self._zip.NameToInfo[name]))

    def check(self) -> None:
        """Decompress every member once, a chunk at a time in memory.

        Raises:
            InputError: a member is damaged.
        """
        for info in sorted(self._zip.filelist, key=lambda info: info.header_offset):
            for _ in self._chunks(info):
                pass

    def close(self) -> None:
        """Close the file."""
        self._zip.close()
        self._file.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file."""
        self.close()

    def _chunks(self, info: zipfile.ZipInfo) -> Iterator[bytes]:
        """Yield a member in pieces; zipfile stops at the declared size, which is within the limits."""
        assert self._zip.fp, "the archive is closed"
        size = 0
        try:
            with self._zip.open(info) as member:
                while chunk := member.read(CHUNK_BYTES):
                    size += len(chunk)
                    yield chunk
        except DAMAGE as error:
            raise InputError(f"{self.path}: member {info.filename!r} is damaged ({error}): {AGAIN}") from error
        if size != info.file_size:
            raise InputError(
                f"{self.path}: member {info.filename!r} is damaged "
                f"(declared as {info.file_size} bytes, it holds {size}): {AGAIN}"
            )


def open_archive(path: Path, limits: ArchiveLimits | None = None) -> Archive:
    """Open an archive and judge all that its table of contents says.

    Raises:
        InputError: no zip archive, a member that is no plain file, or more than the limits allow.
    """
    limits = limits or ArchiveLimits()
    try:
        file = _BoundedReader(path, limits.max_members * DIRECTORY_BYTES_PER_MEMBER)
    except OSError as error:
        raise InputError(f"{path}: cannot be opened ({error.strerror}): a readable zip archive is wanted") from error
    try:
        members = zipfile.ZipFile(file)
        _judge(path, members, limits)
        return Archive(path, file, members)
    except InputError:
        file.close()
        raise
    except DAMAGE as error:
        file.close()
        raise InputError(f"{path}: the file is truncated or not a zip archive ({error}): {AGAIN}") from error


class _BoundedReader(io.BufferedReader):
    """A file that refuses one read of more than `max_read_bytes`: zipfile reads the directory in one."""

    def __init__(self, path: Path, max_read_bytes: int) -> None:
        super().__init__(io.FileIO(path))
        self._path = path
        self._max_read_bytes = max(max_read_bytes, CHUNK_BYTES)

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > self._max_read_bytes:
            raise InputError(
                f"{self._path}: the table of contents takes {size} bytes, allowed are "
                f"{self._max_read_bytes}: give an archive with fewer members"
            )
        return super().read(size)


def _judge(path: Path, members: zipfile.ZipFile, limits: ArchiveLimits) -> None:
    """Refuse the archive for the first thing in its table of contents that is not allowed."""
    infos = members.filelist
    if len(infos) > limits.max_members:
        raise InputError(
            f"{path}: it has {len(infos)} members, allowed are {limits.max_members} (download.max_members): "
            "raise it, or split the archive"
        )
    total = 0
    for info in infos:
        total += info.file_size
        if members.NameToInfo[info.filename] is not info:
            reason: str | None = "stands in it twice; each name may stand once"
        elif total > limits.max_total_bytes:
            reason = f"brings the total to {total} bytes, allowed are {limits.max_total_bytes} (download.max_total_gb)"
        else:
            reason = _name_fault(info) or _content_fault(info, limits)
        if reason:
            raise InputError(f"{path}: member {info.orig_filename!r} {reason}: make the archive again without it")


def _name_fault(info: zipfile.ZipInfo) -> str | None:
    """Say why a member's name could lead out of a folder, or None."""
    name = info.orig_filename
    if "\\" in name or "\0" in name:
        return "has a backslash or a zero byte in its name; parts are joined by '/'"
    if not name or name.startswith("/"):
        return "has an absolute path or no name; only relative paths are allowed"
    if re.match("[A-Za-z]:", name):
        return "starts with a drive letter; only relative paths are allowed"
    if ".." in name.split("/"):
        return "leads out of its folder by '..'; only paths below the archive's top are allowed"
    return None


def _content_fault(info: zipfile.ZipInfo, limits: ArchiveLimits) -> str | None:
    """Say why a member cannot be read as a plain file within the limits, or None."""
    kind = stat.S_IFMT(info.external_attr >> 16)  # 0 where the archive was not made on unix
    if kind not in (0, stat.S_IFDIR if info.is_dir() else stat.S_IFREG):
        what = "a symbolic link" if kind == stat.S_IFLNK else "a special file"
        return f"is {what}; only regular files and folders are allowed"
    if info.flag_bits & ENCRYPTED_FLAGS:
        return "is encrypted; only members without a password are allowed"
    if info.compress_type not in METHODS:
        return f"is compressed by method {info.compress_type}; only stored and deflated (0, 8) are allowed"
    if info.file_size > limits.max_member_bytes:
        return f"has {info.file_size} bytes, allowed are {limits.max_member_bytes} (download.max_member_mb)"
    return None


def _is_listed(info: zipfile.ZipInfo) -> bool:
    """Tell a file of the data from a folder or what macOS adds."""
    *folders, name = info.filename.split("/")
    return bool(name) and name != ".DS_Store" and "__MACOSX" not in folders


def write_stored(path: Path, members: Iterable[tuple[str, Path]]) -> None:
    """Write files, stored, into a new archive under the given names; equal files in equal order give equal bytes.

    Raises:
        InputError: a name that cannot stand in an archive, or a file too large to be read from it.
    """
    with zipfile.ZipFile(path, "w") as archive:
        for name, file in members:
            if re.search(r"[\\\0\ud800-\udfff]", name):
                raise InputError(f"{str(file)!r}: a backslash or a letter that is no Unicode: rename the file")
            if (size := file.stat().st_size) > OWN_FILE_BYTES:
                raise InputError(f"{file}: it has {size} bytes, allowed are {OWN_FILE_BYTES}")
            info = zipfile.ZipInfo(name)  # dated 1980, whatever the file's own date
            info.create_system, info.external_attr = 3, (stat.S_IFREG | 0o644) << 16
            with file.open("rb") as source, archive.open(info, "w") as target:
                shutil.copyfileobj(source, target, CHUNK_BYTES)
