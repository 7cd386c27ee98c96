"""Splits by hash: where a sample goes depends on its own key alone, so new samples leave the others in place."""

import hashlib
from collections.abc import Collection

import numpy as np

SPLIT_OF = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""The words, in small letters, that name a split in a user's own data."""


def digest(key: str) -> int:
    """Return the first 64 bits of the sha256 of a key."""
    return int.from_bytes(hashlib.sha256(key.encode("utf8", errors="surrogatepass")).digest()[:8], "big")


def stream(key: str) -> np.random.Generator:
    """Return random numbers that depend on a key alone."""
    return np.random.default_rng(digest(key))


def content_key(data: bytes) -> str:
    """Return the key of a sample by its medium's bytes, so that equal media under other names share a split."""
    return hashlib.sha256(data).hexdigest()


def split_by_hash(key: str, val_fraction: float, test_fraction: float = 0.0) -> str:
    """Put a key on test, val or train; fractions are of all keys."""
    share = digest(key) / 2**64
    if share < test_fraction:
        return "test"
    return "val" if share < test_fraction + val_fraction else "train"


def completed_split(
    split: str, key: str, present: Collection[str], val_fraction: float, test_fraction: float = 0.0
) -> str:
    """Return the split of a sample where the source itself has only the splits in `present`.

    What is missing of val and test is taken from the training part by hash.
    """
    if split != "train":
        return split
    return split_by_hash(key, 0.0 if "val" in present else val_fraction, 0.0 if "test" in present else test_fraction)
