"""Fetch one file: from local folders first, then from its own addresses, then from HTTP mirrors.

Bytes go to `<partial folder>/<name>.part`; beside it `<name>.part.json` keeps where they come from and how
the server marks the version (ETag or Last-Modified), so that a later run takes up a broken download only if
the file is still the same. The target appears by one rename, with the bytes on the disk and the sha256 right.
"""

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError, ProtocolError
from urllib3.util import Retry

from stages.base.addresses import RemoteFile, places, shown
from stages.base.errors import InputError

CHUNK_BYTES = 1 << 18
TIMEOUT_S = (10, 60)  # to connect, between two pieces of the answer
BACKOFF_S = 0.5  # doubled at each further attempt
MAX_RETRIES = 3  # of a request without an answer, or with a 5xx
MAX_BREAKS = 4  # in a row, of a connection that broke in the middle
MIN_GAIN_BYTES = 1 << 20  # new bytes that end such a row

Progress = Callable[[int, int | None], None]


class FetchError(InputError):
    """No place gives the file."""


class _Refused(Exception):
    """A place does not give the file; the text says why, and the next place is tried."""


class _Broken(Exception):
    """A transfer stopped in the middle; the text says why, and it is taken up again."""


def fetch(
    remote: RemoteFile,
    target: Path,
    partial_folder: Path,
    mirrors: tuple[str, ...],
    on_progress: Progress | None = None,
    hint: str = "",
) -> str:
    """Bring a file to `target`, replacing what stands there, and return its sha256.

    Args:
        remote: the file, its addresses and accepted digests.
        target: where it goes; on the same file system as `partial_folder`.
        partial_folder: where unfinished bytes wait for the next run.
        mirrors: local folders and http(s) base addresses that hold a file of this name.
        on_progress: called with the bytes done and in total (None when the server does not say).
        hint: what to do when no place gives it, the last line of the message.

    Raises:
        InputError: a place of another kind, or a full disk; `FetchError` when no place gives the right bytes.
    """
    part = _Part(partial_folder / f"{remote.name}.part", on_progress or (lambda done, total: None))
    lines = [f"cannot fetch {remote.name}; tried:"]
    partial_folder.mkdir(parents=True, exist_ok=True)
    with part.naming_a_full_disk(), _session() as session:
        for place in places(remote, mirrors):
            try:
                digest = _download(session, place, part) if isinstance(place, str) else _copy(place, part)
                _verify(digest, remote, part)
            except _Refused as refused:
                lines.append(f"  {shown(place)}: {refused}")
            else:
                part.publish(target)
                return digest
    raise FetchError("\n".join([*lines, *([hint] if hint else [])]))


def _verify(digest: str, remote: RemoteFile, part: "_Part") -> None:
    """Drop bytes whose digest is not an accepted one."""
    if remote.sha256 and digest not in map(str.lower, remote.sha256):
        part.discard()
        raise _Refused(f"its sha256 is {digest}, expected {' or '.join(remote.sha256)}")


def _copy(source: Path, part: "_Part") -> str:
    """Copy from a local folder; return the digest."""
    try:
        size, file = source.stat().st_size, source.open("rb")
    except OSError as error:
        raise _Refused(reason_of(error)) from error
    with file:
        part.begin(str(source), None)
        return part.append(_pieces(file), size)


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    """Read a local file in chunks."""
    try:
        yield from iter(lambda: file.read(CHUNK_BYTES), b"")
    except OSError as error:
        raise _Refused(reason_of(error)) from error


def _session() -> requests.Session:
    """Make a session that asks again, a few times, when the server is away or has an error of its own."""
    retry = Retry(MAX_RETRIES, read=1, backoff_factor=BACKOFF_S, respect_retry_after_header=False)
    retry = retry.new(status_forcelist=(500, 502, 503, 504), raise_on_status=False)
    session = requests.Session()
    session.mount("http://", HTTPAdapter(max_retries=retry))
    session.mount("https://", HTTPAdapter(max_retries=retry))
    return session


def _download(session: requests.Session, url: str, part: "_Part") -> str:
    """Bring the part to its full length, over as many connections as it takes; return the digest."""
    breaks, longest = 0, part.size()
    while True:
        try:
            return _request(session, url, part)
        except _Broken as broken:
            breaks = 1 if part.size() >= longest + MIN_GAIN_BYTES else breaks + 1
            longest = max(longest, part.size())
            if breaks > MAX_BREAKS:
                raise _Refused(f"{broken}; given up after {breaks} breaks in a row") from broken
        time.sleep(BACKOFF_S * 2 ** (breaks - 1))


