"""The lexicon of the captions, made from the tables that they are written from."""

from itertools import chain

from stages.base.lexicon import ONE, OTHER, RELATION, Lexicon, Phrases
from stages.sources.scenes import motion
from stages.sources.scenes.captions import PHRASES, SLOT, TEMPLATES
from stages.sources.scenes.languages import English
from stages.sources.scenes.world import BACKGROUNDS, COLOURS, COLUMNS, INVERSE, ROWS, SHAPES, SIZES, Options, ninth

LOOKS = {"size": tuple(dict(SIZES)), "colour": COLOURS, "shape": SHAPES}
PLACE, MOTION = "{place}", "{motion}"


def lexicon(language: English, moving: bool = False) -> Lexicon:
    """Return what the captions in a language say, of scenes or of their clips."""

    def phrases(terms: tuple[str, ...], table: dict[str, Options] = PHRASES) -> Phrases:
        return {term: [language.phrase(phrase) for phrase, _ in table[term]] for term in terms}

    places = phrases(tuple(ninth(row, column) for row in ROWS for column in COLUMNS))
    motions = phrases(tuple(motion.PHRASES), motion.PHRASES)
    looks = {look: phrases(terms) for look, terms in LOOKS.items()}
    used = motion.TEMPLATES if moving else TEMPLATES
    templates = [_cut(language.phrase(template)) for options in used.values() for template, _ in options]
    return Lexicon(
        noun="shape",
        naming=["colour", "shape"],
        looks=looks,
        beside={"motion": motions} if moving else {"place": places},
        scene={"background": phrases(tuple(dict(BACKGROUNDS)))},
        relations=phrases(tuple(INVERSE)),
        inverse=INVERSE,
        patterns=sorted({_pattern(parts, at) for parts in templates for at in range(len(parts)) if _says(parts[at])}),
        articles=sorted(_articles(language)),
        glue=sorted({part for parts in templates for part in parts if part[0] != "{"}),
    )


def _articles(language: English) -> set[str]:
    """Return what stands before the looks of an object that a caption names."""
    words = chain.from_iterable(PHRASES[term] for terms in LOOKS.values() for term in terms)
    named = {language.name([word], "a"): language.phrase(word) for word, _ in words}
    return {name.removesuffix(word).strip() for name, word in named.items()} - {""}


def _cut(template: str) -> list[str]:
    """Return a template's slots and what stands between them."""
    parts = [f"{{{part}}}" if i % 2 else part.strip() for i, part in enumerate(SLOT.split(template))]
    return [part for part in parts if part]


def _says(part: str) -> bool:
    """Tell whether a part is a slot that says something of objects: `{place}`, a motion or a relation."""
    return part == PLACE or (part[0] == "{" and part[1].isdecimal() and len(part) > len("{0}"))


def _pattern(parts: list[str], at: int) -> str:
    """Return the stretch of a template that says what slot `at` says, with its objects.

    Where the object that it is about stands in another clause, the stretch begins behind that clause.
    """
    said = PLACE if parts[at] == PLACE else MOTION if parts[at][2] == "!" else RELATION
    one = "0" if said == PLACE else parts[at][1]
    other = parts[at][3] if said == RELATION else ""
    own = {f"{{{mark}{name}}}": slot for name, slot in ((one, ONE), (other, OTHER)) for mark in ("", "~")}
    foreign = [i for i, part in enumerate(parts) if part[0] == "{" and part not in own and i != at]
    first = max([i + 1 for i in foreign if i < at], default=0)
    behind = min([i for i in foreign if i > at], default=len(parts))
    named = [i for i in range(first, behind) if parts[i] in own]
    if ONE in [own[parts[i]] for i in named]:
        first = min(at, *named)
    slots = {parts[at]: said, **own}
    return " ".join(slots.get(part, part) for part in parts[first : max(at, *named) + 1])
