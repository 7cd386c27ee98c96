"""What is told of the images, sounds and videos of a data set: kinds, sizes, lengths, and which are equal."""

import hashlib
import io
import statistics
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from stages.base.store import media_type
from stages.media.audio import seconds_of
from stages.media.video import facts

MOST_NAMED = 8  # kinds, sizes and rates in a line
PAIRS_NAMED = 3
OF_VIDEOS = "sounds_of_videos"  # key, among what was altered, for sounds that came with a video


@dataclass
class Equal:
    """What stands more than once: the first owner of each content, and pairs of owners."""

    first: dict[bytes, tuple[str, str]] = field(default_factory=dict)  # digest: sample id, split
    again: int = 0
    across: list[str] = field(default_factory=list)  # pairs on different splits

    def add(self, data: bytes, sample_id: str, split: str) -> None:
        """Take one content and its owner."""
        other, other_split = self.first.setdefault(hashlib.sha256(data).digest()[:16], (sample_id, split))
        if other != sample_id:
            self.again += 1
            if other_split != split:
                self.across.append(f"{other} ({other_split}) = {sample_id} ({split})")

    def lines(self, what: str) -> Iterator[str]:
        """Say what was found."""
        if self.again:
            yield f"{'! ' if self.across else ''}equal {what}: {self.again} stand under another sample already"
        if self.across:
            named = "; ".join(self.across[:PAIRS_NAMED])
            yield f"! {len(self.across)} of these stand on another split, so that training knows what is asked: {named}"


@dataclass
class Images:
    """What is told of the images."""

    kinds: Counter[str] = field(default_factory=Counter)
    sizes_px: Counter[tuple[int, int]] = field(default_factory=Counter)
    equal: Equal = field(default_factory=Equal)

    def add(self, row: dict[str, Any], split: str) -> None:
        """Take a row."""
        self.kinds[_kind(row["image"])] += 1
        with Image.open(io.BytesIO(row["image"])) as image:  # its head alone
            self.sizes_px[image.size] += 1
        self.equal.add(row["image"], row["sample_id"], split)

    def lines(self) -> Iterator[str]:
        """Say what was found."""
        sizes = sorted(self.sizes_px.elements(), key=lambda size: (size[0] * size[1], size))
        small, middle, large = ("x".join(map(str, sizes[i])) for i in (0, len(sizes) // 2, -1))
        spread = f"{small} pixels" if small == large else f"{small} to {large} pixels, median {middle}"
        yield f"image: {sum(self.kinds.values())} ({counted(self.kinds)}), {spread}"
        yield from self.equal.lines("images")


@dataclass
class Sounds:
    """What is told of the sounds."""

    kinds: Counter[str] = field(default_factory=Counter)
    rates_hz: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    equal: Equal = field(default_factory=Equal)

    def add(self, row: dict[str, Any], split: str) -> None:
        """Take a row."""
        self.kinds[_kind(row["audio"])] += 1
        self.rates_hz[row["audio_rate_hz"]] += 1
        self.seconds.append(seconds_of(row["audio"]))
        self.equal.add(row["audio"], row["sample_id"], split)

    def lines(self) -> Iterator[str]:
        """Say what was found."""
        rates = ", ".join(f"{rate} Hz" for rate, _ in self.rates_hz.most_common(MOST_NAMED))
        yield f"audio: {len(self.seconds)} ({counted(self.kinds)}), {rates}, {_lengths(self.seconds)}"
        yield from self.equal.lines("sounds")


@dataclass
class Videos:
    """What is told of the videos."""

    kinds: Counter[str] = field(default_factory=Counter)
    sizes_px: Counter[str] = field(default_factory=Counter)
    rates_hz: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    equal: Equal = field(default_factory=Equal)

    def add(self, row: dict[str, Any], split: str) -> None:
        """Take a row."""
        found = facts(row["video"])
        self.kinds[_kind(row["video"])] += 1
        self.sizes_px[f"{found.width}x{found.height}"] += 1
        self.rates_hz[f"{found.frames_hz:.4g}"] += 1
        self.seconds.append(found.seconds)
        self.equal.add(row["video"], row["sample_id"], split)

    def lines(self) -> Iterator[str]:
        """Say what was found."""
        sizes, rates = (", ".join(v for v, _ in c.most_common(MOST_NAMED)) for c in (self.sizes_px, self.rates_hz))
        yield f"video: {len(self.seconds)} ({counted(self.kinds)}), {sizes} pixels, {rates} frames a second, " + (
            _lengths(self.seconds)
        )
        yield from self.equal.lines("videos")


def _lengths(seconds: list[float]) -> str:
    return f"{min(seconds):.2f} to {max(seconds):.2f} s, median {statistics.median(seconds):.2f}, " + (
        f"{sum(seconds) / 60:.1f} minutes in all"
    )


def _kind(data: bytes) -> str:
    return media_type(data).partition("/")[2].upper()


def counted(counts: Counter[str]) -> str:
    """Return what is most frequent, with its number."""
    return ", ".join(f"{name} {count}" for name, count in counts.most_common(MOST_NAMED))