def _request(session: requests.Session, url: str, part: "_Part") -> str:
    """Ask for what the part lacks, or for the whole file."""
    headers = {"Accept-Encoding": "identity"}  # lengths and ranges count the file's own bytes
    mark = part.mark(shown(url))
    if mark:
        headers |= {"Range": f"bytes={part.size()}-", "If-Range": mark}
    try:
        response = session.get(url, headers=headers, stream=True, timeout=TIMEOUT_S)
    except (requests.RequestException, ValueError) as error:
        raise _Refused(reason_of(error)) from error
    with response:
        return _receive(response, shown(url), part, mark)


def _receive(response: requests.Response, place: str, part: "_Part", mark: str | None) -> str:
    """Take the answer in: the rest of the file, all of it, or word that there is no more."""
    status, given = response.status_code, response.headers
    if status not in ((200, 206, 416) if mark else (200,)):
        raise _Refused(f"HTTP {status} {response.reason}")
    if given.get("Content-Encoding", "identity") != "identity":
        raise _Refused("the server sends it compressed, though asked not to")
    span, _, length = given.get("Content-Range", "").partition("/")
    if status == 200:
        length = given.get("Content-Length", "")
        part.begin(place, _mark(response))
    elif status == 416 and length == str(part.size()):
        return part.append((), part.size())
    elif not span.startswith(f"bytes {part.size()}-") or _mark(response) not in (None, mark):
        part.discard()
        raise _Broken("the server has another version of the file")
    total = int(length) if length.isdecimal() else None
    digest = part.append(_body(response), total)
    if total is not None and part.size() != total:
        raise _Broken(f"{part.size()} of {total} bytes came")
    return digest


def _mark(response: requests.Response) -> str | None:
    """Find what names this version of the file; a weak ETag does not hold byte for byte."""
    etag = response.headers.get("ETag", "")
    return etag if etag.startswith('"') else response.headers.get("Last-Modified")


def _body(response: requests.Response) -> Iterator[bytes]:
    """Read the answer as it comes, so that a connection that breaks loses nothing."""
    try:
        while piece := response.raw.read1(CHUNK_BYTES, decode_content=False):
            yield piece
    except HTTPError as error:
        raise _Broken(f"the connection broke ({reason_of(error)})") from error


def reason_of(error: BaseException) -> str:
    """Say why a request failed, without its address: that may hold secrets."""
    cause: object = error
    while isinstance(cause, BaseException):
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        if isinstance(cause, requests.Timeout | TimeoutError):
            return f"no answer in time ({TIMEOUT_S[0]} s to connect, {TIMEOUT_S[1]} s to go on)"
        if isinstance(cause, ProtocolError):
            return "the server closed it"
        cause = getattr(cause, "reason", None) or cause.__cause__ or cause.__context__
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(error).__name__).lower()


class _Part:
    """The unfinished file and, beside it, where its bytes come from."""

    def __init__(self, path: Path, on_progress: Progress) -> None:
        self._path = path
        self._origin = path.with_name(f"{path.name}.json")
        self._on_progress = on_progress
        self._total: int | None = None

    def size(self) -> int:
        return self._path.stat().st_size if self._path.exists() else 0

    def mark(self, place: str) -> str | None:
        """Return the version whose first bytes the part holds, None if there is nothing to take up."""
        try:
            origin = json.loads(self._origin.read_text(encoding="utf-8"))
            return origin["validator"] if origin["url"] == place and self.size() else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def begin(self, place: str, mark: str | None) -> None:
        """Empty the part, then note the origin of what will be appended."""
        self._path.write_bytes(b"")
        self._origin.write_text(json.dumps({"url": place, "validator": mark}), encoding="utf-8")

    def append(self, pieces: Iterable[bytes], total: int | None) -> str:
        """Write pieces at the end and return the digest of the whole part."""
        done, self._total = self.size(), total
        with self._path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256") if done else hashlib.sha256()
        self._on_progress(done, total)
        with self._path.open("ab") as file:
            for piece in pieces:
                file.write(piece)
                digest.update(piece)
                done += len(piece)
                self._on_progress(done, total)
        return digest.hexdigest()

    def discard(self) -> None:
        self._path.unlink(missing_ok=True)
        self._origin.unlink(missing_ok=True)

    def publish(self, target: Path) -> None:
        """Bring the bytes to the disk, then move them into place."""
        with self._path.open("rb") as file:
            os.fsync(file.fileno())
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(self._path, target)
        self.discard()

    @contextlib.contextmanager
    def naming_a_full_disk(self) -> Iterator[None]:
        """Turn the error of a full disk into words: how much is needed and free."""
        try:
            yield
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            needed = "an unknown number of" if self._total is None else self._total - self.size()
            raise InputError(
                f"{self._path}: the disk is full: {needed} more bytes are needed, "
                f"{shutil.disk_usage(self._path.parent).free} are free: "
                "make room and run the stage again; what came so far is kept"
            ) from error
