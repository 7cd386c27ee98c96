"""The feature cache: one medium's features, found again by its content and by all that made them.

Under `.fuseline/features/<digest of the extractor's identity>/` lie immutable segments: `<name>.npy` with the
features and `<name>.keys.npy` with the sha256 of each row's media bytes, written last. A killed run loses at
most the segment it was at.
"""

import json
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stages.base.store import SCRATCH, digest, reserve, write_json

ROOT = SCRATCH / "features"
IDENTITY = "identity.json"
KEYS = ".keys.npy"
SEGMENT_BYTES = 64 * 2**20  # what a kill can lose


@dataclass(frozen=True)
class Place:
    """Where one medium's features lie."""

    segment: str
    row: int


class FeatureCache:
    """The cache of one extractor identity."""

    def __init__(self, identity: dict[str, Any], root: Path = ROOT) -> None:
        """Open it, and read which media it holds."""
        self.folder = root / digest(identity)[:16]
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self.folder / IDENTITY, identity)
        self._places: dict[bytes, Place] = {}
        for path in sorted(self.folder.glob(f"*{KEYS}")):
            self._index(path.name.removesuffix(KEYS), np.load(path))

    def __contains__(self, key: bytes) -> bool:
        """Tell whether the media with this sha256 are there."""
        return key in self._places

    def add(self, keys: list[bytes], features: np.ndarray) -> None:
        """Store the features (len(keys), ...) as one segment, whole or not at all."""
        name = digest([key.hex() for key in keys])[:16]
        table = np.frombuffer(b"".join(keys), np.uint8).reshape(len(keys), 32)
        _save(self.folder / f"{name}.npy", features)
        _save(self.folder / f"{name}{KEYS}", table)
        self._index(name, table)

    def copy_to(self, keys: list[bytes], target: np.ndarray) -> None:
        """Fill target[i] with the features of keys[i], reading segment by segment."""
        by_segment: dict[str, list[int]] = {}
        for i, key in enumerate(keys):
            by_segment.setdefault(self._places[key].segment, []).append(i)
        for segment, rows in by_segment.items():
            features = np.load(self.folder / f"{segment}.npy", mmap_mode="r")
            target[rows] = features[[self._places[keys[i]].row for i in rows]]
            os.utime(self.folder / f"{segment}{KEYS}")  # used just now: the last to be evicted

    def _index(self, name: str, table: np.ndarray) -> None:
        for row, key in enumerate(table):
            self._places[key.tobytes()] = Place(name, row)


def fill(cache: FeatureCache, batches: Iterable[tuple[list[bytes], np.ndarray]]) -> None:
    """Add batches of (keys, features), gathered until they make a segment worth a file."""
    keys: list[bytes] = []
    parts: list[np.ndarray] = []
    for found, features in batches:
        keys += found
        parts.append(features)
        if sum(part.nbytes for part in parts) >= SEGMENT_BYTES:
            cache.add(keys, np.concatenate(parts))
            keys, parts = [], []
    if keys:
        cache.add(keys, np.concatenate(parts))


def _save(path: Path, array: np.ndarray) -> None:
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    reserve(partial, array.nbytes)
    with partial.open("r+b") as file:
        np.save(file, array)
    os.replace(partial, path)


def all_caches(root: Path = ROOT) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield the folder and identity of each cache."""
    for path in sorted(root.glob(f"*/{IDENTITY}")):
        yield path.parent, json.loads(path.read_text(encoding="utf8"))


def clear(root: Path = ROOT, identity: dict[str, Any] | None = None) -> int:
    """Remove all caches, or that of one identity; return the bytes freed."""
    folders = [root / digest(identity)[:16]] if identity else [folder for folder, _ in all_caches(root)]
    freed = sum(path.stat().st_size for folder in folders for path in folder.glob("*"))
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    return freed


def evict(max_bytes: float, root: Path = ROOT) -> int:
    """Remove the segments unused for longest until the caches fit; return the bytes freed."""
    segments = []
    for keys in root.glob(f"*/*{KEYS}"):
        features = keys.with_name(keys.name.removesuffix(KEYS) + ".npy")
        segments.append((keys.stat().st_mtime, keys, features, keys.stat().st_size + features.stat().st_size))
    total = sum(size for *_, size in segments)
    freed = 0
    for _, keys, features, size in sorted(segments, key=lambda segment: segment[:2]):
        if total - freed <= max_bytes:
            break
        keys.unlink()
        features.unlink()
        freed += size
    return freed
