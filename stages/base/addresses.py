"""Addresses: the places that a file may come from, and how one is shown without what may be secret in it."""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from stages.base.errors import InputError

NLTK_FOLDER = "nltk_data/corpora"  # of a mirror: where NLTK keeps its own
Place = Path | str

_CREDENTIALS = re.compile(r"(\w+://)[^/@\s'\"]+@")


@dataclass(frozen=True)
class RemoteFile:
    """A file to fetch: tried at each of `urls` in turn, accepted when its digest is one of `sha256`.

    An empty `sha256` accepts any bytes (their digest is recorded in the manifest).
    """

    name: str
    urls: tuple[str, ...]
    sha256: tuple[str, ...] = ()


def places(remote: RemoteFile, mirrors: tuple[str, ...]) -> list[Place]:
    """Order the places: local folders, the file's own addresses, HTTP mirrors."""
    if remote.name in ("", "..") or Path(remote.name).name != remote.name:
        raise InputError(f"{remote.name!r} is no file name: give a name without folders")
    local = [Path(mirror).expanduser() / remote.name for mirror in mirrors if "://" not in mirror]
    local += [below for path in local if (below := path.parent / NLTK_FOLDER / path.name).exists()]
    distant = [_joined(mirror, remote.name) for mirror in mirrors if "://" in mirror]
    for address in (*remote.urls, *distant):
        if not re.match("https?://", address, re.IGNORECASE):
            raise InputError(
                f"{remote.name}: cannot fetch from {shown(address)}: "
                "allowed are http:// and https:// addresses and, as mirrors, local folders"
            )
    return [*local, *remote.urls, *distant]


def _joined(base: str, name: str) -> str:
    """Put a name at the end of an address's path, before its query."""
    path, mark, query = base.partition("?")
    return f"{path.rstrip('/')}/{quote(name)}{mark}{query}"


def shown(place: Place) -> str:
    """Write a place for people: without user, password and query, which may be secret."""
    if isinstance(place, Path):
        return str(place)
    return re.sub(r"[?#].*", "?...", re.sub(r"//[^/?#]*@", "//", place))


def without_credentials(text: str) -> str:
    """Leave out what stands between `://` and `@` in the addresses of a text: names and passwords."""
    return _CREDENTIALS.sub(r"\1***@", text)


def with_credentials(text: str, known: str) -> str:
    """Put back what was left out, of addresses that stand in another text with their credentials."""
    for address in set(re.findall(r"\w+://[^/@\s'\"]+@[^\s'\"]*", known)):
        text = text.replace(without_credentials(address), address)
    return text
