"""What a data source gives: files to fetch, files it makes itself, and raw samples read from both."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class RemoteFile:
    """A file to fetch: tried at each of `urls` in turn, accepted when its digest is one of `sha256`.

    An empty `sha256` accepts any bytes (their digest is recorded in the manifest).
    """

    name: str
    urls: tuple[str, ...]
    sha256: tuple[str, ...] = ()


@dataclass(frozen=True)
class RawSample:
    """One sample as the source has it, before it is checked.

    `split` is None for a sample that the source puts on no split. `image` is the encoded bytes, None when
    the source names an image that it lacks. `oracle` is a caption written from the true attributes.
    """

    sample_id: str
    split: str | None
    image: bytes | None = None
    texts: tuple[str, ...] = ()
    oracle: str | None = None
    truth: dict[str, Any] | None = None


@dataclass(frozen=True)
class Fault:
    """Something in the raw data that belongs to no sample: where it stands and what is wrong."""

    where: str
    reason: str


class Source:
    """The protocol of a data source, made from its section of `datasets` in params.yaml."""

    def __init__(self, params: Any) -> None:
        """Take the section."""

    def remote_files(self) -> tuple[RemoteFile, ...]:
        """Name the files to fetch into the raw folder; empty for a generated source."""
        return ()

    def generate(self, folder: Path, seed: int) -> None:
        """Write into the raw folder what needs no download; the same seed gives the same bytes."""

    def read(self, folder: Path) -> Iterator[RawSample | Fault]:
        """Yield samples and faults from the raw folder in a fixed order, one at a time in memory."""
        raise NotImplementedError
