"""The grammar: what a person may write about a scene, and with which weight.

The first option of each choice is the most likely one, so the canonical caption takes the first everywhere.
A slot of a template is an object by its number, `0>1` the relation of object 0 to object 1, `0!` what object 0 does,
`place` or `background`. Where the sentence is long as it is, `~1` leaves out the size and `0~1` takes the shorter
words.
"""

import re
from collections.abc import Callable
from functools import partial

import numpy as np

from stages.sources.scenes import motion
from stages.sources.scenes.languages import English
from stages.sources.scenes.world import Options, Scene, Thing, pick, place, relation

Choose = Callable[[Options], str]
SLOT = re.compile(r"{(.+?)}")

TEMPLATES: dict[int, Options] = {
    1: (
        ("{0} {place}", 0.35),
        ("{0} {place} of {background}", 0.25),
        ("there is {0} {place}", 0.15),
        ("{place} is {0}", 0.15),
        ("{background} with {0} {place}", 0.1),
    ),
    2: (
        ("{0} {0>1} {1}", 0.28),
        ("{0} is {0>1} {1}", 0.25),
        ("{0} {0>1} {1} on {background}", 0.2),
        ("{1} {1>0} {0}", 0.17),
        ("{0} and {1} on {background}", 0.1),
    ),
    3: (
        ("{0} {0~1} {~1} and {0~2} {~2}", 0.5),
        ("{0}, {1} and {2}", 0.3),
        ("{0} with {1} and {2}", 0.2),
    ),
}
SIZELESS = "{colour} {shape}"
OBJECT: Options = (("{size} {colour} {shape}", 0.6), (SIZELESS, 0.4))
PHRASES: dict[str, Options] = {
    "large": (("large", 0.6), ("big", 0.4)),
    "small": (("small", 0.6), ("little", 0.3), ("tiny", 0.1)),
    "red": (("red", 1.0),),
    "orange": (("orange", 1.0),),
    "yellow": (("yellow", 1.0),),
    "green": (("green", 1.0),),
    "cyan": (("cyan", 0.7), ("turquoise", 0.3)),
    "blue": (("blue", 1.0),),
    "purple": (("purple", 0.7), ("violet", 0.3)),
    "pink": (("pink", 1.0),),
    "circle": (("circle", 0.6), ("disc", 0.4)),
    "square": (("square", 0.6), ("box", 0.4)),
    "triangle": (("triangle", 1.0),),
    "cross": (("cross", 0.6), ("plus", 0.4)),
    "ring": (("ring", 0.6), ("hoop", 0.4)),
    "left of": (("left of", 0.6), ("to the left of", 0.4)),
    "right of": (("right of", 0.6), ("to the right of", 0.4)),
    "above": (("above", 0.6), ("over", 0.4)),
    "below": (("below", 0.6), ("under", 0.4)),
    "middle": (("in the middle", 0.6), ("in the centre", 0.4)),
    "left": (("on the left", 0.6), ("on the left side", 0.4)),
    "right": (("on the right", 0.6), ("on the right side", 0.4)),
    "top": (("at the top", 0.6), ("near the top", 0.4)),
    "bottom": (("at the bottom", 0.6), ("near the bottom", 0.4)),
    "top left": (("at the top left", 0.55), ("in the upper left corner", 0.45)),
    "top right": (("at the top right", 0.55), ("in the upper right corner", 0.45)),
    "bottom left": (("at the bottom left", 0.55), ("in the lower left corner", 0.45)),
    "bottom right": (("at the bottom right", 0.55), ("in the lower right corner", 0.45)),
    "dark": (("a dark background", 0.7), ("a black background", 0.3)),
    "light": (("a light background", 0.7), ("a pale background", 0.3)),
    "striped": (("a striped background", 0.7), ("grey stripes", 0.3)),
    "fading": (("a fading background", 0.7), ("a grey gradient", 0.3)),
}
STYLES: Options = (("Sentence.", 0.7), ("plain", 0.3))


def captions(scene: Scene, rng: np.random.Generator, count: int, language: English) -> tuple[str, ...]:
    """Write `count` captions as different people would."""
    return tuple(write(scene, partial(pick, rng), language) for _ in range(count))


def canonical(scene: Scene, language: English) -> str:
    """Write the caption of the most likely choices: what a reader of the truth should answer."""
    return write(scene, most_likely, language)


def most_likely(options: Options) -> str:
    """Choose the option of the greatest weight, the first of equals."""
    return max(options, key=lambda option: option[1])[0]


def write(scene: Scene, choose: Choose, language: English) -> str:
    """Write one caption, asking `choose` at every choice of the grammar; of objects that move it says what they do."""
    templates = motion.TEMPLATES if scene.moves else TEMPLATES
    template = choose(templates[len(scene.things)])
    said = {slot: _phrase(scene, slot, choose, language) for slot in SLOT.findall(template)}
    text = SLOT.sub(lambda slot: said[slot[1]], language.phrase(template))
    return language.sentence(text) if choose(STYLES) == "Sentence." else text


def _phrase(scene: Scene, slot: str, choose: Choose, language: English) -> str:
    if slot == "background":
        return language.phrase(choose(PHRASES[scene.background]))
    if slot == "place":
        return language.phrase(choose(PHRASES[place(scene.things[0])]))
    if slot[-1] == "!":
        return language.phrase(choose(motion.PHRASES[scene.things[int(slot[0])].motion or ""]))
    if len(slot) == 3:
        one, other = scene.things[int(slot[0])], scene.things[int(slot[2])]
        choose = most_likely if slot[1] == "~" else choose
        stated = relation(one, other)
        assert stated, "the layout gives the first object a clear relation to each other"
        return language.phrase(choose(PHRASES[stated]))
    form = choose(OBJECT) if slot[0] != "~" else SIZELESS
    return language.name(_looks(scene.things[int(slot[-1])], form, choose), "a")


def _looks(thing: Thing, form: str, choose: Choose) -> list[str]:
    terms = {"size": thing.size, "colour": thing.colour, "shape": thing.shape}
    return [choose(PHRASES[terms[look]]) for look in SLOT.findall(form)]
