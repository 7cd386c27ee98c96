"""Questions about a scene, each with the one answer that its truth gives.

The question alone is a weak guide to the answer: of those that ask yes or no, half are true whatever they name, and
the false ones are near misses; a colour or shape that is counted is missing half of the time.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, combinations, product, zip_longest

import numpy as np

from stages.sources.base import Question
from stages.sources.scenes.captions import PHRASES
from stages.sources.scenes.languages import English
from stages.sources.scenes.motion import way
from stages.sources.scenes.world import COLOURS, INVERSE, SHAPES, Options, Scene, Thing, pick, relation


@dataclass(frozen=True)
class Named:
    """An object by its looks; `form` is as in `English.name`."""

    words: list[str]
    form: str

    def put(self, language: English) -> str:
        """Put it into words."""
        return language.name(self.words, self.form)


Slots = dict[str, Named | str]
Asked = Iterator[tuple[str, Slots, str]]
"""Questions: a wording, what stands in its slots, and the answer."""

MAX_QUESTIONS = 8
"""As many as every scene allows, even one of a single object."""

NUMBERS = ("zero", "one", "two", "three")
LOOKS = {"colour": COLOURS, "shape": SHAPES}
COUNT: Options = (
    ("how many {things} are there", 0.4),
    ("how many {things} can you see", 0.25),
    ("how many {things} does the picture show", 0.2),
    ("what is the number of {things}", 0.15),
)
EXISTS: Options = (
    ("is there {a}", 0.5),
    ("can you see {a}", 0.3),
    ("does the picture show {a}", 0.2),
)
COLOUR: Options = (
    ("what colour is {the}", 0.5),
    ("which colour does {the} have", 0.25),
    ("what is the colour of {the}", 0.25),
)
SHAPE: Options = (
    ("what shape is {the}", 0.5),
    ("which shape does {the} have", 0.25),
    ("what is the shape of {the}", 0.25),
)
RELATION: Options = (
    ("is {the} {related} {other}", 0.6),
    ("does {the} lie {related} {other}", 0.2),
    ("do you see {the} {related} {other}", 0.2),
)
LARGER: Options = (("is {the} larger than {other}", 0.6), ("is {the} bigger than {other}", 0.4))
SMALLER: Options = (("is {the} smaller than {other}", 0.6), ("is {the} less large than {other}", 0.4))
MORE: Options = (
    ("are there more {things} than {others}", 0.6),
    ("can you see more {things} than {others}", 0.2),
    ("does the picture show more {things} than {others}", 0.2),
)
DOES: Options = (("what does {the} do", 0.6), ("what happens to {the}", 0.4))
WAY: Options = (("which way does {the} move", 0.6), ("where does {the} go", 0.4))


def questions(scene: Scene, rng: np.random.Generator, count: int, language: English) -> tuple[Question, ...]:
    """Ask `count` questions, a kind not a second time before each other kind that the scene allows."""
    kinds = []
    for kind, ask in (MOVING_KINDS if scene.moves else KINDS).items():
        asked = [(kind, *question) for question in ask(scene, rng)]
        kinds.append([asked[i] for i in rng.permutation(len(asked))])
    rounds = zip_longest(*(kinds[i] for i in rng.permutation(len(kinds))))
    chosen = [question for question in chain.from_iterable(rounds) if question][:count]
    return tuple(Question(_text(w, slots, language), language.phrase(a), kind) for kind, w, slots, a in chosen)


def _text(wording: str, slots: Slots, language: English) -> str:
    words = {
        name: language.phrase(slot) if isinstance(slot, str) else slot.put(language) for name, slot in slots.items()
    }
    return language.question(language.phrase(wording).format(**words))


def _count(scene: Scene, rng: np.random.Generator) -> Asked:
    """Count all objects, those of a colour, and those of a shape."""
    yield *_say(rng, COUNT, things=Named(["object"], "plural")), NUMBERS[len(scene.things)]
    for look, terms in LOOKS.items():
        there = [getattr(thing, look) for thing in scene.things]
        missing = [term for term in terms if term not in there]
        term = str(rng.choice(there if rng.random() < 0.5 else missing))
        yield *_say(rng, COUNT, things=_noun(rng, {look: term}, "plural")), NUMBERS[there.count(term)]


def _exists(scene: Scene, rng: np.random.Generator) -> Asked:
    """Ask for a colour, a shape and both; what is not there differs in one look from what is."""
    for looks in (("colour",), ("shape",), ("colour", "shape")):
        thing = scene.things[rng.integers(len(scene.things))]
        wanted = {look: getattr(thing, look) for look in looks}
        answer = _coin(rng)
        if answer == "no":
            look = str(rng.choice(looks))
            misses = [wanted | {look: term} for term in LOOKS[look]]
            misses = [miss for miss in misses if not _matches(scene, miss)]
            wanted = misses[rng.integers(len(misses))]
        yield *_say(rng, EXISTS, a=_noun(rng, wanted, "a")), answer


def _colour(scene: Scene, rng: np.random.Generator) -> Asked:
    for thing in scene.things:
        if the := _refer(scene, thing, ("size", "shape"), rng):
            yield *_say(rng, COLOUR, the=the), thing.colour


def _shape(scene: Scene, rng: np.random.Generator) -> Asked:
    for thing in scene.things:
        if the := _refer(scene, thing, ("size", "colour"), rng):
            yield *_say(rng, SHAPE, the=the), thing.shape


def _relation(scene: Scene, rng: np.random.Generator) -> Asked:
    """Ask of each pair with a clear relation whether it is that one or, where it is not, its inverse."""
    for pair in combinations(scene.things, 2):
        first, second = (pair[i] for i in rng.permutation(2))
        if stated := relation(first, second):
            answer = _coin(rng)
            related = pick(rng, PHRASES[stated if answer == "yes" else INVERSE[stated]])
            the, other = (_refer(scene, thing, ("colour", "shape"), rng) for thing in (first, second))
            yield *_say(rng, RELATION, the=the, related=related, other=other), answer


def _compare(scene: Scene, rng: np.random.Generator) -> Asked:
    """Compare the sizes of each pair that differs, and once how many there are of a colour and of a shape."""
    for large, small in combinations(scene.things, 2):  # the larger are named first
        if large.size != small.size:
            answer, is_larger = _coin(rng), rng.random() < 0.5
            pair = (large, small) if is_larger == (answer == "yes") else (small, large)
            the, other = (_refer(scene, thing, ("colour", "shape"), rng) for thing in pair)
            yield *_say(rng, LARGER if is_larger else SMALLER, the=the, other=other), answer
    if len(scene.things) > 1:
        yield _compare_counts(scene, rng)


def _compare_counts(scene: Scene, rng: np.random.Generator) -> tuple[str, Slots, str]:
    """Ask whether there are more of one look than of another; one of the two is there."""
    looks = [tuple(LOOKS)[i] for i in rng.permutation(2)]
    answer = _coin(rng)
    there = [Counter(getattr(thing, look) for thing in scene.things) for look in looks]
    pairs = []
    for terms in product(*(LOOKS[look] for look in looks)):
        more, less = (counts[term] for counts, term in zip(there, terms, strict=True))
        if (more or less) and (more > less) == (answer == "yes"):
            pairs.append(terms)
    chosen = zip(looks, pairs[rng.integers(len(pairs))], strict=True)
    things, others = (_noun(rng, {look: term}, "plural") for look, term in chosen)
    return *_say(rng, MORE, things=things, others=others), answer


def _motion(scene: Scene, rng: np.random.Generator) -> Asked:
    """Ask what each object does and, of those that go somewhere, which way."""
    for thing in scene.things:
        the = _refer(scene, thing, ("colour", "shape"), rng)
        yield *_say(rng, DOES, the=the), str(thing.motion)
        if went := way(thing):
            yield *_say(rng, WAY, the=the), went


KINDS = {
    "count": _count,
    "exists": _exists,
    "colour": _colour,
    "shape": _shape,
    "relation": _relation,
    "compare": _compare,
}
MOVING_KINDS = {kind: ask for kind, ask in KINDS.items() if kind not in ("relation", "compare")} | {"motion": _motion}
"""Relations and sizes change while objects move, so those of a clip are not asked for."""


def _coin(rng: np.random.Generator) -> str:
    return "yes" if rng.random() < 0.5 else "no"


def _matches(scene: Scene, wanted: dict[str, str]) -> list[Thing]:
    return [t for t in scene.things if all(getattr(t, look) == term for look, term in wanted.items())]


def _refer(scene: Scene, thing: Thing, looks: tuple[str, ...], rng: np.random.Generator) -> Named | None:
    """Name one object by some of the looks, None where they fit another one as well; sizes change in a clip."""
    looks = tuple(look for look in looks if look != "size" or not scene.moves)
    subsets = chain.from_iterable(combinations(looks, length) for length in range(len(looks) + 1))
    names = [{look: getattr(thing, look) for look in subset} for subset in subsets]
    names = [name for name in names if len(_matches(scene, name)) == 1]
    return _noun(rng, names[rng.integers(len(names))], "the") if names else None


def _noun(rng: np.random.Generator, wanted: dict[str, str], form: str) -> Named:
    """Choose words for looks: large circle, red object."""
    words = [pick(rng, PHRASES[wanted[look]]) for look in ("size", "colour", "shape") if look in wanted]
    return Named(words if "shape" in wanted else [*words, "object"], form)


def _say(rng: np.random.Generator, wordings: Options, **slots: Named | str | None) -> tuple[str, Slots]:
    return pick(rng, wordings), {name: slot for name, slot in slots.items() if slot is not None}
