"""A data set that can be learnt in seconds: a red or a blue patch on grey, and its colour as text and label."""

from typing import Any

import numpy as np
import torch

from stages.media.text import SPECIALS
from stages.models.encoders.base import FeatureSpec
from stages.models.model import build
from stages.models.tables import FeatureTable, Split
from stages.models.tasks import Task
from stages.models.tasks.base import ModelConfig
from stages.params import experiment_params
from tests.support.small_splits import CPU, make_config

SIDE = 16
WORDS = [*SPECIALS, "red", "blue"]
RGB = {"red": (220, 30, 30), "blue": (30, 30, 220)}
SPECS = {"image": FeatureSpec((SIDE, SIDE, 3)), "text": FeatureSpec((2,), len(WORDS))}


def toy_split(size: int, seed: int) -> Split:
    """Make samples whose patches lie anywhere."""
    rng = np.random.default_rng(seed)
    pictures = np.full((size, SIDE, SIDE, 3), 128, np.uint8)
    words = np.zeros((size, 2), np.int32)
    rows: list[dict[str, Any]] = []
    for i in range(size):
        colour = ("red", "blue")[int(rng.integers(2))]
        top, left = rng.integers(0, SIDE - 7, 2)
        pictures[i, top : top + 8, left : left + 8] = RGB[colour]
        words[i, 0] = WORDS.index(colour)
        rows.append({"sample_id": f"toy-{seed}-{i}", "texts": [colour], "tokens": [colour], "label": colour})
    places = [[i] for i in range(size)]
    return Split(
        rows, {"image": FeatureTable(pictures, places, CPU, 1e9), "text": FeatureTable(words, places, CPU, 1e9)}
    )


def toy_task(head: str) -> Task:
    """Build a small model that draws, untrained."""
    torch.manual_seed(0)
    experiment = make_config("generate", ("image", "text"), head=head, channels=16).experiment
    changed = experiment_params(experiment.model_dump() | {"dim": 32, "encoders": {"text": "bag"}})
    return build(ModelConfig(changed, SPECS, {}))
