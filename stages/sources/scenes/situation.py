"""The label of a scene: one of eight situations that no modality alone gives away.

A situation has three bits. The background of the picture tells the first two, the wording of the message the last
two, the tone of voice the last and the first. Now and then a cue misleads: it is drawn at random. The background
is part of the scene, so when it misleads, the situation is the one that is drawn without looking at it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np

from stages.sources.scenes.messages import WORDINGS
from stages.sources.scenes.speech import TONES
from stages.sources.scenes.world import BACKGROUNDS, Scene

LABELS = ("greeting", "farewell", "warning", "search", "delivery", "repair", "celebration", "complaint")
"""The number of a label is its bits."""

CUES = {"image": tuple(dict(BACKGROUNDS)), "text": tuple(WORDINGS), "audio": tuple(TONES)}
"""The kinds of each modality; the number of a kind is the two bits that it tells."""
TOLD = {"image": (0, 1), "text": (1, 2), "audio": (2, 0)}
"""Which bits of a situation a modality tells, in the order of its kind's bits."""


@dataclass(frozen=True)
class Situation:
    """A label and the cues of it that are seen, read and heard."""

    label: str
    cues: dict[str, str]


def sample(scene: Scene, rng: np.random.Generator, cue_error: float) -> Situation:
    """Draw a situation to the background of the scene; `cue_error` is the chance that a cue is drawn at random."""
    told = CUES["image"].index(scene.background)
    two_bits = rng.integers(4) if rng.random() < cue_error else told
    label = int(2 * two_bits + rng.integers(2))
    cues = {"image": scene.background}
    for modality in ("text", "audio"):
        kind = rng.integers(4) if rng.random() < cue_error else _kind(label, modality)
        cues[modality] = CUES[modality][int(kind)]
    return Situation(LABELS[label], cues)


def best_label(cues: Mapping[str, str], cue_error: float) -> str:
    """Return the most probable label given the cues, the first of equals; a modality left out is unknown."""
    seen = tuple(CUES[modality].index(cues[modality]) if modality in cues else slice(None) for modality in CUES)
    chances_L = _chances(cue_error)[:, *seen].reshape(len(LABELS), -1).sum(1)
    return LABELS[int(chances_L.round(12).argmax())]


def _kind(label: int, modality: str) -> int:
    """Return the kind of a modality that tells its two bits of a label."""
    first, second = ((label >> 2 - place) & 1 for place in TOLD[modality])
    return 2 * first + second


@cache
def _chances(cue_error: float) -> np.ndarray:
    """Return how often each label comes with each kind of the three cues, (label, image, text, audio)."""
    backgrounds = np.array([weight for _, weight in BACKGROUNDS])
    chances_LITA = np.empty((len(LABELS), *map(len, CUES.values())))
    for label, *kinds in product(*map(range, chances_LITA.shape)):
        hits = [_kind(label, modality) == kind for modality, kind in zip(CUES, kinds, strict=True)]
        each = [cue_error / 4 + (1 - cue_error) * hit for hit in hits]
        chances_LITA[label, *kinds] = np.prod(each) * backgrounds[kinds[0]] / backgrounds.sum() / 2
    return chances_LITA
