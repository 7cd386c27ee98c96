"""The image itself, decoded and resized once: the input of an encoder trained from scratch."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from stages.extractors.base import Extractor
from stages.media.images import to_square

if TYPE_CHECKING:
    from stages.base.device import Device

VERSION = 2  # since transparency, depth and profiles are shown as a viewer does


class Pixels(Extractor):
    """RGB as uint8 (size_px, size_px, 3)."""

    dtype = "uint8"

    def __init__(self, size_px: int) -> None:
        """Take the side of the square."""
        self.size_px = size_px
        self.shape = (size_px, size_px, 3)

    @classmethod
    def from_params(cls, params: Any, device: "Device | None", key: str, prepared: Path) -> Self:
        """Make it from its section of params.yaml."""
        return cls(params.size_px)

    def identity(self) -> dict[str, Any]:
        """Return what decides the output."""
        return {"extractor": "pixels", "version": VERSION, "size_px": self.size_px}

    def decode(self, media: bytes) -> np.ndarray:
        """Decode and resize."""
        return to_square(media, self.size_px)

    @classmethod
    def load(cls, folder: Path, device: "Device") -> Self:
        """Read the settings."""
        return cls(json.loads((folder / "extractor.json").read_text(encoding="utf8"))["size_px"])
