"""The files that a user's table names: found below its folder or fetched, and packed into one archive."""

import hashlib
import io
import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from stages.base.errors import InputError
from stages.base.parallel import read_ahead
from stages.base.progress import progress
from stages.base.store import media_type
from stages.raw.archive import OWN_FILE_BYTES, Archive, write_stored
from stages.sources.base import RemoteFile
from stages.sources.folders import IMAGE_SUFFIXES
from stages.sources.table.finder import Finder, pointer

AUDIO_SUFFIXES = (".aif", ".aiff", ".flac", ".mp3", ".ogg", ".opus", ".wav")
VIDEO_SUFFIXES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv")
KIND_OF = dict.fromkeys(IMAGE_SUFFIXES, "image") | dict.fromkeys(AUDIO_SUFFIXES, "audio")
KIND_OF |= dict.fromkeys(VIDEO_SUFFIXES, "video")
EMBEDDED = "in the table: "  # begins the cell of a medium whose bytes are in it
MAX_NAME_CHARS = 1024  # of a cell that may be a path
FETCHES_AT_ONCE = 8
HOPELESS_FETCHES = 20  # this many from the start without one file: the network is away
ALLOWED = f"allowed are {OWN_FILE_BYTES}"


class _TooLargeError(ValueError):
    """An address has more bytes than may be read."""


def embedded_cell(data: bytes) -> str | None:
    """Return the cell that stands for a medium that lies in the table itself; None for other bytes."""
    kind = _kind_of_file(io.BytesIO(data))
    return kind and f"{EMBEDDED}{kind}/{hashlib.sha256(data).hexdigest()}"


def unpacked(cell: str, data: bytes | None, scratch: Path) -> str:
    """Keep the bytes that a cell stands for as a file until they are packed; return the cell."""
    if data is not None:
        target = scratch / member_name(cell)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    return cell


def is_address(cell: str) -> bool:
    """Tell an address of any scheme from a path."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", cell) is not None


def media_kind(root: Path, cell: str, finder: Finder | None = None) -> str | None:
    """Tell which kind of medium a cell names, if any: by its end or, of a file that is there, its content."""
    if len(cell) > MAX_NAME_CHARS or "\n" in cell:
        return None
    if cell.startswith(EMBEDDED):
        return cell.removeprefix(EMBEDDED).partition("/")[0]
    if kind := KIND_OF.get(_suffix(cell)):
        return kind
    try:
        return None if is_address(cell) else _kind_of_file((finder or Finder(root, loose=False)).locate(cell))
    except ValueError:
        return None


def _suffix(cell: str) -> str:
    path = urlsplit(cell).path if is_address(cell) else cell.replace("\\", "/")
    return PurePosixPath(path).suffix.lower()


def _kind_of_file(path: Path | io.BytesIO) -> str | None:
    import soundfile
    from PIL import Image, UnidentifiedImageError

    try:
        Image.open(path).close()
    except (UnidentifiedImageError, OSError, ValueError):
        try:
            if isinstance(path, io.BytesIO):
                path.seek(0)
            soundfile.info(path)
        except soundfile.LibsndfileError:
            return "video" if _begins_as_video(path) else None
        return "audio"
    return "image"


def _begins_as_video(path: Path | io.BytesIO) -> bool:
    if isinstance(path, Path):
        with path.open("rb") as file:
            return media_type(file.read(64)).startswith("video/")
    return media_type(path.getbuffer()[:64].tobytes()).startswith("video/")


def member_name(cell: str) -> str:
    """Return the name in the archive of what a cell names: a digest, as paths and addresses may be odd."""
    suffix = _suffix(cell)
    digest = hashlib.sha256(cell.encode("utf8", errors="surrogatepass")).hexdigest()
    return digest + suffix if suffix in KIND_OF else digest


def pack(finder: Finder, cells: Iterable[str], target: Path, scratch: Path) -> dict[str, str]:
    """Write all files that the cells name into one archive, sorted; return the reasons of those that are left out.

    Args:
        finder: finds files below the folder of the table.
        cells: paths and addresses.
        target: the archive.
        scratch: where fetched files wait, so that a second run fetches only what is missing.
    """
    ordered = sorted(set(cells))
    files: dict[str, Path] = {}
    faults: dict[str, str] = {}
    addresses = [cell for cell in ordered if is_address(cell)]
    local = ((cell, _checked(finder, cell, scratch)) for cell in ordered if not is_address(cell))
    with progress("media") as report:
        for done, (cell, found) in enumerate((*local, *_fetched(addresses, scratch)), start=1):
            if isinstance(found, Path):
                files[member_name(cell)] = found
            else:
                faults[cell] = found
            report(done, len(ordered))
    write_stored(target, sorted(files.items()))
    for cell in ordered:
        if cell.startswith(EMBEDDED):
            (scratch / member_name(cell)).unlink()
    return faults


def _checked(finder: Finder, cell: str, scratch: Path) -> Path | str:
    """Return the file, or why it cannot be used."""
    try:
        path = scratch / member_name(cell) if cell.startswith(EMBEDDED) else finder.locate(cell)
    except ValueError as error:
        return str(error)
    size = path.stat().st_size
    if fault := pointer(path):
        return f"{cell} {fault}"
    return path if size <= OWN_FILE_BYTES else f"{cell} has {size} bytes, {ALLOWED}"


def _fetched(addresses: list[str], scratch: Path) -> Iterator[tuple[str, Path | str]]:
    """Yield each address with its file or why there is none; give up when nothing comes at all."""
    outcomes = read_ahead(lambda url: fetch_file(url, scratch), addresses, FETCHES_AT_ONCE, 2 * FETCHES_AT_ONCE)
    failures = 0
    for number, (url, found) in enumerate(zip(addresses, outcomes, strict=True), start=1):
        failures += isinstance(found, str)
        if failures == number == HOPELESS_FETCHES:
            raise InputError(f"none of the first {number} addresses gives a file; the last one: {found}")
        yield url, found


def fetch_file(url: str, scratch: Path) -> Path | str:
    """Fetch one address into the scratch folder, within the bound; return the file, or why there is none."""
    from stages.raw.fetch import FetchError, fetch  # here, as it needs the sources' base first

    if not re.match("https?://", url, re.IGNORECASE):
        return f"{url} is no http:// or https:// address"
    target = scratch / member_name(url)

    def bound(done: int, total: int | None) -> None:
        if max(done, total or 0) > OWN_FILE_BYTES:
            raise _TooLargeError

    try:
        if not target.exists():
            fetch(RemoteFile(target.name, (url,)), target, scratch / "partial", (), bound)
    except _TooLargeError:
        return f"{url} has too many bytes, {ALLOWED}"
    except FetchError as error:
        return str(error).splitlines()[-1].strip()
    return target


class PackedMedia:
    """The packed files by the cells that name them, and why others were left out."""

    def __init__(self, archive: Archive, faults: dict[str, str]) -> None:
        """Take the archive that `pack` wrote, and what it returned."""
        self._archive, self._faults = archive, faults

    def read(self, cell: str | None) -> bytes | None:
        """Return the bytes of what a cell names; None for an empty cell.

        Raises:
            ValueError: saying why its file was left out.
        """
        if cell is None:
            return None
        if cell in self._faults:
            raise ValueError(self._faults[cell])
        return self._archive.read(member_name(cell))
