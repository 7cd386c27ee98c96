"""Splits by hash: where a sample goes depends on its own key alone, so new samples leave the others in place."""

import hashlib
from collections import defaultdict
from collections.abc import Collection, Sequence

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


def split_ratings(
    together: Sequence[str], times: Sequence[int], val_fraction: float, test_fraction: float
) -> list[str]:
    """Return the split of each rating by its time among those that go `together`, such as all of one user.

    >>> split_ratings(["a", "b", "a", "b"], [1, 9, 2, 8], 0.0, 0.5)
    ['train', 'test', 'test', 'train']
    """
    places: dict[str, list[int]] = defaultdict(list)
    for place, name in enumerate(together):
        places[name].append(place)
    splits = [""] * len(times)
    for own in places.values():
        found = split_in_time([times[place] for place in own], val_fraction, test_fraction)
        for place, split in zip(own, found, strict=True):
            splits[place] = split
    return splits


def split_in_time(times: Sequence[int], val_fraction: float, test_fraction: float) -> list[str]:
    """Put what happened on splits by its time: the latest is test, what was before that val, the rest train.

    What happened at once stays together, on the split of its first: nothing in training is as late as what is tested.

    >>> split_in_time([5, 1, 3, 3, 4], 0.2, 0.2)
    ['test', 'train', 'train', 'train', 'val']
    """
    ordered = np.sort(np.asarray(times))
    first_place = np.searchsorted(ordered, times, side="left")  # how many were before
    val_from, test_from = (round(len(ordered) * (1 - share)) for share in (val_fraction + test_fraction, test_fraction))
    return ["test" if place >= test_from else "val" if place >= val_from else "train" for place in first_place]
