"""The honest rows beside a model: what is reached without looking, by looking it up, or by looking elsewhere.

Shapes: N clips, T frames; a frame of nothing but zeros is none.
"""

from collections import Counter
from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stages.models.encoders.video import is_frame
from stages.models.tables import Change, Split

BATCH = 256
POOLED_SIDE = 8  # pixels are compared at 8 x 8
VIDEO = "video"


def most_frequent(values: Iterable[str]) -> str:
    """Return the value that occurs most often; of equals, the first in alphabetical order."""
    counts = Counter(values)
    return min(counts, key=lambda value: (-counts[value], value))


def most_frequent_caption(rows: list[dict[str, Any]]) -> list[str]:
    """Return the caption that occurs most often in training; of equals, the first in alphabetical order."""
    return most_frequent(caption for row in rows for caption in row["tokens"]).split()


def nearest_captions(test: Split, train: Split) -> list[list[str]]:
    """Return, for each test image, the first caption of the training image with the most similar features."""
    known, asked = _vectors(train), _vectors(test)
    mean, deviation = known.mean(0), known.std(0) + 1e-6
    known, asked = (known - mean) / deviation, (asked - mean) / deviation
    known /= np.linalg.norm(known, axis=1, keepdims=True)
    return [train.rows[i]["tokens"][0].split() for i in (asked @ known.T).argmax(1)]


def nearest_texts(test: list[dict[str, Any]], train: list[dict[str, Any]]) -> list[int] | None:
    """Return, for the first text of each test row, the training row with the text of most words in common.

    Counted is the share of all words of both; None where a row has no text.
    """
    if not all(row.get("tokens") for row in [*test, *train]):
        return None
    known = [(i, text) for i, row in enumerate(train) for text in row["tokens"]]
    words = {word: number for number, word in enumerate(sorted({w for _, text in known for w in text.split()}))}
    known_KV, asked_NV = (_words_of(texts, words) for texts in ([t for _, t in known], [r["tokens"][0] for r in test]))
    found = []
    for row, asked in zip(asked_NV, test, strict=True):
        common_K = np.asarray((known_KV @ row.T).todense()).ravel()
        total_K = np.asarray(known_KV.sum(1)).ravel() + len(set(asked["tokens"][0].split()))
        found.append(known[int((common_K / (total_K - common_K)).argmax())][0])
    return found


def _words_of(texts: list[str], words: dict[str, int]) -> Any:
    """Return which words each text has, a sparse matrix of a row a text; words without a number are left out."""
    from scipy.sparse import csr_array  # takes a while

    sets = [sorted(words[word] for word in set(text.split()) if word in words) for text in texts]
    ends = np.cumsum([0, *map(len, sets)])
    columns = np.array([number for found in sets for number in found], np.int64)
    return csr_array((np.ones(len(columns)), columns, ends), shape=(len(texts), len(words)))


def swapped(size: int, seed: int) -> np.ndarray:
    """Return for each of `size` samples another one, each used once: none keeps its own."""
    order = np.random.default_rng(seed).permutation(size)
    others = np.arange(size)
    others[order] = np.roll(order, 1)
    return others


def without_time(seed: int) -> dict[str, Change]:
    """Return by the name of its row what is done to videos."""
    return {"single_frame_video": single_frame, "shuffled_frames_video": partial(shuffled_frames, seed=seed)}


def single_frame(features: Tensor, numbers: np.ndarray) -> Tensor:
    """Leave the middle one of each clip's real frames where it is, and zeros elsewhere."""
    real_NT = is_frame(features)
    before_NT = real_NT.cumsum(1)
    middle_NT = real_NT & (before_NT == (real_NT.sum(1, keepdim=True) + 1) // 2)
    return features * middle_NT.view(*middle_NT.shape, *[1] * (features.ndim - 2)).to(features.dtype)


def shuffled_frames(features: Tensor, numbers: np.ndarray, seed: int) -> Tensor:
    """Put each clip's real frames into an order drawn for it; what is no frame stays where it is."""
    shuffled = features.clone()
    for clip, real_T, number in zip(shuffled, is_frame(features).cpu().numpy(), numbers, strict=True):
        places = real_T.nonzero()[0]
        order = np.random.default_rng([seed, number]).permutation(places)
        clip[torch.from_numpy(places)] = clip[torch.from_numpy(order)]
    return shuffled


def _vectors(split: Split) -> np.ndarray:
    """Return one float32 vector per image: grid features averaged, pixels made small."""
    parts = []
    for _, _, features in split.in_order(BATCH):
        x = features["image"].float().cpu().numpy()
        if x.ndim == 4:
            side = x.shape[1] // POOLED_SIDE
            x = x[:, : side * POOLED_SIDE, : side * POOLED_SIDE]
            x = x.reshape(len(x), POOLED_SIDE, side, POOLED_SIDE, side, -1).mean((2, 4))
            parts.append(x.reshape(len(x), -1))
        else:
            parts.append(x.mean(1) if x.ndim == 3 else x)
    return np.concatenate(parts)
