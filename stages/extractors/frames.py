"""Frames of a video, decoded and resized once: the input of an encoder trained from scratch."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from stages.extractors.base import Extractor
from stages.media.video import decode_video, facts

if TYPE_CHECKING:
    from stages.base.device import Device

VERSION = 1
SETTINGS = ("fps", "seconds", "size_px", "difference", "crop")
SAME = 128  # a difference of nothing


def num_frames(fps: float, seconds: float) -> int:
    """Return how many frames a clip of so many seconds has, one at least."""
    return max(1, round(fps * seconds))


class Frames(Extractor):
    """RGB as uint8 (frames, size_px, size_px, 3) of 1 to 255; 0 where a video has ended.

    With `difference` half of what a frame has more than the one before it, around `SAME`: half, so that a byte holds
    it. The first has `SAME` everywhere.
    """

    dtype = "uint8"

    def __init__(self, settings: dict[str, Any]) -> None:
        """Take `SETTINGS` by name."""
        self.settings = settings
        frames = num_frames(settings["fps"], settings["seconds"])
        self.shape = (frames, settings["size_px"], settings["size_px"], 3)
        self.longest, self.seconds = f"{settings['seconds']:g} s", frames / settings["fps"]

    @classmethod
    def from_params(cls, params: Any, device: "Device | None", key: str, prepared: Path) -> Self:
        """Make it from its section of params.yaml."""
        return cls({name: getattr(params, name) for name in SETTINGS})

    def identity(self) -> dict[str, Any]:
        """Return what decides the output."""
        return {"extractor": "frames", "version": VERSION, **self.settings}

    def decode(self, media: bytes) -> np.ndarray:
        """Decode, resize, and take differences where these are wanted."""
        number, size_px = self.shape[:2]
        frames = decode_video(media, self.settings["fps"], number, size_px, self.settings["crop"])
        return differences(frames) if self.settings["difference"] else frames

    def exceeds(self, media: bytes) -> bool:
        """Tell whether a video is longer."""
        return facts(media).seconds > self.settings["seconds"]

    @classmethod
    def load(cls, folder: Path, device: "Device") -> Self:
        """Read the settings."""
        settings = json.loads((folder / "extractor.json").read_text(encoding="utf8"))
        return cls({name: settings[name] for name in SETTINGS})


def differences(frames_THWC: np.ndarray) -> np.ndarray:
    """Return what each frame has more than the one before, halved, around `SAME`; 0 where no frame is."""
    x_THWC = frames_THWC.astype(np.int16)
    halves_THWC = np.diff(x_THWC, axis=0, prepend=x_THWC[:1]) // 2 + SAME
    return np.where(frames_THWC.any((1, 2, 3), keepdims=True), halves_THWC, 0).astype(np.uint8)
