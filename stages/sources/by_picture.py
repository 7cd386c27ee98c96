"""Data sets of one archive without splits of their own: the bytes of a picture decide, for all that belongs to it."""

from typing import ClassVar, Protocol

from stages.sources.base import RemoteFile, Source
from stages.sources.splits import content_key, split_by_hash


class ByPictureParams(Protocol):
    """What such a source reads from its section of `datasets` in params.yaml."""

    @property
    def sha256(self) -> str:
        """The digest of the archive; empty accepts any."""

    @property
    def val_fraction(self) -> float:
        """The part that is kept for validation, by hash of the picture."""

    @property
    def test_fraction(self) -> float:
        """The part that is kept for the test, by hash of the picture."""


class ByPicture(Source):
    """A source of one archive that has no public address of its own: it lies in the section's mirror."""

    file: ClassVar[str]

    def __init__(self, params: ByPictureParams) -> None:
        """Keep the params."""
        self.params = params

    def remote_files(self) -> tuple[RemoteFile, ...]:
        """Name the archive."""
        return (RemoteFile(self.file, (), tuple(filter(None, (self.params.sha256,)))),)

    def split_of(self, image: bytes) -> str:
        """Return the split of a picture; the same bytes are always on the same."""
        return split_by_hash(content_key(image), self.params.val_fraction, self.params.test_fraction)
