"""Texts as they are: what a language model cuts into its own word pieces when it reads them."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from stages.extractors.base import Extractor, read_text
from stages.media.text import UTF8

if TYPE_CHECKING:
    from stages.base.device import Device

VERSION = 1


class Utf8(Extractor):
    """uint8 (max_bytes,): the bytes of a text, cut at `max_bytes` before the letter that has no room, then zeros."""

    dtype = "uint8"
    space = UTF8

    def __init__(self, max_bytes: int) -> None:
        """Take the longest text."""
        self.max_bytes, self.shape = max_bytes, (max_bytes,)
        self.longest = f"{max_bytes} bytes"

    @classmethod
    def from_params(cls, params: Any, device: "Device | None", key: str, prepared: Path) -> Self:
        """Make it from its section of params.yaml."""
        return cls(params.max_bytes)

    def identity(self) -> dict[str, Any]:
        """Return what decides the output."""
        return {"extractor": UTF8, "version": VERSION, "max_bytes": self.max_bytes}

    def decode(self, media: bytes) -> np.ndarray:
        """Return the bytes of UTF-8 text; no zero is among them."""
        kept = read_text(media).replace("\0", "").encode()[: self.max_bytes].decode("utf8", "ignore").encode()
        out = np.zeros(self.max_bytes, np.uint8)
        out[: len(kept)] = np.frombuffer(kept, np.uint8)
        return out

    def exceeds(self, media: bytes) -> bool:
        """Tell whether a text has more bytes."""
        return len(media) > self.max_bytes

    @classmethod
    def load(cls, folder: Path, device: "Device") -> Self:
        """Read the settings."""
        return cls(json.loads((folder / "extractor.json").read_text(encoding="utf8"))["max_bytes"])
