"""Numbers and tags of a scene, made from its truth: no modality alone tells them.

`cover` is the share of the picture that objects cover, in per cent, and is seen; `worth` is that, plus what the tone
of voice adds, which is heard, plus a little that nobody can know, so that there is a ceiling below 1. The tags are the
colours and shapes of the objects and the tone.
"""

from itertools import pairwise
from math import cos, pi, sin
from typing import Any

import numpy as np

from stages.sources.scenes.draw import RING_BAND, corners
from stages.sources.scenes.world import Scene, Thing

COVER, WORTH = "cover", "worth"
ADDED = {"calm": 0.0, "glad": 5.0, "angry": 10.0, "sad": 15.0}
"""What a tone of voice adds to the worth: about as much as objects do."""
CHANCE = 2.0
"""The standard deviation of what nobody can know of the worth."""


def targets(scene: Scene, tone: str, rng: np.random.Generator) -> dict[str, Any]:
    """Return the fields `numbers` and `tags` of a scene."""
    best = known(scene, tone)
    numbers = best | {WORTH: round(best[WORTH] + rng.normal(0, CHANCE), 2)}
    return {"numbers": numbers, "tags": tags(scene, tone)}


def known(scene: Scene, tone: str) -> dict[str, float]:
    """Return the numbers as far as they can be known."""
    cover = round(100 * sum(map(area, scene.things)), 2)
    return {COVER: cover, WORTH: round(cover + ADDED[tone], 2)}


def tags(scene: Scene, tone: str) -> list[str]:
    """Return the tags."""
    looks = {word for thing in scene.things for word in (thing.colour, thing.shape)}
    return sorted({*looks, f"{tone} voice"})


def area(thing: Thing) -> float:
    """Return the share of the picture that an object covers, without its shadow."""
    if thing.shape == "circle":
        return pi * thing.radius**2
    if thing.shape == "ring":
        return pi * thing.radius**2 * (1 - (1 - RING_BAND) ** 2)
    ends = [(share * cos(turn), share * sin(turn)) for turn, share in corners(thing.shape)]
    twice = sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in pairwise([*ends, ends[0]]))
    return thing.reach**2 * abs(twice) / 2
