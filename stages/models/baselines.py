"""The honest rows beside a model: what is reached without looking, by looking it up, or by looking elsewhere."""

from collections import Counter
from typing import Any

import numpy as np

from stages.models.tables import Split

BATCH = 256
POOLED_SIDE = 8  # pixels are compared at 8 x 8


def most_frequent_caption(rows: list[dict[str, Any]]) -> list[str]:
    """Return the caption that occurs most often in training; of equals, the first in alphabetical order."""
    counts = Counter(caption for row in rows for caption in row["tokens"])
    return min(counts, key=lambda caption: (-counts[caption], caption)).split()


def nearest_captions(test: Split, train: Split) -> list[list[str]]:
    """Return, for each test image, the first caption of the training image with the most similar features."""
    known, asked = _vectors(train), _vectors(test)
    mean, deviation = known.mean(0), known.std(0) + 1e-6
    known, asked = (known - mean) / deviation, (asked - mean) / deviation
    known /= np.linalg.norm(known, axis=1, keepdims=True)
    return [train.rows[i]["tokens"][0].split() for i in (asked @ known.T).argmax(1)]


def swapped(size: int, seed: int) -> np.ndarray:
    """Return for each of `size` samples another one, each used once: none keeps its own."""
    order = np.random.default_rng(seed).permutation(size)
    others = np.arange(size)
    others[order] = np.roll(order, 1)
    return others


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
