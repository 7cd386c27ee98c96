"""Frames of a video through a frozen extractor of images, each frame by itself."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np

from stages.base.store import write_json
from stages.extractors.base import Extractor
from stages.extractors.frames import num_frames
from stages.media.video import VideoError, facts, pictures

VERSION = 1
SETTINGS = ("fps", "seconds")


class Clips(Extractor):
    """`(frames, *features of an image)`; zeros behind the end of a video.

    All frames of a clip pass the model at once, those that are not there too, and no others: the same clip has the
    same features in whatever batch it comes.
    """

    def __init__(self, images: Any, sampling: dict[str, float]) -> None:
        """Take an extractor of images, one with `of_picture` and `settings`, and `SETTINGS` by name."""
        self.images, self.sampling = images, sampling
        self.num_frames = num_frames(sampling["fps"], sampling["seconds"])
        self.shape, self.dtype = (self.num_frames, *images.shape), images.dtype
        self.longest, self.seconds = f"{sampling['seconds']:g} s", self.num_frames / sampling["fps"]
        self.side_by_side = images.side_by_side

    def identity(self) -> dict[str, Any]:
        """Return what decides the output."""
        return self.images.identity() | {"video": {"version": VERSION, **self.sampling}}

    def decode(self, media: bytes) -> np.ndarray:
        """Decode, and prepare each frame as an image; a frame that is not there is nan, or 0 among whole numbers."""
        clip, before, prepared = np.zeros(0), None, np.zeros(0)
        for number, picture in pictures(media, self.sampling["fps"], self.num_frames):
            if picture is not before:
                before, prepared = picture, self.images.of_picture(picture)
            if not number:
                nothing = np.nan if prepared.dtype.kind == "f" else 0
                clip = np.full((self.num_frames, *prepared.shape), nothing, prepared.dtype)
            clip[number] = prepared if prepared.dtype.kind == "f" else np.maximum(prepared, 1)
        if not len(clip):
            raise VideoError("no frame of it decodes")
        return clip

    def exceeds(self, media: bytes) -> bool:
        """Tell whether a video is longer."""
        return facts(media).seconds > self.sampling["seconds"]

    def extract(self, decoded: np.ndarray) -> np.ndarray:
        """Run the extractor of images on each clip."""
        return np.stack([self._clip(clip) for clip in decoded])

    def _clip(self, clip: np.ndarray) -> np.ndarray:
        there = np.nan_to_num(clip)
        features = self.images.extract(there)
        features[~there.reshape(len(there), -1).any(1)] = 0
        return features

    def threads(self) -> AbstractContextManager[int]:
        """Give those of the extractor of images."""
        return self.images.threads()

    def save(self, folder: Path) -> None:
        """Write what the extractor of images does, and how frames are taken."""
        self.images.save(folder)
        write_json(folder / "extractor.json", self.images.settings | {"video": self.sampling})
