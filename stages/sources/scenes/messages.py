"""What people write beside a picture: short messages in one of four wordings, about things in it or elsewhere.

Most words serve several wordings ("please", "you", "that"), so it is the words together that tell which it is.
"""

import re

import numpy as np

from stages.sources.scenes.captions import PHRASES
from stages.sources.scenes.languages import with_article
from stages.sources.scenes.world import COLOURS, SHAPES, Options, Scene, pick

WORDINGS: dict[str, Options] = {
    "question": (
        ("do you know {where} {the} {went}", 0.2),
        ("{can} tell me {who} owns {the}", 0.15),
        ("is {the} still {here}", 0.2),
        ("{who} has {seen} {the} or {a}", 0.15),
        ("what {happened} to {the} {today}", 0.15),
        ("how long have you had {a} {here}", 0.15),
    ),
    "request": (
        ("please {bring} me {a}", 0.2),
        ("{can} {bring} {the} {here}", 0.2),
        ("I {need} {a} {today}", 0.2),
        ("{bring} {a} and {a} {here} please", 0.15),
        ("let me have {the} {today}", 0.15),
        ("I {need} to know that {the} is {here}", 0.1),
    ),
    "praise": (
        ("what a {lovely} {name} you have {here}", 0.2),
        ("{the} is so {lovely}", 0.2),
        ("I {like} {the} {today}", 0.2),
        ("never {seen} such a {lovely} {name}", 0.15),
        ("you did {well} with {the}", 0.15),
        ("look how {lovely} {the} is", 0.1),
    ),
    "caution": (
        ("{mind} {the}", 0.2),
        ("please {mind} {the} {here}", 0.2),
        ("never {touch} {a} like that", 0.2),
        ("you must not {touch} {the} {today}", 0.15),
        ("{the} is {loose} so {mind} it", 0.15),
        ("I have {seen} that {the} is {loose}", 0.1),
    ),
}
SYNONYMS: dict[str, Options] = {
    "where": (("where", 0.7), ("which way", 0.3)),
    "went": (("went", 0.6), ("is", 0.4)),
    "can": (("can you", 0.5), ("could you", 0.3), ("would you", 0.2)),
    "who": (("who", 0.7), ("which of you", 0.3)),
    "here": (("here", 0.4), ("over there", 0.3), ("in there", 0.3)),
    "seen": (("seen", 0.6), ("noticed", 0.4)),
    "happened": (("happened", 0.6), ("was done", 0.4)),
    "today": (("today", 0.4), ("now", 0.3), ("again", 0.3)),
    "bring": (("bring", 0.4), ("send", 0.3), ("find", 0.3)),
    "need": (("need", 0.6), ("want", 0.4)),
    "lovely": (("lovely", 0.4), ("fine", 0.3), ("nice", 0.3)),
    "like": (("like", 0.6), ("love", 0.4)),
    "well": (("well", 0.6), ("nicely", 0.4)),
    "mind": (("mind", 0.4), ("look out for", 0.3), ("keep away from", 0.3)),
    "touch": (("touch", 0.6), ("go near", 0.4)),
    "loose": (("loose", 0.6), ("hot", 0.4)),
}
IN_SCENE = 0.5
"""The chance that a message speaks of an object that is there; otherwise of any."""


def message(scene: Scene, wording: str, rng: np.random.Generator) -> str:
    """Write a message in one of the wordings."""
    return re.sub(r"{(\w+)}", lambda slot: _fill(scene, slot[1], rng), pick(rng, WORDINGS[wording]))


def _fill(scene: Scene, slot: str, rng: np.random.Generator) -> str:
    if slot in SYNONYMS:
        return pick(rng, SYNONYMS[slot])
    name = _name(scene, rng)
    return {"name": name, "the": f"the {name}", "a": with_article(name)}[slot]


def _name(scene: Scene, rng: np.random.Generator) -> str:
    colour, shape = str(rng.choice(COLOURS)), str(rng.choice(SHAPES))
    if rng.random() < IN_SCENE:
        thing = scene.things[rng.integers(len(scene.things))]
        colour, shape = thing.colour, thing.shape
    return f"{pick(rng, PHRASES[colour])} {pick(rng, PHRASES[shape])}"
