"""What a frozen feature extractor does: one medium in, one array out, the same for training and serving."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from stages.base.errors import MediaError
from stages.base.store import write_json

if TYPE_CHECKING:
    from stages.base.device import Device


class Extractor:
    """The protocol of a frozen extractor; `shape` and `dtype` are those of one medium's features on disk.

    `num_words` is how many words there are, where the features are numbers of words (else 0).
    """

    shape: tuple[int, ...]
    dtype: str
    num_words: int = 0
    space: str = ""
    """What names the space in which features of this and of another modality can be compared; empty where none is."""
    seconds: float = 0.0
    """How long a time the first axis of `shape` spans; 0 where it is no time."""
    cardinalities: tuple[int, ...] = ()
    """For each field of a table how many numbers of categories there are, 0 for what has none; empty for others."""
    longest: str = ""
    """What a medium is cut at, in words for a person; empty where nothing is cut."""
    side_by_side: bool = True
    """Whether threads may extract at once, a batch each; on a GPU one batch comes after the other."""

    @classmethod
    def from_params(cls, params: Any, device: "Device | None", key: str, prepared: Path) -> Self:
        """Make it from its section of params.yaml; `key` names the section in errors.

        `prepared` is the folder of the prepared data set, for what is learned from its training split. Those that
        stand in `ON_ARRAYS` get no device.

        Raises:
            InputError: when the section asks for what is not there.
        """
        raise NotImplementedError

    def identity(self) -> dict[str, Any]:
        """Return everything that decides the output bytes: names, sizes, weights' digest, code version."""
        raise NotImplementedError

    def decode(self, media: bytes) -> np.ndarray:
        """Turn one encoded medium into an array; runs in threads.

        Raises:
            MediaError: when the bytes cannot be used.
        """
        raise NotImplementedError

    def exceeds(self, media: bytes) -> bool:
        """Tell whether a medium is longer than `longest`."""
        return False

    def extract(self, decoded: np.ndarray) -> np.ndarray:
        """Turn a stack of decoded arrays into features (B, *shape) of `dtype`; as they are, where that is all."""
        return decoded

    def threads(self) -> AbstractContextManager[int]:
        """Give how many threads may work on media at once, those that are begun while it is open."""
        return nullcontext(2)

    def save(self, folder: Path) -> None:
        """Write `extractor.json` and what else `load` needs into the folder, no folders inside it."""
        write_json(folder / "extractor.json", self.identity())

    def in_service(self) -> Self:
        """Return what reads media that are sent by a user: itself, unless it alters media for the sake of measuring."""
        return self

    @classmethod
    def load(cls, folder: Path, device: "Device") -> Self:
        """Read what `save` wrote."""
        raise NotImplementedError


def read_text(media: bytes) -> str:
    """Return the text of UTF-8 bytes.

    Raises:
        MediaError: when they are none.
    """
    try:
        return media.decode("utf8")
    except UnicodeDecodeError as error:
        raise MediaError(f"text is not UTF-8: {error.reason} at byte {error.start}") from None
